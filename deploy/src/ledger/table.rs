//! The ledger as text for people. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::messages::{Dropped, Lane, Ledger, TooLate};

const HEAD: [&str; 8] = [
    "lane",
    "agent/stream/epoch",
    "mark",
    "valid",
    "dead",
    "dropped",
    "held",
    "reported",
];
/// The first columns are text.
const LEFT: [usize; 2] = [1, 7];

/// Tables of lanes, sums and drops by reason, then the verdict.
#[must_use]
pub fn render(ledger: &Ledger, violations: &[String]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(ledger.lanes.iter().map(row));
    rows.push(sums(ledger));
    let mut text = align(&rows);
    for (title, reasons) in [
        ("dropped, by reason", by_reason(ledger, |lane| &lane.dropped)),
        (
            "dead and given up, by reason",
            by_reason(ledger, |lane| &lane.dead_given_up),
        ),
    ] {
        if reasons.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n{title}");
        let lines: Vec<[String; 3]> = reasons
            .into_iter()
            .map(|(reason, (events, lanes))| {
                let lanes = format!("in {lanes} lane{}", if lanes == 1 { "" } else { "s" });
                [events.to_string(), reason.to_owned(), lanes]
            })
            .collect();
        let width = lines.iter().map(|line| line[0].len()).max().unwrap_or(0);
        for [events, reason, lanes] in &lines {
            let _ = writeln!(text, "  {events:>width$}  {reason}, {lanes}");
        }
    }
    text.push_str(&too_late(ledger));
    text.push('\n');
    if violations.is_empty() {
        text.push_str("The books balance: mark = valid + dead + dropped for every lane.");
    } else {
        let _ = write!(text, "THE BOOKS DO NOT BALANCE ({}):", violations.len());
        for violation in violations {
            let _ = write!(text, "\n  {violation}");
        }
    }
    text
}

/// What views did not take is in the books as valid all the same.
fn too_late(ledger: &Ledger) -> String {
    if ledger.too_late.is_empty() {
        return String::new();
    }
    let mut text = "\ntoo late for a view\n".to_owned();
    for line in &ledger.too_late {
        let TooLate {
            view,
            lane,
            first_seq,
            last_seq,
            count,
        } = line;
        let known = ledger.lanes.iter().find(|known| known.lane == *lane);
        let lane = known.map_or_else(|| format!("lane {lane}"), Lane::name);
        let _ = writeln!(
            text,
            "  {count}  {view}: {lane}, within {first_seq} to {last_seq}"
        );
    }
    text
}

fn row(lane: &Lane) -> [String; 8] {
    let dropped = lane
        .dropped_events()
        .map_or_else(|| "overflow".to_owned(), |events| events.to_string());
    let held = match (lane.held, lane.unreported_drops) {
        (None, _) => "?".to_owned(),
        (Some(held), None | Some(0)) => held.to_string(),
        (Some(held), Some(drops)) => format!("{held} (+{drops} dropped)"),
    };
    [
        lane.lane.to_string(),
        lane.name(),
        lane.mark.to_string(),
        lane.valid.to_string(),
        lane.dead.to_string(),
        dropped,
        held,
        lane.reported_at.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}

fn sums(ledger: &Ledger) -> [String; 8] {
    let totals = ledger.totals;
    let held: Vec<u64> = ledger.lanes.iter().filter_map(|lane| lane.held).collect();
    let unknown = if held.len() < ledger.lanes.len() { "+?" } else { "" };
    let held = held.iter().fold(0u64, |sum, held| sum.saturating_add(*held));
    [
        "all".to_owned(),
        format!("{} lanes", ledger.lanes.len()),
        totals.produced.to_string(),
        totals.valid.to_string(),
        totals.dead.to_string(),
        totals.dropped.to_string(),
        format!("{held}{unknown}"),
        String::new(),
    ]
}

/// Events and lanes of each reason.
fn by_reason(ledger: &Ledger, runs: fn(&Lane) -> &Vec<Dropped>) -> BTreeMap<&str, (u64, usize)> {
    let mut reasons: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
    for lane in &ledger.lanes {
        let mut own: BTreeMap<&str, u64> = BTreeMap::new();
        for run in runs(lane) {
            let sum = own.entry(&run.reason).or_default();
            *sum = sum.saturating_add(run.count);
        }
        for (reason, events) in own {
            let sum = reasons.entry(reason).or_default();
            *sum = (sum.0.saturating_add(events), sum.1 + 1);
        }
    }
    reasons
}

fn align(rows: &[[String; 8]]) -> String {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            let width = widths[at];
            let _ = if LEFT.contains(&at) {
                write!(line, "{cell:<width$}  ")
            } else {
                write!(line, "{cell:>width$}  ")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::messages::Totals;
    use super::*;

    #[test]
    fn lanes_sums_reasons_and_the_verdict_are_shown() {
        let run = |from, to, reason: &str| Dropped {
            from,
            to,
            reason: reason.to_owned(),
            count: to - from + 1,
        };
        let lane = |lane, held, drops| Lane {
            lane,
            agent: "press-7".to_owned(),
            stream: "readings".to_owned(),
            epoch: 9,
            mark: 1_000,
            valid: 980,
            dead: 5,
            dead_given_up: Vec::new(),
            dead_open: Some(5),
            dropped: vec![run(1, 10, "drop_oldest"), run(20, 24, "forgotten_by_aggregator")],
            held,
            unreported_drops: drops,
            reported_at: None,
        };
        let totals = Totals {
            produced: 2_000,
            valid: 1_960,
            dead: 10,
            dropped: 30,
        };
        let ledger = Ledger {
            too_late: Vec::new(),
            lanes: vec![lane(1, Some(7), Some(3)), lane(2, None, None)],
            totals,
            violations: Vec::new(),
            balanced: Some(true),
        };
        let text = render(&ledger, &[]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[1],
            "   1  press-7/readings/9  1000    980     5       15  7 (+3 dropped)  -"
        );
        assert!(lines[2].contains(" ? "), "{text}");
        assert!(
            lines[3].starts_with(" all  2 lanes             2000   1960    10       30"),
            "{text}"
        );
        assert!(lines[3].ends_with("7+?"), "{text}");
        assert!(
            text.contains("\n  20  drop_oldest, in 2 lanes\n  10  forgotten_by_aggregator, in 2 lanes\n")
        );
        assert!(text.ends_with("for every lane."));
        let text = render(&ledger, &["a/s/1: odd".to_owned()]);
        assert!(text.ends_with("THE BOOKS DO NOT BALANCE (1):\n  a/s/1: odd"));
    }
}
