//! Programs that some tests need and a developer's machine may not have.

use std::path::PathBuf;
use std::process::Command;

use crate::log::loudly;

/// A program to look for.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    pub name: &'static str,
    /// How to get it, for a person.
    pub hint: &'static str,
}

impl Tool {
    /// The program on the search path. `None` when it is missing, which is told loudly.
    ///
    /// # Panics
    /// When it is missing in CI, where every test must run.
    #[must_use]
    pub fn find(self, test: &str) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path)
            .map(|dir| dir.join(self.name))
            .find(|file| file.is_file());
        if found.is_none() {
            missing(test, &format!("{} is not installed: {}", self.name, self.hint));
        }
        found
    }
}

/// Says that a test does not run, and why.
///
/// # Panics
/// In CI (`CI=true`).
pub fn missing(test: &str, why: &str) {
    let ci = std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false");
    assert!(!ci, "{test} must run in CI, but {why}");
    loudly(&format!("\n*** SKIPPED: {test} did NOT run, because {why}\n"));
}

/// Says that a test, or a part of it, does not run because this machine's kernel cannot do it. Other than
/// [`missing`] this is no failure in CI: nobody can install what is missing.
pub fn impossible(test: &str, why: &str) {
    loudly(&format!("\n*** SKIPPED: {test} did NOT run, because {why}\n"));
}

/// Whether this process may mount file systems and make network namespaces. Says loudly that the test does not
/// run, when it may not.
///
/// # Panics
/// When it may not, in CI.
#[must_use]
pub fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        missing(
            test,
            "it makes file systems or network namespaces, which only root may",
        );
    }
    root
}

/// Runs a program to its end.
///
/// # Errors
/// With what it said, when it fails.
pub fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    Err(format!("{command:?}: {}: {}", output.status, said.trim()))
}
