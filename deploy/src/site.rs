//! The directory of a mesh that is made for one run, and what its processes share.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tributary_shared::identity::{Authority, TlsPaths};
use tributary_shared::time::now_millis;

use crate::role::Role;
use crate::supervise::ChildSpec;
use crate::up::identity;

/// Everything lies below one directory, by the names of the processes.
#[derive(Debug)]
pub struct Site {
    root: PathBuf,
    program: PathBuf,
    authority: Authority,
}

impl Site {
    /// Makes a certificate authority in an empty directory.
    ///
    /// # Errors
    /// When this program's own file is not found, or the file system refuses.
    pub fn new(root: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let root = std::path::absolute(root)?;
        let authority = Authority::create(&root.join("ca"), now_millis())?;
        Ok(Self {
            root,
            program,
            authority,
        })
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn dir(&self, name: &str) -> std::io::Result<PathBuf> {
        let dir = self.root.join(name);
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Where a process reports that it serves.
    #[must_use]
    pub fn ready(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}.ready.json"))
    }

    /// A certificate of the site's authority.
    ///
    /// # Errors
    /// When it cannot be issued or written.
    pub fn identity(&self, role: Role, id: &str) -> anyhow::Result<TlsPaths> {
        let dir = self.root.join("pki").join(id);
        Ok(identity::ensure(&self.authority, &dir, role, id)?)
    }

    /// How to start a process; its log lies beside its configuration.
    #[must_use]
    pub fn child(&self, role: Role, name: &str) -> ChildSpec {
        ChildSpec {
            name: name.to_owned(),
            role,
            program: self.program.clone(),
            config: self.root.join(format!("{name}.toml")),
            ready_file: self.ready(name),
            log: Some(self.root.join(format!("{name}.log"))),
        }
    }
}
