//! Packages of other people, as their registries ship them, each installed once into a directory of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::tools::run;
use crate::{Tool, missing};

const NPM: Tool = Tool {
    name: "npm",
    hint: "apt-get install npm",
};
/// Written when an installation is whole.
const DONE: &str = "installed";

/// The `node_modules` in which a package, named with its version, is. `None` when it cannot be had, which is told loudly, and is
/// a failure in CI.
#[must_use]
pub fn npm_package(test: &str, dir: &Path, package: &str) -> Option<PathBuf> {
    let npm = NPM.find(test)?;
    let installed = once(dir, package, || {
        let args = [
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--prefix",
        ];
        run(Command::new(npm).args(args).arg(dir).arg(package))
    });
    match installed {
        Ok(()) => Some(dir.join("node_modules")),
        Err(why) => {
            missing(test, &why);
            None
        }
    }
}

/// Installs into a directory that holds nothing else, unless that version is there; one test at a time.
pub(crate) fn once(
    dir: &Path,
    package: &str,
    install: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let done = dir.join(DONE);
    if std::fs::read_to_string(&done).is_ok_and(|version| version == package) {
        return Ok(());
    }
    let io = |error: std::io::Error| format!("{}: {error}", dir.display());
    if dir.exists() {
        std::fs::remove_dir_all(dir).map_err(io)?;
    }
    std::fs::create_dir_all(dir).map_err(io)?;
    install()?;
    std::fs::write(&done, package).map_err(io)
}
