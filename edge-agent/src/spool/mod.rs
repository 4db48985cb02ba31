//! The agent's durable buffer: every event gets its identity here, and stays until the aggregator has
//! committed it.
//!
//! **Constraints.** An append is answered after its commit is on disk (`synchronous=FULL`), and is taken in
//! whole or not at all. Seqs are assigned in the transaction that first writes the events, and a seq that was
//! shown to anyone is never given to another event. Bytes on disk (database and WAL) stay below the limit.
//! Bodies of the backlog are never in memory: reads and groups are bounded.
//!
//! **Format.** One SQLite database, `spool.db` ([`store`] has the tables). A block holds up to
//! [`MAX_BLOCK_ROWS`] events of one lane as one compressed wire segment, and travels as it is. Within a lane
//! blocks and drop records cover the seqs from the mark to the newest without gaps; opening proves it. A
//! database that fails the proof is moved aside and a fresh one begun, with new epochs; what the damaged one
//! still holds is brought over under its old identity ([`salvage`]). A copied file begins new epochs ([`host`]). Each
//! process that numbers a lane's seqs is noted with it, so that copies which nothing tells apart find where they part
//! (`tributary_shared::wire::history`).
//! `spool.lock` keeps a second agent out. `spool.reserve` is room for a full disk ([`standby`]).
//!
//! **Operations.** One thread ([`actor`]) owns the connection. It takes all that is queued, merges appends of
//! a stream into blocks ([`group`]), carries everything out in one transaction ([`transaction`]), answers, and
//! then reads. [`policy`] decides what gives way when the spool is full, [`lane`] what an aggregator's mark
//! means. When the disk fails, the thread says why ([`SpoolHealth`]) and tries again until it is back.
//!
//! [`offline`] is the same file without its thread: what an operator does while the agent does not run.
//!
//! **Not here.** Shrinking the file after a backlog: free pages are used again and do not count towards the
//! limit. Removing databases that were moved aside.
//!
//! ```text
//! inputs ──append (8 MiB of rows)──►┐
//!                                   ├─► spool thread ──► spool.db
//! shipper ──read, mark (256)───────►┘        └──watch──► status
//! ```

mod actor;
mod age;
mod answers;
mod config;
mod fork;
mod group;
mod handle;
mod host;
mod lane;
mod messages;
pub mod offline;
mod open;
mod policy;
mod queue;
mod reader;
mod room;
mod salvage;
mod source;
mod standby;
mod store;
mod store_contexts;
mod store_host;
mod store_past;
mod thin;
mod transaction;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use tributary_shared::ids::AgentId;
use tributary_shared::time::now_millis;

pub use config::{DEFAULT_LIMIT, MIN_LIMIT, SpoolConfig};
pub use group::{MAX_BLOCK_BYTES, MAX_BLOCK_ROWS};
pub use handle::{MAX_APPEND_BYTES, SpoolHandle};
pub use messages::{
    Accepted, Block, DropRecord, ForkReason, InputPosition, LaneId, LaneInfo, NewDropped, NewEvents,
    RowsBlock, Salvage, SpoolError, SpoolHealth, SpoolStatus,
};
pub use open::{FORMAT_VERSION, OpenError, StoreFailure};
pub use policy::{Priority, StreamPolicy, UnknownPolicy, UnknownPriority, WhenFull};
pub use transaction::{
    DROPPED_BY_PRIORITY, DROPPED_DAMAGED, DROPPED_NEWEST, DROPPED_OLDEST, DROPPED_REWOUND, DROPPED_THINNED,
    DROPPED_TOO_OLD, MAX_LISTED_DROPS,
};

/// Opens the spool and starts its thread. Blocks while it reads the index of what is held.
///
/// # Errors
/// [`OpenError`] when another process has it, or it is of a newer format or another agent's. A disk that fails
/// is no error (see [`SpoolStatus::health`]), nor is a damaged database (see [`SpoolStatus::quarantined`]).
pub fn open(config: SpoolConfig, agent: AgentId) -> Result<SpoolHandle, OpenError> {
    let place = open::Place {
        dir: config.dir.clone(),
        agent: agent.clone(),
        budget: policy::Budget::new(config.limit),
        host: host::Host::of,
    };
    let in_flight = handle::InFlight::default();
    let queue = Arc::new(queue::Queue::default());
    let dir = config.dir.clone();
    let (now, shared) = (now_millis(), Arc::clone(&in_flight));
    let (actor, status) = actor::Actor::start(place, config.clone(), shared, Instant::now(), now)?;
    let handle = SpoolHandle::new(agent, config, Arc::clone(&queue), in_flight, status);
    std::thread::Builder::new()
        .name("spool".to_owned())
        .spawn(move || actor.run(queue))
        .map_err(|source| OpenError::Io { path: dir, source })?;
    Ok(handle)
}
