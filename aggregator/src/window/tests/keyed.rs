//! Reading by the values of keys finds what looking at every row finds.

use serde_json::{Value, json};

use super::{Bench, Event, Layout, event, record_batch, view};
use crate::window::{WindowQuery, WindowRow};

fn asked(bench: &Bench, filters: &[(&str, &str)]) -> Vec<WindowRow> {
    let filters = filters
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let query = WindowQuery {
        limit: usize::MAX,
        filters: filters.collect(),
        ..WindowQuery::default()
    };
    bench.engine.windows("v0", &query).expect("is read").rows
}

#[test]
fn filters_on_keys_find_the_same_rows_as_a_look_at_all() {
    let sql = view("x, y, count(*) AS n", "GROUP BY x, y");
    let mut bench = Bench::new(&[&sql]);
    let xs = [
        json!(5),
        json!(5.0),
        json!(-0.5),
        json!("5"),
        json!("a"),
        json!(true),
        json!(null),
        json!(9_007_199_254_740_993_i64),
    ];
    let ys = [json!("north"), json!("south"), json!(1), json!(null)];
    for minute in 0..6 {
        let one = |i: usize| (xs[i % xs.len()].clone(), ys[i / xs.len() % ys.len()].clone());
        // not every window has every group
        let events: Vec<Event> = (0..32)
            .filter(|i| (i + minute) % 3 > 0)
            .map(one)
            .map(|(x, y): (Value, Value)| event(minute as i64 * 60_000, json!({"x": x, "y": y})))
            .collect();
        bench.commit(1, 400_000, &record_batch(&events, Layout::Schemaless));
    }
    let all = asked(&bench, &[]);
    assert!(all.len() > 100);
    let texts = [
        "5",
        "5.0",
        "-0.5",
        "a",
        "true",
        "null",
        "",
        "9007199254740993",
        "9007199254740992",
        "north",
        "1",
        "nowhere",
    ];
    for x in texts {
        let of_x = |row: &&WindowRow| row.value("x").expect("there").matches_text(x);
        let expected: Vec<WindowRow> = all.iter().filter(of_x).cloned().collect();
        assert_eq!(asked(&bench, &[("x", x)]), expected, "x={x:?}");
        for y in texts {
            let expected: Vec<WindowRow> = expected
                .iter()
                .filter(|row| row.value("y").expect("there").matches_text(y))
                .cloned()
                .collect();
            assert_eq!(asked(&bench, &[("x", x), ("y", y)]), expected, "x={x:?} y={y:?}");
        }
    }
    // either of two values, and a value that is not wanted
    let either = asked(&bench, &[("x", "5"), ("x", "a"), ("y.ne", "south")]);
    let expected: Vec<WindowRow> = all
        .iter()
        .filter(|row| {
            ["5", "a"]
                .iter()
                .any(|x| row.value("x").expect("there").matches_text(x))
        })
        .filter(|row| !row.value("y").expect("there").matches_text("south"))
        .cloned()
        .collect();
    assert!(!expected.is_empty());
    assert_eq!(either, expected);
}
