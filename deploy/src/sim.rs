//! `tributary sim`: seeded simulations of the whole mesh, for as long as one likes.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tributary_shared::sim::{self, Broken, Faults};

use crate::cli::SimArgs;
use crate::out;

/// A run that is shorter needs no progress bar.
const SHOW_AFTER: Duration = Duration::from_secs(2);

/// What all runs came to.
#[derive(Debug, Serialize)]
struct Report {
    seeds: u64,
    from: u64,
    steps: u64,
    events: u64,
    seconds: f64,
    seeds_per_s: f64,
    steps_per_s: f64,
    faults: serde_json::Map<String, serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<BrokenPromise>,
}

#[derive(Debug, Serialize)]
struct BrokenPromise {
    promise: &'static str,
    seed: u64,
    step: u64,
    detail: String,
    again: String,
}

/// Runs the seeds until one breaks a promise. True: all of them hold.
///
/// # Errors
/// When standard output is closed.
pub fn run(args: &SimArgs) -> anyhow::Result<bool> {
    let began = Instant::now();
    let bar = ProgressBar::hidden();
    let (mut sum, mut steps, mut events, mut done, mut broken) = (Faults::default(), 0, 0, 0, None);
    for seed in args.from..args.from.saturating_add(args.seeds) {
        let outcome = sim::run(seed, args.steps);
        sum.add(&outcome.faults);
        steps += outcome.steps;
        events += outcome.events;
        done += 1;
        show(&bar, began, args.seeds, done);
        broken = outcome.broken.map(|broken| promise(args, seed, broken));
        if broken.is_some() {
            break;
        }
    }
    bar.finish_and_clear();
    let seconds = began.elapsed().as_secs_f64();
    let report = Report {
        seeds: done,
        from: args.from,
        steps,
        events,
        seconds,
        seeds_per_s: done as f64 / seconds,
        steps_per_s: steps as f64 / seconds,
        faults: sum
            .entries()
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count.into()))
            .collect(),
        broken,
    };
    if args.json {
        out::line(serde_json::to_string(&report)?)?;
    } else {
        print(&report, &sum)?;
    }
    Ok(report.broken.is_none())
}

fn show(bar: &ProgressBar, began: Instant, seeds: u64, done: u64) {
    if bar.is_hidden() && bar.length().is_none() && began.elapsed() >= SHOW_AFTER {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} seeds, {per_sec}, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_length(seeds);
        bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
    }
    bar.set_position(done);
}

fn promise(args: &SimArgs, seed: u64, broken: Broken) -> BrokenPromise {
    let Broken {
        promise,
        step,
        detail,
    } = broken;
    BrokenPromise {
        promise,
        seed,
        step,
        detail,
        again: format!("tributary sim --seeds 1 --from {seed} --steps {}", args.steps),
    }
}

fn print(report: &Report, sum: &Faults) -> anyhow::Result<()> {
    out::line(format_args!(
        "{} seeds from {}, {} steps, {} events in {:.1} s: {:.0} seeds/s, {:.0} steps/s",
        report.seeds,
        report.from,
        report.steps,
        report.events,
        report.seconds,
        report.seeds_per_s,
        report.steps_per_s
    ))?;
    for (name, count) in sum.entries() {
        out::line(format_args!("{name:>24} {count}"))?;
    }
    match &report.broken {
        None => out::line("every promise held")?,
        Some(broken) => {
            out::line(format_args!(
                "{} is broken at step {} of seed {}: {}",
                broken.promise, broken.step, broken.seed, broken.detail
            ))?;
            out::line(format_args!("again: {}", broken.again))?;
        }
    }
    Ok(())
}
