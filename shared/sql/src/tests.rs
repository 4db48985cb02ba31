//! What is accepted, and what is refused where.

use super::{ColumnType, ViewError, ViewPlan, WindowKind};

fn refused(sql: &str) -> ViewError {
    match ViewPlan::compile("v", sql) {
        Ok(_) => panic!("{sql} was accepted"),
        Err(error) => error,
    }
}

/// The SELECT list and clauses around the usual FROM.
fn select(list: &str, rest: &str) -> String {
    format!("SELECT {list} FROM TUMBLE(readings, ts, INTERVAL '1 minute') {rest}")
}

#[test]
fn the_usual_spellings_are_accepted() {
    let accepted = [
        ("window_start, count(*)", ""),
        (
            "WINDOW_START, site, count(*) AS n",
            "GROUP BY window_start, window_end, site;",
        ),
        ("site AS place, count(*) AS n", "GROUP BY place"),
        ("lower(site) AS site, count(*) AS n", "GROUP BY 1"),
        (
            "a + 1 AS b, sum(x) / count(*) AS mean, round(avg(x), 2) AS r",
            "GROUP BY a + 1",
        ),
        (
            "count(*) AS n",
            "WHERE a BETWEEN 1 AND 2 AND NOT (b IN ('x', 'y') OR c IS NOT NULL) AND -d < 3",
        ),
        (
            "sum(CASE WHEN ok THEN 1 ELSE 0 END) AS n",
            "WHERE name LIKE 'a%' AND name NOT ILIKE '%B' AND ok IS TRUE",
        ),
        (
            "max(x::double precision) AS m, min(CAST(y AS text)) AS t",
            "WHERE at > TIMESTAMP '2026-01-01T00:00:00Z'",
        ),
        ("\"a.b\" AS ab, coalesce(max(x), 0) AS m", "GROUP BY \"a.b\""),
    ];
    for (list, rest) in accepted {
        let sql = select(list, rest);
        if let Err(error) = ViewPlan::compile("v", &sql) {
            panic!("{sql}: {error}");
        }
    }
    let sql = "SELECT count(*) FROM TUMBLE(\"plant-7.readings\", \"event.at\", INTERVAL '10' SECOND)";
    let plan = ViewPlan::compile("v", sql).expect("quoted names");
    assert_eq!(plan.stream().as_str(), "plant-7.readings");
    assert_eq!(
        *plan.window(),
        WindowKind::Tumble {
            size: 10_000,
            zone: None
        }
    );
}

#[test]
fn columns_have_names_and_types() {
    let sql = select(
        "window_start, site, count(*), sum(x) AS s, max(x) AS m, count(*) > 5 AS many",
        "GROUP BY site",
    );
    let plan = ViewPlan::compile("v", &sql).expect("compiles");
    let columns: Vec<_> = plan.columns().iter().map(|c| (c.name.as_str(), c.kind)).collect();
    let expected = [
        ("window_start", ColumnType::Timestamp),
        ("site", ColumnType::Any),
        ("count", ColumnType::Integer),
        ("s", ColumnType::Number),
        ("m", ColumnType::Any),
        ("many", ColumnType::Boolean),
    ];
    assert_eq!(columns, expected);
}

/// Each case: SQL, the text at which the mistake stands (its last occurrence), and a part of what is said.
fn check<'a>(cases: impl IntoIterator<Item = (String, &'a str, &'a str)>) {
    let mut wrong = Vec::new();
    for (sql, mistake, says) in cases {
        let error = refused(&sql);
        let at = sql
            .rfind(mistake)
            .unwrap_or_else(|| panic!("{mistake} is not in {sql}"));
        let line = sql[..at].matches('\n').count() as u64 + 1;
        let column = (at - sql[..at].rfind('\n').map_or(0, |end| end + 1)) as u64 + 1;
        if (error.line, error.column) != (line, column) || !error.to_string().contains(says) {
            wrong.push(format!(
                "{sql}: {error}, expected line {line}, column {column}, {says:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn mistakes_in_expressions_are_named_with_their_place() {
    let cases = [
        ("site, count(*)", "", "site", "GROUP BY"),
        (
            "count(*) AS n,\n site || 'x' AS y",
            "GROUP BY site",
            "site ||",
            "operator ||",
        ),
        (
            "approx_percentile(x, 0.99) AS p",
            "",
            "approx_percentile",
            "later version",
        ),
        (
            "count(*) AS n,\n  approx_distinct(d) AS p",
            "",
            "approx_distinct",
            "later version",
        ),
        ("count(DISTINCT d) AS n", "", "count", "approx_distinct"),
        ("sum(avg(x)) AS n", "", "avg", "nested"),
        ("sum(x) OVER () AS n", "", "sum", "OVER"),
        ("sum(x) FILTER (WHERE x > 1) AS n", "", "x > 1", "CASE WHEN"),
        ("frobnicate(x) AS n", "", "frobnicate", "no function"),
        ("sum(*) AS n", "", "sum", "one argument"),
        ("round(x, 1, 2) AS n", "", "round", "3 arguments"),
        ("sum('a') AS n", "", "'a'", "numbers"),
        ("count(*) + 'a' AS n", "", "'a'", "not a number"),
        ("count(*) AS n, sum(x) AS n", "", "n FROM", "two columns"),
        ("count(*) AS final", "", "final", "another name"),
        ("count(*) AS window_end", "", "window_end", "another name"),
        ("count(*) + 1", "", "count", "AS name"),
        ("*", "", "*", "SELECT *"),
        ("window_start", "", "SELECT", "aggregate"),
        ("count(*) AS n", "\nWHERE a + 1", "a + 1", "not a condition"),
        ("count(*) AS n", "\nWHERE count(*) > 1", "count(*) > 1", "WHERE"),
        (
            "count(*) AS n",
            "\nWHERE window_start > 1",
            "window_start",
            "from=",
        ),
        ("count(*) AS n", "\nWHERE a IN (b)", "b)", "IN with"),
        ("count(*) AS n", "\nWHERE a = (SELECT 1)", "SELECT 1", "subquery"),
        ("count(*) AS n", "GROUP BY 7", "7", "position 7"),
        ("count(*) AS n", "GROUP BY 1", "count", "GROUP BY"),
        ("count(*) AS n", "HAVING count(*) > 1", "count(*) > 1", "HAVING"),
        ("count(*) AS n", "ORDER BY n", "n", "ORDER BY"),
        ("DISTINCT count(*) AS n", "", "SELECT", "DISTINCT"),
        ("count(*) AS n", "GROUP BY a.b", "a.b", "object"),
        ("max(x::interval) AS n", "", "x::interval", "cast"),
    ];
    check(cases.map(|(list, rest, mistake, says)| (select(list, rest), mistake, says)));
}

#[test]
fn mistakes_in_from_are_named_with_their_place() {
    let cases = [
        (
            "HOP(readings, ts, INTERVAL '5 minutes', INTERVAL '1 minute')",
            "'5 minutes'",
            "slide comes first",
        ),
        (
            "HOP(readings, ts, INTERVAL '1 ms', INTERVAL '1 minute')",
            "'1 ms'",
            "60000 panes, more than 1440",
        ),
        (
            "HOP(readings, ts, INTERVAL '7 s', INTERVAL '1 day')",
            "'7 s'",
            "86400 panes",
        ),
        ("HOP(readings, ts, INTERVAL '1 minute')", "HOP", "4 arguments"),
        (
            "HOP(readings, ts, INTERVAL '-1 s', INTERVAL '1 minute')",
            "'-1 s'",
            "longer than nothing",
        ),
        ("SESSION(readings, ts)", "SESSION", "SESSION(stream, ts, gap)"),
        (
            "SESSION(readings, ts, INTERVAL '1 day', 'Europe/Berlin')",
            "SESSION",
            "here are 4",
        ),
        (
            "TUMBLE(readings, ts, INTERVAL '1 hour', 'Europe/Berlin')",
            "'Europe/Berlin'",
            "whole days",
        ),
        (
            "HOP(readings, ts, INTERVAL '1 hour', INTERVAL '1 day', 'Europe/Berlin')",
            "'Europe/Berlin'",
            "slide is none",
        ),
        (
            "TUMBLE(readings, ts, INTERVAL '1 day', 'Europe/Berlim')",
            "'Europe/Berlim'",
            "did you mean 'Europe/Berlin'",
        ),
        (
            "TUMBLE(readings, ts, INTERVAL '1 day', 5)",
            "5)",
            "the name of a time zone",
        ),
        ("a.readings", "a.readings", "quote"),
        (
            "SLIDE(readings, ts, INTERVAL '1 minute')",
            "SLIDE",
            "no window function",
        ),
        ("TUMBLE(readings, ts)", "TUMBLE", "3 arguments"),
        ("TUMBLE(a.b, ts, INTERVAL '1 minute')", "a.b", "quote"),
        (
            "TUMBLE('readings', ts, INTERVAL '1 minute')",
            "'readings'",
            "must be a name",
        ),
        (
            "TUMBLE(\"a b\", ts, INTERVAL '1 minute')",
            "\"a b\"",
            "not a stream",
        ),
        ("TUMBLE(readings, ts, 60)", "60", "interval"),
        (
            "TUMBLE(readings, ts, INTERVAL '0 seconds')",
            "'0",
            "longer than nothing",
        ),
        ("TUMBLE(readings, ts, INTERVAL '1 month')", "'1", "use days"),
        (
            "TUMBLE(readings, ts, INTERVAL '10000 days')",
            "'10000",
            "366 days",
        ),
        (
            "TUMBLE(readings, ts, INTERVAL '1 minute'), b",
            "b",
            "exactly one stream",
        ),
    ];
    check(cases.map(|(from, mistake, says)| (format!("SELECT count(*)\n FROM {from}"), mistake, says)));
}

#[test]
fn unreadable_sql_is_refused_with_its_place() {
    let cases = [
        (" ; ", "", (1, 1)),
        ("DELETE FROM x", "", (1, 1)),
        ("SELEC x", "", (1, 1)),
        ("SELECT count(*)\nFROM TUMBLE(a, b,", "EOF", (2, 18)),
        ("SELECT 'open", "", (1, 8)),
        ("SELECT 1; SELECT 2", "one SELECT", (1, 11)),
        ("SELECT 1 UNION SELECT 2", "one plain SELECT", (1, 1)),
    ];
    for (sql, says, place) in cases {
        let error = refused(sql);
        assert_eq!((error.line, error.column), place, "{sql}: {error}");
        assert!(error.to_string().contains(says), "{sql}: {error}");
    }
    for clause in ["LIMIT 5", "GROUP BY ROLLUP (a)", "FOR UPDATE"] {
        let error = refused(&select("count(*) AS n", clause));
        assert!(error.line == 1 && error.column > 0, "{clause}: {error}");
    }
    for sql in [
        "SELECT count(*) FROM FROM",
        "SELECT count(*) FROM (SELECT 1)",
        "SELECT count(*) FROM TUMBLE(a, b) JOIN c ON true",
    ] {
        assert!(refused(sql).column > 15, "{sql}");
    }
}

#[test]
fn oversized_sql_is_refused_without_harm() {
    let chain = format!("SELECT count(*) FROM t WHERE {}a", "a AND ".repeat(2_000));
    let nested = format!("SELECT {}1{}", "(".repeat(200), ")".repeat(200));
    for (sql, says) in [
        (" ".repeat(20_000), "bytes"),
        (chain, "too long"),
        (nested, "nested too deeply"),
    ] {
        let error = refused(&sql);
        assert!(error.to_string().contains(says), "{error}");
    }
    // the longest chains that are let in do not exhaust the stack
    for link in [" AND a", " + 1", " || a", "::int", " IS NULL"] {
        for sql in [
            select("count(*) AS n", &format!("WHERE a{}", link.repeat(460))),
            select(
                &format!("a{} AS k, count(*) AS n", link.repeat(460)),
                "GROUP BY 1",
            ),
            select(
                "count(*) AS n",
                &format!("GROUP BY ROLLUP (a{})", link.repeat(460)),
            ),
        ] {
            assert!(refused(&sql).line == 1, "{link}");
        }
    }
    assert!(
        ViewPlan::compile(
            "v",
            &select("count(*)", &format!("WHERE a{}", " AND a".repeat(50)))
        )
        .is_ok()
    );
}

#[test]
fn names_of_views_are_checked() {
    for name in ["", "a b", "a/b", ".a"] {
        assert!(
            ViewPlan::compile(name, &select("count(*)", "")).is_err(),
            "{name:?}"
        );
    }
}
