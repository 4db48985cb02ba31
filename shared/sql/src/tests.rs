//! What is accepted, and what is refused where.

use std::sync::Arc;

use super::{ColumnType, KnownColumns, StaticKind, ViewError, ViewPlan, WindowKind};

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
        (
            "left(s, i + 1) AS k, sum((i + j) & 3) AS m",
            "GROUP BY left(s, i + 1)",
        ),
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
fn a_rate_needs_the_length_of_a_window() {
    let error = refused("SELECT site, rate(*) AS r FROM readings GROUP BY site");
    assert!(error.message.contains("length of the window"), "{error}");
    assert_eq!((error.line, error.column), (1, 14));
}

#[test]
fn mistakes_in_expressions_are_named_with_their_place() {
    let cases = [
        ("site, count(*)", "", "site", "GROUP BY"),
        (
            "percentile_cont(0.9) WITHIN GROUP (ORDER BY x) AS p",
            "",
            "percentile_cont",
            "approx_percentile(x, 0.9)",
        ),
        ("median(x) AS p", "", "median", "approx_median(x)"),
        ("approx_percentile(x, 99) AS p", "", "99", "from 0 to 1"),
        (
            "approx_percentile(x) AS p",
            "",
            "approx_percentile",
            "two arguments",
        ),
        ("approx_percentile(x, q) AS p", "", "q)", "from 0 to 1"),
        ("approx_top_k(x, 0) AS t", "", "0)", "from 1 to 100"),
        ("sum(DISTINCT d) AS n", "", "sum", "DISTINCT"),
        ("lower(DISTINCT d) AS n", "", "lower", "DISTINCT"),
        ("bool_and('a') AS n", "", "'a'", "conditions"),
        ("count(*) FILTER (WHERE 1) AS n", "", "1)", "not a condition"),
        ("last(x ORDER BY y) AS n", "", "last", "event time"),
        ("sum(avg(x)) AS n", "", "avg", "nested"),
        ("sum(x) OVER () AS n", "", "sum", "OVER"),
        (
            "sum(x) FILTER (WHERE count(*) > 1) AS n",
            "",
            "count(*)",
            "FILTER",
        ),
        ("frobnicate(x) AS n", "", "frobnicate", "no function"),
        ("sum(*) AS n", "", "sum", "such an argument"),
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
        ("count(*) AS n", "\nWHERE a = (SELECT 1)", "SELECT 1", "subquery"),
        ("count(*) AS n", "GROUP BY 7", "7", "position 7"),
        ("count(*) AS n", "GROUP BY 1", "count", "GROUP BY"),
        ("count(*) AS n", "HAVING n > 1", "n > 1", "write count(*)"),
        ("count(*) AS n", "HAVING count(*)", "count(*)", "not a condition"),
        ("count(*) AS n", "HAVING site = 'x'", "site", "GROUP BY"),
        ("count(*) AS n", "ORDER BY n", "n", "ORDER BY"),
        ("DISTINCT count(*) AS n", "", "SELECT", "DISTINCT"),
        ("max(x::interval) AS n", "", "x::interval", "cast"),
    ];
    check(cases.map(|(list, rest, mistake, says)| (select(list, rest), mistake, says)));
}

#[test]
fn what_expressions_cannot_say_is_refused_with_its_place_and_a_way_to_write_it() {
    let cases = [
        ("a SIMILAR TO 'x'", "a SIMILAR", "text ~"),
        ("a ~ '('", "'('", "unclosed group"),
        ("a ~ b", "b", "in quotes"),
        ("a LIKE b", "b", "starts_with"),
        ("a LIKE 'x\\'", "'x", "escape"),
        ("a > ANY (ARRAY[1])", "a > ANY", "= ANY"),
        ("a = ANY (b)", "a = ANY", "= ANY (ARRAY"),
        ("ts > now()", "now", "function of the log"),
        (
            "ts > CURRENT_TIMESTAMP",
            "CURRENT_TIMESTAMP",
            "function of the log",
        ),
        ("random() > 0.5", "random", "function of the log"),
        ("age(a) > 1", "age", "extract(epoch"),
        ("ifnull(a, 1) > 1", "ifnull", "coalesce"),
        ("lenght(a) > 1", "lenght", "did you mean length?"),
        ("frobnicate(a) > 1", "frobnicate", "docs/sql.md"),
        ("lower(1) = 'a'", "1)", "a text here"),
        ("length(a) > 'x'", "'x'", "not an integer"),
        ("length(a) = lower(b)", "lower(b)", "cannot be compared"),
        ("ts::timestamp > 5", "5", "to_timestamp"),
        ("left(a, 2.5) = 'x'", "2.5", "an integer here"),
        ("CASE WHEN a THEN 1 ELSE 'x' END = 1", "'x'", "CASE gives"),
        ("coalesce(length(a), 'none') = 1", "'none'", "coalesce gives"),
        ("date_trunc('fortnight', ts) = ts", "'fortnight'", "units are"),
        ("date_trunc('dow', ts) = ts", "'dow'", "does not cut"),
        (
            "date_trunc('day', ts, 'Europe/Berlin') = ts",
            "'Europe",
            "windows of whole days",
        ),
        ("extract(hour FROM 'noon') = 1", "'noon'", "a time here"),
        ("extract(hour FROM a - b) = 1", "a - b", "epoch"),
        ("ts AT TIME ZONE 'CET' > ts", "'CET'", "UTC"),
        ("date_bin('1 month', ts) = ts", "'1 month'", "fixed length"),
        ("ts + 5 * INTERVAL '1 day' > ts", "'1 day'", "to_timestamp"),
        ("ts::timestamp + 5 > ts", "ts::timestamp +", "INTERVAL"),
        ("ts > ts - INTERVAL '1 moon'", "'1 moon'", "unit of time"),
        ("(a = 1)::numeric > 0", "a = 1)", "CASE WHEN"),
        ("ts::timestamp::bigint > 0", "ts::", "epoch"),
        ("a::varchar(3) = 'x'", "a::", "left(x, n)"),
        ("a::uuid = 'x'", "a::", "bigint"),
        ("a ? 'b'", "a ?", "IS NOT NULL"),
        ("a -> b = 1", "b = 1", "in quotes or a number"),
        ("a #> 'x' = 1", "'x'", "'{a,b,0}'"),
        ("count(*).x = 1", "count", ""),
        ("a = INTERVAL '1 day'", "'1 day'", "ts + INTERVAL"),
        ("a COLLATE \"C\" = 'x'", "a COLLATE", "bytes"),
        ("(a, b) = (1, 2)", "a, b", "compare each"),
        ("a = ARRAY[1]", "1]", "= ANY"),
        ("concat() = ''", "concat", "1 or more"),
        ("mod(1) = 1", "mod", "2 arguments"),
    ];
    check(cases.map(|(condition, mistake, says)| {
        (
            select("count(*) AS n", &format!("\nWHERE {condition}")),
            mistake,
            says,
        )
    }));
}

#[test]
fn a_known_schema_finds_wrong_names_and_types() {
    let known = KnownColumns {
        kinds: [
            ("site", StaticKind::Text),
            ("Temp", StaticKind::Number),
            ("n", StaticKind::Count),
            ("ok", StaticKind::Bool),
            ("doc", StaticKind::Unknown),
        ]
        .map(|(name, kind)| (name.to_owned(), kind))
        .into(),
        closed: true,
    };
    let open = KnownColumns {
        closed: false,
        ..known.clone()
    };
    let (known, open) = (Arc::new(known), Arc::new(open));
    let plan =
        |list: &str, rest: &str| ViewPlan::compile("v", &select(list, rest)).expect("the text alone is fine");
    for (list, rest, says) in [
        ("max(temp) AS m", "", "write \"Temp\""),
        ("sum(speed) AS m", "", "its columns are Temp, doc, n, ok, site"),
        ("count(*) AS c", "WHERE wrong = 1", "\"wrong\""),
        ("wrong, count(*) AS c", "GROUP BY wrong", "\"wrong\""),
    ] {
        let plan = plan(list, rest);
        let error = plan.check_columns(&known).expect_err(list);
        assert!(error.to_string().contains(says), "{error}");
        assert!(plan.check_columns(&open).is_ok(), "{list} {rest}");
    }
    for (list, rest, says) in [
        ("sum(site) AS s", "", "sum needs numbers"),
        ("sum(n + site) AS s", "", "not a number"),
        ("count(*) AS c", "WHERE site > 5", "cannot be compared"),
        ("count(*) AS c", "WHERE n = 'five'", "not an integer"),
        ("count(*) AS c", "WHERE site", "not a condition"),
        ("count(*) AS c", "WHERE lower(n) = 'x'", "a text here"),
        ("count(*) AS c", "WHERE ok -> 'x' = 1", "no fields"),
    ] {
        let error = plan(list, rest).check_columns(&open).expect_err(rest);
        assert!(error.to_string().contains(says), "{error}");
    }
    for (list, rest) in [
        (
            "site, avg(Temp) AS t, sum(n) AS s",
            "WHERE ok AND n = '5' GROUP BY site",
        ),
        ("max(doc.a.b) AS m", "WHERE doc ->> 'x' = 'y' AND doc > 5"),
    ] {
        plan(list, rest).check_columns(&known).expect(list);
    }
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
