//! Certificates for tests: a CA, and what it issues.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tributary_shared::identity::{Authority, Role, TlsPaths, Validity};
use tributary_shared::time::{Millis, now_millis};

const DAY_MS: Millis = 24 * 3600 * 1000;

/// A CA in a directory.
#[derive(Debug)]
pub struct Pki {
    authority: Authority,
    dir: PathBuf,
}

impl Pki {
    /// Makes a CA below `dir`, or takes the one that is there.
    ///
    /// # Panics
    /// When the file system refuses.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        let authority = Authority::load_or_create(dir, now_millis()).expect("a CA in the test's directory");
        Self {
            authority,
            dir: dir.to_owned(),
        }
    }

    /// The development CA of a `tributary up` that uses `dir`.
    #[must_use]
    pub fn of_mesh(dir: &Path) -> Self {
        Self::at(&tributary::up::authority_of(dir))
    }

    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.authority.ca_pem()
    }

    /// A certificate that is good for a day.
    #[must_use]
    pub fn issue(&self, role: Role, id: &str) -> TlsPaths {
        let validity = Validity::from_now(now_millis(), Duration::from_secs(24 * 3600));
        self.issue_for(role, id, validity)
    }

    /// # Panics
    /// When the id is invalid or the file system refuses.
    #[must_use]
    pub fn issue_for(&self, role: Role, id: &str, validity: Validity) -> TlsPaths {
        let bundle = self.authority.issue(role, id, validity).expect("a certificate");
        let out = self.dir.join(format!("for-{role}-{id}"));
        bundle.write(&out).expect("a directory of the test")
    }
}

/// A time in which a certificate was good that no longer is.
#[must_use]
pub fn past() -> Validity {
    let now = now_millis();
    Validity {
        not_before: now - 3 * DAY_MS,
        not_after: now - DAY_MS,
    }
}
