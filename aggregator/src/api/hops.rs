//! The hops of an event, as its batch's hop record tells them.

use serde_json::{Value, json};
use tributary_shared::ids::Seq;
use tributary_shared::telemetry::SpanCtx;
use tributary_shared::time::to_rfc3339;
use tributary_shared::wire::{BatchContent, CommitHeader};

use crate::commit::Hop;

/// What leads from a trace id to a page that shows the trace.
#[derive(Debug, Clone, Copy)]
pub(super) struct TraceLinks<'a> {
    /// The configured address, with `{trace_id}` in it.
    pub viewer: Option<&'a str>,
}

impl TraceLinks<'_> {
    /// The address of a trace; `None` when no viewer is configured.
    pub fn url(&self, trace_id: &str) -> Option<String> {
        self.viewer.map(|viewer| viewer.replace("{trace_id}", trace_id))
    }

    /// A trace context as the API shows it: ids, and where to see it. Null for what is none.
    pub fn shown(&self, traceparent: Option<&str>) -> Value {
        let Some(context) = traceparent.and_then(SpanCtx::parse) else {
            return Value::Null;
        };
        let trace_id = context.trace_id();
        json!({ "trace_id": trace_id, "span_id": context.span_id(), "trace_url": self.url(&trace_id) })
    }

    /// Adds the trace of a batch to something that happened to it.
    fn add(&self, hop: &mut Value, trace_id: Option<&str>) {
        if let Some(trace_id) = trace_id {
            hop["trace_id"] = json!(trace_id);
            hop["trace_url"] = json!(self.url(trace_id));
        }
    }
}

/// The hops that every committed event has behind it, oldest first.
pub(super) fn hops(hop: &Hop, seq: Seq, links: TraceLinks<'_>) -> Vec<Value> {
    let header = &hop.header;
    let mut hops = Vec::new();
    if let Some((segment, range)) = header.segment_and_range(seq) {
        let mut collected = json!({
            "hop": "collected", "at": to_rfc3339(segment.collected_at), "origin": segment.origin,
            "together": { "from": range.first, "to": range.last },
        });
        if let Some(origin) = &segment.origin {
            add_input(&mut collected, origin);
        }
        if let Some(request) = header
            .contexts
            .kept
            .iter()
            .find(|context| context.range().contains(seq))
        {
            collected["request"] = json!({ "from": request.first_seq, "to": request.last_seq });
        }
        hops.push(collected);
        hops.push(json!({ "hop": "spooled", "at": to_rfc3339(segment.spooled_at) }));
    }
    let failed = attempts(header, seq, links);
    let attempt = forgotten(header) + failed.len() + 1;
    hops.extend(failed);
    hops.push(json!({ "hop": "sent", "at": to_rfc3339(header.sent_at), "attempt": attempt }));
    hops.push(json!({ "hop": "received", "at": to_rfc3339(header.received_at), "gateway": header.gateway }));
    hops.push(json!({
        "hop": "admitted",
        "at": to_rfc3339(header.admitted_at),
        "gateway": header.gateway,
        "schema": header.schema,
        "valid": header.valid(),
        "dead": header.dead_seqs.len(),
    }));
    let range = header.range();
    hops.push(json!({
        "hop": "committed",
        "at": to_rfc3339(hop.committed_at),
        "position": hop.pos,
        "from": range.first,
        "to": range.last,
    }));
    let trace_id = trace_id(header);
    // an event is in no batch before it is sent, and a failed attempt was another batch's
    let traced = hops
        .iter_mut()
        .filter(|hop| hop["hop"] != "collected" && hop["hop"] != "spooled" && hop["outcome"].is_null());
    traced.for_each(|hop| links.add(hop, trace_id.as_deref()));
    hops
}

/// Failed attempts that are counted, and no longer listed.
fn forgotten(header: &CommitHeader) -> usize {
    (header.attempts.count as usize).saturating_sub(header.attempts.newest.len())
}

/// The attempts to ship an event that failed before its batch came through.
fn attempts(header: &CommitHeader, seq: Seq, links: TraceLinks<'_>) -> Vec<Value> {
    let numbered = header.attempts.of(seq).zip(forgotten(header) + 1..);
    let shown = numbered.map(|(attempt, number)| {
        let mut hop = json!({
            "hop": "sent", "at": to_rfc3339(attempt.sent_at), "attempt": number, "address": attempt.address,
            "outcome": attempt.outcome, "reason": attempt.reason, "ended_at": to_rfc3339(attempt.ended_at),
            "from": attempt.first_seq, "to": attempt.last_seq,
        });
        let context = attempt.traceparent.as_deref().and_then(SpanCtx::parse);
        links.add(&mut hop, context.map(|context| context.trace_id()).as_deref());
        hop
    });
    shown.collect()
}

/// The trace of a batch.
pub(super) fn trace_id(header: &CommitHeader) -> Option<String> {
    let context = header.traceparent.as_deref().and_then(SpanCtx::parse);
    context.map(|context| context.trace_id())
}

/// What an origin says: `http`, `host`, or `file:PATH@OFFSET`.
fn add_input(collected: &mut Value, origin: &str) {
    let Some(place) = origin.strip_prefix("file:") else {
        collected["input"] = json!(origin);
        return;
    };
    collected["input"] = json!("file");
    let (file, offset) = match place.rsplit_once('@') {
        Some((file, offset)) => (file, offset.parse::<u64>().ok()),
        None => (place, None),
    };
    collected["file"] = json!(file);
    collected["offset"] = json!(offset);
}

/// What of an event counts how.
pub(super) fn counted_as(header: &CommitHeader, seq: Seq) -> &'static str {
    match header.content {
        BatchContent::Dropped { .. } => "dropped",
        _ if header.dead_seqs.binary_search(&seq).is_ok() => "dead",
        _ => "valid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(origin: &str) -> Value {
        let mut shown = json!({});
        add_input(&mut shown, origin);
        shown
    }

    #[test]
    fn an_origin_is_taken_apart() {
        assert_eq!(input("http"), json!({ "input": "http" }));
        assert_eq!(input("host"), json!({ "input": "host" }));
        assert_eq!(
            input("file:/var/log/a@b.ndjson@1024"),
            json!({ "input": "file", "file": "/var/log/a@b.ndjson", "offset": 1024 })
        );
        assert_eq!(
            input("file:/var/log/a"),
            json!({ "input": "file", "file": "/var/log/a", "offset": null })
        );
    }

    #[test]
    fn a_trace_leads_to_its_viewer() {
        let context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let links = TraceLinks {
            viewer: Some("http://v/trace/{trace_id}?x={trace_id}"),
        };
        let shown = links.shown(Some(context));
        assert_eq!(shown["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(shown["span_id"], "00f067aa0ba902b7");
        assert_eq!(
            shown["trace_url"],
            "http://v/trace/4bf92f3577b34da6a3ce929d0e0e4736?x=4bf92f3577b34da6a3ce929d0e0e4736"
        );
        for garbage in [
            "",
            "00-4bf9-00f0-01",
            "x",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        ] {
            assert_eq!(links.shown(Some(garbage)), Value::Null, "{garbage:?}");
        }
        assert_eq!(
            TraceLinks { viewer: None }.shown(Some(context))["trace_url"],
            Value::Null
        );
    }
}
