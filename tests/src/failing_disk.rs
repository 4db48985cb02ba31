//! A disk that fails under one process when a test says so, and works again when it says so: system calls of the
//! process fail, which needs no root and no kernel that can break a device.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools::{Tool, run};

const COMPILER: Tool = Tool {
    name: "cc",
    hint: "apt-get install gcc libc6-dev",
};

/// What fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// `fsync` and `fdatasync` answer EIO; what was written may be there or not.
    Sync,
    /// Whatever would change a file answers EROFS, as when the kernel has remounted a file system that has errors.
    ReadOnly,
}

impl DiskFault {
    fn switch(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::ReadOnly => "read-only",
        }
    }
}

/// The library that a process is started with, and the switches that it looks at.
#[derive(Debug)]
pub struct FailingDisk {
    library: PathBuf,
    switches: PathBuf,
    at: PathBuf,
}

impl FailingDisk {
    /// For the files below `at`; what it needs itself goes to `dir`. `None`, said loudly, where there is no C compiler.
    ///
    /// # Panics
    /// In CI without a compiler, and when it refuses.
    #[must_use]
    pub fn new(test: &str, at: &Path, dir: &Path) -> Option<Self> {
        let compiler = COMPILER.find(test)?;
        let (library, switches) = (dir.join("failing_disk.so"), dir.join("switches"));
        std::fs::create_dir_all(&switches).expect("the test's directory");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/failing_disk.c");
        let mut command = Command::new(compiler);
        command.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]);
        run(command.arg(&library).arg(source)).expect("a library");
        Some(Self {
            library,
            switches,
            at: at.to_owned(),
        })
    }

    /// What the process must be started with.
    #[must_use]
    pub fn env(&self) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", &self.library),
            ("FAILING_DISK_SWITCHES", &self.switches),
            ("FAILING_DISK_AT", &self.at),
        ]
        .map(|(name, path)| (name.to_owned(), path.display().to_string()))
        .into()
    }

    /// From now on it fails.
    ///
    /// # Panics
    /// When the test's directory is gone.
    pub fn fail(&self, fault: DiskFault) {
        std::fs::write(self.switches.join(fault.switch()), "").expect("a switch");
    }

    /// From now on it works again.
    ///
    /// # Panics
    /// When it did not fail.
    pub fn heal(&self, fault: DiskFault) {
        std::fs::remove_file(self.switches.join(fault.switch())).expect("the switch");
    }
}
