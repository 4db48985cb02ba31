//! The promise `conservation`, checked over a ledger. Pure: nothing that the aggregator added up is believed.

use std::collections::BTreeSet;

use super::messages::{Dropped, Lane, Ledger, Totals};

/// Everything that does not add up, in words; empty when the books balance.
#[must_use]
pub fn violations(ledger: &Ledger) -> Vec<String> {
    let mut found = Vec::new();
    let (mut numbers, mut names) = (BTreeSet::new(), BTreeSet::new());
    for lane in &ledger.lanes {
        if !numbers.insert(lane.lane) {
            found.push(format!("two lanes have the number {}", lane.lane));
        }
        if !names.insert(lane.name()) {
            found.push(format!("{} has two lines", lane.name()));
        }
        found.extend(
            drops(lane)
                .into_iter()
                .chain(conservation(lane))
                .chain(letters(lane)),
        );
    }
    found.extend(totals(ledger));
    found.extend(
        ledger
            .violations
            .iter()
            .map(|what| format!("the aggregator reports: {what}")),
    );
    if found.is_empty() && ledger.balanced == Some(false) {
        found.push("the aggregator reports that its books do not balance".to_owned());
    }
    found
}

/// mark = valid + dead + dropped.
fn conservation(lane: &Lane) -> Option<String> {
    let dropped = lane.dropped_events();
    let sum = dropped.and_then(|dropped| dropped.checked_add(lane.valid)?.checked_add(lane.dead));
    if sum == Some(lane.mark) {
        return None;
    }
    let Lane {
        mark, valid, dead, ..
    } = lane;
    let dropped = dropped.map_or_else(|| "more than can be counted".to_owned(), |n| n.to_string());
    Some(format!(
        "{}: the mark is {mark}, but {valid} valid + {dead} dead + {dropped} dropped do not add up to it",
        lane.name()
    ))
}

/// Every dead event has a letter that can be replayed, or is counted by a line that says why not.
fn letters(lane: &Lane) -> Vec<String> {
    let Some(open) = lane.dead_open else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut sum = Some(open);
    for Dropped {
        from,
        to,
        reason,
        count,
    } in &lane.dead_given_up
    {
        sum = sum.and_then(|sum| sum.checked_add(*count));
        let spans = to
            .checked_sub(*from)
            .is_some_and(|gap| *count >= 1 && *count - 1 <= gap);
        if *from == 0 || !spans || *to > lane.mark {
            let name = lane.name();
            found.push(format!(
                "{name}: {count} dead letters ({reason}) cannot lie within {from} to {to}"
            ));
        }
    }
    if sum != Some(lane.dead) {
        let (name, dead) = (lane.name(), lane.dead);
        let sum = sum.map_or_else(|| "more than can be counted".to_owned(), |sum| sum.to_string());
        found.push(format!(
            "{name}: {dead} are dead, but letters and lines account for {sum}"
        ));
    }
    found
}

/// Runs of dropped seqs are real ranges within the mark, count what they span, and do not overlap.
fn drops(lane: &Lane) -> Vec<String> {
    let mut found = Vec::new();
    let mut before: Option<&Dropped> = None;
    let mut runs: Vec<&Dropped> = lane.dropped.iter().collect();
    runs.sort_by_key(|run| (run.from, run.to));
    for run in runs {
        let Dropped {
            from,
            to,
            reason,
            count,
        } = run;
        let mut wrong = |what: String| {
            found.push(format!(
                "{}: dropped {from} to {to} ({reason}) {what}",
                lane.name()
            ));
        };
        if *from == 0 || to < from {
            wrong("is no range of seqs".to_owned());
            continue;
        }
        // from is at least 1, so the span fits
        let span = to - from + 1;
        if span != *count {
            wrong(format!("spans {span} seqs and counts {count}"));
        }
        if *to > lane.mark {
            wrong(format!("reaches beyond the mark {}", lane.mark));
        }
        if let Some(before) = before.filter(|before| *from <= before.to) {
            wrong(format!(
                "overlaps {} to {} ({})",
                before.from, before.to, before.reason
            ));
        }
        if before.is_none_or(|before| before.to < *to) {
            before = Some(run);
        }
    }
    found
}

/// The totals are the sums of the lanes.
fn totals(ledger: &Ledger) -> Vec<String> {
    let sum = |of: fn(&Lane) -> Option<u64>| {
        ledger
            .lanes
            .iter()
            .try_fold(0u64, |sum, lane| sum.checked_add(of(lane)?))
    };
    let Totals {
        produced,
        valid,
        dead,
        dropped,
    } = ledger.totals;
    let lines = [
        ("produced", produced, sum(|lane| Some(lane.mark))),
        ("valid", valid, sum(|lane| Some(lane.valid))),
        ("dead", dead, sum(|lane| Some(lane.dead))),
        ("dropped", dropped, sum(Lane::dropped_events)),
    ];
    let wrong = lines.into_iter().filter(|(_, told, sum)| *sum != Some(*told));
    wrong
        .map(|(name, told, sum)| {
            let sum = sum.map_or_else(|| "more than can be counted".to_owned(), |sum| sum.to_string());
            format!("totals: {told} {name} are told, the lanes add up to {sum}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(from: u64, to: u64, count: u64) -> Dropped {
        let reason = "drop_oldest".to_owned();
        Dropped {
            from,
            to,
            reason,
            count,
        }
    }

    fn lane(no: u64, valid: u64, dead: u64, dropped: Vec<Dropped>) -> Lane {
        let gone: u64 = dropped.iter().map(|run| run.count).sum();
        Lane {
            lane: no,
            agent: "a".to_owned(),
            stream: "s".to_owned(),
            epoch: no,
            mark: valid + dead + gone,
            valid,
            dead,
            dead_given_up: Vec::new(),
            dead_open: Some(dead),
            dropped,
            held: None,
            unreported_drops: None,
            reported_at: None,
        }
    }

    fn ledger(lanes: Vec<Lane>) -> Ledger {
        let mut totals = Totals::default();
        for lane in &lanes {
            totals.produced += lane.mark;
            totals.valid += lane.valid;
            totals.dead += lane.dead;
            totals.dropped += lane.dropped_events().expect("small");
        }
        Ledger {
            too_late: Vec::new(),
            lanes,
            totals,
            violations: Vec::new(),
            balanced: Some(true),
        }
    }

    fn good() -> Ledger {
        ledger(vec![
            lane(1, 90, 2, vec![run(3, 6, 4), run(7, 9, 3)]),
            lane(2, 0, 0, vec![]),
        ])
    }

    /// Spoils a good ledger, and returns what is found wrong with it.
    fn spoiled(spoil: impl FnOnce(&mut Ledger)) -> String {
        let mut ledger = good();
        spoil(&mut ledger);
        let found = violations(&ledger);
        assert!(!found.is_empty(), "{ledger:?}");
        found.join("\n")
    }

    #[test]
    fn conservation_holds_for_a_good_ledger() {
        assert_eq!(violations(&good()), Vec::<String>::new());
        assert_eq!(violations(&ledger(vec![])), Vec::<String>::new());
    }

    #[test]
    fn conservation_broken_by_a_missing_or_a_doubled_event_is_found() {
        for valid in [89, 91] {
            let found = spoiled(|ledger| {
                ledger.lanes[0].valid = valid;
                ledger.totals.valid = valid;
            });
            assert!(found.starts_with("a/s/1: the mark is 99"), "{found}");
        }
        let found = spoiled(|ledger| {
            ledger.lanes[0].dropped.pop();
            ledger.totals.dropped -= 3;
        });
        assert!(found.contains("4 dropped do not add up"), "{found}");
    }

    #[test]
    fn drops_that_overlap_or_lie_outside_or_miscount_are_found() {
        // the sums stay right: only the ranges are wrong
        let overlap = spoiled(|ledger| ledger.lanes[0].dropped[1] = run(6, 8, 3));
        assert!(overlap.contains("overlaps 3 to 6"), "{overlap}");
        let within = spoiled(|ledger| ledger.lanes[0].dropped = vec![run(10, 15, 6), run(12, 12, 1)]);
        assert!(within.contains("overlaps 10 to 15"), "{within}");
        let beyond = spoiled(|ledger| ledger.lanes[0].dropped[1] = run(98, 100, 3));
        assert!(beyond.contains("beyond the mark 99"), "{beyond}");
        let count = spoiled(|ledger| ledger.lanes[0].dropped[1] = run(7, 10, 3));
        assert!(count.contains("spans 4 seqs and counts 3"), "{count}");
        for none in [run(0, 2, 3), run(9, 7, 3)] {
            let found = spoiled(|ledger| ledger.lanes[0].dropped[1] = none);
            assert!(found.contains("is no range"), "{found}");
        }
    }

    #[test]
    fn dead_letters_without_a_line_are_found() {
        let lost = spoiled(|ledger| ledger.lanes[0].dead_open = Some(1));
        assert!(
            lost.contains("2 are dead, but letters and lines account for 1"),
            "{lost}"
        );
        let outside = spoiled(|ledger| {
            ledger.lanes[0].dead_open = Some(0);
            ledger.lanes[0].dead_given_up = vec![run(98, 100, 2)];
        });
        assert!(outside.contains("cannot lie within 98 to 100"), "{outside}");
        let mut named = good();
        named.lanes[0].dead_open = Some(0);
        // two of the seqs from 1 to 50: drops lie between them
        named.lanes[0].dead_given_up = vec![run(1, 50, 2)];
        assert_eq!(violations(&named), Vec::<String>::new());
    }

    #[test]
    fn totals_that_are_not_the_sums_are_found() {
        let found = spoiled(|ledger| ledger.totals.produced += 1);
        assert_eq!(found, "totals: 100 produced are told, the lanes add up to 99");
    }

    #[test]
    fn a_lane_with_two_lines_is_found() {
        let found = spoiled(|ledger| {
            let again = ledger.lanes[1].clone();
            ledger.lanes.push(again);
        });
        assert!(found.contains("two lanes have the number 2") && found.contains("a/s/2 has two lines"));
    }

    #[test]
    fn what_the_aggregator_reports_is_told() {
        let found = spoiled(|ledger| {
            ledger.balanced = Some(false);
            ledger.violations.push("lane 1 is odd".to_owned());
        });
        assert_eq!(found, "the aggregator reports: lane 1 is odd");
        let found = spoiled(|ledger| ledger.balanced = Some(false));
        assert!(found.contains("do not balance"));
    }

    #[test]
    fn numbers_that_cannot_be_are_no_panic() {
        let found = spoiled(|ledger| {
            ledger.lanes[0].valid = u64::MAX;
            ledger.lanes[0].dropped = vec![run(1, u64::MAX, u64::MAX), run(2, 3, u64::MAX)];
        });
        assert!(found.contains("more than can be counted"), "{found}");
    }
}
