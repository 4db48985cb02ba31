//! `manifest.json`: what a backup holds. Pure.

use serde::{Deserialize, Serialize};
use tributary_shared::time::{Millis, rfc3339};

use super::messages::BackupError;
use crate::audit::{KEY_FILE, PUBLIC_KEY_FILE};

/// File name within the backup.
pub const MANIFEST_FILE: &str = "manifest.json";
/// What this program writes, and the newest that it reads. Format 2 may have the key of the audit.
pub const FORMAT: u32 = 2;
/// Whoever restores goes on to sign the audit by the same key.
pub const KEY_FILES: [&str; 2] = [KEY_FILE, PUBLIC_KEY_FILE];

/// What a backup holds, and where in the log it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// The program that made it.
    pub software: String,
    #[serde(with = "rfc3339")]
    pub created_at: Millis,
    pub log_id: String,
    /// The log's newest entry.
    pub log_position: u64,
    /// Retention had deleted the entries up to here.
    pub log_floor: u64,
    /// The log position of the views' snapshot; the entries behind it are replayed at the start.
    pub views_position: u64,
    pub lanes: u64,
    /// Events that are accounted for: the sum of the marks.
    pub produced: u64,
    pub files: Vec<FileEntry>,
}

/// One file of the backup: a database, or one of the audit's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// A plain name, of a file beside the manifest.
    pub name: String,
    pub bytes: u64,
    /// In hexadecimal digits.
    pub sha256: String,
}

impl Manifest {
    /// Reads a manifest and checks all that can be checked without the files. It may come from anywhere: names
    /// that lead out of the directory are refused.
    ///
    /// # Errors
    /// [`BackupError::Manifest`], [`BackupError::FormatTooNew`].
    pub fn parse(text: &[u8]) -> Result<Self, BackupError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let wrong = |error: serde_json::Error| BackupError::Manifest(error.to_string());
        // a newer format may have other fields
        let Head { format } = serde_json::from_slice(text).map_err(wrong)?;
        if format > FORMAT {
            let (found, known) = (format, FORMAT);
            return Err(BackupError::FormatTooNew { found, known });
        }
        let manifest: Self = serde_json::from_slice(text).map_err(wrong)?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), BackupError> {
        let wrong = |what: String| Err(BackupError::Manifest(what));
        for (at, file) in self.files.iter().enumerate() {
            if !is_ours(&file.name) {
                return wrong(format!(
                    "{:?} is not the name of a file of an aggregator",
                    file.name
                ));
            }
            if self.files[..at].iter().any(|other| other.name == file.name) {
                return wrong(format!("{} is listed twice", file.name));
            }
        }
        for needed in [crate::commit::LOG_FILE, crate::window::VIEWS_FILE] {
            if !self.files.iter().any(|file| file.name == needed) {
                return wrong(format!("{needed} is not listed"));
            }
        }
        if !(self.log_floor..=self.log_position).contains(&self.views_position) {
            return wrong(format!(
                "the views stand at {}, the log holds {} to {}",
                self.views_position,
                self.log_floor.saturating_add(1),
                self.log_position
            ));
        }
        Ok(())
    }
}

/// A file that backups have.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    is_database(name) || KEY_FILES.contains(&name)
}

/// A plain file name like those of an aggregator's databases.
#[must_use]
pub fn is_database(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    name.strip_suffix(".db")
        .is_some_and(|stem| !stem.is_empty() && stem.len() <= 64 && stem.bytes().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> FileEntry {
        FileEntry {
            name: name.to_owned(),
            bytes: 1,
            sha256: String::new(),
        }
    }

    fn manifest(names: &[&str]) -> Manifest {
        Manifest {
            format: FORMAT,
            software: "tributary".to_owned(),
            created_at: 0,
            log_id: "x".to_owned(),
            log_position: 9,
            log_floor: 2,
            views_position: 5,
            lanes: 1,
            produced: 10,
            files: names.iter().map(|name| file(name)).collect(),
        }
    }

    fn parse(manifest: &Manifest) -> Result<Manifest, BackupError> {
        Manifest::parse(&serde_json::to_vec(manifest).expect("encodes"))
    }

    #[test]
    fn a_manifest_that_was_written_is_read() {
        let written = manifest(&["log.db", "views.db", "registry.db"]);
        assert_eq!(parse(&written).expect("valid"), written);
    }

    #[test]
    fn untrusted_input_a_name_that_leads_elsewhere_is_refused() {
        for name in [
            "../log.db",
            "/etc/x.db",
            "a/b.db",
            ".db",
            "log.db-wal",
            "x.txt",
            "\0.db",
        ] {
            let error = parse(&manifest(&["log.db", "views.db", name])).expect_err(name);
            assert!(matches!(error, BackupError::Manifest(_)), "{error}");
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        assert!(parse(&manifest(&["log.db"])).is_err(), "no views");
        assert!(parse(&manifest(&["log.db", "views.db", "log.db"])).is_err());
        for position in [1, 10] {
            let odd = Manifest {
                views_position: position,
                ..manifest(&["log.db", "views.db"])
            };
            assert!(parse(&odd).is_err(), "the log does not hold {position}");
        }
        let newer = br#"{"format": 9, "what": "ever"}"#;
        assert!(matches!(
            Manifest::parse(newer),
            Err(BackupError::FormatTooNew {
                found: 9,
                known: FORMAT
            })
        ));
        assert!(Manifest::parse(b"{").is_err());
    }
}
