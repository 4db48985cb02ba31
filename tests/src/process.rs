//! One process under test.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::log::Log;
use crate::wait_until;

/// Started by us, and ended with this value.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: Log,
}

impl Process {
    /// Starts a program; what it says goes to `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        program: &Path,
        args: impl IntoIterator<Item = A>,
        env: &[(String, String)],
        log: PathBuf,
    ) -> Self {
        let log = Log::new(log);
        let child = Command::new(program)
            .args(args)
            // telemetry goes only where a test says
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
            .envs(env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(log.open())
            .stderr(log.open())
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", program.display()));
        Self { child, log }
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it has said.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// The status, if it has ended.
    ///
    /// # Panics
    /// When the operating system cannot tell.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }

    /// Asks it to drain (SIGTERM) and waits for its end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn terminate(&mut self, within: Duration) -> ExitStatus {
        kill(self.pid(), Signal::TERM);
        self.wait(within)
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        wait_until(within, "the process ends", || {
            self.ended().ok_or_else(|| "it runs".to_owned())
        })
    }

    /// Sends it a signal: to stand still, say, or to go on.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal);
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        // it may have ended by itself
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            self.log.show();
        }
    }
}

/// Sends a signal to a process that this test started, or whose parent it started.
pub(crate) fn kill(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // it may have ended meanwhile
        let _ = kill_process(pid, signal);
    }
}

/// Whether this process runs and was started with this path among its arguments.
pub(crate) fn runs_with(pid: u32, path: &Path) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&*path.to_string_lossy()))
}
