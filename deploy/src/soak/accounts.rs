//! What was posted, and whether what was counted fits it. Pure.
//!
//! Each request's events carry the request's number. A request that was answered with 200 counts whole, less
//! what the ledger names; one whose answer was lost counts whole or not at all.

use std::collections::BTreeMap;

use tributary_shared::ids::{AgentId, Epoch, SeqRange};

/// Where the events of a request are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub agent: AgentId,
    pub epoch: Epoch,
    pub range: SeqRange,
}

/// One request whose fate matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub events: u64,
    /// Where the intake said that its events are; `None` when no answer came.
    pub accepted: Option<Place>,
}

/// All requests by number.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    pub requests: BTreeMap<u64, Request>,
    /// Requests that were certainly not taken, and posted again.
    pub retried: u64,
    /// Of those, because the spool was full.
    pub full: u64,
    /// How long answers of 200 took, in ms.
    pub answer_ms: Vec<u32>,
}

impl Accounts {
    pub fn merge(&mut self, other: Self) {
        self.requests.extend(other.requests);
        self.retried += other.retried;
        self.full += other.full;
        self.answer_ms.extend(other.answer_ms);
    }

    #[must_use]
    pub fn accepted(&self) -> (u64, u64) {
        let accepted = self
            .requests
            .values()
            .filter(|request| request.accepted.is_some());
        accepted.fold((0, 0), |(requests, events), request| {
            (requests + 1, events + request.events)
        })
    }
}

/// What the view counted of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    pub events: u64,
    /// The sum of the events' places in their request: with the count, each was counted once.
    pub places: u64,
}

/// A lane of the soak's stream, as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    pub agent: AgentId,
    pub epoch: Epoch,
    pub mark: u64,
    pub valid: u64,
    pub dead: u64,
    /// Ranges and how many events of each are meant.
    pub dropped: Vec<(SeqRange, u64)>,
}

impl Lane {
    /// `conservation`: everything up to the mark is valid, dead or dropped.
    fn balances(&self) -> bool {
        self.mark == self.valid + self.dead + self.dropped.iter().map(|(_, count)| count).sum::<u64>()
    }
}

/// One promise, and what contradicts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub promise: &'static str,
    /// Cases that were looked at: a check of nothing proves nothing.
    pub looked_at: u64,
    pub wrong: u64,
    /// The first of them, for a person.
    pub examples: Vec<String>,
}

/// Examples of a violation that are shown.
const SHOWN: usize = 10;

impl Check {
    fn new(promise: &'static str) -> Self {
        Self {
            promise,
            looked_at: 0,
            wrong: 0,
            examples: Vec::new(),
        }
    }

    fn look(&mut self, right: bool, what: impl FnOnce() -> String) {
        self.looked_at += 1;
        if !right {
            self.wrong += 1;
            if self.examples.len() < SHOWN {
                self.examples.push(what());
            }
        }
    }

    #[must_use]
    pub fn holds(&self) -> bool {
        self.wrong == 0
    }
}

/// Compares what was posted with what was counted and with the ledger.
#[must_use]
pub fn judge(accounts: &Accounts, counted: &BTreeMap<u64, Counted>, lanes: &[Lane]) -> Vec<Check> {
    let mut once = Check::new("every accepted event is counted exactly once or named in the ledger");
    let mut whole = Check::new("a request without an answer is counted whole or not at all");
    let mut invented = Check::new("no event is invented");
    let mut balanced = Check::new("the ledger balances, lane by lane");
    let mut marked = Check::new("every accepted event is at or below the mark of its lane");
    let mut applied = Check::new("the windows have what the ledger calls valid");
    for (number, request) in &accounts.requests {
        let counted = counted.get(number).copied().unwrap_or_default();
        let all = Counted {
            events: request.events,
            places: request.events * request.events.saturating_sub(1) / 2,
        };
        match &request.accepted {
            Some(place) => {
                let lane = lanes
                    .iter()
                    .find(|lane| lane.agent == place.agent && lane.epoch == place.epoch);
                let named = lane.map_or(0, |lane| named(lane, place.range));
                let right = match named {
                    0 => counted == all,
                    named => counted.events + named == request.events,
                };
                once.look(right, || {
                    format!("request {number} {request:?}: {counted:?}, {named} named")
                });
                let mark = lane.map_or(0, |lane| lane.mark);
                marked.look(place.range.last <= mark, || {
                    format!("request {number}: {place:?}, the mark is {mark}")
                });
            }
            None => whole.look(counted == all || counted == Counted::default(), || {
                format!("request {number} {request:?}: {counted:?}")
            }),
        }
    }
    for (number, counted) in counted {
        invented.look(accounts.requests.contains_key(number), || {
            format!("request {number}, which nobody posted: {counted:?}")
        });
    }
    for lane in lanes {
        balanced.look(lane.balances(), || format!("{lane:?}"));
    }
    let valid: u64 = lanes.iter().map(|lane| lane.valid).sum();
    let in_windows: u64 = counted.values().map(|counted| counted.events).sum();
    applied.look(valid == in_windows, || {
        format!("{valid} valid in the ledger, {in_windows} in the windows")
    });
    vec![once, whole, invented, balanced, marked, applied]
}

/// How many events of a range the lane names as dropped.
fn named(lane: &Lane, range: SeqRange) -> u64 {
    let overlap = |(dropped, _): &(SeqRange, u64)| {
        let (first, last) = (dropped.first.max(range.first), dropped.last.min(range.last));
        (last + 1).saturating_sub(first)
    };
    lane.dropped.iter().map(overlap).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent() -> AgentId {
        AgentId::new("a").expect("id")
    }

    fn accepted(first: u64, last: u64) -> Request {
        let place = Place {
            agent: agent(),
            epoch: Epoch(1),
            range: SeqRange { first, last },
        };
        Request {
            events: last + 1 - first,
            accepted: Some(place),
        }
    }

    /// Requests 1 (seqs 1 to 10) and 2 (21 to 30) are accepted; 3 (ten events) is not answered.
    fn accounts() -> Accounts {
        let unanswered = Request {
            events: 10,
            accepted: None,
        };
        Accounts {
            requests: [(1, accepted(1, 10)), (2, accepted(21, 30)), (3, unanswered)].into(),
            ..Accounts::default()
        }
    }

    fn lane(mark: u64, valid: u64, dropped: &[(u64, u64)]) -> Lane {
        let dropped = dropped
            .iter()
            .map(|&(first, last)| (SeqRange { first, last }, last + 1 - first));
        Lane {
            agent: agent(),
            epoch: Epoch(1),
            mark,
            valid,
            dead: 0,
            dropped: dropped.collect(),
        }
    }

    const ALL: Counted = Counted {
        events: 10,
        places: 45,
    };

    /// The promises that do not hold.
    fn broken(counted: &[(u64, Counted)], lane: Lane) -> Vec<&'static str> {
        let checks = judge(&accounts(), &counted.iter().copied().collect(), &[lane]);
        assert!(
            checks
                .iter()
                .all(|check| check.holds() == check.examples.is_empty())
        );
        let broken = checks.iter().filter(|check| !check.holds());
        broken.map(|check| check.promise).collect()
    }

    #[test]
    fn what_fits_is_right_with_and_without_the_request_that_was_not_answered() {
        assert_eq!(
            broken(&[(1, ALL), (2, ALL), (3, ALL)], lane(30, 30, &[])),
            [""; 0]
        );
        let dropped = lane(30, 15, &[(11, 25)]);
        let half = Counted {
            events: 5,
            places: 35,
        };
        assert_eq!(broken(&[(1, ALL), (2, half)], dropped), [""; 0]);
    }

    #[test]
    fn every_way_to_be_wrong_is_seen() {
        let once = "every accepted event is counted exactly once or named in the ledger";
        let lost = Counted {
            events: 9,
            places: 45,
        };
        assert_eq!(
            broken(&[(1, ALL), (2, lost)], lane(30, 19, &[(11, 20), (11, 11)])),
            [once]
        );
        let swapped = Counted {
            events: 10,
            places: 44,
        };
        let gap = &[(11, 20)];
        assert_eq!(broken(&[(1, ALL), (2, swapped)], lane(30, 20, gap)), [once]);
        assert_eq!(
            broken(&[(1, ALL), (2, ALL), (3, lost)], lane(39, 29, gap)),
            ["a request without an answer is counted whole or not at all"]
        );
        assert_eq!(
            broken(&[(1, ALL), (2, ALL), (9, ALL)], lane(40, 30, gap)),
            ["no event is invented"]
        );
        assert_eq!(
            broken(&[(1, ALL), (2, ALL)], lane(31, 20, gap)),
            ["the ledger balances, lane by lane"]
        );
        assert_eq!(
            broken(&[(1, ALL), (2, ALL)], lane(29, 20, &[(11, 19)])),
            ["every accepted event is at or below the mark of its lane"]
        );
        assert_eq!(
            broken(&[(1, ALL), (2, ALL)], lane(30, 19, &[(11, 20), (11, 11)])),
            ["the windows have what the ledger calls valid"]
        );
    }
}
