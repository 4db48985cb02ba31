//! Spans of traces that the sampler left out, kept for a while: what happens later may make them worth exporting.
//!
//! An error, a dead letter or a slow batch *promotes* its trace. The process that sees it says so to the others, each
//! of which then exports what it holds of that trace, and what comes of it from then on. Pure.

use std::collections::{HashMap, HashSet, VecDeque};

use opentelemetry::trace::TraceId;
use opentelemetry_sdk::trace::SpanData;

/// Spans that are held, at about half a kilobyte each. An agent makes four a batch, the others one or two, and a
/// promotion comes seconds after the batch: enough for a hundred batches a second.
const MAX_HELD: usize = 4_096;
/// Promoted traces that are remembered for their later spans.
const MAX_PROMOTED: usize = 1_024;

/// What one process holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    spans: HashMap<TraceId, Vec<SpanData>>,
    /// Traces with spans, by the age of their first one here.
    order: VecDeque<TraceId>,
    count: usize,
    promoted: HashSet<TraceId>,
    promoted_order: VecDeque<TraceId>,
}

impl Held {
    /// Keeps a span; gives it back when its trace is promoted already.
    pub(super) fn hold(&mut self, span: SpanData) -> Option<SpanData> {
        let trace = span.span_context.trace_id();
        if self.promoted.contains(&trace) {
            return Some(span);
        }
        let spans = self.spans.entry(trace).or_default();
        if spans.is_empty() {
            self.order.push_back(trace);
        }
        spans.push(span);
        self.count += 1;
        while self.count > MAX_HELD
            && let Some(oldest) = self.order.pop_front()
        {
            self.count -= self.spans.remove(&oldest).map_or(0, |spans| spans.len());
        }
        None
    }

    /// The trace is worth exporting: returns what is held of it.
    pub(super) fn promote(&mut self, trace: TraceId) -> Vec<SpanData> {
        if self.promoted.insert(trace) {
            self.promoted_order.push_back(trace);
            if self.promoted_order.len() > MAX_PROMOTED
                && let Some(oldest) = self.promoted_order.pop_front()
            {
                self.promoted.remove(&oldest);
            }
        }
        let Some(spans) = self.spans.remove(&trace) else {
            return Vec::new();
        };
        self.order.retain(|held| *held != trace);
        self.count -= spans.len();
        spans
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::InstrumentationScope;
    use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
    use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};

    use super::*;

    fn span(trace: u128) -> SpanData {
        let (trace, id) = (TraceId::from(trace), SpanId::from(1));
        SpanData {
            span_context: SpanContext::new(trace, id, TraceFlags::NOT_SAMPLED, false, TraceState::NONE),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: "batch".into(),
            start_time: std::time::SystemTime::UNIX_EPOCH,
            end_time: std::time::SystemTime::UNIX_EPOCH,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("t").build(),
        }
    }

    #[test]
    fn a_promoted_trace_gives_its_spans_and_those_that_come_later() {
        let mut held = Held::default();
        for trace in [1, 2, 1] {
            assert_eq!(held.hold(span(trace)), None);
        }
        assert_eq!(held.promote(TraceId::from(1)).len(), 2);
        assert_eq!(held.promote(TraceId::from(1)).len(), 0);
        assert!(held.hold(span(1)).is_some(), "it came later");
        assert_eq!(held.hold(span(2)), None);
        assert_eq!((held.count, held.order.len()), (2, 1));
    }

    #[test]
    fn both_memories_are_bounded() {
        let mut held = Held::default();
        for trace in 1..=MAX_HELD as u128 + 10 {
            held.hold(span(trace));
        }
        assert_eq!(
            (held.count, held.spans.len(), held.order.len()),
            (MAX_HELD, MAX_HELD, MAX_HELD)
        );
        assert!(held.promote(TraceId::from(1)).is_empty(), "the oldest went");
        for trace in 1..=MAX_PROMOTED as u128 + 1 {
            held.promote(TraceId::from(trace << 32));
        }
        assert_eq!(
            (held.promoted.len(), held.promoted_order.len()),
            (MAX_PROMOTED, MAX_PROMOTED)
        );
        // one trace with more spans than there is room for makes room for others all the same
        let mut held = Held::default();
        (0..=MAX_HELD).for_each(|_| drop(held.hold(span(1))));
        assert_eq!((held.count, held.spans.len(), held.order.len()), (0, 0, 0));
    }
}
