//! What goes in and out of a backup.

use std::path::PathBuf;

use super::manifest::Manifest;
use crate::commit::CommitError;
use crate::registry::RegistryError;
use crate::window::StoreError;

/// How far a long step is. Steps follow each other; `done` rises to `total` within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// `copying`, `checking`, `adding up` or `putting back`.
    pub step: &'static str,
    pub file: &'a str,
    /// Bytes; a total of 0 means that nobody knows how much there is.
    pub done: u64,
    pub total: u64,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub manifest: Manifest,
    /// Where the databases are that were there before.
    pub moved_to: Option<PathBuf>,
}

/// Why a backup or a restore was not done.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{dir} holds no aggregator: there is no log.db in it")]
    NoAggregator { dir: String },
    #[error("{dir} holds no backup: there is no {file} in it")]
    NoBackup { dir: String, file: &'static str },
    #[error(
        "{dir} holds a backup that was cut short: databases, and no {file}, which is written last; restore another \
         one, or make this one again with --force"
    )]
    CutShort { dir: String, file: &'static str },
    #[error("{what} is not empty; choose another directory, or say --force")]
    NotEmpty { what: String },
    #[error("{dir} is the aggregator's own directory")]
    OwnDirectory { dir: String },
    #[error("an aggregator uses {dir}: stop it first")]
    InUse { dir: String },
    #[error("the manifest cannot be read: {0}")]
    Manifest(String),
    #[error("the backup has format {found}, this program reads up to {known}; use a newer program")]
    FormatTooNew { found: u32, known: u32 },
    #[error("{file} is damaged: {what}; use another backup")]
    Damaged { file: String, what: String },
    #[error("the log and the views never stood still at one moment ({0}); try again")]
    Moving(String),
    #[error("{what} {path}: {error}")]
    Io {
        what: &'static str,
        path: String,
        error: std::io::Error,
    },
    #[error("{file}: {error}")]
    Sqlite { file: String, error: rusqlite::Error },
    #[error(transparent)]
    Log(#[from] CommitError),
    #[error(transparent)]
    Views(#[from] StoreError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
}
