//! The agent's part of a batch's trace: `batch` with `collect`, `spool` and `ship` below it. Nothing is kept
//! while tracing is off.

use std::collections::HashMap;

use tributary_shared::ids::AgentId;
use tributary_shared::protocol::LaneView;
use tributary_shared::telemetry::{BatchSpan, Stage, attr, tracing_on};
use tributary_shared::time::Millis;
use tributary_shared::wire::BatchHeader;

/// Spans of the batches in flight, by lane, in seq order. As many as the gateway's credit.
#[derive(Debug)]
pub struct BatchTraces {
    agent: AgentId,
    in_flight: HashMap<u32, Vec<InFlight>>,
}

#[derive(Debug)]
struct InFlight {
    last: u64,
    batch: BatchSpan,
    ship: BatchSpan,
}

impl BatchTraces {
    #[must_use]
    pub fn new(agent: AgentId) -> Self {
        Self {
            agent,
            in_flight: HashMap::new(),
        }
    }

    /// Begins a batch's trace as it is sent. Returns what its header carries.
    pub fn begin(&mut self, header: &BatchHeader, lane: Option<&LaneView>) -> Option<String> {
        if !tracing_on() {
            return None;
        }
        let collected = header.segments.iter().map(|segment| segment.collected_at).min();
        let spooled = header.segments.iter().map(|segment| segment.spooled_at).max();
        let start = collected.unwrap_or(header.sent_at);
        let batch = self.describe(BatchSpan::root(Stage::Batch, start), header, lane);
        if let (Some(collected), Some(spooled)) = (collected, spooled) {
            let collect = BatchSpan::child_of(batch.ctx(), Stage::Collect, collected);
            self.describe(collect, header, lane).end_at(spooled);
            let spool = BatchSpan::child_of(batch.ctx(), Stage::Spool, spooled);
            self.describe(spool, header, lane).end_at(header.sent_at);
        }
        let ship = BatchSpan::child_of(batch.ctx(), Stage::Ship, header.sent_at);
        let ship = self
            .describe(ship, header, lane)
            .number(attr::BODY_BYTES, header.body_len);
        let traceparent = ship.traceparent();
        self.in_flight.entry(header.lane).or_default().push(InFlight {
            last: header.range().last,
            batch,
            ship,
        });
        traceparent
    }

    /// The lane is committed up to `mark`: its batches end here.
    pub fn committed(&mut self, lane: u32, mark: u64, now: Millis) {
        let Some(in_flight) = self.in_flight.get_mut(&lane) else {
            return;
        };
        for done in in_flight.extract_if(.., |batch| batch.last <= mark) {
            done.ship.end_at(now);
            done.batch.end_at(now);
        }
    }

    /// A batch of the lane was refused: what was in flight from `expected` on is sent again, with new traces.
    pub fn refused(&mut self, lane: u32, expected: u64, code: &str, now: Millis) {
        let Some(in_flight) = self.in_flight.get_mut(&lane) else {
            return;
        };
        for refused in in_flight.extract_if(.., |batch| batch.last >= expected) {
            refused.ship.text(attr::REFUSED, code).fail(code).end_at(now);
            refused.batch.fail(code).end_at(now);
        }
    }

    /// The session is over.
    pub fn lost(&mut self, reason: &str, now: Millis) {
        let lanes: Vec<u32> = self.in_flight.keys().copied().collect();
        lanes
            .into_iter()
            .for_each(|lane| self.refused(lane, 0, reason, now));
    }

    fn describe(&self, span: BatchSpan, header: &BatchHeader, lane: Option<&LaneView>) -> BatchSpan {
        let range = header.range();
        let span = span
            .number(attr::FIRST_SEQ, range.first)
            .number(attr::LAST_SEQ, range.last)
            .number(attr::EVENTS, header.count)
            .number(attr::SEGMENTS, header.segments.len());
        match lane {
            Some(lane) => span.text(attr::STREAM, &lane.stream).text(
                attr::LANE,
                format_args!("{}/{}/{}", self.agent, lane.stream, lane.epoch),
            ),
            None => span,
        }
    }
}
