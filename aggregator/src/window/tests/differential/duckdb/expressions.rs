//! Expressions of what DuckDB has: regular expressions, parts of times.

use super::super::cases::{Both, both, form, same};
use super::super::choice::Choice;

pub(super) fn number(choice: &mut Choice) -> Both {
    let parts = [same("i"), same("k"), same("f")];
    match choice.within(0, 9) {
        0 | 1 => same("i"),
        2 | 3 => same("f"),
        4 => same("(i * k + 2)"),
        5 => form(
            (
                "CASE WHEN #4 THEN #1 ELSE #2 END",
                "CASE WHEN #4 THEN #1 ELSE #2 END",
            ),
            &[parts.as_slice(), &[condition(choice)]].concat(),
        ),
        6 => both("regexp_count(s, '[ab]')", "len(regexp_extract_all(s, '[ab]'))"),
        7 => both("(i / 2)", "(i // 2)"),
        8 => part(choice),
        _ => same("coalesce(f, i, 0.5)"),
    }
}

/// A part of a time.
fn part(choice: &mut Choice) -> Both {
    let units = [
        "millisecond",
        "minute",
        "hour",
        "day",
        "dow",
        "isodow",
        "doy",
        "week",
        "month",
        "quarter",
        "year",
        "isoyear",
        "epoch",
        "decade",
        "century",
        "millennium",
    ];
    same(format!("extract({} FROM ts)", choice.of(&units)))
}

/// A time, in Unix milliseconds.
pub(super) fn time(choice: &mut Choice) -> Both {
    let units = [
        "second", "minute", "hour", "day", "week", "month", "quarter", "year", "decade",
    ];
    let unit = choice.of(&units);
    both(
        format!("date_trunc('{unit}', ts)"),
        format!("epoch_ms(date_trunc('{unit}', ts))"),
    )
}

pub(super) fn text(choice: &mut Choice) -> Both {
    match choice.within(0, 6) {
        0 => same("s"),
        1 => same("d"),
        2 => both(
            r"regexp_replace(s, '([ab])(.?)', '<\2\1>')",
            r"regexp_replace(s, '([ab])(.?)', '<\2\1>')",
        ),
        3 => both(
            "regexp_replace(s, '[a-b]', 'z', 'g')",
            "regexp_replace(s, '[a-b]', 'z', 'g')",
        ),
        4 => both(
            "regexp_substr(s, '[^a]+$')",
            "CASE WHEN regexp_matches(s, '[^a]+$') THEN regexp_extract(s, '[^a]+$') END",
        ),
        5 => same("concat_ws('/', d, s)"),
        _ => same("split_part(d, '-', 2)"),
    }
}

pub(super) fn condition(choice: &mut Choice) -> Both {
    let matches = |ours: &str, pattern: &str| {
        let text = both("s", "s");
        let (flag, not) = (
            if ours.ends_with('*') { ", 'i'" } else { "" },
            if ours.starts_with('!') { "NOT " } else { "" },
        );
        form(
            (
                &format!("(#1 {ours} '{pattern}')"),
                &format!("({not}regexp_matches(#1, '{pattern}'{flag}))"),
            ),
            &[text],
        )
    };
    match choice.within(0, 8) {
        0 => same("b"),
        1 => same("(i > 0)"),
        2 => same("(f IS NULL OR k = 1)"),
        3 => same("(NOT (b AND i < 2))"),
        4 | 5 => {
            let patterns = ["a", "^[ab]+$", "b$", "(a|x).", r"\w-\w", r"^\s", "^$", "a{1,2}b?"];
            let operator = choice.of(&["~", "~*", "!~", "!~*"]);
            matches(operator, choice.of(&patterns))
        }
        6 => {
            let (unit, than) = (choice.of(&["minute", "hour", "doy"]), choice.within(0, 40));
            same(format!("(extract({unit} FROM ts) > {than})"))
        }
        7 => same("(s ILIKE 'a%')"),
        _ => same("(d IN ('eu', NULL))"),
    }
}
