//! One `up` a directory. The lock is an advisory one on an open file that the children inherit: it lasts until
//! the last process of the mesh has ended, even when `up` itself was killed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, test_kill_process};
use tokio::time::{Instant, sleep};

use crate::supervise::DRAIN;

/// How often a lock that will soon be free is tried again; an advisory lock cannot be awaited with a deadline.
const RETRY: Duration = Duration::from_millis(50);

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("another `tributary up` (process {pid}) uses {dir}: stop it, or give this one another --dir")]
    InUse { pid: String, dir: String },
    #[error("processes of an earlier `tributary up` in {dir} did not end: stop them first")]
    Leftover { dir: String },
    #[error("cannot lock {path}: {error}")]
    Io { path: String, error: io::Error },
}

/// Held while the value lives, and while any child lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock. When its last holder was killed, its children are draining: waits for their end.
    ///
    /// # Errors
    /// [`LockError::InUse`] when another `up` runs there.
    pub async fn take(path: &Path, dir: &Path) -> Result<Self, LockError> {
        let io = |error| LockError::Io { path: path.display().to_string(), error };
        let dir = dir.display().to_string();
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        let deadline = Instant::now() + DRAIN + DRAIN / 2;
        while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(io(error.into()));
            }
            let pid = holder(&mut file).map_err(io)?;
            if lives(&pid) {
                return Err(LockError::InUse { pid, dir });
            }
            if Instant::now() >= deadline {
                return Err(LockError::Leftover { dir });
            }
            sleep(RETRY).await;
        }
        let written = (|| {
            file.set_len(0)?;
            file.rewind()?;
            write!(file, "{}", std::process::id())?;
            // the children are to inherit it
            fcntl_setfd(&file, FdFlags::empty())?;
            Ok(())
        })();
        written.map_err(io)?;
        Ok(Self { _file: file })
    }
}

fn holder(file: &mut File) -> io::Result<String> {
    let mut pid = String::new();
    file.rewind()?;
    file.take(20).read_to_string(&mut pid)?;
    Ok(pid)
}

/// Is there a process of this number? A holder that has just locked and not yet written counts as alive.
fn lives(pid: &str) -> bool {
    let Ok(number) = pid.parse::<i32>() else { return true };
    Pid::from_raw(number).is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_holder_is_refused_until_the_first_has_gone() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("lock");
        let first = Lock::take(&path, dir.path()).await.expect("free");
        let refused = Lock::take(&path, dir.path()).await.expect_err("held");
        assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
        drop(first);
        Lock::take(&path, dir.path()).await.expect("free again");
    }
}
