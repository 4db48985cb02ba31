//! `tributary load`: posts generated events to an agent's intake, and tells what was accepted, exactly.

pub(crate) mod answer;
mod pace;
mod ranges;

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use tributary_shared::time::now_millis;
use ureq::Agent;

use crate::cli::LoadArgs;
use crate::workload::{Generator, Workload};
use crate::{http, out};
use answer::{Answer, post};
use pace::Pace;
use ranges::Ranges;

/// How long an intake that cannot be reached, or has no spool just now, is tried again.
const PATIENCE: Duration = Duration::from_secs(30);
/// The wait between two such tries.
const RETRY: Duration = Duration::from_millis(200);

/// # Errors
/// When the intake refuses the events, or stays away.
pub fn run(args: &LoadArgs) -> anyhow::Result<()> {
    if let Some(workload) = args.print_schema {
        return Ok(out::line(workload.schema())?);
    }
    // clap has made sure that these are there
    let (intake, stream) = (
        args.intake.as_deref().context("--intake")?,
        args.stream.as_ref().context("--stream")?,
    );
    let events = args.events.context("--events")?;
    let url = format!("{}/v1/streams/{stream}/events", intake.trim_end_matches('/'));
    let mut sender = Sender::new(url, args.workload, args.seed, Pace::new(args.rate));
    let bar = progress(events)?;
    let outcome = sender.send(events, &bar);
    bar.finish_and_clear();
    sender.report()?;
    outcome
}

/// Shown on a terminal only.
fn progress(events: u64) -> anyhow::Result<ProgressBar> {
    let style =
        ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} events  {per_sec}  {eta} left")?;
    Ok(ProgressBar::new(events).with_style(style))
}

struct Sender {
    client: Agent,
    url: String,
    generator: Generator,
    pace: Pace,
    started: Instant,
    accepted: u64,
    ranges: Ranges,
}

impl Sender {
    fn new(url: String, workload: Workload, seed: u64, pace: Pace) -> Self {
        let generator = Generator::new(workload, seed);
        let ranges = Ranges::default();
        Self {
            client: http::client(),
            url,
            generator,
            pace,
            started: Instant::now(),
            accepted: 0,
            ranges,
        }
    }

    fn send(&mut self, events: u64, bar: &ProgressBar) -> anyhow::Result<()> {
        let mut body = Vec::new();
        let mut sent = 0;
        while sent < events {
            let count = self.pace.batch().min(events - sent);
            sleep(self.pace.due(sent).saturating_sub(self.started.elapsed()));
            body.clear();
            (0..count).for_each(|_| self.generator.line(&mut body, now_millis()));
            self.deliver(&body, count)
                .with_context(|| format!("after {} accepted events", self.accepted))?;
            sent += count;
            bar.set_position(sent);
        }
        Ok(())
    }

    /// Posts one batch until it is accepted. A batch is repeated only when it is certain that it was not taken.
    fn deliver(&mut self, body: &[u8], count: u64) -> anyhow::Result<()> {
        let first_try = Instant::now();
        loop {
            let (wait, reason) = match post(&self.client, &self.url, body) {
                Answer::Accepted(accepted) => {
                    anyhow::ensure!(
                        accepted.accepted == count,
                        "the intake accepted {} of {count} events, though it takes a request whole",
                        accepted.accepted
                    );
                    self.accepted += count;
                    self.ranges.add(&accepted);
                    return Ok(());
                }
                // a full spool empties as the gateway takes events: that may last, and is no failure
                Answer::Full { retry_after } => {
                    sleep(retry_after);
                    continue;
                }
                Answer::NotTaken(reason) => (RETRY, reason),
                Answer::Lost(reason) => {
                    anyhow::bail!(
                        "{}: {reason}; whether the last request was taken is not known",
                        self.url
                    )
                }
                Answer::Refused(reason) => anyhow::bail!("{}: {reason}", self.url),
            };
            anyhow::ensure!(first_try.elapsed() < PATIENCE, "{}: {reason}", self.url);
            sleep(wait);
        }
    }

    fn report(&self) -> std::io::Result<()> {
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = self.accepted as f64 / seconds.max(f64::EPSILON);
        out::line(format!(
            "accepted {} events in {seconds:.2} s: {rate:.0} events/s",
            self.accepted
        ))?;
        self.ranges.lines().try_for_each(out::line)
    }
}
