//! Is this the file that this machine wrote last, or a copy of it?
//!
//! A copied spool goes on from the same seqs as its original. So the machine's id and the file's inode are kept
//! in it: where one of them differs, the file was copied, restored or moved, and new events get new epochs. What
//! is held keeps its identity, which its twin in the original has, too: the aggregator takes one of them. A
//! machine that was cloned whole looks like its original; that shows when both talk to the aggregator. A change
//! without a copy (a file system without stable inodes) costs a new epoch and nothing else.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What tells a file from its copy. What could not be read tells nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Host {
    pub machine: Option<String>,
    pub inode: Option<i64>,
}

impl Host {
    /// This machine, and the file there.
    pub(super) fn of(database: &Path) -> Self {
        let machine = fs::read_to_string("/etc/machine-id").ok();
        let machine = machine.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty());
        // any number will do, as long as it is the same the next time
        let inode = fs::metadata(database).ok().map(|meta| meta.ino().cast_signed());
        Self { machine, inode }
    }

    /// Was the file copied since `self` was noted?
    pub(super) fn differs(&self, now: &Self) -> bool {
        fn differ<T: PartialEq>(then: Option<&T>, now: Option<&T>) -> bool {
            matches!((then, now), (Some(then), Some(now)) if then != now)
        }
        differ(self.machine.as_ref(), now.machine.as_ref()) || differ(self.inode.as_ref(), now.inode.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_differs_in_its_inode_and_on_another_machine_and_what_is_unknown_tells_nothing() {
        let host = |machine: Option<&str>, inode| Host {
            machine: machine.map(str::to_owned),
            inode,
        };
        let noted = host(Some("m1"), Some(7));
        assert!(!noted.differs(&noted));
        assert!(noted.differs(&host(Some("m1"), Some(8))));
        assert!(noted.differs(&host(Some("m2"), Some(7))));
        assert!(!noted.differs(&host(None, Some(7))));
        assert!(!Host::default().differs(&noted));
    }

    #[test]
    fn a_copied_file_is_another_one_and_the_file_itself_stays_the_same() {
        let dir = tempfile::tempdir().expect("dir");
        let (file, copy) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&file, "x").expect("write");
        fs::copy(&file, &copy).expect("copy");
        assert!(!Host::of(&file).differs(&Host::of(&file)));
        assert!(Host::of(&file).differs(&Host::of(&copy)));
    }
}
