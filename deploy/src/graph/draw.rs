//! Graph and impact as text for people. Pure.

use std::fmt::Write as _;

use serde_json::Value;

use crate::schema::{aligned, words};

/// Kinds in the order in which events pass them, with their heads.
const KINDS: [(&str, &str); 5] = [
    ("agent", "AGENTS"),
    ("gateway", "GATEWAYS"),
    ("schema", "SCHEMAS"),
    ("stream", "STREAMS"),
    ("view", "VIEWS"),
];

fn rows<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer[key].as_array().map_or(&[], Vec::as_slice)
}

fn verb(kind: &str) -> &str {
    match kind {
        "produces" => "produces",
        "passes_through" => "passes through",
        "validates" => "validates",
        "reads" => "is read by",
        "refers_to" => "is referred to by",
        other => other,
    }
}

/// One line about a node.
fn about(node: &Value) -> String {
    let facts: &[&str] = match node["kind"].as_str() {
        Some("agent" | "gateway") => &["software", "connected", "last_seen", "changed_at"],
        Some("schema") => &["format", "version"],
        Some("stream") => &["events", "dead_open", "last_seen"],
        _ => &["stream", "reads"],
    };
    let shown = facts
        .iter()
        .filter(|fact| !node[**fact].is_null())
        .map(|fact| format!("{} {}", fact.replace('_', " "), words(&node[*fact])));
    shown.collect::<Vec<_>>().join(", ")
}

/// Everything: each node with the edges that begin at it.
pub fn whole(graph: &Value) -> String {
    let mut text = String::new();
    for (kind, head) in KINDS {
        let nodes = rows(graph, "nodes").iter().filter(|node| node["kind"] == kind);
        for (at, node) in nodes.enumerate() {
            if at == 0 {
                let _ = writeln!(text, "{head}");
            }
            let _ = writeln!(text, "  {}  {}", words(&node["name"]), about(node));
            for edge in rows(graph, "edges")
                .iter()
                .filter(|edge| edge["from"] == node["id"])
            {
                let _ = writeln!(text, "    {} {}", verb(&words(&edge["kind"])), words(&edge["to"]));
            }
        }
    }
    if text.is_empty() {
        return "Nothing was seen yet.".to_owned();
    }
    text
}

/// One node, with what leads to it and what it leads to.
pub fn around(answer: &Value) -> String {
    let node = &answer["node"];
    let mut text = format!("{}\n", words(&node["id"]));
    let fields = node.as_object().into_iter().flatten();
    for (name, value) in fields.filter(|(name, value)| {
        !["id", "kind", "name", "configuration", "fields", "versions"].contains(&name.as_str())
            && !value.is_null()
    }) {
        let _ = writeln!(text, "  {name:<22}{}", words(value));
    }
    for (name, value) in node["configuration"].as_object().into_iter().flatten() {
        let _ = writeln!(text, "  {name:<22}{}", words(value));
    }
    let fields: Vec<Vec<String>> = rows(node, "fields")
        .iter()
        .map(|field| {
            ["name", "type", "required"]
                .map(|fact| words(&field[fact]))
                .to_vec()
        })
        .collect();
    if !fields.is_empty() {
        let _ = write!(text, "\n{}", aligned(&["FIELD", "TYPE", "REQUIRED"], &fields));
    }
    for (key, head) in [("upstream", "UPSTREAM"), ("downstream", "DOWNSTREAM")] {
        let _ = writeln!(text, "\n{head}");
        if rows(answer, key).is_empty() {
            let _ = writeln!(text, "  nothing");
        }
        for node in rows(answer, key) {
            let _ = writeln!(text, "  {}  {}", words(&node["id"]), about(node));
        }
    }
    text
}

/// What reads a stream, or what would break without a field of it.
pub fn impact(answer: &Value) -> String {
    let mut text = match answer["field"].as_str() {
        None => format!("{}\n", words(&answer["stream"])),
        Some(field) => {
            let breaks = if answer["breaks"] == true {
                "would break something"
            } else if answer["known"] == false {
                "is named by nothing that is known here"
            } else {
                "can go: nothing reads it"
            };
            format!("{} without {field}: {breaks}\n", words(&answer["stream"]))
        }
    };
    let schema = &answer["schema"];
    if schema.is_null() {
        let _ = writeln!(text, "\nSCHEMA\n  none: events are taken as they are");
    } else {
        let _ = writeln!(
            text,
            "\nSCHEMA\n  {} version {}: {}",
            words(&schema["subject"]),
            words(&schema["version"]),
            words(&schema["says"])
        );
    }
    head(&mut text, "RULES", rows(answer, "rules"));
    for rule in rows(answer, "rules") {
        let _ = writeln!(
            text,
            "  {}: {}  ({})",
            words(&rule["name"]),
            words(&rule["sql"]),
            words(&rule["says"])
        );
    }
    head(&mut text, "VIEWS", rows(answer, "views"));
    for view in rows(answer, "views") {
        let over = view["reads"]
            .as_str()
            .map_or(String::new(), |source| format!(" over {source}"));
        let _ = writeln!(text, "  {}{over}: {}", words(&view["view"]), words(&view["says"]));
        for clause in rows(view, "clauses") {
            let _ = writeln!(
                text,
                "    {} reads {}: {}",
                words(&clause["clause"]).to_uppercase(),
                list(&clause["reads"]),
                words(&clause["says"])
            );
        }
        for column in rows(view, "columns") {
            let _ = writeln!(
                text,
                "    {} = {} reads {}",
                words(&column["column"]),
                words(&column["sql"]),
                list(&column["reads"])
            );
        }
    }
    head(&mut text, "PRODUCED BY", rows(answer, "agents"));
    for agent in rows(answer, "agents") {
        let here = if agent["connected"] == true {
            "connected"
        } else {
            "away"
        };
        let _ = writeln!(
            text,
            "  {}  {here}, {} events, last {}",
            words(&agent["agent"]),
            words(&agent["events"]),
            words(&agent["last_seen"])
        );
    }
    text
}

fn head(text: &mut String, head: &str, rows: &[Value]) {
    if !rows.is_empty() {
        let _ = writeln!(text, "\n{head}");
    }
}

fn list(values: &Value) -> String {
    let values = values.as_array().map_or(&[][..], Vec::as_slice);
    values.iter().map(words).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_graph_is_listed_the_way_that_events_go() {
        let graph = json!({
            "nodes": [
                { "id": "agent:a", "kind": "agent", "name": "a", "software": "x/1", "connected": true },
                { "id": "stream:s", "kind": "stream", "name": "s", "events": 7 },
            ],
            "edges": [{ "from": "agent:a", "to": "stream:s", "kind": "produces" }],
        });
        assert_eq!(
            whole(&graph),
            "AGENTS\n  a  software x/1, connected true\n    produces stream:s\nSTREAMS\n  s  events 7\n"
        );
        let shown = around(&json!({
            "node": { "id": "stream:s", "kind": "stream", "name": "s", "events": 7,
                "fields": [{ "name": "t", "type": "number", "required": true }] },
            "upstream": [graph["nodes"][0]], "downstream": [],
        }));
        assert!(
            shown.contains("UPSTREAM\n  agent:a  software x/1, connected true\n"),
            "{shown}"
        );
        assert!(shown.contains("DOWNSTREAM\n  nothing\n"), "{shown}");
        assert!(shown.contains("t      number  true"), "{shown}");
    }

    #[test]
    fn an_impact_says_what_and_why() {
        let shown = impact(&json!({
            "stream": "readings", "field": "t", "known": true, "breaks": true,
            "schema": { "subject": "readings-value", "version": 2, "says": "required" },
            "rules": [{ "name": "range", "sql": "t < 9", "says": "names t" }],
            "views": [{ "view": "v", "reads": "w", "says": "every row changes",
                "clauses": [{ "clause": "group by", "reads": ["t"], "says": "one group" }],
                "columns": [{ "column": "c", "sql": "max(t)", "reads": ["t"] }] }],
            "agents": [{ "agent": "a", "connected": false, "events": 3, "last_seen": null }],
        }));
        for line in [
            "readings without t: would break something",
            "  readings-value version 2: required",
            "  range: t < 9  (names t)",
            "  v over w: every row changes",
            "    GROUP BY reads t: one group",
            "    c = max(t) reads t",
            "  a  away, 3 events, last -",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
        }
    }
}
