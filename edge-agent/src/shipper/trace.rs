//! The agent's part of a batch's trace: `batch` with `collect`, `spool` and `ship` below it. Nothing is kept
//! while tracing is off.
//!
//! A batch that was refused, lost or slow, and one that is sent again, is exported whatever the sampler said; the gateway
//! and the aggregator hear of its trace with the next report.

use std::collections::{HashMap, VecDeque};

use tributary_shared::ids::{AgentId, LaneNo, LineageId};
use tributary_shared::protocol::LaneView;
use tributary_shared::telemetry::{BatchSpan, SpanCtx, Stage, attr, is_slow, tracing_on};
use tributary_shared::time::Millis;
use tributary_shared::wire::{BatchHeader, MAX_PROMOTED};

/// Spans of the batches in flight, by lane, in seq order. As many as the gateway's credit.
#[derive(Debug)]
pub struct BatchTraces {
    agent: AgentId,
    in_flight: HashMap<u32, Vec<InFlight>>,
    /// Traces that others hold parts of and have not heard of: the newest [`MAX_PROMOTED`].
    promoted: VecDeque<String>,
}

#[derive(Debug)]
struct InFlight {
    last: u64,
    sent_at: Millis,
    batch: BatchSpan,
    ship: BatchSpan,
}

impl BatchTraces {
    #[must_use]
    pub fn new(agent: AgentId) -> Self {
        Self {
            agent,
            in_flight: HashMap::new(),
            promoted: VecDeque::new(),
        }
    }

    /// Begins a batch's trace as it is sent. Returns what its header carries.
    pub fn begin(
        &mut self,
        header: &BatchHeader,
        lane: Option<(&LaneView, Option<LaneNo>)>,
    ) -> Option<String> {
        if !tracing_on() {
            return None;
        }
        let collected = header.segments.iter().map(|segment| segment.collected_at).min();
        let spooled = header.segments.iter().map(|segment| segment.spooled_at).max();
        let start = collected.unwrap_or(header.sent_at);
        let mut batch = self.describe(BatchSpan::root(Stage::Batch, start), header, lane);
        batch = linked(batch, header);
        if !header.attempts.is_empty() {
            batch = batch.number(attr::ATTEMPTS, header.attempts.count);
            // the flag travels with the batch: nobody needs to be told
            let _ = batch.promote();
        }
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
            sent_at: header.sent_at,
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
        for mut done in in_flight.extract_if(.., |batch| batch.last <= mark) {
            if is_slow(now.saturating_sub(done.sent_at)) {
                done.batch = done.batch.text(attr::SLOW, true);
                promote(&mut self.promoted, &mut done);
            }
            done.ship.end_at(now);
            done.batch.end_at(now);
        }
    }

    /// A batch of the lane was refused: what was in flight from `expected` on is sent again, with new traces.
    pub fn refused(&mut self, lane: u32, expected: u64, code: &str, now: Millis) {
        let Some(in_flight) = self.in_flight.get_mut(&lane) else {
            return;
        };
        for mut refused in in_flight.extract_if(.., |batch| batch.last >= expected) {
            promote(&mut self.promoted, &mut refused);
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
        self.in_flight.clear();
    }

    /// Traces that the gateway has to hear of.
    pub fn take_promoted(&mut self) -> impl Iterator<Item = String> {
        std::mem::take(&mut self.promoted).into_iter()
    }

    fn describe(
        &self,
        span: BatchSpan,
        header: &BatchHeader,
        lane: Option<(&LaneView, Option<LaneNo>)>,
    ) -> BatchSpan {
        if !span.is_recording() {
            return span;
        }
        let range = header.range();
        let span = span
            .number(attr::FIRST_SEQ, range.first)
            .number(attr::LAST_SEQ, range.last)
            .number(attr::EVENTS, header.count)
            .number(attr::SEGMENTS, header.segments.len());
        let Some((lane, no)) = lane else { return span };
        let span = span.text(attr::STREAM, &lane.stream).text(
            attr::LANE,
            format_args!("{}/{}/{}", self.agent, lane.stream, lane.epoch),
        );
        match no {
            Some(no) => span.lineage(LineageId::new(no, range.first)),
            None => span,
        }
    }
}

/// Links to what came before: the requests' own spans, and earlier attempts with the same events.
fn linked(span: BatchSpan, header: &BatchHeader) -> BatchSpan {
    let requests = header.contexts.kept.iter().map(|context| &context.traceparent);
    let attempts = header.attempts.newest.iter();
    let before = attempts.filter_map(|attempt| attempt.traceparent.as_ref());
    let links = requests.chain(before).filter_map(|text| SpanCtx::parse(text));
    let span = links.fold(span, BatchSpan::link);
    match header.contexts.left_out {
        0 => span,
        left_out => span.number(attr::LINKS_LEFT_OUT, left_out),
    }
}

fn promote(promoted: &mut VecDeque<String>, batch: &mut InFlight) {
    // the batch's span is the trace's root: `ship` is of the same trace
    let told = batch.batch.promote();
    let _ = batch.ship.promote();
    if let Some(trace) = told {
        if promoted.len() == MAX_PROMOTED {
            promoted.pop_front();
        }
        promoted.push_back(trace);
    }
}
