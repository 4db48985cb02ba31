//! `GET /metrics/views`: the newest closed window of every view as OpenMetrics text, for Prometheus.
//!
//! One gauge has all values: `tributary_view_value{view="by_site",column="n",site="north"}`. Its labels are the view's key
//! columns, with `_` for what a label's name may not have; only numbers and booleans (1 and 0) are given. A view
//! gives at most [`SERIES_OF_A_VIEW`] series; the rows that are left out are counted, as are rows whose labels do not tell
//! them from others.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use tributary_shared::metrics::CONTENT_TYPE;
use tributary_shared::time::Millis;

use super::{ApiError, ApiState};
use crate::view::{Column, ColumnType, Scalar};
use crate::window::{ClosedWindow, WindowRow};

/// Series that one view may give, and all views together.
const SERIES_OF_A_VIEW: usize = 1_000;
const SERIES: usize = 20_000;
/// Characters of a label's value; a longer one is cut.
const LABEL: usize = 128;
/// Labels that are ours.
const TAKEN: [&str; 2] = ["view", "column"];

pub fn configure(service: &mut web::ServiceConfig) {
    service.route("/metrics/views", web::get().to(exposition));
}

async fn exposition(state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    let mut text = Exposition::default();
    for view in state.engine.views().await? {
        let values = numbers(&view.columns, &view.keys);
        let limit = rows_of(values.len(), text.series);
        let closed = state
            .engine
            .newest_closed(view.name.clone(), limit.max(1))
            .await?;
        if let Some(closed) = closed {
            text.view(&view.name, &view.keys, &closed, limit);
        }
    }
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, CONTENT_TYPE))
        .body(text.finish()))
}

/// How many rows of so many values fit.
fn rows_of(values: usize, series: usize) -> usize {
    let room = SERIES_OF_A_VIEW.min(SERIES.saturating_sub(series));
    room / values.max(1)
}

/// The columns whose values can be numbers and that are no keys.
fn numbers(columns: &[Column], keys: &[String]) -> Vec<usize> {
    let number = |column: &Column| {
        matches!(
            column.kind,
            ColumnType::Integer | ColumnType::Number | ColumnType::Boolean | ColumnType::Any
        ) && !keys.contains(&column.name)
    };
    (0..columns.len()).filter(|at| number(&columns[*at])).collect()
}

/// The text as it grows, a family of metrics at a time.
#[derive(Debug, Default)]
struct Exposition {
    values: String,
    windows: String,
    rows: String,
    left_out: String,
    completeness: String,
    series: usize,
}

impl Exposition {
    fn view(&mut self, name: &str, keys: &[String], closed: &ClosedWindow, limit: usize) {
        let labels = labels(&closed.columns, keys);
        let mut seen = BTreeSet::new();
        for row in closed.rows.iter().take(limit) {
            let labels = labels_of(row, &labels);
            if seen.insert(labels.clone()) {
                self.row(name, &labels, row, &numbers(&closed.columns, keys));
            }
        }
        let view = escaped(name);
        // writing to a string does not fail
        let _ = writeln!(self.rows, "tributary_view_rows{{view=\"{view}\"}} {}", closed.all);
        let left_out = closed.all - seen.len();
        let _ = writeln!(
            self.left_out,
            "tributary_view_rows_left_out{{view=\"{view}\"}} {left_out}"
        );
        if let Some(row) = closed.rows.first() {
            let completeness = row.completeness;
            let _ = writeln!(
                self.completeness,
                "tributary_view_completeness{{view=\"{view}\"}} {completeness}"
            );
            if let Some(end) = row.window_end {
                self.window(&view, end);
            }
        }
    }

    fn window(&mut self, view: &str, end: Millis) {
        let end = end as f64 / 1_000.0;
        let _ = writeln!(
            self.windows,
            "tributary_view_window_end_seconds{{view=\"{view}\"}} {end}"
        );
    }

    fn row(&mut self, view: &str, labels: &str, row: &WindowRow, numbers: &[usize]) {
        for at in numbers {
            let value = match &row.values[*at] {
                Scalar::Int(value) => value.to_string(),
                Scalar::Float(value) => format!("{value:?}"),
                Scalar::Bool(value) => u8::from(*value).to_string(),
                Scalar::Null | Scalar::Text(_) | Scalar::Time(_) => continue,
            };
            let (view, column) = (escaped(view), escaped(&row.columns[*at].name));
            let _ = writeln!(
                self.values,
                "tributary_view_value{{view=\"{view}\",column=\"{column}\"{labels}}} {value}"
            );
            self.series += 1;
        }
    }

    fn finish(self) -> String {
        let mut text = String::new();
        for (name, help, samples) in [
            (
                "tributary_view_value",
                "Number of a view's newest closed window, by view, column and the view's keys",
                self.values,
            ),
            (
                "tributary_view_window_end_seconds",
                "End of that window, Unix time",
                self.windows,
            ),
            ("tributary_view_rows", "Rows of that window", self.rows),
            (
                "tributary_view_rows_left_out",
                "Rows of that window that are not exposed, because they are too many or not told apart by their labels",
                self.left_out,
            ),
            (
                "tributary_view_completeness",
                "How far that window is reported by those who are expected to, 0 to 1",
                self.completeness,
            ),
        ] {
            let _ = write!(text, "# TYPE {name} gauge\n# HELP {name} {help}\n{samples}");
        }
        text.push_str("# EOF\n");
        text
    }
}

/// The names of a view's labels, and where their values are.
fn labels(columns: &[Column], keys: &[String]) -> Vec<(String, usize)> {
    let mut all: Vec<(String, usize)> = Vec::new();
    for (at, column) in columns.iter().enumerate() {
        if !keys.contains(&column.name) {
            continue;
        }
        let clean = label_name(&column.name);
        let mut name = clean.clone();
        let mut number = 2;
        while all.iter().any(|(known, _)| *known == name) {
            name = format!("{clean}_{number}");
            number += 1;
        }
        all.push((name, at));
    }
    all
}

/// A column's name as the exposition format allows a label's: letters, digits and `_`, no digit first, no `__` first.
fn label_name(column: &str) -> String {
    let clean = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter
        } else {
            '_'
        }
    };
    let name: String = column.chars().map(clean).collect();
    let digit = name.starts_with(|first: char| first.is_ascii_digit());
    if name.is_empty() || digit || name.starts_with("__") || TAKEN.contains(&name.as_str()) {
        return format!("key_{name}");
    }
    name
}

/// `,site="north",line="3"`.
fn labels_of(row: &WindowRow, labels: &[(String, usize)]) -> String {
    let mut text = String::new();
    for (name, at) in labels {
        let value = match &row.values[*at] {
            // an empty label is none at all
            Scalar::Null => continue,
            Scalar::Text(text) => text.to_string(),
            Scalar::Bool(value) => value.to_string(),
            Scalar::Int(value) => value.to_string(),
            Scalar::Float(value) => format!("{value:?}"),
            Scalar::Time(value) => tributary_shared::time::to_rfc3339(*value),
        };
        let short: String = value.chars().take(LABEL).collect();
        let _ = write!(text, ",{name}=\"{}\"", escaped(&short));
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn column(name: &str, kind: ColumnType) -> Column {
        Column {
            name: name.to_owned(),
            kind,
            error: None,
        }
    }

    fn closed(rows: Vec<Vec<Scalar>>) -> ClosedWindow {
        let columns: Arc<[Column]> = Arc::new([
            column("view", ColumnType::Text),
            column("1st", ColumnType::Integer),
            column("n", ColumnType::Integer),
            column("mean", ColumnType::Number),
            column("last", ColumnType::Text),
            column("ok", ColumnType::Boolean),
        ]);
        let all = rows.len();
        let rows = rows.into_iter().map(|values| WindowRow {
            columns: Arc::clone(&columns),
            values,
            window_start: Some(0),
            window_end: Some(60_500),
            ..crate::window::WindowRow::default()
        });
        ClosedWindow {
            rows: rows.collect(),
            columns,
            all,
        }
    }

    fn row(site: Scalar, number: i64, n: Scalar) -> Vec<Scalar> {
        vec![
            site,
            Scalar::Int(number),
            n,
            Scalar::Float(0.5),
            "text".into(),
            Scalar::Bool(true),
        ]
    }

    const KEYS: [&str; 2] = ["view", "1st"];

    fn keys() -> Vec<String> {
        KEYS.map(str::to_owned).to_vec()
    }

    #[test]
    fn numbers_are_exposed_under_labels_that_the_format_allows() {
        let mut text = Exposition::default();
        let rows = vec![
            row("no\"rth\\\n".into(), 1, Scalar::Int(7)),
            row(Scalar::Null, 2, Scalar::Null),
        ];
        text.view("by_site", &keys(), &closed(rows), 10);
        let text = text.finish();
        for line in [
            r#"tributary_view_value{view="by_site",column="n",key_view="no\"rth\\\n",key_1st="1"} 7"#,
            r#"tributary_view_value{view="by_site",column="mean",key_view="no\"rth\\\n",key_1st="1"} 0.5"#,
            r#"tributary_view_value{view="by_site",column="ok",key_1st="2"} 1"#,
            r#"tributary_view_window_end_seconds{view="by_site"} 60.5"#,
            r#"tributary_view_rows{view="by_site"} 2"#,
            r#"tributary_view_rows_left_out{view="by_site"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(
            !text.contains("column=\"last\"") && !text.contains("column=\"n\",key_1st"),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn rows_beyond_the_bound_or_with_equal_labels_are_counted() {
        let mut text = Exposition::default();
        let same = |n| row("a".into(), 1, Scalar::Int(n));
        let rows = vec![
            same(1),
            same(2),
            row("b".into(), 1, Scalar::Int(3)),
            row("c".into(), 1, Scalar::Int(4)),
        ];
        text.view("v", &keys(), &closed(rows), 3);
        assert_eq!(text.series, 6, "two rows of three numbers");
        let text = text.finish();
        assert!(
            text.contains("tributary_view_rows_left_out{view=\"v\"} 2\n"),
            "{text}"
        );
        assert_eq!(rows_of(3, 0), 333);
        assert_eq!(rows_of(3, SERIES), 0);
    }
}
