//! A seeded simulation of the whole mesh: agents, gateways and the aggregator, as the pure cores that the
//! programs run, over models of disks and of a network. Nothing here opens a socket, reads a clock or writes a
//! file, and the same seed gives the same run in every build.
//!
//! - **Disks** lose, tear and reorder what was not synced when a process or a sync fails (the model of "All File
//!   Systems Are Not Created Equal", OSDI 2014, under a log with checksums).
//! - **The network** delays, reorders batches, loses connections with all that is on them, lets only one end
//!   notice, and parts nodes for a while. Duplicates come from what is sent again.
//! - **Processes** crash, stand still and go on, start from older disks, or run twice with one identity.
//!
//! After each step the promises are checked, by the names that `DESIGN` gives them. A broken one is reported with
//! its seed and step, and that seed shows it again. When the faults end, everything must arrive.
//!
//! What the oracle excuses is what no program can keep: events whose only copy was on a disk that was replaced by an
//! older image of itself.

mod agent_steps;
mod bounds;
mod center;
mod chaos;
mod disk;
mod faults;
mod gateway_steps;
mod nodes;
mod oracle;
mod settle;
mod spool;
mod world;

#[cfg(test)]
mod tests;

pub use faults::Faults;
pub use oracle::Broken;

use world::World;

/// Steps with faults in a run that says nothing else.
pub const DEFAULT_STEPS: u64 = 3_000;
/// Steps without faults within which everything must have arrived.
const PATIENCE: u64 = 100_000;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub seed: u64,
    /// All steps, those after the faults included.
    pub steps: u64,
    /// Events that producers handed over.
    pub events: u64,
    pub faults: Faults,
    /// The first promise that did not hold.
    pub broken: Option<Broken>,
}

/// Runs one seed: `steps` with faults, then as many without as it takes until everything has arrived.
#[must_use]
pub fn run(seed: u64, steps: u64) -> Outcome {
    let mut world = World::new(seed);
    let mut broken = None;
    for _ in 0..steps {
        broken = world.step();
        if broken.is_some() {
            break;
        }
    }
    if broken.is_none() {
        broken = arrive(&mut world);
    }
    world.faults.batches_trimmed = world.center.trimmed;
    world.faults.writers_clashed = world.center.clashes;
    Outcome {
        seed,
        steps: world.oracle.step,
        events: world.oracle.produced(),
        faults: world.faults,
        broken,
    }
}

fn arrive(world: &mut World) -> Option<Broken> {
    world.calm();
    let end = world.oracle.step + PATIENCE;
    while !world.drained() {
        if let Some(broken) = world.step() {
            return Some(broken);
        }
        if world.oracle.step >= end {
            let held = world.undelivered();
            world.oracle.broke(
                "progress",
                format!("events are still held after {PATIENCE} steps without faults: {held}"),
            );
            return world.oracle.broken.clone();
        }
    }
    world.sync_center();
    world.audit(true);
    world.oracle.broken.clone()
}
