//! What became of batches that were sent in vain: the next batch with their events says so, and the record of those
//! events' way keeps it. Pure. A new process knows nothing of the attempts of its predecessor; that there was one
//! shows in who numbered the seqs.

use std::collections::VecDeque;

use tributary_shared::ids::{Seq, SeqRange};
use tributary_shared::time::Millis;
use tributary_shared::wire::{Attempt, Attempts, BatchHeader};

/// Ranges that were sent in vain and wait to be sent again. A session has 16 batches in flight by default; the oldest
/// are forgotten when many sessions in turn end with batches of other lanes.
const MAX_FAILED: usize = 256;
/// What a session ending under a batch is called.
const LOST: &str = "lost";

/// The batches in flight, and the ranges that failed before.
#[derive(Debug, Default)]
pub struct AttemptBook {
    /// As many as the gateway's credit, and as the batches behind a mark that is not heard yet.
    in_flight: Vec<Sent>,
    failed: VecDeque<Failed>,
}

#[derive(Debug)]
struct Sent {
    lane: u32,
    range: SeqRange,
    sent_at: Millis,
    address: String,
    traceparent: Option<String>,
    before: Attempts,
}

#[derive(Debug)]
struct Failed {
    lane: u32,
    range: SeqRange,
    attempts: Attempts,
}

impl AttemptBook {
    /// What was tried before with events of a batch that is about to be sent.
    pub fn before(&self, lane: u32, range: SeqRange) -> Attempts {
        let mut before = Attempts::default();
        let about = |failed: &&Failed| {
            failed.lane == lane && failed.range.first <= range.last && failed.range.last >= range.first
        };
        for failed in self.failed.iter().filter(about) {
            before.join(&failed.attempts);
        }
        before
    }

    /// The batch, whose header says what was tried before, goes to the gateway at `address`.
    pub fn sent(&mut self, header: &BatchHeader, address: &str) {
        let (lane, range) = (header.lane, header.range());
        // a batch that was cut elsewhere leaves the rest of a range to a later one
        for failed in self.failed.iter_mut().filter(|failed| failed.lane == lane) {
            if failed.range.first >= range.first && failed.range.first <= range.last {
                failed.range.first = range.last + 1;
            }
        }
        self.failed
            .retain(|failed| failed.range.first <= failed.range.last);
        self.in_flight.push(Sent {
            lane,
            range,
            sent_at: header.sent_at,
            address: address.to_owned(),
            traceparent: header.traceparent.clone(),
            before: header.attempts.clone(),
        });
    }

    /// The lane is committed up to `mark`.
    pub fn committed(&mut self, lane: u32, mark: Seq) {
        let open = |of: u32, range: SeqRange| of != lane || range.last > mark;
        self.in_flight.retain(|sent| open(sent.lane, sent.range));
        self.failed.retain(|failed| open(failed.lane, failed.range));
    }

    /// A batch of the lane was refused: everything from `expected` on is sent again.
    pub fn refused(&mut self, lane: u32, expected: Seq, (code, message): (&str, &str), now: Millis) {
        let again = |sent: &mut Sent| sent.lane == lane && sent.range.last >= expected;
        let refused: Vec<Sent> = self.in_flight.extract_if(.., again).collect();
        self.fail(refused, (code, message), now);
    }

    /// The session is over.
    pub fn lost(&mut self, reason: &str, now: Millis) {
        let lost = std::mem::take(&mut self.in_flight);
        self.fail(lost, (LOST, reason), now);
    }

    fn fail(&mut self, batches: Vec<Sent>, (outcome, reason): (&str, &str), now: Millis) {
        for sent in batches {
            let mut attempts = sent.before;
            attempts.add(Attempt {
                first_seq: sent.range.first,
                last_seq: sent.range.last,
                sent_at: sent.sent_at,
                ended_at: now,
                address: sent.address,
                outcome: outcome.to_owned(),
                reason: reason.to_owned(),
                traceparent: sent.traceparent,
            });
            if self.failed.len() == MAX_FAILED {
                self.failed.pop_front();
            }
            self.failed.push_back(Failed {
                lane: sent.lane,
                range: sent.range,
                attempts,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use tributary_shared::wire::BatchContent;

    use super::*;

    fn send(book: &mut AttemptBook, lane: u32, first: Seq, count: u32, sent_at: Millis) -> Attempts {
        let range = SeqRange::from_count(first, count);
        let attempts = book.before(lane, range);
        let header = BatchHeader {
            lane,
            first_seq: first,
            count,
            writer: 0,
            after_writer: 0,
            content: BatchContent::Rows,
            segments: Vec::new(),
            body_len: 0,
            body_crc: 0,
            sent_at,
            traceparent: Some(format!("00-{sent_at:032x}-{:016x}-01", 1)),
            contexts: Default::default(),
            attempts: attempts.clone(),
        };
        book.sent(&header, &format!("gw-{sent_at}"));
        attempts
    }

    fn told(attempts: &Attempts) -> Vec<(Seq, Seq, &str, &str)> {
        let told = |attempt: &'_ Attempt| (attempt.first_seq, attempt.last_seq);
        attempts
            .newest
            .iter()
            .map(|attempt| {
                let (first, last) = told(attempt);
                (first, last, attempt.address.as_str(), attempt.outcome.as_str())
            })
            .collect()
    }

    #[test]
    fn a_batch_that_arrives_at_once_has_no_past() {
        let mut book = AttemptBook::default();
        assert!(send(&mut book, 1, 1, 5, 1).is_empty());
        book.committed(1, 5);
        assert!(send(&mut book, 1, 6, 5, 2).is_empty());
        assert!(book.in_flight.len() == 1 && book.failed.is_empty());
    }

    #[test]
    fn the_next_batch_with_the_same_events_names_every_failure() {
        let mut book = AttemptBook::default();
        send(&mut book, 1, 1, 5, 1);
        send(&mut book, 2, 1, 5, 1);
        book.lost("timed out", 3);
        let again = send(&mut book, 1, 1, 5, 4);
        assert_eq!((again.count, told(&again)), (1, vec![(1, 5, "gw-1", "lost")]));
        let trace = again.newest[0].traceparent.as_deref();
        assert!(trace.is_some_and(|trace| trace.contains("01-0000")), "{trace:?}");
        assert_eq!((again.newest[0].sent_at, again.newest[0].ended_at), (1, 3));
        book.refused(1, 1, ("unavailable", "disk full"), 5);
        let third = send(&mut book, 1, 1, 5, 6);
        assert_eq!(
            (third.count, told(&third)),
            (2, vec![(1, 5, "gw-1", "lost"), (1, 5, "gw-4", "unavailable")])
        );
        book.committed(1, 5);
        book.committed(2, 5);
        assert!(book.in_flight.is_empty() && book.failed.is_empty());
    }

    #[test]
    fn batches_that_are_cut_elsewhere_name_what_was_tried_with_their_part() {
        let mut book = AttemptBook::default();
        send(&mut book, 1, 1, 10, 1);
        send(&mut book, 1, 11, 10, 2);
        book.lost("reset", 3);
        let first = send(&mut book, 1, 1, 4, 4);
        assert_eq!(told(&first), [(1, 10, "gw-1", "lost")]);
        let second = send(&mut book, 1, 5, 10, 5);
        assert_eq!(told(&second), [(1, 10, "gw-1", "lost"), (11, 20, "gw-2", "lost")]);
        assert_eq!((second.count, second.of(12).count()), (1, 1));
        // only the second one is lost again
        book.committed(1, 4);
        book.lost("reset", 6);
        let third = send(&mut book, 1, 5, 16, 7);
        assert_eq!((third.count, third.newest.len()), (2, 3));
        assert_eq!(third.of(20).count(), 1, "what went out once was lost once");
    }

    #[test]
    fn a_refusal_spares_what_lies_before_it() {
        let mut book = AttemptBook::default();
        send(&mut book, 1, 1, 5, 1);
        send(&mut book, 1, 6, 5, 2);
        book.refused(1, 6, ("throttled", "too fast"), 3);
        assert!(book.before(1, SeqRange { first: 1, last: 5 }).is_empty());
        assert_eq!(book.before(1, SeqRange { first: 6, last: 10 }).count, 1);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut book = AttemptBook::default();
        for lane in 0..1_000 {
            send(&mut book, lane, 1, 1, 1);
            book.lost("reset", 2);
        }
        assert_eq!(book.failed.len(), MAX_FAILED);
        assert!(book.before(1, SeqRange { first: 1, last: 1 }).is_empty());
        assert_eq!(book.before(999, SeqRange { first: 1, last: 1 }).count, 1);
    }
}
