//! `GET /api/v1/ledger`, as far as it is shown and checked.

use serde::Deserialize;

/// The ledger at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Ledger {
    pub lanes: Vec<Lane>,
    pub totals: Totals,
    /// What the aggregator itself finds wrong.
    #[serde(default)]
    pub violations: Vec<String>,
    /// Events that views did not take.
    #[serde(default)]
    pub too_late: Vec<TooLate>,
    /// The aggregator's own verdict; absent from one that gives none.
    #[serde(default)]
    pub balanced: Option<bool>,
}

/// Events of one lane that one view did not take, because they were older than its retention when they came.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TooLate {
    pub view: String,
    pub lane: u64,
    /// From where to where the batches with such events go.
    pub first_seq: u64,
    pub last_seq: u64,
    pub count: u64,
}

/// One lane's line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Lane {
    pub lane: u64,
    pub agent: String,
    pub stream: String,
    pub epoch: u64,
    pub mark: u64,
    pub valid: u64,
    pub dead: u64,
    /// In seq order.
    pub dropped: Vec<Dropped>,
    /// Of `dead`: letters that nobody will replay, as so many of the seqs of a range.
    #[serde(default)]
    pub dead_given_up: Vec<Dropped>,
    /// Of `dead`: letters that can be replayed; absent from an aggregator that does not say.
    #[serde(default)]
    pub dead_open: Option<u64>,
    /// Beyond the mark; `None` when the agent has not reported.
    #[serde(default)]
    pub held: Option<u64>,
    /// Dropped beyond the mark, on its way to the ledger.
    #[serde(default)]
    pub unreported_drops: Option<u64>,
    #[serde(default)]
    pub reported_at: Option<String>,
}

/// A run of dropped seqs, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Dropped {
    pub from: u64,
    pub to: u64,
    pub reason: String,
    pub count: u64,
}

/// The sums over all lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct Totals {
    pub produced: u64,
    pub valid: u64,
    pub dead: u64,
    pub dropped: u64,
}

impl Lane {
    /// The lane in words, as people name it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.agent, self.stream, self.epoch)
    }

    /// Events with a line in the ledger of drops; `None` when that does not fit a number.
    #[must_use]
    pub fn dropped_events(&self) -> Option<u64> {
        self.dropped
            .iter()
            .try_fold(0u64, |sum, run| sum.checked_add(run.count))
    }
}
