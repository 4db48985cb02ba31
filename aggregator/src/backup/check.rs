//! Checking copies before anybody trusts them.

use std::path::Path;

use rusqlite::Connection;

use super::copy::{self, Tell, io, name, open_still, sqlite};
use super::manifest::{MANIFEST_FILE, Manifest, is_database};
use super::messages::{BackupError, Progress};
use crate::commit::{self, LOG_FILE, LogFacts};
use crate::window::{VIEWS_FILE, ViewFacts};

/// Checks a backup: the manifest, every checksum, every database.
///
/// # Errors
/// [`BackupError`] naming the first file that is not what was saved.
pub fn verify(from: &Path, tell: &mut dyn FnMut(Progress<'_>)) -> Result<Manifest, BackupError> {
    let path = from.join(MANIFEST_FILE);
    if !path.exists() {
        let (dir, file) = (from.display().to_string(), MANIFEST_FILE);
        return Err(match from.join(VIEWS_FILE).exists() {
            // copied first
            true => BackupError::CutShort { dir, file },
            false => BackupError::NoBackup { dir, file },
        });
    }
    let manifest = Manifest::parse(&std::fs::read(&path).map_err(io("cannot read", &path))?)?;
    for entry in &manifest.files {
        let path = from.join(&entry.name);
        let (sha256, bytes) = copy::sum(&path, tell)?;
        if bytes != entry.bytes || sha256 != entry.sha256 {
            let what = format!(
                "it has {bytes} bytes and checksum {sha256}, the manifest says {} and {}",
                entry.bytes, entry.sha256
            );
            let file = entry.name.clone();
            return Err(BackupError::Damaged { file, what });
        }
    }
    let facts = databases(
        from,
        &manifest
            .files
            .iter()
            .map(|file| file.name.as_str())
            .filter(|name| is_database(name))
            .collect::<Vec<_>>(),
        tell,
    )?;
    let told = (
        &manifest.log_id,
        manifest.log_position,
        manifest.log_floor,
        manifest.views_position,
    );
    let found = (
        &facts.log.log_id,
        facts.log.newest.0,
        facts.log.floor.0,
        facts.views.position.0,
    );
    if told != found {
        let what = format!("the manifest says {told:?} of log and views, they say {found:?}");
        return Err(BackupError::Manifest(what));
    }
    Ok(manifest)
}

/// What log and views say of themselves.
#[derive(Debug)]
pub(super) struct Facts {
    pub log: LogFacts,
    pub views: ViewFacts,
}

/// Checks databases that nobody writes, inside and against each other.
pub(super) fn databases(dir: &Path, names: &[&str], tell: Tell<'_>) -> Result<Facts, BackupError> {
    for name in names {
        let path = dir.join(name);
        tell(Progress {
            step: "checking",
            file: name,
            done: 0,
            total: 0,
        });
        pages(&open_still(&path)?, &path)?;
    }
    let log = commit::inspect(&open_still(&dir.join(LOG_FILE))?)?;
    let views = crate::window::inspect(&open_still(&dir.join(VIEWS_FILE))?)?;
    Ok(Facts { log, views })
}

/// SQLite's own check of all pages.
fn pages(db: &Connection, path: &Path) -> Result<(), BackupError> {
    let found: String = db
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(sqlite(path))?;
    if found == "ok" {
        return Ok(());
    }
    Err(BackupError::Damaged {
        file: name(path),
        what: found,
    })
}
