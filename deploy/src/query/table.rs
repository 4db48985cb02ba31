//! An answer as a table of text that fits a terminal. Pure.

use std::fmt::Write as _;

use serde_json::Value;

/// Between two columns.
const GAP: usize = 2;
/// The narrowest that a column is made so that others fit.
const MIN_WIDTH: usize = 6;

/// The answer's rows below its columns' names. With a `width`, no line is longer: cells are cut (`…`), and columns that
/// have no room at all are left out and counted in a last line.
pub fn table(answer: &Value, width: Option<usize>) -> String {
    let columns = list(&answer["columns"]);
    let rows = list(&answer["rows"]);
    let names: Vec<String> = columns
        .iter()
        .map(|column| clean(column["name"].as_str().unwrap_or_default()))
        .collect();
    let lines: Vec<Vec<String>> = rows
        .iter()
        .map(|row| list(row).iter().map(cell).collect())
        .collect();
    let natural: Vec<usize> = names
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let cells = lines.iter().filter_map(|line| line.get(at)).map(|cell| len(cell));
            cells.chain([len(name), 1]).max().unwrap_or(1)
        })
        .collect();
    let widths = width.map_or_else(|| natural.clone(), |width| fitted(&natural, width));
    let right: Vec<bool> = columns
        .iter()
        .map(|column| matches!(column["type"].as_str(), Some("integer" | "number")))
        .collect();
    let mut text = String::new();
    let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
    for line in [&names, &rule].into_iter().chain(&lines) {
        put_line(&mut text, line, &widths, &right);
    }
    let left_out = natural.len() - widths.len();
    if left_out > 0 {
        let names = names[widths.len()..].join(", ");
        let _ = writeln!(text, "{left_out} more columns have no room here: {names}");
    }
    text
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn len(text: &str) -> usize {
    text.chars().count()
}

fn put_line(text: &mut String, line: &[String], widths: &[usize], right: &[bool]) {
    let mut out = String::new();
    for (at, width) in widths.iter().enumerate() {
        let cell = cut(line.get(at).map_or("", String::as_str), *width);
        // writing to a string does not fail
        let _ = if right[at] {
            write!(out, "{cell:>width$}")
        } else {
            write!(out, "{cell:<width$}")
        };
        out.push_str(&" ".repeat(GAP));
    }
    let _ = writeln!(text, "{}", out.trim_end());
}

fn cut(text: &str, width: usize) -> String {
    if len(text) <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Widths whose sum fits: the widest columns give first. Columns at the end that fit in no way have none.
fn fitted(natural: &[usize], width: usize) -> Vec<usize> {
    let mut widths = natural.to_vec();
    loop {
        let all: usize = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        if all <= width || widths.len() <= 1 {
            if let [only] = widths.as_mut_slice() {
                *only = (*only).min(width.max(1));
            }
            return widths;
        }
        match widths.iter().copied().max() {
            Some(widest) if widest > MIN_WIDTH => {
                // as much as brings it down to the next, or to what fits
                let next = widths.iter().copied().filter(|other| *other < widest).max();
                let floor = next.unwrap_or(0).max(MIN_WIDTH);
                let equals = widths.iter().filter(|other| **other == widest).count();
                let give = (widest - floor).min((all - width).div_ceil(equals)).max(1);
                widths
                    .iter_mut()
                    .filter(|other| **other == widest)
                    .for_each(|other| *other -= give);
            }
            _ => {
                widths.pop();
            }
        }
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => clean(text),
        other => other.to_string(),
    }
}

/// What a text of an event does to a terminal is not the event's to say.
fn clean(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { '·' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer() -> Value {
        json!({
            "columns": [
                { "name": "window_start", "type": "timestamp" },
                { "name": "n", "type": "integer" },
                { "name": "note", "type": "text" },
            ],
            "rows": [
                ["2026-01-31T12:00:00.000Z", 7, "a long note that goes on and on"],
                ["2026-01-31T12:01:00.000Z", 12345, null],
                ["2026-01-31T12:02:00.000Z", 1, "\u{1b}[31mred\n"],
            ],
        })
    }

    #[test]
    fn a_table_without_a_width_is_as_wide_as_it_must_be() {
        assert_eq!(
            table(&answer(), None),
            "window_start                  n  note\n\
             ────────────────────────  ─────  ───────────────────────────────\n\
             2026-01-31T12:00:00.000Z      7  a long note that goes on and on\n\
             2026-01-31T12:01:00.000Z  12345  -\n\
             2026-01-31T12:02:00.000Z      1  ·[31mred·\n"
        );
    }

    #[test]
    fn every_line_fits_the_terminal() {
        for width in 8..80 {
            let text = table(&answer(), Some(width));
            let rows = text.lines().filter(|line| !line.contains("no room"));
            for line in rows {
                assert!(len(line) <= width, "{width}: {line:?}");
            }
        }
        let narrow = table(&answer(), Some(45));
        assert!(narrow.contains("a long note that …"), "{narrow}");
        let narrower = table(&answer(), Some(12));
        assert!(
            narrower.ends_with("2 more columns have no room here: n, note\n"),
            "{narrower}"
        );
    }

    #[test]
    fn an_answer_without_rows_shows_its_columns() {
        let empty = json!({ "columns": [{ "name": "n", "type": "integer" }], "rows": [] });
        assert_eq!(table(&empty, Some(80)), "n\n─\n");
    }
}
