//! A place in a trace, as W3C Trace Context writes it.

use std::fmt::{self, Display};

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

use super::sampling::Sampler;

/// A place in a trace: what `traceparent` carries (W3C Trace Context, level 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanCtx {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) sampled: bool,
    /// Whether it came from another process.
    pub(super) remote: bool,
}

impl SpanCtx {
    /// Reads a `traceparent`. `None` for whatever is not one: it comes from outside, and may be anything.
    #[must_use]
    pub fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let version = hex(parts.next()?, 2)?;
        let trace = TraceId::from(hex(parts.next()?, 32)?);
        let span = SpanId::from(u64::try_from(hex(parts.next()?, 16)?).ok()?);
        let flags = hex(parts.next()?, 2)?;
        // a later version may append; version 00 may not, and ff is forbidden
        let more = parts.next().is_some();
        let valid = version != 0xff
            && !(version == 0 && more)
            && trace != TraceId::INVALID
            && span != SpanId::INVALID;
        valid.then_some(Self {
            trace,
            span,
            sampled: flags & 1 == 1,
            remote: true,
        })
    }

    /// The trace's id, 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.trace.to_string()
    }

    /// The span's id, 16 hexadecimal digits.
    #[must_use]
    pub fn span_id(&self) -> String {
        self.span.to_string()
    }

    /// Whether whoever made it records the trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    pub(super) fn new_root(sampler: Sampler) -> Self {
        // a zero is no id; it comes once in 2^64 draws
        let trace = TraceId::from(rand::random::<u128>().max(1));
        Self {
            trace,
            span: new_span_id(),
            sampled: sampler.takes(trace, None),
            remote: false,
        }
    }

    pub(super) fn new_child(&self, sampler: Sampler) -> Self {
        // within this process it is decided
        let sampled = if self.remote {
            sampler.takes(self.trace, Some(self.sampled))
        } else {
            self.sampled
        };
        Self {
            span: new_span_id(),
            sampled,
            remote: false,
            ..*self
        }
    }

    pub(super) fn to_otel(self) -> SpanContext {
        let flags = if self.sampled {
            TraceFlags::SAMPLED
        } else {
            TraceFlags::NOT_SAMPLED
        };
        SpanContext::new(self.trace, self.span, flags, self.remote, TraceState::NONE)
    }
}

/// As `traceparent` writes it.
impl Display for SpanCtx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{}-{}-{:02x}",
            self.trace,
            self.span,
            u8::from(self.sampled)
        )
    }
}

fn new_span_id() -> SpanId {
    SpanId::from(rand::random::<u64>().max(1))
}

/// Exactly so many lower-case hexadecimal digits.
pub(super) fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != digits || !text.bytes().all(lower) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOREIGN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_round_trips() {
        let ctx = SpanCtx::parse(FOREIGN).expect("valid");
        assert_eq!(ctx.to_string(), FOREIGN);
        assert_eq!(ctx.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let later = SpanCtx::parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more");
        assert_eq!(later, Some(ctx), "a later version is read as far as we know it");
    }

    #[test]
    fn garbage_is_no_traceparent() {
        let garbage = [
            "",
            "-",
            "00",
            "hello world",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-üüüüüüüüüüüüüüüü-00f067aa0ba902b7-01",
        ];
        for text in garbage {
            assert_eq!(SpanCtx::parse(text), None, "{text:?}");
        }
    }
}
