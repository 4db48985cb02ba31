//! The traces that a batch's events name themselves: what the admit span links to.

use std::collections::HashSet;

use tributary_schema::decode::{Decoded, each_traceparent};
use tributary_shared::telemetry::{BatchSpan, MAX_LINKS, SpanCtx, attr};

/// Different contexts, and how many more events named others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Links {
    contexts: Vec<SpanCtx>,
    left_out: u32,
}

impl Links {
    /// Those of a batch; a text that is no context is none.
    pub(super) fn of(decoded: &Decoded) -> Self {
        let (mut links, mut known) = (Self::default(), HashSet::new());
        let read = each_traceparent(decoded, |text| links.add(text, &mut known));
        if let Err(error) = read {
            tracing::warn!(%error, "the columns of a batch cannot be searched for trace contexts");
        }
        links
    }

    fn add(&mut self, text: &str, known: &mut HashSet<SpanCtx>) {
        let Some(context) = SpanCtx::parse(text).filter(|context| !known.contains(context)) else {
            return;
        };
        if self.contexts.len() < MAX_LINKS {
            known.insert(context);
            self.contexts.push(context);
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    pub(super) fn on(self, span: BatchSpan) -> BatchSpan {
        let span = self.contexts.into_iter().fold(span, BatchSpan::link);
        match self.left_out {
            0 => span,
            left_out => span.number(attr::LINKS_LEFT_OUT, left_out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_context_is_linked_once_and_those_beyond_the_limit_are_counted() {
        let (mut links, mut known) = (Links::default(), HashSet::new());
        for n in 1..=40u32 {
            let text = format!("00-{n:032x}-00f067aa0ba902b7-01");
            links.add(&text, &mut known);
            links.add(&text, &mut known);
        }
        links.add("garbage", &mut known);
        assert_eq!(
            (links.contexts.len(), links.left_out),
            (MAX_LINKS, 16),
            "8 that came twice"
        );
    }
}
