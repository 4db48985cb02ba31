//! Reading the file by which a role says that it serves, and where.

use std::io;
use std::path::Path;

use tributary_shared::ready::Ready;

/// Reads the file; `None` while it is not there. It appears whole, so anything unreadable is an error.
///
/// # Errors
/// When the file cannot be read or is not what a role writes.
pub fn read(path: &Path) -> io::Result<Option<Ready>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The `host:port` that a role serves `key` on; a role may write it as a URL.
///
/// # Errors
/// When the role did not report it.
pub fn address<'a>(ready: &'a Ready, key: &str) -> io::Result<&'a str> {
    let missing = || {
        io::Error::other(format!(
            "the {} reports no address for {key} in its ready file",
            ready.role
        ))
    };
    let address = ready.addresses.get(key).ok_or_else(missing)?;
    Ok(address.strip_prefix("http://").unwrap_or(address))
}

#[cfg(test)]
mod tests {
    use tributary_shared::ready::write_atomically;

    use super::*;

    #[test]
    fn a_ready_file_is_absent_then_whole() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("agent.json");
        assert_eq!(read(&path).expect("no file is no error"), None);
        Ready::new("agent", [("intake", "http://127.0.0.1:1".to_owned())])
            .write(&path)
            .expect("write");
        let ready = read(&path).expect("read").expect("there");
        assert_eq!(ready.pid, std::process::id());
        assert_eq!(address(&ready, "intake").expect("reported"), "127.0.0.1:1");
        assert!(address(&ready, "http").is_err());
        write_atomically(&path, b"{").expect("write");
        assert!(read(&path).is_err(), "a broken file is reported, not waited for");
    }
}
