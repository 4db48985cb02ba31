//! The files of the key that signs heads.

use std::io;
use std::path::Path;

use tributary_audit::{AuditError, PublicKey, SigningKey};
use tributary_shared::identity::{write_private, write_public};

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
            write_private(&path, &text)?;
            (key, false)
        }
        Err(error) => return Err(unusable(&path, &AuditError::Malformed(error.to_string()))),
    };
    let (public, path) = (format!("{}\n", key.public(origin)), dir.join(PUBLIC_KEY_FILE));
    // others read it: it is written again only when it says something else
    if std::fs::read_to_string(&path).ok().as_ref() != Some(&public) {
        write_public(&path, &public)?;
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
