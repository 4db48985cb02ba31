//! The files of the key that signs heads.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use tributary_audit::{AuditError, PublicKey, SigningKey};

use crate::commit::CommitError;

/// The private key, for its owner only, within the aggregator's directory.
pub const KEY_FILE: &str = "audit.key";
/// The public key beside it.
pub const PUBLIC_KEY_FILE: &str = "audit.pub";

/// The key of a directory, and whether it was there; makes it when it was not.
pub(super) fn open(dir: &Path, origin: &str) -> Result<(SigningKey, bool), CommitError> {
    let path = dir.join(KEY_FILE);
    let (key, found) = match std::fs::read_to_string(&path) {
        Ok(text) => (
            SigningKey::from_pem(&text).map_err(|error| unusable(&path, &error))?,
            true,
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = SigningKey::generate().map_err(|error| unusable(&path, &error))?;
            let text = key.to_pem().map_err(|error| unusable(&path, &error))?;
            write(&path, &text, 0o600)?;
            (key, false)
        }
        Err(error) => return Err(unusable(&path, &AuditError::Malformed(error.to_string()))),
    };
    let (public, path) = (format!("{}\n", key.public(origin)), dir.join(PUBLIC_KEY_FILE));
    // others read it: it is written again only when it says something else
    if std::fs::read_to_string(&path).ok().as_ref() != Some(&public) {
        write(&path, &public, 0o644)?;
    }
    Ok((key, found))
}

/// The public key of a directory.
///
/// # Errors
/// [`CommitError::AuditKey`].
pub fn read_public(dir: &Path) -> Result<PublicKey, CommitError> {
    let path = dir.join(PUBLIC_KEY_FILE);
    let text = std::fs::read_to_string(&path);
    let text = text.map_err(|error| unusable(&path, &AuditError::Malformed(error.to_string())))?;
    PublicKey::parse(&text).map_err(|error| unusable(&path, &error))
}

fn unusable(path: &Path, error: &AuditError) -> CommitError {
    CommitError::AuditKey {
        path: path.display().to_string(),
        why: error.to_string(),
    }
}

/// Durably and atomically; nobody else can read a private file, not even for a moment.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let part = path.with_extension("part");
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    match path.parent() {
        Some(dir) if cfg!(unix) => File::open(dir)?.sync_all(),
        _ => Ok(()),
    }
}
