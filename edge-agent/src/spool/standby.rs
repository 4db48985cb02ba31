//! `spool.reserve`: room on the disk that nobody else can take. Deleting needs room as well, so on a full disk
//! the file is given up, and marks can be stored until others have made room.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("spool.reserve")
}

/// Makes the file, or makes it whole.
///
/// # Errors
/// When the disk has no room for it; there is no file then.
pub(super) fn make(dir: &Path, size: u64) -> io::Result<()> {
    let path = path(dir);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)?;
    if file.metadata()?.len() == size {
        return Ok(());
    }
    let made = allocate(&file, size);
    if made.is_err() {
        let _ = std::fs::remove_file(&path);
    }
    made
}

fn allocate(file: &File, size: u64) -> io::Result<()> {
    file.set_len(0)?;
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
        // file systems without it take what is written
        Err(rustix::io::Errno::OPNOTSUPP) => {
            io::copy(
                &mut io::Read::take(io::repeat(0), size),
                &mut io::BufWriter::new(file),
            )?;
            Ok(())
        }
        other => Ok(other?),
    }
}

/// Gives its room back. No file is as good.
pub(super) fn give_up(dir: &Path) -> io::Result<()> {
    match std::fs::remove_file(path(dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
