//! What a batch's header says of its events' past: the applications' traces that they came with, and the attempts to
//! ship them that failed. Nothing depends on it but what people are shown, so what is wrong in it is left out.

use serde::{Deserialize, Serialize};

use crate::ids::{Seq, SeqRange};
use crate::telemetry::SpanCtx;
use crate::time::Millis;

/// Contexts of one batch. Each costs its record about 95 bytes: a tenth of a byte an event at batches of 1,000.
pub const MAX_CONTEXTS: usize = 32;
/// Failed attempts that a batch names; earlier ones are counted.
pub const MAX_ATTEMPTS: usize = 8;
/// Characters of an attempt's address and of its reason.
const MAX_TEXT: usize = 200;
/// Characters of an attempt's outcome.
const MAX_WORD: usize = 32;

/// The trace contexts that a batch's requests were made under.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contexts {
    /// Ascending and apart; at most [`MAX_CONTEXTS`].
    pub kept: Vec<Context>,
    /// Requests whose contexts found no place.
    #[serde(default)]
    pub left_out: u32,
}

/// Events that one request brought, and the application's span in which it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    pub first_seq: Seq,
    pub last_seq: Seq,
    /// W3C Trace Context, level 1.
    pub traceparent: String,
}

impl Context {
    #[must_use]
    pub fn range(&self) -> SeqRange {
        SeqRange {
            first: self.first_seq,
            last: self.last_seq,
        }
    }
}

impl Contexts {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.left_out == 0
    }

    /// Keeps the first [`MAX_CONTEXTS`] of these, ascending: those that their applications sampled before the others,
    /// which lead to nothing that anybody recorded.
    #[must_use]
    pub fn choose(mut found: Vec<Context>) -> Self {
        let more = found.len().saturating_sub(MAX_CONTEXTS);
        if more > 0 {
            found.sort_by_key(|context| (!is_sampled(&context.traceparent), context.first_seq));
            found.truncate(MAX_CONTEXTS);
            found.sort_by_key(|context| context.first_seq);
        }
        Self {
            kept: found,
            left_out: u32::try_from(more).unwrap_or(u32::MAX),
        }
    }

    /// What can be believed of contexts from outside, about these seqs.
    #[must_use]
    pub fn checked(&self, of: SeqRange) -> Self {
        let mut next = 0;
        let sound = |context: &&Context| {
            let (first, last) = (context.first_seq, context.last_seq);
            let in_place = first >= next && first <= last && last >= of.first && first <= of.last;
            let sound = in_place && SpanCtx::parse(&context.traceparent).is_some();
            if sound {
                next = last.saturating_add(1);
            }
            sound
        };
        let kept = self.kept.iter().filter(sound).take(MAX_CONTEXTS).cloned();
        Self {
            kept: kept.collect(),
            left_out: self.left_out,
        }
    }

    /// The `traceparent` of the request that brought an event.
    #[must_use]
    pub fn of(&self, seq: Seq) -> Option<&str> {
        let context = self.kept.iter().find(|context| context.range().contains(seq));
        context.map(|context| context.traceparent.as_str())
    }

    /// Those of requests that brought events of this range.
    #[must_use]
    pub fn within(&self, range: SeqRange) -> Self {
        let touches = |context: &&Context| context.first_seq <= range.last && context.last_seq >= range.first;
        Self {
            kept: self.kept.iter().filter(touches).cloned().collect(),
            left_out: self.left_out,
        }
    }
}

fn is_sampled(traceparent: &str) -> bool {
    SpanCtx::parse(traceparent).is_some_and(|context| context.is_sampled())
}

/// The attempts to ship a batch's events that failed before. An agent's process knows of its own ones only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// How often any one of the events was sent in vain, at most.
    pub count: u32,
    /// Ascending by time; at most [`MAX_ATTEMPTS`].
    pub newest: Vec<Attempt>,
}

/// One batch that was sent, and that no commit answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// What was sent: it may have been cut elsewhere than the batch that names it.
    pub first_seq: Seq,
    pub last_seq: Seq,
    /// The agent's clock.
    pub sent_at: Millis,
    /// The agent's clock when it knew that the attempt had failed.
    pub ended_at: Millis,
    /// The gateway's address, as the agent's configuration has it.
    pub address: String,
    /// `lost` when the session ended, else the refusal's code in snake case: `unavailable`, `schema_changed` …
    pub outcome: String,
    /// In words.
    pub reason: String,
    /// Of its ship span, when tracing was on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

impl Attempt {
    #[must_use]
    pub fn range(&self) -> SeqRange {
        SeqRange {
            first: self.first_seq,
            last: self.last_seq,
        }
    }

    fn bounded(mut self) -> Self {
        for (text, limit) in [
            (&mut self.address, MAX_TEXT),
            (&mut self.reason, MAX_TEXT),
            (&mut self.outcome, MAX_WORD),
        ] {
            if let Some((end, _)) = text.char_indices().nth(limit) {
                text.truncate(end);
            }
        }
        self.traceparent = self.traceparent.filter(|text| SpanCtx::parse(text).is_some());
        self
    }
}

impl Attempts {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.newest.is_empty()
    }

    /// One more attempt, with texts of bounded length.
    pub fn add(&mut self, attempt: Attempt) {
        self.count = self.count.saturating_add(1);
        self.newest.push(attempt.bounded());
        self.forget_oldest();
    }

    /// Those of events that go into one batch with these.
    pub fn join(&mut self, others: &Self) {
        self.count = self.count.max(others.count);
        let new = others.newest.iter().filter(|other| !self.newest.contains(other));
        let new: Vec<_> = new.cloned().collect();
        self.newest.extend(new);
        self.newest
            .sort_by_key(|attempt| (attempt.sent_at, attempt.first_seq));
        self.forget_oldest();
    }

    /// What can be believed of attempts from outside, about these seqs.
    #[must_use]
    pub fn checked(&self, of: SeqRange) -> Self {
        let about = |attempt: &&Attempt| {
            attempt.first_seq <= attempt.last_seq
                && attempt.first_seq <= of.last
                && attempt.last_seq >= of.first
        };
        let newest = self.newest.iter().filter(about).take(MAX_ATTEMPTS).cloned();
        Self {
            count: self.count,
            newest: newest.map(Attempt::bounded).collect(),
        }
    }

    /// The listed attempts to ship this event, ascending by time.
    pub fn of(&self, seq: Seq) -> impl Iterator<Item = &Attempt> {
        self.newest
            .iter()
            .filter(move |attempt| attempt.range().contains(seq))
    }

    fn forget_oldest(&mut self) {
        let more = self.newest.len().saturating_sub(MAX_ATTEMPTS);
        self.newest.drain(..more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    fn context(first_seq: Seq, last_seq: Seq, traceparent: &str) -> Context {
        Context {
            first_seq,
            last_seq,
            traceparent: traceparent.to_owned(),
        }
    }

    fn attempt(first_seq: Seq, last_seq: Seq, sent_at: Millis) -> Attempt {
        Attempt {
            first_seq,
            last_seq,
            sent_at,
            ended_at: sent_at + 1,
            address: "gw:8602".to_owned(),
            outcome: "lost".to_owned(),
            reason: "cut off".to_owned(),
            traceparent: None,
        }
    }

    #[test]
    fn sampled_contexts_find_a_place_before_others_and_the_rest_is_counted() {
        let found = (1..=40u64).map(|seq| context(seq, seq, if seq > 38 { SAMPLED } else { UNSAMPLED }));
        let chosen = Contexts::choose(found.collect());
        assert_eq!((chosen.kept.len(), chosen.left_out), (MAX_CONTEXTS, 8));
        assert!(chosen.kept.is_sorted_by_key(|context| context.first_seq));
        assert_eq!(
            (chosen.of(40), chosen.of(30), chosen.of(31)),
            (Some(SAMPLED), Some(UNSAMPLED), None)
        );
    }

    #[test]
    fn contexts_from_outside_are_believed_where_they_make_sense() {
        let batch = SeqRange { first: 10, last: 19 };
        let told = Contexts {
            kept: vec![
                context(1, 9, SAMPLED),
                context(8, 11, SAMPLED),
                context(11, 12, SAMPLED),
                context(14, 13, SAMPLED),
                context(15, 16, "garbage"),
                context(17, 30, SAMPLED),
            ],
            left_out: 3,
        };
        let checked = told.checked(batch);
        let ranges: Vec<_> = checked.kept.iter().map(|c| (c.first_seq, c.last_seq)).collect();
        assert_eq!((ranges, checked.left_out), (vec![(8, 11), (17, 30)], 3));
        let flood = Contexts::choose((10..=19).map(|seq| context(seq, seq, SAMPLED)).collect());
        assert_eq!(flood.checked(batch), flood);
        assert_eq!(flood.within(SeqRange { first: 12, last: 13 }).kept.len(), 2);
    }

    #[test]
    fn the_newest_attempts_are_named_and_all_are_counted() {
        let mut first = Attempts::default();
        (0..10).for_each(|at| first.add(attempt(1, 5, at)));
        let mut second = Attempts::default();
        second.add(attempt(6, 9, 7));
        assert_eq!((first.count, first.newest.len()), (10, MAX_ATTEMPTS));
        second.join(&first);
        assert_eq!((second.count, second.newest.len()), (10, MAX_ATTEMPTS));
        assert!(second.newest.is_sorted_by_key(|attempt| attempt.sent_at));
        assert_eq!(second.of(6).count(), 1);
        second.join(&first);
        assert_eq!(second.newest.len(), MAX_ATTEMPTS, "an attempt is named once");
    }

    #[test]
    fn attempts_from_outside_are_bounded() {
        let mut long = attempt(1, 5, 1);
        long.reason = "ü".repeat(5_000);
        long.traceparent = Some("garbage".to_owned());
        let told = Attempts {
            count: 99,
            newest: vec![long; 50],
        };
        let checked = told.checked(SeqRange { first: 5, last: 9 });
        assert_eq!((checked.count, checked.newest.len()), (99, MAX_ATTEMPTS));
        assert_eq!(checked.newest[0].reason.chars().count(), MAX_TEXT);
        assert_eq!(checked.newest[0].traceparent, None);
        assert!(told.checked(SeqRange { first: 6, last: 9 }).newest.is_empty());
    }
}
