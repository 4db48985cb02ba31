//! The file that a role writes once it serves: `{"role","pid","addresses":{name: address}}`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What a role tells whoever started it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    pub role: String,
    pub pid: u32,
    /// Where it listens, by the name of the configuration's key.
    pub addresses: BTreeMap<String, String>,
}

impl Ready {
    /// Of this process.
    #[must_use]
    pub fn new(role: &str, addresses: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let addresses = addresses
            .into_iter()
            .map(|(name, at)| (name.to_owned(), at))
            .collect();
        Self {
            role: role.to_owned(),
            pid: std::process::id(),
            addresses,
        }
    }

    /// Writes the file whole or not at all, so that a reader never sees half of it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        write_atomically(path, &serde_json::to_vec(self)?)
    }
}

/// Writes beside the file and renames over it.
///
/// # Errors
/// Those of the file system.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}
