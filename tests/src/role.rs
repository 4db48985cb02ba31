//! One role as a process of its own, with a configuration that the test has written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tributary_shared::ready::Ready;

use crate::{Process, SOON, wait_until};

/// `tributary agent|gateway|aggregator --config FILE`.
#[derive(Debug)]
pub struct RoleProcess {
    pub process: Process,
    ready_file: PathBuf,
}

impl RoleProcess {
    /// Writes the configuration to `dir/NAME.toml` and starts the role. It does not serve yet.
    ///
    /// # Panics
    /// When that is not possible.
    #[must_use]
    pub fn start(program: &Path, role: &str, dir: &Path, config: &str) -> Self {
        Self::start_with(program, role, dir, config, &[])
    }

    /// [`RoleProcess::start`] with these in its environment.
    ///
    /// # Panics
    /// When that is not possible.
    #[must_use]
    pub fn start_with(
        program: &Path,
        role: &str,
        dir: &Path,
        config: &str,
        env: &[(String, String)],
    ) -> Self {
        let path = dir.join(format!("{role}.toml"));
        std::fs::write(&path, config).expect("the test's directory");
        let args = [role.to_owned(), "--config".to_owned(), path.display().to_string()];
        Self {
            process: Process::start(program, args, env, dir.join(format!("{role}.log"))),
            ready_file: Self::ready_file(dir, role),
        }
    }

    /// Where the configuration must tell the role to report that it serves.
    #[must_use]
    pub fn ready_file(dir: &Path, role: &str) -> PathBuf {
        dir.join(format!("{role}.json"))
    }

    /// Waits until it serves; its addresses by the name of the configuration's key.
    ///
    /// # Panics
    /// When it ends before, or takes too long.
    pub fn serving(&mut self) -> BTreeMap<String, String> {
        let pid = self.process.pid();
        wait_until(SOON, "the role serves", || {
            if let Some(status) = self.process.ended() {
                panic!("the role ended while it was starting: {status}");
            }
            let bytes = std::fs::read(&self.ready_file).map_err(|error| error.to_string())?;
            let ready: Ready = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
            let ours = ready.pid == pid;
            ours.then_some(ready.addresses)
                .ok_or_else(|| "another one's ready file".to_owned())
        })
    }

    /// Drains it, and waits for a good end.
    ///
    /// # Panics
    /// When it fails, or takes too long.
    pub fn stop(&mut self) {
        let status = self.process.terminate(Duration::from_secs(15));
        assert!(status.success(), "SIGTERM drains and ends well: {status}");
    }
}
