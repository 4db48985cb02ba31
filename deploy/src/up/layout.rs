//! Where `up` keeps what, below its directory.

use std::io;
use std::path::{Path, PathBuf};

use crate::role::{self, Role};

/// The tree below `--dir`. All paths are absolute, so that children may run anywhere.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Makes the directories, readable by their owner only.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(dir: &Path) -> io::Result<Self> {
        let layout = Self {
            root: std::path::absolute(dir)?,
        };
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700);
        builder.create(&layout.root)?;
        builder.create(layout.root.join("run"))?;
        role::ALL
            .into_iter()
            .try_for_each(|role| builder.create(layout.data(role)))?;
        Ok(layout)
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Held by the one `up` that uses the directory.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("run").join("up.lock")
    }

    /// Held by it and its children.
    #[must_use]
    pub fn children_lock(&self) -> PathBuf {
        self.root.join("run").join("children.lock")
    }

    /// What must be the same at the next start: see [`super::state::State`].
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.root.join("up.json")
    }

    /// The development CA.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        authority(&self.root)
    }

    #[must_use]
    pub fn identity(&self, role: Role) -> PathBuf {
        self.root.join("pki").join(role.as_str())
    }

    #[must_use]
    pub fn config(&self, role: Role) -> PathBuf {
        self.root.join(format!("{role}.toml"))
    }

    /// What the role stores.
    #[must_use]
    pub fn data(&self, role: Role) -> PathBuf {
        self.root.join(role.as_str())
    }

    /// Where the role reports that it serves.
    #[must_use]
    pub fn ready(&self, role: Role) -> PathBuf {
        self.root.join("run").join(format!("{role}.json"))
    }
}

/// The CA below a directory of `up`.
#[must_use]
pub fn authority(root: &Path) -> PathBuf {
    root.join("pki").join("ca")
}
