//! What every role's `main` does: an actix system on one thread, the stop signals, telemetry, an exit code.

use std::fmt::Display;
use std::future::Future;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::identity::{Identity, Role, TlsPaths};
use crate::telemetry;

/// Done.
pub const EXIT_DONE: u8 = 0;
/// Failed while running.
pub const EXIT_FAILED: u8 = 1;
/// Wrong usage or configuration.
pub const EXIT_USAGE: u8 = 2;

/// The name of this process in telemetry: that of its certificate.
#[must_use]
pub fn instance(tls: &TlsPaths, role: Role) -> String {
    // a certificate that cannot be read is reported by the role itself when it starts
    Identity::load(tls, role).map_or_else(|_| role.as_str().to_owned(), |identity| identity.own().id.clone())
}

/// Runs a role until it ends by itself or SIGINT or SIGTERM came, which turn the receiver true: the role then
/// drains and returns. A second signal ends the process at once.
pub fn serve<F, Fut, E>(role: &'static str, instance: &str, run: F) -> ExitCode
where
    F: FnOnce(watch::Receiver<bool>) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Display,
{
    actix::System::new().block_on(async {
        let guard = telemetry::init(role, instance);
        let (stop, stopped) = watch::channel(false);
        if let Err(error) = stop_on_signals(stop) {
            tracing::error!(%error, "cannot listen for signals");
            return ExitCode::from(EXIT_FAILED);
        }
        let outcome = run(stopped).await;
        let code = match outcome {
            Ok(()) => EXIT_DONE,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), role, "stopped with an error");
                EXIT_FAILED
            }
        };
        guard.shutdown().await;
        ExitCode::from(code)
    })
}

fn stop_on_signals(stop: watch::Sender<bool>) -> std::io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    actix::spawn(async move {
        for times in 0.. {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            };
            if times > 0 {
                tracing::warn!(signal = name, "second stop signal: ending at once");
                std::process::exit(i32::from(EXIT_FAILED));
            }
            tracing::info!(signal = name, "stopping");
            stop.send_replace(true);
        }
    });
    Ok(())
}
