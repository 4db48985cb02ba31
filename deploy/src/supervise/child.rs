//! One child process: started, watched until it serves, stopped.

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{ChildStdin, Command};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tributary_shared::ready::Ready;

use super::ready;
use crate::role::Role;

/// How long a process may take to drain after SIGTERM before it is killed.
pub const DRAIN: Duration = Duration::from_secs(10);
/// How often the ready file is looked for; a process starts in some tens of milliseconds.
const READY_POLL: Duration = Duration::from_millis(20);
/// How often a slow start is mentioned. There is no deadline: an aggregator that replays a long log would be
/// killed for it again and again.
const SLOW_START: Duration = Duration::from_secs(10);

/// What to start.
#[derive(Debug, Clone)]
pub struct ChildSpec {
    /// For logs: the role's name, or `agent-2` where there are several.
    pub name: String,
    pub role: Role,
    /// The `tributary` program.
    pub program: PathBuf,
    pub config: PathBuf,
    /// Where the configuration tells the role to report that it serves.
    pub ready_file: PathBuf,
    /// Where its log is appended; this process's standard error when there is none.
    pub log: Option<PathBuf>,
}

/// Why a child does not serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the {name} cannot be started: {error}")]
    Spawn { name: String, error: io::Error },
    #[error("the {name} ended while it was starting ({status}); its own message is above")]
    Ended { name: String, status: ExitStatus },
    #[error("the ready file of the {name} is not usable: {error}")]
    Ready { name: String, error: io::Error },
}

/// A running child.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: tokio::process::Child,
    pid: u32,
    /// Closing it tells the child that its parent has gone.
    _alive: Option<ChildStdin>,
    pub started: Instant,
}

impl Child {
    /// Starts a process. It does not serve yet: see [`Child::ready`].
    ///
    /// # Errors
    /// [`StartError::Spawn`] when the operating system refuses.
    pub fn spawn(spec: &ChildSpec) -> Result<Self, StartError> {
        let failed = |error| StartError::Spawn {
            name: spec.name.clone(),
            error,
        };
        match std::fs::remove_file(&spec.ready_file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let log = match &spec.log {
            Some(path) => {
                let mut append = std::fs::OpenOptions::new();
                Stdio::from(append.create(true).append(true).open(path).map_err(failed)?)
            }
            None => Stdio::inherit(),
        };
        let mut process = Command::new(&spec.program)
            .arg(spec.role.as_str())
            .arg("--config")
            .arg(&spec.config)
            .arg("--parent-pipe")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let pid = process
            .id()
            .ok_or_else(|| failed(io::Error::other("it ended at once")))?;
        // waiting for a child closes its standard input, unless that is kept elsewhere
        let alive = process.stdin.take();
        Ok(Self {
            name: spec.name.clone(),
            process,
            pid,
            _alive: alive,
            started: Instant::now(),
        })
    }

    /// Starts a process and waits until it serves.
    ///
    /// # Errors
    /// [`StartError`] when it ends before.
    pub async fn start(spec: &ChildSpec) -> Result<(Self, Ready), StartError> {
        let mut child = Self::spawn(spec)?;
        let ready = child.ready(spec).await?;
        Ok((child, ready))
    }

    /// Waits until the child reports that it serves.
    ///
    /// # Errors
    /// [`StartError`] when it ends before, or reports nonsense.
    pub async fn ready(&mut self, spec: &ChildSpec) -> Result<Ready, StartError> {
        let unusable = |error| StartError::Ready {
            name: spec.name.clone(),
            error,
        };
        let mut poll = interval(READY_POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut slow = interval(SLOW_START);
        slow.reset();
        loop {
            tokio::select! {
                status = self.process.wait() => {
                    let status = status.map_err(unusable)?;
                    return Err(StartError::Ended { name: spec.name.clone(), status });
                }
                _ = poll.tick() => {
                    let ready = ready::read(&spec.ready_file).map_err(unusable)?;
                    if let Some(ready) = ready.filter(|ready| ready.pid == self.pid) {
                        return Ok(ready);
                    }
                }
                _ = slow.tick() => {
                    let seconds = self.started.elapsed().as_secs();
                    tracing::warn!(process = %self.name, pid = self.pid, seconds, "process is still starting");
                }
            }
        }
    }

    /// Waits until the child ends by itself. May be dropped and called again.
    ///
    /// # Errors
    /// When the operating system cannot tell.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.process.wait().await
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Asks the child to drain and end, and kills it when it does not within `deadline`.
    pub async fn stop(mut self, deadline: Duration) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        // it is not yet waited for, so its pid cannot have been given to another process
        if let (Some(pid), Ok(None)) = (pid, self.process.try_wait())
            && let Err(error) = kill_process(pid, Signal::TERM)
        {
            tracing::warn!(process = %self.name, %error, "process could not be told to stop");
        }
        if timeout(deadline, self.process.wait()).await.is_err() {
            let seconds = deadline.as_secs();
            tracing::error!(process = %self.name, pid = self.pid, seconds, "process did not drain in time and is killed");
            if let Err(error) = self.process.kill().await {
                tracing::error!(process = %self.name, pid = self.pid, %error, "process could not be killed");
            }
        }
    }
}
