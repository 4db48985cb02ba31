//! One actor for each `[[files]]` entry. It owns the reader's thread and the pump, and ends with them.

use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use tokio::sync::{mpsc, watch};
use tributary_shared::actors::DeathWatch;

use super::messages::FilesConfig;
use super::pump::{Pump, TailError, known};
use super::reader::Reader;
use super::wake::Wake;
use crate::check::Checks;
use crate::spool::SpoolHandle;

/// Items between reader and pump: one is filled while one waits, so that neither idles. Each is at most a
/// block, so this bounds the memory too.
const ITEMS: usize = 1;
/// An entry that cannot be tailed is tried again by a new actor after so long: seldom enough that it never
/// exhausts the supervisor's budget, which is for panics, and takes the whole agent with it.
const RETRY: Duration = Duration::from_secs(30);

/// Tails one entry's files until `stop` turns true or its sender is gone; then returns once the blocks that
/// the spool has are answered and the reader's thread has ended.
///
/// # Errors
/// [`TailError`] when it cannot go on; the rest of the agent can.
pub async fn run(
    config: FilesConfig,
    spool: SpoolHandle,
    checks: Checks,
    stop: watch::Receiver<bool>,
) -> Result<(), TailError> {
    let stream = config.stream.clone();
    let Some(known) = known(&spool, &stream, stop.clone()).await? else {
        return Ok(());
    };
    let wake = Wake::new();
    let knocker = wake.knocker();
    let (out, items) = mpsc::channel(ITEMS);
    let reader = Reader::new(config, known, out, wake, checks.clone());
    let thread = tokio::task::spawn_blocking(move || reader.run());
    let pumped = Pump::new(stream.clone(), spool, checks, stop).run(items).await;
    // the pump has dropped its end of the channel: the reader sees it when it wakes
    knocker.knock();
    let joined = thread.await.map_err(|_| TailError::Reader { stream });
    pumped.and(joined)
}

/// [`run`] as an actor, made by a supervisor's factory: a new one goes on where the positions in the spool are.
#[derive(Debug)]
pub struct Tail {
    config: FilesConfig,
    spool: SpoolHandle,
    checks: Checks,
    stop: watch::Receiver<bool>,
    _death: DeathWatch,
}

impl Tail {
    #[must_use]
    pub fn new(
        config: FilesConfig,
        spool: SpoolHandle,
        checks: Checks,
        stop: watch::Receiver<bool>,
        death: DeathWatch,
    ) -> Self {
        Self {
            config,
            spool,
            checks,
            stop,
            _death: death,
        }
    }
}

impl Actor for Tail {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let ended = run(
            self.config.clone(),
            self.spool.clone(),
            self.checks.clone(),
            self.stop.clone(),
        );
        let then = |result: Result<(), TailError>, actor: &mut Self, ctx: &mut Self::Context| {
            // told to stop: it idles until the agent ends, for a supervisor would make another of it
            if let Err(error) = result {
                tracing::error!(stream = %actor.config.stream, %error, "files are not tailed for now");
                ctx.run_later(RETRY, |_, ctx| ctx.stop());
            }
        };
        ctx.spawn(ended.into_actor(self).map(then));
    }
}
