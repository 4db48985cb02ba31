//! Reads the host at a steady pace and appends an event each time.

use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tributary_shared::actors::DeathWatch;
use tributary_shared::host_schema::HOST_STREAM;
use tributary_shared::ids::{InvalidId, StreamName};
use tributary_shared::metrics::{MetricName, counter};
use tributary_shared::wire::rows::push_row;

use super::probe::{Probe, ProbeError};
use super::reading::{HostEvent, Reading};
use crate::check::Checks;
use crate::config::HostMetricsConfig;
use crate::spool::{NewEvents, SpoolError, SpoolHandle};
use crate::stop::stopped;

/// Between the two readings behind the first event: CPU usage needs at least 200 ms, and whoever starts a
/// mesh wants to see something soon.
const FIRST_SPAN: Duration = Duration::from_millis(250);
/// How long to wait before a spool that cannot be used is tried again.
const UNAVAILABLE_WAIT: Duration = Duration::from_secs(1);
/// A host that cannot be read is tried again by a new actor after so long: seldom enough that it never exhausts
/// the supervisor's budget, which is for panics, and takes the whole agent with it.
const RETRY: Duration = Duration::from_secs(30);

/// Why no host metrics are taken any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error("reading the host's metrics failed in the middle")]
    Panicked,
    #[error(transparent)]
    Stream(#[from] InvalidId),
    #[error("host metrics are refused by the spool: {0}")]
    Refused(SpoolError),
}

/// Appends one event at once and then one every `config.every`, until `stop` turns true or its sender is gone.
///
/// # Errors
/// [`HostError`] when it cannot go on; the rest of the agent can.
pub async fn run(
    config: HostMetricsConfig,
    spool: SpoolHandle,
    checks: Checks,
    mut stop: watch::Receiver<bool>,
) -> Result<(), HostError> {
    let stream = StreamName::new(HOST_STREAM)?;
    let (mut probe, mut before) = read(Probe::new()?).await?;
    let mut read_at = Instant::now();
    let mut ticks = interval_at(read_at + FIRST_SPAN, FIRST_SPAN);
    let mut first = true;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stopped(&mut stop) => return Ok(()),
        }
        if first {
            ticks = interval_at(Instant::now() + config.every, config.every);
            // after a pause of the whole host there is one reading to make, not all those that were missed
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            first = false;
        }
        let (back, now) = read(probe).await?;
        probe = back;
        let event = HostEvent::between(&before, &now, read_at.elapsed());
        (before, read_at) = (now, Instant::now());
        if !append((&spool, &checks), &stream, &event, before.at, &mut stop).await? {
            return Ok(());
        }
    }
}

async fn read(mut probe: Probe) -> Result<(Probe, Reading), HostError> {
    let read = move || {
        let reading = probe.read();
        (probe, reading)
    };
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|_| HostError::Panicked)
}

/// `false`: the agent ends.
async fn append(
    (spool, checks): (&SpoolHandle, &Checks),
    stream: &StreamName,
    event: &HostEvent,
    collected_at: i64,
    stop: &mut watch::Receiver<bool>,
) -> Result<bool, HostError> {
    let mut rows = Vec::with_capacity(640);
    // a struct of texts and numbers always serializes
    push_row(&mut rows, &serde_json::to_vec(event).unwrap_or_default());
    let tally = checks.begin(stream).map(|mut check| {
        check.count_rows(&rows);
        check.into_tally()
    });
    let origin = Some("host".into());
    let events = NewEvents {
        stream: stream.clone(),
        origin,
        traceparent: None,
        collected_at,
        rows,
        count: 1,
        position: None,
    };
    loop {
        let wait = match spool.append(events.clone()).await {
            Ok(_) => {
                counter(
                    MetricName::IntakeEvents,
                    &[("input", "host"), ("stream", stream.as_str())],
                )
                .inc();
                checks.taken(stream, &tally.unwrap_or_default());
                return Ok(true);
            }
            Err(SpoolError::Full { retry_after }) => retry_after,
            Err(SpoolError::Unavailable(_)) => UNAVAILABLE_WAIT,
            Err(SpoolError::Closed) => return Ok(false),
            Err(error) => return Err(HostError::Refused(error)),
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stopped(stop) => return Ok(false),
        }
    }
}

/// [`run`] as an actor, made by a supervisor's factory.
#[derive(Debug)]
pub struct HostMetrics {
    config: HostMetricsConfig,
    spool: SpoolHandle,
    checks: Checks,
    stop: watch::Receiver<bool>,
    _death: DeathWatch,
}

impl HostMetrics {
    #[must_use]
    pub fn new(
        config: HostMetricsConfig,
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

impl Actor for HostMetrics {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let ended = run(
            self.config,
            self.spool.clone(),
            self.checks.clone(),
            self.stop.clone(),
        );
        let then = |result: Result<(), HostError>, _: &mut Self, ctx: &mut Self::Context| {
            // told to stop: it idles until the agent ends, for a supervisor would make another of it
            if let Err(error) = result {
                tracing::error!(%error, "no host metrics for now");
                ctx.run_later(RETRY, |_, ctx| ctx.stop());
            }
        };
        ctx.spawn(ended.into_actor(self).map(then));
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;
    use tributary_shared::wire::rows::{Rows, inflate};

    use super::*;
    use crate::check::CheckPolicies;
    use crate::spool::{self, Block, SpoolConfig};

    #[tokio::test]
    async fn the_first_event_comes_at_once_with_a_real_cpu_share_and_the_next_after_the_pace() {
        let dir = tempfile::tempdir().expect("dir");
        let agent = "press-7".parse().expect("id");
        let spool = spool::open(SpoolConfig::new(dir.path()), agent).expect("spool");
        let (stop, stopped) = watch::channel(false);
        let config = HostMetricsConfig {
            enabled: true,
            every: Duration::from_millis(500),
        };
        let started = Instant::now();
        let task = tokio::spawn(run(
            config,
            spool.clone(),
            Checks::new(CheckPolicies::new(), spool.clone(), None),
            stopped,
        ));
        let mut status = spool.watch();
        let mut lane = None;
        for events in 1..=2 {
            let enough = status.wait_for(|s| s.lanes.first().is_some_and(|lane| lane.next_seq > events));
            let status = timeout(Duration::from_secs(10), enough)
                .await
                .expect("in time")
                .expect("alive")
                .clone();
            lane = Some(status.lanes[0].clone());
        }
        assert!(started.elapsed() >= FIRST_SPAN + config.every, "at the pace");
        let lane = lane.expect("two events");
        assert_eq!(lane.stream.as_str(), HOST_STREAM);
        let blocks = spool.read(lane.lane, 1, 10, 1 << 20).await.expect("read");
        let Block::Rows(block) = &blocks[0] else {
            panic!("rows")
        };
        let raw = inflate(&block.segment(), &block.body, 1 << 20).expect("inflate");
        let row = Rows::new(&raw).next().expect("a row").expect("whole");
        let event: serde_json::Value = serde_json::from_slice(row).expect("JSON");
        assert!(
            event["cpu_percent"].is_number() && event["memory_used_bytes"].is_u64(),
            "{event}"
        );
        stop.send_replace(true);
        timeout(Duration::from_secs(10), task)
            .await
            .expect("ends")
            .expect("no panic")
            .expect("no error");
    }
}
