//! The logs of processes under test.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// How much of a log a failing test shows.
const TAIL_LINES: usize = 80;

/// Where a process writes what it has to say.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
}

impl Log {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Opens it for one more process; what is there stays.
    pub(crate) fn open(&self) -> File {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        options
            .open(&self.path)
            .expect("a log file in the test's directory")
    }

    pub(crate) fn text(&self) -> String {
        read(&self.path)
    }

    /// On standard error, where the test framework collects it for failing tests.
    pub(crate) fn show(&self) {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        #[allow(
            clippy::print_stderr,
            reason = "the framework captures only this way of printing"
        )]
        {
            eprintln!("--- end of {}\n{tail}\n---", self.path.display());
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read(path).map_or_else(
        |error| format!("(not readable: {error})"),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}

/// Tells a person, past the framework's capture of output.
pub fn loudly(text: &str) {
    // nowhere is left to report a closed standard error
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
