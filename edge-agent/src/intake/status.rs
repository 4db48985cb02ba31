//! The answer of `GET /v1/status`.

use serde::Serialize;
use tributary_shared::ids::{AgentId, Epoch, Seq, StreamName};
use tributary_shared::telemetry::{self, SignalReport};
use tributary_shared::wire::CheckReport;

use super::messages::ConnectionStatus;
use crate::heads::HeadsReport;
use crate::spool::{LaneInfo, Salvage, SpoolHealth, SpoolStatus};

#[derive(Debug, Serialize)]
pub(super) struct Status<'a> {
    agent: &'a AgentId,
    connection: &'a ConnectionStatus,
    lanes: Vec<Lane<'a>>,
    spool: Spool<'a>,
    /// Of the streams that are checked.
    checks: &'a [CheckReport],
    /// Signed heads of the aggregator's audit that this agent keeps, and what did not fit.
    audit: &'a HeadsReport,
    /// What became of traces, metrics and logs; empty without OTLP.
    telemetry: Vec<SignalReport>,
}

#[derive(Debug, Serialize)]
struct Lane<'a> {
    stream: &'a StreamName,
    epoch: Epoch,
    active: bool,
    next_seq: Seq,
    committed_seq: Seq,
    held_events: u64,
    held_bytes: u64,
    dropped_events: u64,
    dropped: Vec<Dropped<'a>>,
}

#[derive(Debug, Serialize)]
struct Dropped<'a> {
    from: Seq,
    to: Seq,
    reason: &'a str,
}

#[derive(Debug, Serialize)]
struct Spool<'a> {
    bytes: u64,
    limit: u64,
    /// Events that got new seqs since the agent began: another copy of its spool had used theirs for other events.
    renumbered_events: u64,
    /// An event was refused for lack of room, and nothing has changed since.
    full: bool,
    healthy: bool,
    /// Why it is not: `disk_full`, `read_only`, `damaged` or `io`, and in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// Where a damaged database was put aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    quarantined: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    salvage: Option<&'a Salvage>,
}

impl<'a> Status<'a> {
    pub(super) fn new(
        agent: &'a AgentId,
        connection: &'a ConnectionStatus,
        spool: &'a SpoolStatus,
        (checks, audit): (&'a [CheckReport], &'a HeadsReport),
    ) -> Self {
        let (trouble, reason) = match &spool.health {
            SpoolHealth::Healthy => (None, None),
            SpoolHealth::Failing { trouble, reason } => (Some(*trouble), Some(&**reason)),
        };
        let lanes = spool.lanes.iter().map(Lane::new).collect();
        let quarantined = spool.quarantined.as_deref();
        let spool = Spool {
            bytes: spool.bytes,
            limit: spool.limit,
            renumbered_events: spool.renumbered,
            full: spool.full,
            healthy: reason.is_none(),
            trouble,
            reason,
            quarantined,
            salvage: spool.salvage.as_deref(),
        };
        Self {
            agent,
            connection,
            lanes,
            spool,
            checks,
            audit,
            telemetry: telemetry::report(),
        }
    }
}

impl<'a> Lane<'a> {
    fn new(lane: &'a LaneInfo) -> Self {
        let dropped = |record: &'a crate::spool::DropRecord| Dropped {
            from: record.range.first,
            to: record.range.last,
            reason: &record.reason,
        };
        Self {
            stream: &lane.stream,
            epoch: lane.epoch,
            active: lane.active,
            next_seq: lane.next_seq,
            committed_seq: lane.committed_seq,
            held_events: lane.held_events,
            held_bytes: lane.held_bytes,
            dropped_events: lane.dropped_events,
            dropped: lane.dropped.iter().map(dropped).collect(),
        }
    }
}
