//! One `up` a directory. Two advisory locks on open files say who is there: one is held by `up` alone, the other
//! is inherited by its children and lasts until the last of them has ended, even when `up` itself was killed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use tokio::time::{Instant, sleep};

use super::layout::Layout;
use crate::supervise::DRAIN;

/// How often a lock that will soon be free is tried again; an advisory lock cannot be awaited with a deadline.
const RETRY: Duration = Duration::from_millis(50);

/// A child of a holder that has gone has the holder's lock too, until it becomes another program: a moment, which
/// must not be taken for a holder.
const BETWEEN_FORK_AND_EXEC: Duration = Duration::from_millis(500);

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

/// Held while the value lives; the children's lock, while any child lives.
#[derive(Debug)]
pub struct Lock {
    _own: File,
    _children: File,
}

impl Lock {
    /// Takes both locks. When the last holder was killed, its children are draining: waits for their end.
    ///
    /// # Errors
    /// [`LockError::InUse`] when another `up` runs there.
    pub async fn take(layout: &Layout) -> Result<Self, LockError> {
        let dir = || layout.root().display().to_string();
        let (path, children) = (layout.lock(), layout.children_lock());
        let mut own = open(&path)?;
        let patience = Instant::now() + BETWEEN_FORK_AND_EXEC;
        while !locked(&own, &path)? {
            if Instant::now() < patience {
                sleep(RETRY).await;
                continue;
            }
            let mut pid = String::new();
            // the number is only for the message
            let _ = own.take(20).read_to_string(&mut pid);
            return Err(LockError::InUse { pid, dir: dir() });
        }
        let written = own
            .set_len(0)
            .and_then(|()| write!(own, "{}", std::process::id()));
        written.map_err(failed(&path))?;

        let file = open(&children)?;
        let deadline = Instant::now() + DRAIN + DRAIN / 2;
        while !locked(&file, &children)? {
            if Instant::now() >= deadline {
                return Err(LockError::Leftover { dir: dir() });
            }
            sleep(RETRY).await;
        }
        fcntl_setfd(&file, FdFlags::empty()).map_err(|error| failed(&children)(error.into()))?;
        Ok(Self {
            _own: own,
            _children: file,
        })
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> LockError {
    |error| LockError::Io {
        path: path.display().to_string(),
        error,
    }
}

fn open(path: &Path) -> Result<File, LockError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(failed(path))
}

/// False when somebody else holds it.
fn locked(file: &File, path: &Path) -> Result<bool, LockError> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(failed(path)(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[tokio::test]
    async fn a_second_holder_is_refused_until_the_first_has_gone() {
        let dir = tempfile::tempdir().expect("dir");
        let layout = Layout::create(dir.path()).expect("layout");
        let first = Lock::take(&layout).await.expect("free");
        let refused = Lock::take(&layout).await.expect_err("held");
        assert!(
            refused
                .to_string()
                .contains(&format!("process {}", std::process::id())),
            "{refused}"
        );
        drop(first);
        Lock::take(&layout).await.expect("free again");
    }

    #[tokio::test]
    async fn the_children_of_a_holder_that_has_gone_are_waited_for() {
        let dir = tempfile::tempdir().expect("dir");
        let layout = Layout::create(dir.path()).expect("layout");
        let first = Lock::take(&layout).await.expect("free");
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().expect("child");
        drop(first);
        let next = tokio::time::timeout(RETRY * 4, Lock::take(&layout)).await;
        assert!(next.is_err(), "the child still holds it");
        drop(child.stdin.take());
        child.wait().expect("its end");
        Lock::take(&layout).await.expect("free again");
    }
}
