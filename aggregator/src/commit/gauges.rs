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
    /// Retention has deleted the entries up to here.
    pub floor: Gauge,
    /// 1 while nothing can be stored.
    pub failing: Gauge,
}

impl Gauges {
    pub fn new(newest: LogPos) -> Self {
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
            self.position.set(entry.pos.0 as f64);
        }
    }
}
