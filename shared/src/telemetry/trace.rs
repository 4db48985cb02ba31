//! The trace of a batch: `batch` at the agent with `collect`, `spool` and `ship`; `admit` at the gateway under
//! `ship`; `commit` under `admit` and `apply` under `commit` at the aggregator. Traces of applications are linked to.
//!
//! A stage's times are known before a span is made (an event was collected long before its batch ships), so
//! spans here take both times as arguments and touch no clock and no thread-local context. A context travels
//! in the headers as W3C `traceparent`.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Link, SpanId, SpanKind, Status, TraceId};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::context::{SpanCtx, hex};
use super::queue;
use super::sampling::Sampler;
use super::settings::{Otlp, SLOW};
use crate::ids::LineageId;
use crate::time::Millis;

/// Links of one span; what is beyond is counted in [`attr::LINKS_LEFT_OUT`].
pub const MAX_LINKS: usize = 32;

static ON: AtomicBool = AtomicBool::new(false);
static RULES: RwLock<Rules> = RwLock::new(Rules {
    sampler: None,
    slow: SLOW,
    public_url: None,
});

/// What decides on traces in this process.
#[derive(Debug)]
struct Rules {
    sampler: Option<Sampler>,
    slow: Duration,
    public_url: Option<String>,
}

pub(super) fn configure(otlp: &Otlp) {
    let mut rules = RULES.write().unwrap_or_else(PoisonError::into_inner);
    rules.sampler = Some(otlp.sampler);
    rules.slow = otlp.slow;
    rules.public_url = otlp.public_url.clone().or(rules.public_url.take());
}

/// Where people reach the aggregator's page, unless `TRIBUTARY_PUBLIC_URL` says so already: spans lead there.
pub fn set_public_url(url: Option<&str>) {
    let Some(url) = url else { return };
    let mut rules = RULES.write().unwrap_or_else(PoisonError::into_inner);
    rules
        .public_url
        .get_or_insert_with(|| url.trim_end_matches('/').to_owned());
}

fn rules() -> std::sync::RwLockReadGuard<'static, Rules> {
    RULES.read().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a batch that took so long from shipping to its ack is exported whatever the sampler says.
#[must_use]
pub fn is_slow(took: Millis) -> bool {
    u64::try_from(took).is_ok_and(|took| Duration::from_millis(took) >= rules().slow)
}

/// Another process found a reason to export this trace (32 hexadecimal digits; anything else is left alone): what is
/// held of it here goes out, and what comes of it from now on.
pub fn promote(trace_id: &str) {
    if let Some(trace) = hex(trace_id, 32).filter(|_| tracing_on()) {
        queue::promote(TraceId::from(trace));
    }
}

/// Whether spans are recorded at all. One relaxed load.
#[must_use]
pub fn tracing_on() -> bool {
    ON.load(Ordering::Relaxed)
}

pub(super) fn set_tracing_on(on: bool) {
    ON.store(on, Ordering::Relaxed);
}

/// Names of span attributes.
pub mod attr {
    pub const AGENT: &str = "tributary.agent";
    pub const GATEWAY: &str = "tributary.gateway";
    pub const STREAM: &str = "tributary.stream";
    /// `agent/stream/epoch`.
    pub const LANE: &str = "tributary.lane";
    /// The aggregator's number for the lane.
    pub const LANE_NO: &str = "tributary.lane_no";
    pub const FIRST_SEQ: &str = "tributary.seq.first";
    pub const LAST_SEQ: &str = "tributary.seq.last";
    /// Events in the batch, whatever became of them.
    pub const EVENTS: &str = "tributary.events";
    pub const VALID: &str = "tributary.events.valid";
    pub const DEAD: &str = "tributary.events.dead";
    pub const DROPPED: &str = "tributary.events.dropped";
    pub const DUPLICATE: &str = "tributary.events.duplicate";
    pub const SEGMENTS: &str = "tributary.segments";
    /// Bytes of the body on the wire.
    pub const BODY_BYTES: &str = "tributary.body.bytes";
    pub const SCHEMA_ID: &str = "tributary.schema.id";
    pub const SCHEMA_VERSION: &str = "tributary.schema.version";
    /// Where the batch lies in the aggregator's log.
    pub const LOG_POSITION: &str = "tributary.log.position";
    /// Views that a batch was folded into.
    pub const VIEWS: &str = "tributary.views";
    /// Windows that a batch changed.
    pub const WINDOWS: &str = "tributary.windows";
    /// A refusal's code.
    pub const REFUSED: &str = "tributary.refused";
    /// Earlier attempts to ship the batch's events, at most.
    pub const ATTEMPTS: &str = "tributary.attempts.before";
    /// `true` on a batch that took longer than `TRIBUTARY_SLOW_BATCH`.
    pub const SLOW: &str = "tributary.slow";
    /// The lineage id of the batch's first event.
    pub const LINEAGE_ID: &str = "tributary.lineage_id";
    /// Its page.
    pub const LINEAGE_URL: &str = "tributary.lineage_url";
    /// Traces of applications that found no place among the links.
    pub const LINKS_LEFT_OUT: &str = "tributary.links.left_out";
}

/// The stages of a batch, each a span's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// From the first event taken in to the ack: the root.
    Batch,
    Collect,
    Spool,
    Ship,
    Admit,
    Commit,
    Apply,
}

impl Stage {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Collect => "collect",
            Self::Spool => "spool",
            Self::Ship => "ship",
            Self::Admit => "admit",
            Self::Commit => "commit",
            Self::Apply => "apply",
        }
    }

    fn kind(self) -> SpanKind {
        match self {
            Self::Ship => SpanKind::Client,
            Self::Admit | Self::Commit => SpanKind::Server,
            Self::Batch | Self::Collect | Self::Spool | Self::Apply => SpanKind::Internal,
        }
    }
}

/// One stage of one batch. Holds nothing, and costs nothing, while [`tracing_on`] is false.
///
/// It is exported by [`BatchSpan::end_at`]; one that is dropped is not.
#[derive(Debug)]
#[must_use = "a span is exported by end_at"]
pub struct BatchSpan(Option<Box<Recording>>);

#[derive(Debug)]
struct Recording {
    ctx: SpanCtx,
    parent: Option<SpanCtx>,
    stage: Stage,
    start: Millis,
    attributes: Vec<KeyValue>,
    links: Vec<SpanCtx>,
    status: Status,
}

impl BatchSpan {
    /// A span that records nothing.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Begins a trace.
    pub fn root(stage: Stage, start: Millis) -> Self {
        Self::begin(tracing_on(), None, stage, start)
    }

    /// Goes on with the parent's trace. Without a parent (the process before us does not trace) it begins one. A trace
    /// that is not sampled is recorded as well, and held here for the case that it is promoted.
    pub fn child_of(parent: Option<SpanCtx>, stage: Stage, start: Millis) -> Self {
        Self::begin(tracing_on(), parent, stage, start)
    }

    /// [`BatchSpan::child_of`] with the `traceparent` of a header. Garbage counts as none.
    pub fn child_of_header(traceparent: Option<&str>, stage: Stage, start: Millis) -> Self {
        if !tracing_on() {
            return Self::none();
        }
        Self::child_of(traceparent.and_then(SpanCtx::parse), stage, start)
    }

    fn begin(on: bool, parent: Option<SpanCtx>, stage: Stage, start: Millis) -> Self {
        if !on {
            return Self::none();
        }
        let sampler = rules().sampler.unwrap_or_default();
        let ctx = match &parent {
            Some(parent) => parent.new_child(sampler),
            None => SpanCtx::new_root(sampler),
        };
        let (attributes, links) = (Vec::with_capacity(8), Vec::new());
        Self(Some(Box::new(Recording {
            ctx,
            parent,
            stage,
            start,
            attributes,
            links,
            status: Status::Unset,
        })))
    }

    /// Whether attributes are worth computing.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.0.is_some()
    }

    /// Sets a text attribute, of [`attr`].
    pub fn text(mut self, key: &'static str, value: impl Display) -> Self {
        if let Some(recording) = &mut self.0 {
            recording.attributes.push(KeyValue::new(key, value.to_string()));
        }
        self
    }

    /// Sets a number attribute, of [`attr`]. OTLP's integers are signed: what lies beyond becomes a text.
    pub fn number(mut self, key: &'static str, value: impl TryInto<i64> + Display + Copy) -> Self {
        if let Some(recording) = &mut self.0 {
            let value = value
                .try_into()
                .map_or_else(|_| Value::from(value.to_string()), Value::from);
            recording.attributes.push(KeyValue::new(key, value));
        }
        self
    }

    /// Sets an attribute where there is one.
    pub fn maybe_number(self, key: &'static str, value: Option<impl TryInto<i64> + Display + Copy>) -> Self {
        match value {
            Some(value) => self.number(key, value),
            None => self,
        }
    }

    /// Points to a span of another trace, such as one that an event brought along. At most [`MAX_LINKS`] times.
    pub fn link(mut self, to: SpanCtx) -> Self {
        if let Some(recording) = &mut self.0
            && recording.links.len() < MAX_LINKS
        {
            recording.links.push(to);
        }
        self
    }

    /// Leads to what is known of the batch's first event: its id, and the page about it where that has an address.
    pub fn lineage(self, id: LineageId) -> Self {
        if self.0.is_none() {
            return self;
        }
        let page = rules()
            .public_url
            .as_ref()
            .map(|url| format!("{url}/?event={id}"));
        let span = self.text(attr::LINEAGE_ID, id);
        match page {
            Some(page) => span.text(attr::LINEAGE_URL, page),
            None => span,
        }
    }

    /// Whatever the sampler said: this trace is exported. Returns its id when it was not going to be; whoever has other
    /// parts of it must hear that.
    #[must_use = "other processes hold parts of the trace"]
    pub fn promote(&mut self) -> Option<String> {
        let recording = self.0.as_mut().filter(|recording| !recording.ctx.sampled)?;
        recording.ctx.sampled = true;
        queue::promote(recording.ctx.trace);
        Some(recording.ctx.trace_id())
    }

    /// Marks the stage as failed, with the reason.
    pub fn fail(mut self, reason: impl Display) -> Self {
        if let Some(recording) = &mut self.0 {
            recording.status = Status::error(reason.to_string());
        }
        self
    }

    /// This span as a parent for others. `None` when it records nothing.
    #[must_use]
    pub fn ctx(&self) -> Option<SpanCtx> {
        self.0.as_ref().map(|recording| recording.ctx)
    }

    /// This span for a header.
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        self.ctx().map(|ctx| ctx.to_string())
    }

    /// This span for a header, or what came in: a process that does not trace passes the context on.
    #[must_use]
    pub fn traceparent_or(&self, incoming: Option<&str>) -> Option<String> {
        self.traceparent().or_else(|| incoming.map(str::to_owned))
    }

    /// Ends the stage and hands it to the exporter. An end before the start counts as the start: clocks
    /// may have been set back.
    pub fn end_at(self, end: Millis) {
        if let Some(recording) = self.0 {
            queue::submit(recording.into_span_data(end));
        }
    }
}

impl Recording {
    fn into_span_data(self, end: Millis) -> SpanData {
        let mut links = SpanLinks::default();
        links.links = self
            .links
            .into_iter()
            .map(|to| Link::new(to.to_otel(), Vec::new(), 0))
            .collect();
        SpanData {
            span_context: self.ctx.to_otel(),
            parent_span_id: self.parent.map_or(SpanId::INVALID, |parent| parent.span),
            parent_span_is_remote: self.parent.is_some_and(|parent| parent.remote),
            span_kind: self.stage.kind(),
            name: self.stage.as_str().into(),
            start_time: system_time(self.start),
            end_time: system_time(end.max(self.start)),
            attributes: self.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links,
            status: self.status,
            instrumentation_scope: InstrumentationScope::builder("tributary").build(),
        }
    }
}

fn system_time(at: Millis) -> SystemTime {
    // a span before 1970 is a clock that was never set
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(at).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOREIGN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn recorded(parent: Option<SpanCtx>, stage: Stage) -> BatchSpan {
        BatchSpan::begin(true, parent, stage, 1_000)
    }

    #[test]
    fn children_stay_in_the_trace_and_name_their_parent() {
        let root = recorded(None, Stage::Batch);
        let parent = root.ctx().expect("recording");
        let ship = recorded(Some(parent), Stage::Ship);
        let header = ship.traceparent().expect("recording");
        let admit = recorded(SpanCtx::parse(&header), Stage::Admit);

        let (root, ship, admit) = (data(root), data(ship), data(admit));
        assert_eq!(root.parent_span_id, SpanId::INVALID);
        assert_eq!(ship.parent_span_id, root.span_context.span_id());
        assert!(!ship.parent_span_is_remote);
        assert_eq!(admit.parent_span_id, ship.span_context.span_id());
        assert!(admit.parent_span_is_remote);
        assert_eq!(admit.span_context.trace_id(), root.span_context.trace_id());
        assert_eq!(
            (admit.name.as_ref(), admit.span_kind),
            ("admit", SpanKind::Server)
        );
    }

    fn data(span: BatchSpan) -> SpanData {
        span.0.expect("recording").into_span_data(2_000)
    }

    #[test]
    fn a_span_carries_attributes_times_links_and_failure() {
        let linked = SpanCtx::parse(FOREIGN).expect("valid");
        let span = recorded(None, Stage::Commit)
            .text(attr::LANE, "a/s/1")
            .number(attr::FIRST_SEQ, 7u64)
            .number(attr::LAST_SEQ, u64::MAX)
            .maybe_number(attr::SCHEMA_ID, None::<u32>)
            .link(linked)
            .fail("disk full");
        let span = data(span);
        let lane = KeyValue::new(attr::LANE, "a/s/1".to_owned());
        let last = KeyValue::new(attr::LAST_SEQ, u64::MAX.to_string());
        assert_eq!(
            span.attributes,
            [lane, KeyValue::new(attr::FIRST_SEQ, 7i64), last]
        );
        assert_eq!(span.start_time, SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        assert_eq!(span.end_time, SystemTime::UNIX_EPOCH + Duration::from_secs(2));
        assert_eq!(span.links.links[0].span_context.trace_id(), linked.trace);
        assert_eq!(span.status, Status::error("disk full"));
    }

    #[test]
    fn what_is_not_sampled_says_so_until_it_is_promoted() {
        let unsampled = FOREIGN.replace("-01", "-00");
        let mut span = recorded(SpanCtx::parse(&unsampled), Stage::Admit);
        let header = span.traceparent().expect("recording");
        assert!(
            header.starts_with(&unsampled[..36]) && header.ends_with("-00"),
            "{header}"
        );
        assert_eq!(span.promote().as_deref(), Some(&unsampled[3..35]));
        assert_eq!(span.promote(), None, "once");
        assert!(span.traceparent().is_some_and(|header| header.ends_with("-01")));
        let child = recorded(span.ctx(), Stage::Commit);
        assert!(child.ctx().is_some_and(|ctx| ctx.is_sampled()));

        let mut sampled = recorded(SpanCtx::parse(FOREIGN), Stage::Admit);
        assert_eq!(sampled.promote(), None, "it goes out anyway");
    }

    #[test]
    fn a_span_has_few_links_and_leads_to_its_event() {
        let linked = SpanCtx::parse(FOREIGN).expect("valid");
        let span = (0..40).fold(recorded(None, Stage::Admit), |span, _| span.link(linked));
        let id = LineageId {
            lane: crate::ids::LaneNo(7),
            seq: 9,
        };
        let span = data(span.lineage(id));
        assert_eq!(span.links.links.len(), MAX_LINKS);
        assert!(
            span.attributes
                .contains(&KeyValue::new(attr::LINEAGE_ID, id.to_string()))
        );
    }

    #[test]
    fn what_is_off_records_nothing_and_passes_the_context_on() {
        assert_eq!(
            BatchSpan::none().traceparent_or(Some(FOREIGN)).as_deref(),
            Some(FOREIGN)
        );

        let off = BatchSpan::begin(false, None, Stage::Batch, 0).text(attr::LANE, "a");
        assert!(!off.is_recording());
        assert_eq!((off.ctx(), off.traceparent()), (None, None));
        off.end_at(1);
    }

    #[test]
    fn clocks_that_run_backwards_make_no_negative_span() {
        let span = recorded(None, Stage::Apply)
            .0
            .expect("recording")
            .into_span_data(500);
        assert_eq!(span.end_time, span.start_time);
        assert_eq!(system_time(-1), SystemTime::UNIX_EPOCH);
    }
}
