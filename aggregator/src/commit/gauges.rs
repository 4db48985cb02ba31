//! The commit thread's metrics, looked up once.

use tributary_shared::metrics::{Counter, Gauge, Histogram, MetricName, counter, gauge, histogram};

use super::group::{Group, verdicts};
use super::messages::LogPos;

#[derive(Debug)]
pub(super) struct Gauges {
    pub duplicates: Counter,
    pub gaps: Counter,
    pub seconds: Histogram,
    batches: Counter,
    valid: Counter,
    dead: Counter,
    dropped: Counter,
    position: Gauge,
    letters: LetterGauges,
    /// Retention has deleted the entries up to here.
    pub floor: Gauge,
    /// 1 while nothing can be stored.
    pub failing: Gauge,
}

impl Gauges {
    pub fn new(newest: LogPos, open_letters: u64) -> Self {
        let events = |verdict| counter(MetricName::CommitEvents, &[("verdict", verdict)]);
        let position = gauge(MetricName::CommittedPosition, &[]);
        position.set(newest.0 as f64);
        Self {
            duplicates: counter(MetricName::CommitDuplicates, &[]),
            gaps: counter(MetricName::CommitGaps, &[]),
            seconds: histogram(MetricName::CommitSeconds, &[]),
            batches: counter(MetricName::CommitBatches, &[]),
            valid: events("valid"),
            dead: events("dead"),
            dropped: events("dropped"),
            position,
            letters: LetterGauges::new(open_letters),
            floor: gauge(MetricName::LogFloor, &[]),
            failing: gauge(MetricName::LogFailing, &[]),
        }
    }

    /// A group is durable.
    pub fn count(&self, group: &Group) {
        for entry in &group.entries {
            let (valid, dead, dropped) = verdicts(&entry.batch);
            self.batches.inc();
            self.valid.inc_by(valid);
            self.dead.inc_by(dead);
            self.dropped.inc_by(dropped);
            self.letters.open.inc_by(dead as f64);
        }
        if let Some(newest) = group.newest() {
            self.position.set(newest.0 as f64);
        }
        let replayed: usize = group.replays.iter().map(|replay| replay.batch.ids.len()).sum();
        let discarded: usize = group.discards.iter().map(|discard| discard.letters.len()).sum();
        self.valid.inc_by(replayed as u64);
        self.letters.replayed.inc_by(replayed as u64);
        self.letters.discarded.inc_by(discarded as u64);
        self.letters.open.dec_by((replayed + discarded) as f64);
    }

    /// Retention deleted so many open letters.
    pub fn letters_expired(&self, expired: u64) {
        self.letters.expired.inc_by(expired);
        self.letters.open.dec_by(expired as f64);
    }
}

/// Dead letters, and how they left.
#[derive(Debug)]
struct LetterGauges {
    open: Gauge,
    replayed: Counter,
    discarded: Counter,
    expired: Counter,
}

impl LetterGauges {
    fn new(open_letters: u64) -> Self {
        let settled = |outcome| counter(MetricName::DeadLettersSettled, &[("outcome", outcome)]);
        let open = gauge(MetricName::DeadLettersOpen, &[]);
        open.set(open_letters as f64);
        Self {
            open,
            replayed: settled("replayed"),
            discarded: settled("discarded"),
            expired: settled("expired"),
        }
    }
}
