//! Copying databases and files. IO without decisions.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::messages::{BackupError, Progress};

/// Pages between two reports.
const PAGES_A_STEP: i32 = 256;
const CHUNK: usize = 1 << 20;
/// Another process that opens or closes a database holds it for a moment.
const BUSY: Duration = Duration::from_secs(10);

pub(super) type Tell<'a> = &'a mut dyn FnMut(Progress<'_>);

pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.display().to_string();
    move |error| BackupError::Io { what, path, error }
}

pub(super) fn sqlite(path: &Path) -> impl FnOnce(rusqlite::Error) -> BackupError {
    let file = name(path);
    move |error| BackupError::Sqlite { file, error }
}

pub(super) fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

/// A database that others may be writing.
pub(super) fn open_shared(path: &Path) -> Result<Connection, BackupError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(sqlite(path))?;
    db.busy_timeout(BUSY).map_err(sqlite(path))?;
    Ok(db)
}

/// A database that nobody writes: no file beside it is read or made.
pub(super) fn open_still(path: &Path) -> Result<Connection, BackupError> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'%' | b'?' | b'#' => uri.push_str(&format!("%{byte:02x}")),
            byte if byte.is_ascii_graphic() => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(uri, flags).map_err(sqlite(path))
}

/// Fixes what the connection sees until it ends: later commits of others do not show.
pub(super) fn pin(db: &Connection, path: &Path) -> Result<(), BackupError> {
    // a transaction begins with its first read
    db.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;")
        .map_err(sqlite(path))
}

/// Copies what a pinned connection sees to a new file, durably.
pub(super) fn database(from: &Connection, to: &Path, tell: Tell<'_>) -> Result<(), BackupError> {
    let file = name(to);
    let mut copy = Connection::open(to).map_err(sqlite(to))?;
    // a copy that was cut short is thrown away, so it needs no journal; what is whole is synced below
    copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        .map_err(sqlite(to))?;
    let page: u64 = from
        .pragma_query_value(None, "page_size", |row| row.get(0))
        .map_err(sqlite(to))?;
    let backup = Backup::new(from, &mut copy).map_err(sqlite(to))?;
    loop {
        let step = backup.step(PAGES_A_STEP).map_err(sqlite(to))?;
        let at = backup.progress();
        let pages = u64::try_from(at.pagecount).unwrap_or(0);
        let left = u64::try_from(at.remaining).unwrap_or(0);
        tell(Progress {
            step: "copying",
            file: &file,
            done: pages.saturating_sub(left) * page,
            total: pages * page,
        });
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            // nobody else knows of the copy, and the source is pinned
            _ => {
                let what = "it is locked by another program".to_owned();
                return Err(BackupError::Damaged { file, what });
            }
        }
    }
    drop(backup);
    copy.close().map_err(|(_, error)| sqlite(to)(error))?;
    sync(to)
}

/// Copies a file to a new one, durably. A private key is its owner's only, from the first byte on.
pub(super) fn file(from: &Path, to: &Path, step: &'static str, tell: Tell<'_>) -> Result<(), BackupError> {
    let mut source = File::open(from).map_err(io("cannot read", from))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if name(from) == crate::audit::KEY_FILE {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    let mut copy = options.open(to).map_err(io("cannot make", to))?;
    each_chunk(&mut source, from, step, tell, |chunk| {
        copy.write_all(chunk).map_err(io("cannot write", to))
    })?;
    copy.sync_all().map_err(io("cannot sync", to))
}

/// SHA-256 in hexadecimal digits, and the file's size.
pub(super) fn sum(path: &Path, tell: Tell<'_>) -> Result<(String, u64), BackupError> {
    let mut file = File::open(path).map_err(io("cannot read", path))?;
    let mut context = Context::new(&SHA256);
    let bytes = each_chunk(&mut file, path, "adding up", tell, |chunk| {
        context.update(chunk);
        Ok(())
    })?;
    let digits = context
        .finish()
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok((digits, bytes))
}

fn each_chunk(
    file: &mut File,
    path: &Path,
    step: &'static str,
    tell: Tell<'_>,
    mut take: impl FnMut(&[u8]) -> Result<(), BackupError>,
) -> Result<u64, BackupError> {
    let total = file.metadata().map_err(io("cannot read", path))?.len();
    let (name, mut done, mut chunk) = (name(path), 0, vec![0; CHUNK]);
    loop {
        let read = file.read(&mut chunk).map_err(io("cannot read", path))?;
        if read == 0 {
            return Ok(done);
        }
        take(&chunk[..read])?;
        done += read as u64;
        tell(Progress {
            step,
            file: &name,
            done,
            total,
        });
    }
}

/// Makes a file's bytes, or a directory's names, survive a power cut.
pub(super) fn sync(path: &Path) -> Result<(), BackupError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(io("cannot sync", path))
}
