//! What reads a stream, and what would break if one of its fields went away. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use tributary_shared::time::{Millis, to_rfc3339};
use tributary_shared::wire::batch::EVENT_TIME_COLUMN;
use tributary_sql::ColumnReads;

use super::fields::listed;
use super::messages::{Known, NodeKind, Subject, ViewFacts};

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Impact {
    pub stream: String,
    /// `None`: the question is about the whole stream.
    pub field: Option<String>,
    /// The schema names the field, or a view or a rule reads it.
    pub known: bool,
    /// Something would break.
    pub breaks: bool,
    pub schema: Option<SchemaImpact>,
    pub rules: Vec<RuleImpact>,
    pub views: Vec<ViewImpact>,
    pub agents: Vec<Producer>,
}

/// What the stream's schema says of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SchemaImpact {
    pub subject: String,
    pub version: u32,
    pub id: u32,
    /// As the schema has it; `None` when it does not name the field.
    pub field: Option<Value>,
    /// Every event would become a dead letter.
    pub breaks: bool,
    pub says: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleImpact {
    pub name: String,
    pub sql: String,
    pub says: String,
}

/// A view that reads the stream, directly or through others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ViewImpact {
    pub view: String,
    /// The view that it reads, when it is a roll-up.
    pub reads: Option<String>,
    pub breaks: bool,
    /// Where the field is read that concern every row of the view: `time`, `where`, `group by`, `having`.
    pub clauses: Vec<ClauseImpact>,
    /// Columns that would change.
    pub columns: Vec<ColumnImpact>,
    pub says: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClauseImpact {
    pub clause: &'static str,
    /// What is read there: columns of the stream, or of the source view.
    pub reads: Vec<String>,
    pub says: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnImpact {
    pub column: String,
    pub sql: String,
    /// What is read: columns of the stream, or of the source view.
    pub reads: Vec<String>,
}

/// An agent that produces the stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Producer {
    pub agent: String,
    pub connected: bool,
    pub events: u64,
    pub last_seen: Option<String>,
}

/// Follows a stream, or one field of it, through schema, rules, views and roll-ups. `None` when there is no such stream.
#[must_use]
pub fn impact(known: &Known, stream: &str, field: Option<&str>) -> Option<Impact> {
    let subject = known.subjects.iter().find(|subject| {
        subject.current.is_some() && subject.stream.as_ref().is_some_and(|of| of.as_str() == stream)
    });
    let agents = producers(known, stream);
    let over: Vec<&ViewFacts> = known
        .views
        .iter()
        .filter(|view| view.info.stream.as_str() == stream)
        .collect();
    let seen = known.streams.iter().any(|row| row.stream.as_str() == stream);
    if !seen && subject.is_none() && agents.is_empty() && over.is_empty() {
        return None;
    }
    let schema = subject.and_then(|subject| of_schema(subject, field));
    let rules = subject
        .map(|subject| of_rules(subject, field))
        .unwrap_or_default();
    let marked = subject
        .and_then(|subject| subject.current.as_deref())
        .and_then(|schema| schema.fields.iter().find(|field| field.event_time));
    let event_time = marked.map_or("ts", |field| field.name.as_str());
    let views = of_views(&over, field, event_time);
    let named = schema.as_ref().is_some_and(|schema| schema.field.is_some());
    let breaks = schema.as_ref().is_some_and(|schema| schema.breaks)
        || !rules.is_empty()
        || views.iter().any(|view| view.breaks);
    Some(Impact {
        stream: stream.to_owned(),
        field: field.map(str::to_owned),
        known: field.is_none() || named || !rules.is_empty() || views.iter().any(|view| view.breaks),
        breaks,
        schema,
        rules,
        views,
        agents,
    })
}

fn of_schema(subject: &Subject, field: Option<&str>) -> Option<SchemaImpact> {
    let schema = subject.current.as_deref()?;
    let found = field.and_then(|field| schema.field(field));
    let required = found.is_some_and(|field| field.required);
    let says = match (field, found) {
        (None, _) => format!("version {} judges the stream", schema.version),
        (Some(field), None) if schema.closed => format!("no event may have a field {field:?}"),
        (Some(field), None) => format!("the schema does not name {field:?}; events may have it"),
        (Some(_), Some(field)) if field.required => {
            "required: every event without it becomes a dead letter".to_owned()
        }
        (Some(_), Some(field)) if field.event_time => {
            "the event's time: without it, the time at which the agent took the event in counts".to_owned()
        }
        (Some(_), Some(_)) => "not required: events without it stay valid".to_owned(),
    };
    Some(SchemaImpact {
        subject: subject.subject.clone(),
        version: schema.version,
        id: schema.id,
        field: found.map(listed),
        breaks: required,
        says,
    })
}

fn of_rules(subject: &Subject, field: Option<&str>) -> Vec<RuleImpact> {
    let rules = subject.current.as_deref().map_or(&[][..], |schema| &schema.rules);
    let reads = |columns: &[String]| field.is_none_or(|field| columns.iter().any(|column| column == field));
    rules
        .iter()
        .filter(|rule| reads(&rule.columns))
        .map(|rule| RuleImpact {
            name: rule.name.clone(),
            sql: rule.sql.clone(),
            says: match field {
                Some(field) => {
                    format!("names {field}: a version without the field is refused while it has this rule")
                }
                None => "holds for every event".to_owned(),
            },
        })
        .collect()
}

fn producers(known: &Known, stream: &str) -> Vec<Producer> {
    let mut sums: BTreeMap<&str, (u64, Option<Millis>)> = BTreeMap::new();
    for lane in known
        .lanes
        .iter()
        .filter(|lane| lane.key.stream.as_str() == stream)
    {
        let sum = sums.entry(lane.key.agent.as_str()).or_default();
        sum.0 += lane.mark;
        sum.1 = sum.1.max(lane.last_committed_at);
    }
    for record in known.nodes.iter().filter(|record| record.kind == NodeKind::Agent) {
        if super::graph::ships(record).iter().any(|(of, _)| *of == stream) {
            sums.entry(&record.name).or_default();
        }
    }
    let connected = |agent: &str| {
        let mut agents = known.agents.iter();
        agents.any(|row| row.connected && row.agent.as_str() == agent)
    };
    sums.into_iter()
        .map(|(agent, (events, last))| Producer {
            agent: agent.to_owned(),
            connected: connected(agent),
            events,
            last_seen: last.map(to_rfc3339),
        })
        .collect()
}

/// Which columns of a view change; all of them when every row does.
#[derive(Debug, Default)]
struct Touched {
    columns: BTreeSet<String>,
}

/// Sources before those that read them.
fn of_views(views: &[&ViewFacts], field: Option<&str>, event_time: &str) -> Vec<ViewImpact> {
    let mut touched: BTreeMap<&str, Touched> = BTreeMap::new();
    let mut found = Vec::new();
    let mut waiting: Vec<&ViewFacts> = views.to_vec();
    loop {
        let (ready, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|view| {
            let source = view.info.reads.as_deref();
            source.is_none_or(|source| touched.contains_key(source))
        });
        if ready.is_empty() {
            // a roll-up whose source is gone reads nothing
            found.extend(later.into_iter().map(unreadable));
            break;
        }
        for view in ready {
            let goes: BTreeSet<&str> = match (view.info.reads.as_deref(), field) {
                (Some(source), _) => touched[source].columns.iter().map(String::as_str).collect(),
                (None, Some(field)) => BTreeSet::from([field]),
                (None, None) => BTreeSet::new(),
            };
            let (impact, columns) = of_view(view, &goes, field.is_none(), event_time);
            touched.insert(&view.info.name, Touched { columns });
            found.push(impact);
        }
        waiting = later;
    }
    found.sort_by(|a, b| a.view.cmp(&b.view));
    found
}

fn unreadable(view: &ViewFacts) -> ViewImpact {
    ViewImpact {
        view: view.info.name.clone(),
        reads: view.info.reads.clone(),
        breaks: false,
        clauses: Vec::new(),
        columns: Vec::new(),
        says: "does not compile, and reads nothing".to_owned(),
    }
}

/// What a view loses, and which of its columns change.
fn of_view(
    view: &ViewFacts,
    goes: &BTreeSet<&str>,
    whole_stream: bool,
    event_time: &str,
) -> (ViewImpact, BTreeSet<String>) {
    let Some(plan) = view.plan.as_deref() else {
        return (unreadable(view), BTreeSet::new());
    };
    let reads = plan.column_reads();
    let hits = |columns: &BTreeSet<String>| -> Vec<String> {
        let hit = columns
            .iter()
            .filter(|column| whole_stream || goes.contains(column.as_str()));
        hit.cloned().collect()
    };
    // these two always name the event time, whatever the schema calls it
    let time = match reads.time.as_str() {
        "ts" | EVENT_TIME_COLUMN if plan.source.is_none() => event_time,
        other => other,
    };
    let clauses = clauses(&reads, time, &hits, goes, whole_stream);
    let columns: Vec<ColumnImpact> = reads
        .outputs
        .iter()
        .filter_map(|output| {
            let read = hits(&output.columns);
            (!read.is_empty()).then(|| ColumnImpact {
                column: output.name.clone(),
                sql: output.sql.clone(),
                reads: read,
            })
        })
        .collect();
    let every_row = whole_stream || !clauses.is_empty();
    let changed: BTreeSet<String> = reads
        .outputs
        .iter()
        .filter(|output| every_row || columns.iter().any(|hit| hit.column == output.name))
        .map(|output| output.name.clone())
        .collect();
    let breaks = !(whole_stream || clauses.is_empty() && columns.is_empty());
    let says = match (whole_stream, clauses.is_empty(), columns.len()) {
        (true, ..) => "reads it".to_owned(),
        (false, false, _) => "every row changes".to_owned(),
        (false, true, 0) => "does not read it".to_owned(),
        (false, true, 1) => "one column changes".to_owned(),
        (false, true, columns) => format!("{columns} columns change"),
    };
    let impact = ViewImpact {
        view: view.info.name.clone(),
        reads: view.info.reads.clone(),
        breaks,
        clauses,
        columns,
        says,
    };
    (impact, changed)
}

/// Where the view as a whole depends on what goes.
fn clauses(
    reads: &ColumnReads,
    time: &str,
    hits: &impl Fn(&BTreeSet<String>) -> Vec<String>,
    goes: &BTreeSet<&str>,
    whole_stream: bool,
) -> Vec<ClauseImpact> {
    if whole_stream {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut add = |clause: &'static str, reads: Vec<String>, says: String| {
        if !reads.is_empty() {
            found.push(ClauseImpact { clause, reads, says });
        }
    };
    if goes.contains(time) {
        let says = match reads.time.as_str() {
            "ts" | EVENT_TIME_COLUMN => {
                "events move to the window of the time at which the agent took them in"
            }
            "window_start" => "the source's windows are others",
            _ => "without a time, an event belongs to no window",
        };
        add("time", vec![time.to_owned()], says.to_owned());
    }
    add(
        "where",
        hits(&reads.filter),
        "other events count: a condition over NULL is not true".to_owned(),
    );
    for (name, columns) in &reads.keys {
        add(
            "group by",
            hits(columns),
            format!("the groups of {name} become one, of NULL"),
        );
    }
    add("having", hits(&reads.having), "other groups are shown".to_owned());
    found
}
