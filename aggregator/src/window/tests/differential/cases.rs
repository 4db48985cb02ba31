//! Random rows, and random views in our dialect and in SQLite's.
//!
//! Expressions are made with a type each, of what both dialects have. SQLite's table has the event time as `ms`, in
//! Unix milliseconds. Integers are small and floats are quarters, so that sums are exact in any order.

use serde_json::{Value as Json, json};
use tributary_shared::time::{Millis, to_rfc3339};

use super::choice::Choice;
use super::duckdb;

/// An event as it is posted, and its time.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub at: Millis,
    pub json: Json,
}

/// How rows fall into windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Windows {
    Tumble(Millis),
    Hop {
        slide: Millis,
        size: Millis,
    },
    Session(Millis),
    /// Windows of so many days in a time zone, one from each day on. Of DuckDB only: SQLite has no zones.
    Days {
        zone: &'static str,
        size: usize,
        around: Millis,
    },
    None,
}

#[derive(Debug)]
pub(super) struct Case {
    pub rows: Vec<Row>,
    /// When everything is committed.
    pub now: Millis,
    pub ours: String,
    /// A view over the windows of the first, whose rows are looked at instead.
    pub over: Option<String>,
    pub theirs: String,
}

/// An expression in both dialects.
#[derive(Debug, Clone)]
pub(super) struct Both {
    pub ours: String,
    pub theirs: String,
}

pub(super) fn both(ours: impl Into<String>, theirs: impl Into<String>) -> Both {
    Both {
        ours: ours.into(),
        theirs: theirs.into(),
    }
}

pub(super) fn same(text: impl Into<String>) -> Both {
    let text = text.into();
    both(text.clone(), text)
}

/// A form with `#1` and so on for its parts.
pub(super) fn form((ours, theirs): (&str, &str), parts: &[Both]) -> Both {
    let (mut a, mut b) = (ours.to_owned(), theirs.to_owned());
    for (at, part) in parts.iter().enumerate() {
        let place = format!("#{}", at + 1);
        a = a.replace(&place, &part.ours);
        b = b.replace(&place, &part.theirs);
    }
    both(a, b)
}

pub(super) const START: Millis = 1_780_000_000_000;
pub(super) const MINUTE: Millis = 60_000;

impl Case {
    pub fn new(choice: &mut Choice) -> Self {
        let count = choice.within(1, 60);
        let rows = rows(choice, count, START);
        let windows = match choice.within(0, 5) {
            0 | 1 => Windows::Tumble(MINUTE),
            2 => Windows::Hop {
                slide: 20_000,
                size: MINUTE,
            },
            3 => Windows::Hop {
                slide: MINUTE,
                size: 2 * MINUTE,
            },
            4 => Windows::Session(15_000),
            _ => Windows::None,
        };
        let view = View::new(choice);
        let (ours, theirs) = view.write(windows);
        Self {
            rows,
            now: START + 3 * 86_400_000,
            ours,
            over: None,
            theirs,
        }
    }
}

/// Out of order, late by up to three days, with clocks that are wrong, with NULLs and missing fields.
pub(super) fn rows(choice: &mut Choice, count: usize, start: Millis) -> Vec<Row> {
    let mut rows: Vec<Row> = (0..count).map(|at| row(choice, at as i64, start)).collect();
    if choice.one_in(2) {
        choice.shuffle(&mut rows);
    }
    rows
}

fn row(choice: &mut Choice, nth: i64, start: Millis) -> Row {
    let skew = match choice.within(0, 9) {
        // a device that was away
        0 => -choice.signed(0, 3 * 86_400_000 / MINUTE) * MINUTE,
        // a clock that runs ahead
        1 => choice.signed(0, 600_000),
        _ => choice.signed(-20_000, 20_000),
    };
    // whole seconds often, so that events lie on bounds
    let mut at = start + nth * 3_000 + skew;
    if choice.one_in(2) {
        at -= at.rem_euclid(5_000);
    }
    let mut fields = serde_json::Map::new();
    fields.insert("ts".to_owned(), json!(to_rfc3339(at)));
    let texts = ["", "a", "b", "ab", "Ab", " a ", "a-b", "x%y"];
    let values = [
        ("i", json!(choice.signed(-4, 5))),
        ("k", json!(choice.signed(0, 2))),
        ("f", json!(choice.signed(-9, 9) as f64 / 4.0)),
        ("s", json!(choice.of(&texts))),
        ("d", json!(choice.of(&["eu", "us", "a-b"]))),
        ("b", json!(choice.one_in(2))),
        (
            "doc",
            json!({"n": choice.signed(-3, 3), "in": {"t": choice.of(&["x", "y"])}, "l": [1, choice.signed(0, 2)]}),
        ),
    ];
    for (name, value) in values {
        match choice.within(0, 9) {
            0 => {}
            1 => drop(fields.insert(name.to_owned(), Json::Null)),
            _ => drop(fields.insert(name.to_owned(), value)),
        }
    }
    Row {
        at,
        json: Json::Object(fields),
    }
}

fn int(choice: &mut Choice, depth: usize) -> Both {
    if depth == 0 {
        return match choice.within(0, 4) {
            0 | 1 => same("i"),
            2 => same("k"),
            3 => same(format!("({})", choice.signed(-3, 4))),
            _ => both("(doc -> 'n')::bigint", "json_extract(doc, '$.n')"),
        };
    }
    let form_of = match choice.within(0, 15) {
        0 => ("(#1 + #2)", "(#1 + #2)"),
        1 => ("(#1 - #2)", "(#1 - #2)"),
        2 => ("(#1 * #2)", "(#1 * #2)"),
        3 => ("(#1 / #2)", "(#1 / #2)"),
        4 => ("(#1 % #2)", "(#1 % #2)"),
        5 => ("mod(#1, #2)", "(#1 % #2)"),
        6 => ("abs(#1)", "abs(#1)"),
        7 => ("(- #1)", "(- #1)"),
        8 => ("coalesce(#1, #2)", "coalesce(#1, #2)"),
        9 => ("nullif(#1, #2)", "nullif(#1, #2)"),
        10 => ("(#1 & #2)", "(#1 & #2)"),
        11 => ("(#1 | #2)", "(#1 | #2)"),
        12 => {
            let (when, a, b) = (
                condition(choice, depth - 1),
                int(choice, depth - 1),
                int(choice, depth - 1),
            );
            let arms = "CASE WHEN #1 THEN #2 ELSE #3 END";
            return form((arms, arms), &[when, a, b]);
        }
        13 => {
            let text = text(choice, depth - 1);
            return form(("length(#1)", "length(#1)"), &[text]);
        }
        14 => {
            let text = text(choice, depth - 1);
            return form(("strpos(#1, 'b')", "instr(#1, 'b')"), &[text]);
        }
        _ => return both("(doc #>> '{l,1}')::bigint", "json_extract(doc, '$.l[1]')"),
    };
    let parts = [int(choice, depth - 1), int(choice, depth - 1)];
    form(form_of, &parts)
}

fn float(choice: &mut Choice, depth: usize) -> Both {
    if depth == 0 {
        return match choice.within(0, 3) {
            0 => same(["0.5", "(-1.25)", "2.0"][choice.within(0, 2)]),
            _ => same("f"),
        };
    }
    let form_of = match choice.within(0, 10) {
        0 => ("(#1 + #2)", "(#1 + #2)"),
        1 => ("(#1 - #2)", "(#1 - #2)"),
        2 => ("(#1 * #2)", "(#1 * #2)"),
        // of quarters only: halves that a float has no exact value for go either way
        3 => return same("round(f, 1)"),
        4 => ("coalesce(#1, #2)", "coalesce(#1, #2)"),
        5 => ("abs(#1)", "abs(#1)"),
        6 => {
            let whole = int(choice, depth - 1);
            return form(("(#1)::double precision", "CAST(#1 AS REAL)"), &[whole]);
        }
        7 => {
            let (when, a, b) = (
                condition(choice, depth - 1),
                float(choice, depth - 1),
                int(choice, depth - 1),
            );
            return form(
                (
                    "CASE WHEN #1 THEN #2 ELSE #3 END / 2",
                    "CASE WHEN #1 THEN #2 ELSE CAST(#3 AS REAL) END / 2",
                ),
                &[when, a, b],
            );
        }
        8 => {
            return both(
                "extract(minute FROM ts)",
                "CAST(strftime('%M', ms / 1000, 'unixepoch') AS REAL)",
            );
        }
        9 => {
            return both(
                "extract(dow FROM ts)",
                "CAST(strftime('%w', ms / 1000, 'unixepoch') AS REAL)",
            );
        }
        _ => {
            return both(
                "extract(epoch FROM ts - TIMESTAMP '2026-05-01')",
                "(ms / 1000.0 - 1777593600)",
            );
        }
    };
    let parts = [float(choice, depth - 1), float(choice, depth - 1)];
    form(form_of, &parts)
}

fn text(choice: &mut Choice, depth: usize) -> Both {
    if depth == 0 {
        return match choice.within(0, 4) {
            0 => same(["'a'", "''", "'b-c'"][choice.within(0, 2)]),
            1 => same("d"),
            2 => both("doc -> 'in' ->> 't'", "json_extract(doc, '$.in.t')"),
            _ => same("s"),
        };
    }
    let part = text(choice, depth - 1);
    let form_of = match choice.within(0, 12) {
        0 => ("lower(#1)", "lower(#1)"),
        1 => ("upper(#1)", "upper(#1)"),
        2 => ("trim(#1)", "trim(#1)"),
        3 => ("ltrim(#1, 'ab')", "ltrim(#1, 'ab')"),
        4 => ("rtrim(#1, 'b ')", "rtrim(#1, 'b ')"),
        5 => ("replace(#1, 'a', 'cc')", "replace(#1, 'a', 'cc')"),
        6 => ("left(#1, 2)", "substr(#1, 1, 2)"),
        7 => ("substring(#1 FROM 2 FOR 2)", "substr(#1, 2, 2)"),
        8 => ("(#1 || '+')", "(#1 || '+')"),
        9 => ("concat(#1, 'z')", "(coalesce(#1, '') || 'z')"),
        10 => {
            let whole = int(choice, depth - 1);
            return form(("(#1)::text", "CAST(#1 AS TEXT)"), &[whole]);
        }
        11 => {
            let other = text(choice, depth - 1);
            return form(("coalesce(#1, #2)", "coalesce(#1, #2)"), &[part, other]);
        }
        _ => ("nullif(#1, 'a')", "nullif(#1, 'a')"),
    };
    form(form_of, &[part])
}

fn condition(choice: &mut Choice, depth: usize) -> Both {
    let compare = [
        ("=", "="),
        ("<>", "<>"),
        ("<", "<"),
        ("<=", "<="),
        (">", ">"),
        (">=", ">="),
        ("IS DISTINCT FROM", "IS NOT"),
        ("IS NOT DISTINCT FROM", "IS"),
    ];
    if depth == 0 {
        return match choice.within(0, 3) {
            0 => same("b"),
            1 => same("i > 0"),
            2 => same("s = 'a'"),
            _ => both("ts >= TIMESTAMP '2026-05-28T20:27:30Z'", "ms >= 1780000050000"),
        };
    }
    match choice.within(0, 11) {
        kind @ 0..=3 => {
            let (ours, theirs) = compare[choice.within(0, compare.len() - 1)];
            let operand: fn(&mut Choice, usize) -> Both = match kind {
                0 => int,
                1 => float,
                _ => text,
            };
            let parts = [operand(choice, depth - 1), operand(choice, depth - 1)];
            form((&format!("(#1 {ours} #2)"), &format!("(#1 {theirs} #2)")), &parts)
        }
        4 => {
            let parts = [condition(choice, depth - 1), condition(choice, depth - 1)];
            form(("(#1 AND #2)", "(#1 AND #2)"), &parts)
        }
        5 => {
            let parts = [condition(choice, depth - 1), condition(choice, depth - 1)];
            form(("(#1 OR #2)", "(#1 OR #2)"), &parts)
        }
        6 => form(("(NOT #1)", "(NOT #1)"), &[condition(choice, depth - 1)]),
        7 => form(("(#1 IS NULL)", "(#1 IS NULL)"), &[text(choice, depth - 1)]),
        8 => form(
            ("(#1 IN (1, -2, NULL))", "(#1 IN (1, -2, NULL))"),
            &[int(choice, depth - 1)],
        ),
        9 => form(
            ("(#1 BETWEEN -1 AND 2)", "(#1 BETWEEN -1 AND 2)"),
            &[int(choice, depth - 1)],
        ),
        10 => form(
            ("(#1 LIKE '%a_%')", "(#1 LIKE '%a_%')"),
            &[text(choice, depth - 1)],
        ),
        _ => form(
            ("(#1 IS NOT TRUE)", "(#1 IS NOT TRUE)"),
            &[condition(choice, depth - 1)],
        ),
    }
}

/// The parts of a view.
#[derive(Debug)]
pub(super) struct View {
    pub condition: Option<Both>,
    pub keys: Vec<Both>,
    pub amounts: Vec<Both>,
    pub having: Option<Both>,
}

impl View {
    fn new(choice: &mut Choice) -> Self {
        let keys = match choice.within(0, 6) {
            0 => Vec::new(),
            1 => vec![same("d")],
            2 => vec![same("s"), same("k")],
            // with a column: a constant groups nothing
            3 => vec![form(("(#1 + i)", "(#1 + i)"), &[int(choice, 2)])],
            4 => vec![text(choice, 2), same("b")],
            5 => vec![both("date_trunc('hour', ts)", "(ms - ms % 3600000)")],
            _ => vec![float(choice, 1)],
        };
        let count = choice.within(1, 6);
        let mut amounts = vec![same("count(*)")];
        for _ in 0..count {
            amounts.push(amount(choice));
        }
        Self {
            condition: (!choice.one_in(3)).then(|| condition(choice, 3)),
            keys,
            amounts,
            having: choice.one_in(3).then(|| {
                let (a, b) = (amount(choice), choice.within(0, 3));
                form(
                    (
                        &format!("count(*) > {b} OR #1 IS NULL"),
                        &format!("count(*) > {b} OR #1 IS NULL"),
                    ),
                    &[a],
                )
            }),
        }
    }

    /// The view, and the other engine's question.
    pub fn write(&self, windows: Windows) -> (String, String) {
        let number = |items: &[Both], name: &str| -> Vec<String> {
            let named = items.iter().enumerate();
            named
                .map(|(at, item)| format!("{} AS {name}{at}", item.ours))
                .collect()
        };
        let from = match windows {
            Windows::Tumble(size) => format!("TUMBLE(readings, ts, INTERVAL '{size} ms')"),
            Windows::Hop { slide, size } => {
                format!("HOP(readings, ts, INTERVAL '{slide} ms', INTERVAL '{size} ms')")
            }
            Windows::Session(gap) => format!("SESSION(readings, ts, INTERVAL '{gap} ms')"),
            Windows::Days { zone, size: 1, .. } => {
                format!("TUMBLE(readings, ts, INTERVAL '1 day', '{zone}')")
            }
            Windows::Days { zone, size, .. } => {
                format!("HOP(readings, ts, INTERVAL '1 day', INTERVAL '{size} days', '{zone}')")
            }
            Windows::None => "readings".to_owned(),
        };
        let mut list = number(&self.keys, "g");
        list.extend(number(&self.amounts, "a"));
        let clause = |word: &str, item: Option<&String>| {
            item.map_or_else(String::new, |item| format!(" {word} {item}"))
        };
        let group: Vec<String> = (1..=self.keys.len()).map(|at| at.to_string()).collect();
        let group = (!group.is_empty()).then(|| group.join(", "));
        let ours = format!(
            "SELECT {} FROM {from}{}{}{}",
            list.join(", "),
            clause("WHERE", self.condition.as_ref().map(|c| &c.ours)),
            clause("GROUP BY", group.as_ref()),
            clause("HAVING", self.having.as_ref().map(|c| &c.ours)),
        );
        (ours, self.theirs(windows))
    }

    /// The question over the rows with their windows and keys.
    pub fn theirs(&self, windows: Windows) -> String {
        let keys: Vec<String> = (0..self.keys.len()).map(|at| format!("g{at}")).collect();
        let keyed: String = self
            .keys
            .iter()
            .zip(&keys)
            .map(|(key, name)| format!(", {} AS {name}", key.theirs))
            .collect();
        let condition = self.condition.as_ref().map_or("1", |c| &c.theirs);
        let rows = format!("SELECT *{keyed} FROM readings WHERE {condition}");
        let partition = keys.iter().fold(String::new(), |all, key| {
            format!(
                "{all}{}{key}",
                if all.is_empty() { "PARTITION BY " } else { ", " }
            )
        });
        let windowed = match windows {
            Windows::Tumble(size) => {
                format!("SELECT *, ms - ms % {size} AS w, ms - ms % {size} + {size} AS e FROM ({rows})")
            }
            Windows::Hop { slide, size } => {
                let hops: Vec<String> = (0..size / slide).map(|hop| format!("SELECT {hop} AS hop")).collect();
                format!(
                    "SELECT *, ms - ms % {slide} - hop * {slide} AS w, ms - ms % {slide} - hop * {slide} + {size} AS e
                     FROM ({rows}), ({})",
                    hops.join(" UNION ALL ")
                )
            }
            Windows::Session(gap) => format!(
                "SELECT *, min(ms) OVER (PARTITION BY {list} nth) AS w, max(ms) OVER (PARTITION BY {list} nth) + {gap} AS e
                 FROM (SELECT *, sum(fresh) OVER ({partition} ORDER BY ms) AS nth
                 FROM (SELECT *, CASE WHEN ms - lag(ms) OVER ({partition} ORDER BY ms) < {gap} THEN 0 ELSE 1 END AS fresh
                 FROM ({rows})))",
                list = keys.iter().map(|key| format!("{key}, ")).collect::<String>()
            ),
            Windows::Days { zone, size, around } => {
                let days = duckdb::days(zone, size, around);
                format!("SELECT * FROM ({rows}) JOIN ({days}) ON ms >= w AND ms < e")
            }
            Windows::None => format!("SELECT *, NULL AS w, NULL AS e FROM ({rows})"),
        };
        let list: String = keys.iter().map(|key| format!(", {key}")).collect();
        let amounts: Vec<&str> = self.amounts.iter().map(|amount| amount.theirs.as_str()).collect();
        let having = self.having.as_ref().map_or("1", |having| &having.theirs);
        format!(
            "SELECT w, e{list}, {} FROM ({windowed}) GROUP BY w, e{list} HAVING count(*) > 0 AND ({having})",
            amounts.join(", ")
        )
    }
}

fn amount(choice: &mut Choice) -> Both {
    match choice.within(0, 8) {
        0 => form(("count(#1)", "count(#1)"), &[text(choice, 1)]),
        1 => form(("sum(#1)", "sum(#1)"), &[int(choice, 2)]),
        2 => form(("sum(#1)", "sum(#1)"), &[float(choice, 1)]),
        3 => form(("avg(#1)", "avg(#1)"), &[int(choice, 1)]),
        4 => form(("min(#1)", "min(#1)"), &[float(choice, 2)]),
        5 => form(("max(#1)", "max(#1)"), &[text(choice, 2)]),
        6 => form(("min(#1)", "min(#1)"), &[int(choice, 2)]),
        7 => {
            let parts = [condition(choice, 2), int(choice, 1)];
            let arms = "sum(CASE WHEN #1 THEN #2 END)";
            form((arms, arms), &parts)
        }
        _ => form(
            (
                "coalesce(sum(#1), 0) + count(*) * 2",
                "coalesce(sum(#1), 0) + count(*) * 2",
            ),
            &[int(choice, 1)],
        ),
    }
}
