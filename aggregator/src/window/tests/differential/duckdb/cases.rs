//! Random rows and views of what DuckDB has and SQLite lacks, with what an answer may differ by.

use serde_json::json;
use tributary_shared::time::{Millis, to_rfc3339};

use super::super::cases::{Both, Case, MINUTE, Row, START, View, Windows, both, form, rows, same};
use super::super::choice::Choice;
use super::expressions::{condition, number, text, time};

const HOUR: Millis = 60 * MINUTE;
const DAY: Millis = 24 * HOUR;
/// Committed after which rows that one time has are told apart: there are fewer rows in a case.
const ORDER: &str = "(ms * 100000 + arrived)";

/// Zones, and a moment in which their clocks change, at midnight in some; or a day that is left out. Events lie around it.
const CLOCKS: [(&str, Millis); 11] = [
    ("Europe/Berlin", 1_774_746_000_000),
    ("Europe/Berlin", 1_792_890_000_000),
    ("America/New_York", 1_772_953_200_000),
    ("America/New_York", 1_793_512_800_000),
    ("Australia/Lord_Howe", 1_791_041_400_000),
    ("Africa/Cairo", 1_776_981_600_000),
    ("America/Havana", 1_762_059_600_000),
    ("America/Sao_Paulo", 1_541_300_400_000),
    ("Pacific/Apia", 1_325_239_200_000),
    ("Asia/Kathmandu", 1_779_992_100_000),
    ("UTC", 1_779_926_400_000),
];

/// How an amount is compared, and what DuckDB's column has for it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// The same.
    Exact,
    /// A variance or a deviation.
    Spread,
    /// `count(DISTINCT x)`: exact up to a bound.
    Distinct,
    /// `approx_distinct(x)`, against the exact number.
    ApproxDistinct,
    /// Against the value of that rank, and how many values there are.
    Percentile,
    /// Against how often each value is there.
    Top,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Spread => "spread",
            Self::Distinct => "distinct",
            Self::ApproxDistinct => "approx_distinct",
            Self::Percentile => "percentile",
            Self::Top => "top",
        }
    }
}

#[derive(Debug)]
pub(super) struct DuckCase {
    pub case: Case,
    pub keys: usize,
    pub kinds: Vec<Kind>,
}

impl DuckCase {
    pub fn new(choice: &mut Choice) -> Self {
        match choice.within(0, 19) {
            // many rows, so that sketches are no longer exact
            0 | 1 => Self::many(choice),
            2..=5 => Self::in_zone(choice),
            6..=9 => Self::rolled_up(choice),
            _ => Self::few(choice),
        }
    }

    fn few(choice: &mut Choice) -> Self {
        let count = choice.within(1, 60);
        let rows = some(choice, count, START);
        let windows = match choice.within(0, 4) {
            0 | 1 => Windows::Tumble(MINUTE),
            2 => Windows::Hop {
                slide: 20_000,
                size: MINUTE,
            },
            3 => Windows::Session(15_000),
            _ => Windows::None,
        };
        let (view, kinds) = view(choice, windows != Windows::None, 5, amount);
        Self::of(rows, &view, kinds, windows, START)
    }

    fn many(choice: &mut Choice) -> Self {
        let count = choice.within(500, 5_000);
        let rows = some(choice, count, START);
        let windows = [Windows::Tumble(HOUR), Windows::Tumble(4 * HOUR), Windows::None][choice.within(0, 2)];
        let (mut view, kinds) = view(choice, false, 8, sketch);
        view.keys.truncate(1);
        if !choice.one_in(3) {
            view.keys.clear();
        }
        if windows != Windows::None && choice.one_in(2) {
            return Self::over(
                rows,
                &view,
                kinds,
                Windows::Tumble(HOUR / 4),
                Windows::Tumble(2 * HOUR),
            );
        }
        Self::of(rows, &view, kinds, windows, START)
    }

    /// Days around a change of the clocks.
    fn in_zone(choice: &mut Choice) -> Self {
        let (zone, around) = CLOCKS[choice.within(0, CLOCKS.len() - 1)];
        let count = choice.within(1, 60);
        let mut rows = some(choice, count, around);
        for row in &mut rows {
            let step = [1, 1_000, HOUR / 2][choice.within(0, 2)];
            row.at = around + choice.signed(-2 * DAY / step, 2 * DAY / step) * step;
            row.json["ts"] = json!(to_rfc3339(row.at));
        }
        // a window that would begin in a day that there is not is a matter of definition
        let size = if zone == "Pacific/Apia" {
            1
        } else {
            [1, 1, 1, 2, 7][choice.within(0, 4)]
        };
        let windows = Windows::Days { zone, size, around };
        if size == 1 && choice.one_in(3) {
            let (view, kinds) = view(choice, false, 3, amount);
            let source = Windows::Tumble(HOUR / 4);
            return Self::over(rows, &view, kinds, source, windows);
        }
        let (view, kinds) = view(choice, false, 3, amount);
        Self::of(rows, &view, kinds, windows, around)
    }

    /// Minutes that are merged to hours, against the hours of the rows themselves.
    fn rolled_up(choice: &mut Choice) -> Self {
        let count = choice.within(1, 60);
        let rows = some(choice, count, START);
        let (view, kinds) = view(choice, false, 5, amount);
        let to = match choice.within(0, 2) {
            0 => Windows::Hop {
                slide: 5 * MINUTE,
                size: 10 * MINUTE,
            },
            1 => Windows::Tumble(2 * MINUTE),
            _ => Windows::Tumble(HOUR),
        };
        Self::over(rows, &view, kinds, Windows::Tumble(MINUTE), to)
    }

    fn of(rows: Vec<Row>, view: &View, kinds: Vec<Kind>, windows: Windows, around: Millis) -> Self {
        let (ours, theirs) = view.write(windows);
        Self {
            case: Case {
                rows,
                now: around + 3 * DAY,
                ours,
                over: None,
                theirs,
            },
            keys: view.keys.len(),
            kinds,
        }
    }

    fn over(rows: Vec<Row>, view: &View, kinds: Vec<Kind>, source: Windows, to: Windows) -> Self {
        let around = if let Windows::Days { around, .. } = to {
            around
        } else {
            START
        };
        let mut direct = Self::of(rows, view, kinds, to, around);
        let over = View {
            condition: None,
            keys: (0..view.keys.len()).map(|at| same(format!("g{at}"))).collect(),
            amounts: (0..view.amounts.len())
                .map(|at| same(format!("merge(a{at})")))
                .collect(),
            having: None,
        };
        let over = over.write(to).0.replace("(readings, ts,", "(v0, window_start,");
        direct.case.ours = view.write(source).0;
        direct.case.over = Some(over);
        direct
    }
}

/// Rows with two more columns: integers and numbers of many magnitudes.
fn some(choice: &mut Choice, count: usize, start: Millis) -> Vec<Row> {
    let mut rows = rows(choice, count, start);
    let span = [20, 3_000, 20_000, 100_000][choice.within(0, 3)];
    let decades = choice.signed(0, 12);
    for row in &mut rows {
        if !choice.one_in(8) {
            // the small ones are there more often
            let wide = choice.signed(0, span) * choice.signed(0, span) / span;
            row.json["wide"] = json!(wide);
        }
        if !choice.one_in(8) {
            let magnitude = 2_f64.powi(choice.signed(-decades, decades) as i32);
            let sign = if choice.one_in(5) { -1.0 } else { 1.0 };
            row.json["v"] = json!(sign * magnitude * (1.0 + choice.signed(0, 1_000) as f64 / 1_000.0));
        }
    }
    rows
}

type Amount = fn(&mut Choice) -> (Both, Kind);

/// A view with the kinds of its amounts. Rates are per second of a window, and are not rolled up.
fn view(choice: &mut Choice, rates: bool, most: usize, amount: Amount) -> (View, Vec<Kind>) {
    let keys = match choice.within(0, 5) {
        0 => Vec::new(),
        1 => vec![same("d")],
        2 => vec![same("k"), same("b")],
        3 => vec![text(choice)],
        4 => vec![time(choice), same("k")],
        _ => vec![both("s ~ '^a'", "regexp_matches(s, '^a')")],
    };
    let mut amounts = vec![(same("count(*)"), Kind::Exact)];
    for _ in 0..choice.within(1, most) {
        amounts.push(amount(choice));
    }
    if rates && choice.one_in(4) {
        amounts.push((both("rate(*)", "count(*) * 1000.0 / (e - w)"), Kind::Exact));
    }
    let (amounts, kinds) = amounts.into_iter().unzip();
    let view = View {
        condition: choice.one_in(3).then(|| condition(choice)),
        keys,
        amounts,
        having: (rates && choice.one_in(4))
            .then(|| filtered(choice, "count(*)", "count(*)"))
            .map(|n| form(("#1 <> 1", "#1 <> 1"), &[n])),
    };
    (view, kinds)
}

/// An aggregate, often with a FILTER.
fn filtered(choice: &mut Choice, ours: &str, theirs: &str) -> Both {
    let plain = both(ours, theirs);
    if choice.one_in(2) {
        return plain;
    }
    let filter = "#1 FILTER (WHERE #2)";
    let condition = condition(choice);
    form((filter, filter), &[plain, condition])
}

fn amount(choice: &mut Choice) -> (Both, Kind) {
    let filtered = |choice: &mut Choice, name: &str, theirs: &str, of: &Both| {
        let (ours, theirs) = (format!("{name}({})", of.ours), theirs.replace("#x", &of.theirs));
        (filtered(choice, &ours, &theirs), Kind::Exact)
    };
    match choice.within(0, 9) {
        0 => {
            let name = choice.of(&["sum", "avg", "min", "max", "count"]);
            let of = number(choice);
            filtered(choice, name, &format!("{name}(#x)"), &of)
        }
        1 | 2 => {
            let spread = [
                "stddev",
                "stddev_samp",
                "stddev_pop",
                "variance",
                "var_samp",
                "var_pop",
            ];
            let (name, of) = (choice.of(&spread), number(choice));
            (
                filtered(choice, name, &format!("{name}(#x)"), &of).0,
                Kind::Spread,
            )
        }
        3 | 4 => {
            let (name, theirs) = if choice.one_in(2) {
                ("first", "arg_min")
            } else {
                ("last", "arg_max")
            };
            let of = match choice.within(0, 2) {
                0 => text(choice),
                1 => number(choice),
                _ => time(choice),
            };
            filtered(choice, name, &format!("{theirs}(#x, {ORDER})"), &of)
        }
        5 => {
            let (name, of) = (choice.of(&["bool_and", "bool_or"]), condition(choice));
            filtered(choice, name, &format!("{name}(#x)"), &of)
        }
        6 => {
            let name = choice.of(&["min", "max", "count"]);
            let of = if choice.one_in(2) {
                text(choice)
            } else {
                time(choice)
            };
            filtered(choice, name, &format!("{name}(#x)"), &of)
        }
        7 => filtered_increase(choice),
        _ => sketch(choice),
    }
}

/// From sample to sample in event time; a counter that falls began anew.
fn filtered_increase(choice: &mut Choice) -> (Both, Kind) {
    let condition = condition(choice);
    let samples = format!(
        "list(abs(i) ORDER BY {ORDER}) FILTER (WHERE i IS NOT NULL AND {})",
        condition.theirs
    );
    let theirs = format!(
        "CASE WHEN {samples} IS NOT NULL THEN coalesce(list_sum(list_transform(range(2, len({samples}) + 1), lambda j:
         CASE WHEN ({samples})[j] >= ({samples})[j - 1] THEN ({samples})[j] - ({samples})[j - 1] ELSE ({samples})[j] END)), 0)
         END"
    );
    let ours = format!("increase(abs(i)) FILTER (WHERE {})", condition.ours);
    (both(ours, theirs), Kind::Exact)
}

/// What is approximate when there are many values.
fn sketch(choice: &mut Choice) -> (Both, Kind) {
    let filter = condition(choice);
    let filter = if choice.one_in(4) { filter } else { same("true") };
    match choice.within(0, 3) {
        0 => {
            let of = choice.of(&["wide", "wide", "v", "s"]);
            let distinct = form(
                (
                    &format!("count(DISTINCT {of}) FILTER (WHERE #1)"),
                    &format!("count(DISTINCT {of}) FILTER (WHERE #1)"),
                ),
                &[filter],
            );
            (distinct, Kind::Distinct)
        }
        1 => {
            let of = choice.of(&["wide", "v", "v", "s"]);
            let distinct = form(
                (
                    &format!("approx_distinct({of}) FILTER (WHERE #1)"),
                    &format!("count(DISTINCT {of}) FILTER (WHERE #1)"),
                ),
                &[filter],
            );
            (distinct, Kind::ApproxDistinct)
        }
        2 => {
            let q = choice.of(&["0", "0.01", "0.25", "0.5", "0.9", "0.99", "1"]);
            let of = same(choice.of(&["wide", "v", "v", "i"]));
            let ours = format!("approx_percentile(#1, {q}) FILTER (WHERE #2)");
            let there = "FILTER (WHERE #1 IS NOT NULL AND #2)";
            // where `q` of all values lies between two of them, either may be the quantile
            let theirs = format!(
                "{{'exact': (list(#1 ORDER BY #1) {there})[1 + CAST(floor({q}::DOUBLE * (count(*) {there} - 1)) AS BIGINT)],
                  'disc': quantile_disc(#1, {q}) {there}, 'count': count(*) {there}}}"
            );
            (form((&ours, &theirs), &[of, filter]), Kind::Percentile)
        }
        _ => {
            let of = same(choice.of(&["wide", "wide", "s"]));
            let k = choice.within(1, 12);
            let ours = format!("approx_top_k(#1, {k}) FILTER (WHERE #2)");
            let theirs =
                format!("{{'k': {k}, 'counts': histogram(#1) FILTER (WHERE #1 IS NOT NULL AND #2)}}");
            (form((&ours, &theirs), &[of, filter]), Kind::Top)
        }
    }
}

/// The days of a zone as DuckDB knows them, from their first quarter of an hour on.
pub(in super::super) fn days(zone: &str, size: usize, around: Millis) -> String {
    let quarter = HOUR / 4;
    let from = around - around % quarter;
    format!(
        "SELECT w, lead(w, {size}) OVER (ORDER BY w) AS e FROM (
         SELECT min(t) AS w FROM (SELECT {from} + q * {quarter} AS t FROM range(-1200, 1200) AS quarters(q))
         GROUP BY CAST(to_timestamp(t / 1000) AT TIME ZONE '{zone}' AS DATE))"
    )
}
