//! The file by which a role says that it serves, and where.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// `{"role":"gateway","pid":1,"addresses":{"listen":"127.0.0.1:1234"}}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleReady {
    pub role: String,
    pub pid: u32,
    /// The real addresses, ports that were picked included, by the configuration key that asked for them.
    pub addresses: BTreeMap<String, String>,
}

impl RoleReady {
    /// Reads the file; `None` while it is not there. It appears whole, so anything unreadable is an error.
    ///
    /// # Errors
    /// When the file cannot be read or is not what a role writes.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The address that the role serves `key` on.
    ///
    /// # Errors
    /// When the role did not report it.
    pub fn address(&self, key: &str) -> io::Result<&str> {
        self.addresses.get(key).map(String::as_str).ok_or_else(|| {
            io::Error::other(format!("the {} reports no address for {key} in its ready file", self.role))
        })
    }
}

/// Writes a file so that a reader sees the old content or the new, never a part: a temporary file in the same
/// directory, synced, then renamed.
///
/// # Errors
/// Those of the file system.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_file_is_absent_then_whole() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("agent.json");
        assert_eq!(RoleReady::read(&path).expect("no file is no error"), None);
        write_atomically(&path, br#"{"role":"agent","pid":7,"addresses":{"intake":"127.0.0.1:1"}}"#).expect("write");
        let ready = RoleReady::read(&path).expect("read").expect("there");
        assert_eq!((ready.pid, ready.address("intake").expect("reported")), (7, "127.0.0.1:1"));
        assert!(ready.address("http").is_err());
        write_atomically(&path, b"{").expect("write");
        assert!(RoleReady::read(&path).is_err(), "a broken file is reported, not waited for");
    }
}
