//! The protocol, sans-IO: pure state machines for both ends of both hops.
//!
//! ```text
//!   agent                       gateway                              aggregator
//! ┌───────────┐  ToGateway   ┌────────────┐      ┌──────────────┐  ToAggregator  ┌────────────────┐
//! │ AgentLink │ ───────────► │ GatewayLink│ ───► │ UpstreamLink │ ─────────────► │ AggregatorLink │
//! │           │ ◄─────────── │            │ ◄─── │              │ ◄───────────── │  (+ Sequencer) │
//! └───────────┘  ToAgent     └────────────┘      └──────────────┘ FromAggregator └────────────────┘
//! ```
//!
//! Each takes messages and `now`, and queues outputs for its caller; none knows a socket, a clock or a disk.
//! `now` is a [`Tick`]: monotonic milliseconds from any origin. The same cores run in the simulator.
//!
//! Who orders: a batch travels on a stream of its own, so batches overtake each other. The agent numbers them,
//! the gateway passes them on as they come, and the aggregator's [`Sequencer`] puts each lane back in order
//! before the commit decides (`contiguous-lanes`).
//!
//! What a refusal means: everything from `expected` on must be sent again. A seq's content never changes
//! (`identity-first`), so any copy of it is as good as another, and stale copies in flight do no harm.

mod agent_link;
mod aggregator_link;
mod classes;
mod gateway_link;
mod lane_rule;
mod presence;
mod ramp;
mod retired;
mod schedule;
mod sequencer;
mod told_head;
mod upstream_link;

#[cfg(test)]
mod tests;

pub use agent_link::{AgentLink, AgentOutput, FORGOTTEN, LaneView, Shipment, UNDELIVERABLE};
pub use aggregator_link::{AggregatorLink, AggregatorOutput, CommitOutcome, Generation};
pub use classes::{GUARANTEED_SHARE, Priority, UnknownPriority};
pub use gateway_link::{GatewayLink, GatewayOutput, MAX_PUSHED_SCHEMA};
pub use lane_rule::{Claim, Decision, SpoolLane, SpoolVerdict, decide, judge, known_writer};
pub use presence::{Presence, Sighting};
pub use ramp::Ramp;
pub use retired::{MAX_RETIRED_LANES, RETIRED_HANDLES, RetiredLane};
pub use schedule::{DEFAULT_FRESH_SHARE, FreshShare};
pub use sequencer::Sequencer;
pub use told_head::MAX_AUDIT_HEAD;
pub use upstream_link::{UpstreamLink, UpstreamOutput};

use crate::wire::{Bye, ByeCode, Hello, MIN_VERSION, VERSION};

/// Monotonic milliseconds from any origin.
pub type Tick = u64;

/// The dialler must say hello, and the answerer must answer, within this time: a half-open peer holds nothing
/// for longer.
pub const HELLO_TIMEOUT: Tick = 10_000;
/// How often each side says that it is alive when it has nothing else to say.
pub const HEARTBEAT_EVERY: Tick = 2_000;
/// Batches in flight and no acknowledgement for so long: the session is given up and opened anew.
pub const ACK_TIMEOUT: Tick = 30_000;
/// A gateway says something every [`HEARTBEAT_EVERY`]; one that is silent for three of them is stopped, cut off
/// or gone, and its agents go elsewhere. The transport's own idle timeout is longer.
pub const SILENCE_TIMEOUT: Tick = 6_000;
/// A hole in a lane's arrivals that lasts so long will not close by itself: the lane is rewound.
pub const STALL_TIMEOUT: Tick = 5_000;

/// The version that two ends have in common, or why there is none.
///
/// # Errors
/// A [`Bye`] that names both ranges, ready to be sent.
pub fn negotiate(hello: &Hello) -> Result<u16, Bye> {
    let version = hello.max_version.min(VERSION);
    if version >= hello.min_version.max(MIN_VERSION) {
        return Ok(version);
    }
    let (low, high) = (hello.min_version, hello.max_version);
    Err(Bye::new(
        ByeCode::VersionMismatch,
        format!(
            "you speak protocol {low} to {high}, this side {MIN_VERSION} to {VERSION}: upgrade the older program"
        ),
    ))
}
