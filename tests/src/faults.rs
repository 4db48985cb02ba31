//! Disks that tests make full.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::log::loudly;
use crate::tools::run;

/// A small file system in memory, mounted on a directory. Unmounted when it is dropped.
#[derive(Debug)]
pub struct Tmpfs {
    at: PathBuf,
}

/// Takes what room is left.
const BALLAST: &str = "ballast";

impl Tmpfs {
    /// Mounts one on a directory, which is made when missing. Needs root.
    ///
    /// # Panics
    /// When the operating system refuses.
    #[must_use]
    pub fn mount(at: &Path, mib: u32) -> Self {
        std::fs::create_dir_all(at).expect("the test's directory");
        let size = format!("size={mib}m,mode=700");
        let mut command = Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o", &size, "tributary-test"])
            .arg(at);
        run(&mut command).expect("root mounts");
        Self { at: at.to_owned() }
    }

    /// With other options, `ro` or `rw`. The first needs that no file is open for writing.
    ///
    /// # Panics
    /// When the operating system refuses.
    pub fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        run(Command::new("mount").arg("-o").arg(options).arg(&self.at)).expect("root mounts");
    }

    /// Fills it to the last byte.
    ///
    /// # Panics
    /// When something else than the end of the room stops it.
    pub fn fill(&self) {
        let mut options = OpenOptions::new();
        let ballast = options.create(true).append(true).open(self.at.join(BALLAST));
        let mut ballast = ballast.expect("a file in the test's directory");
        for block in [vec![0; 64 << 10], vec![0; 512]] {
            let full = loop {
                if let Err(error) = ballast.write_all(&block) {
                    break error;
                }
            };
            assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
        }
    }

    /// Gives the room back.
    ///
    /// # Panics
    /// When it was not filled.
    pub fn free(&self) {
        std::fs::remove_file(self.at.join(BALLAST)).expect("the ballast");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // lazily: a process that was told to end may still have a file open
        if let Err(error) = run(Command::new("umount").arg("-l").arg(&self.at)) {
            loudly(&format!("not unmounted: {error}"));
        }
    }
}
