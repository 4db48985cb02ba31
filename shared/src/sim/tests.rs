use tributary_faults::{Layer, injected};

use super::*;

/// Short runs, so that a broken promise is found near its cause, and many.
const SEEDS: u64 = 4_000;
const STEPS: u64 = 1_000;

#[test]
#[expect(
    clippy::print_stdout,
    reason = "shows with --nocapture what the runs contained"
)]
fn the_promises_hold_under_every_kind_of_fault_and_everything_arrives_once_they_end() {
    let (mut sum, mut steps, mut events) = (Faults::default(), 0, 0);
    for seed in 0..SEEDS {
        let outcome = run(seed, STEPS);
        if let Some(Broken {
            promise,
            step,
            detail,
        }) = &outcome.broken
        {
            panic!(
                "{promise} is broken at step {step} of seed {seed}: {detail}\n\
                 again: tributary sim --seeds 1 --from {seed} --steps {STEPS}"
            );
        }
        sum.add(&outcome.faults);
        steps += outcome.steps;
        events += outcome.events;
    }
    println!("{SEEDS} seeds, {steps} steps, {events} events");
    // each of them must have happened
    injected(
        Layer::Simulation,
        "the_promises_hold_under_every_kind_of_fault_and_everything_arrives_once_they_end",
        sum.entries(),
    );
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        assert_eq!(run(seed, 500), run(seed, 500));
    }
}
