//! The graph of what there is. Pure: the same facts give the same graph, in the same order.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use tributary_shared::time::{Millis, to_rfc3339};

use super::fields::{SchemaFacts, listed};
use super::messages::{Edge, EdgeKind, Graph, Known, Node, NodeKind, NodeRecord, Subject, ViewFacts};
use crate::agents::AgentRow;
use crate::commit::StreamRow;

/// Nodes and edges while they are gathered. Whoever names an end of an edge makes that it is there.
#[derive(Debug, Default)]
struct Drawing {
    nodes: BTreeMap<(NodeKind, String), Map<String, Value>>,
    edges: BTreeMap<(String, String, EdgeKind), Map<String, Value>>,
}

impl Drawing {
    fn node(&mut self, kind: NodeKind, name: &str) -> &mut Map<String, Value> {
        self.nodes.entry((kind, name.to_owned())).or_default()
    }

    fn add(&mut self, kind: NodeKind, name: &str, facts: Value) {
        if let Value::Object(facts) = facts {
            self.node(kind, name).extend(facts);
        }
    }

    fn edge(
        &mut self,
        (from_kind, from): (NodeKind, &str),
        (to_kind, to): (NodeKind, &str),
        kind: EdgeKind,
    ) -> &mut Map<String, Value> {
        self.node(from_kind, from);
        self.node(to_kind, to);
        let key = (from_kind.id(from), to_kind.id(to), kind);
        self.edges.entry(key).or_default()
    }

    fn finish(self) -> Graph {
        let node = |((kind, name), facts): ((NodeKind, String), Map<String, Value>)| Node {
            id: kind.id(&name),
            kind,
            name,
            facts,
        };
        let edge = |((from, to, kind), facts): ((String, String, EdgeKind), Map<String, Value>)| Edge {
            from,
            to,
            kind,
            facts,
        };
        Graph {
            nodes: self.nodes.into_iter().map(node).collect(),
            edges: self.edges.into_iter().map(edge).collect(),
        }
    }
}

/// Draws everything that is known.
#[must_use]
pub fn draw(known: &Known) -> Graph {
    let mut drawing = Drawing::default();
    for record in &known.nodes {
        drawing.add(record.kind, &record.name, of_record(record));
    }
    for agent in &known.agents {
        drawing.add(NodeKind::Agent, agent.agent.as_str(), of_agent(agent));
        if let Some(gateway) = agent.gateway.as_ref().filter(|_| agent.connected) {
            let ends = (
                (NodeKind::Agent, agent.agent.as_str()),
                (NodeKind::Gateway, gateway.as_str()),
            );
            let facts = drawing.edge(ends.0, ends.1, EdgeKind::PassesThrough);
            facts.insert("now".to_owned(), true.into());
        }
    }
    for stream in &known.streams {
        drawing.add(NodeKind::Stream, stream.stream.as_str(), of_stream(stream));
    }
    produced(known, &mut drawing);
    routed(known, &mut drawing);
    for subject in &known.subjects {
        schema(subject, &mut drawing);
    }
    for view in &known.views {
        self::view(view, &mut drawing);
    }
    stream_fields(known, &mut drawing);
    drawing.finish()
}

fn of_record(record: &NodeRecord) -> Value {
    json!({
        "software": record.software,
        "configuration": record.configuration.as_deref(),
        "configuration_digest": record.digest,
        "first_seen": to_rfc3339(record.first_seen),
        "last_seen": to_rfc3339(record.last_seen),
        "changed_at": to_rfc3339(record.changed_at),
    })
}

fn of_agent(agent: &AgentRow) -> Value {
    let mut facts = json!({
        "connected": agent.connected,
        "gateway": agent.gateway,
        "lag_events": agent.lag_events,
        "held_events": agent.held_events,
    });
    for (key, value) in [("software", &agent.software), ("last_seen", &agent.last_seen)] {
        if let Some(value) = value {
            facts[key] = json!(value);
        }
    }
    facts
}

fn of_stream(stream: &StreamRow) -> Value {
    json!({
        "events": stream.totals.produced,
        "valid": stream.totals.valid,
        "dead": stream.totals.dead,
        "dead_open": stream.totals.open,
        "dropped": stream.totals.dropped,
        "last_seen": stream.last_committed_at.map(to_rfc3339),
    })
}

/// Who produces what: what came, and what an agent is configured to ship.
fn produced(known: &Known, drawing: &mut Drawing) {
    let mut sums: BTreeMap<(&str, &str), (u64, u64, Option<Millis>)> = BTreeMap::new();
    for lane in &known.lanes {
        let sum = sums
            .entry((lane.key.agent.as_str(), lane.key.stream.as_str()))
            .or_default();
        sum.0 += 1;
        sum.1 += lane.mark;
        sum.2 = sum.2.max(lane.last_committed_at);
    }
    for ((agent, stream), (lanes, events, last)) in sums {
        let ends = ((NodeKind::Agent, agent), (NodeKind::Stream, stream));
        let facts = drawing.edge(ends.0, ends.1, EdgeKind::Produces);
        facts.insert("lanes".to_owned(), lanes.into());
        facts.insert("events".to_owned(), events.into());
        facts.insert("last_seen".to_owned(), json!(last.map(to_rfc3339)));
    }
    for record in known.nodes.iter().filter(|record| record.kind == NodeKind::Agent) {
        for (stream, input) in ships(record) {
            let ends = (
                (NodeKind::Agent, record.name.as_str()),
                (NodeKind::Stream, stream),
            );
            let facts = drawing.edge(ends.0, ends.1, EdgeKind::Produces);
            facts.entry("events").or_insert_with(|| 0.into());
            facts.insert("input".to_owned(), input.into());
        }
    }
}

/// The streams that an agent's configuration names, with the input of each.
pub(super) fn ships(record: &NodeRecord) -> Vec<(&str, &str)> {
    let listed = record
        .configuration
        .as_deref()
        .and_then(|settings| settings.get("ships"))
        .and_then(Value::as_array);
    listed.into_iter().flatten().filter_map(shipped).collect()
}

fn shipped(entry: &Value) -> Option<(&str, &str)> {
    Some((entry.get("stream")?.as_str()?, entry.get("input")?.as_str()?))
}

fn routed(known: &Known, drawing: &mut Drawing) {
    /// First and last time, events.
    type Sums<'a> = BTreeMap<(&'a str, &'a str), (Millis, Millis, u64)>;
    let (mut to_gateway, mut to_stream): (Sums<'_>, Sums<'_>) = Default::default();
    for route in &known.routes {
        let (agent, gateway, stream) = (
            route.agent.as_str(),
            route.gateway.as_str(),
            route.stream.as_str(),
        );
        for (sums, key) in [
            (&mut to_gateway, (agent, gateway)),
            (&mut to_stream, (gateway, stream)),
        ] {
            let sum = sums.entry(key).or_insert((Millis::MAX, Millis::MIN, 0));
            *sum = (
                sum.0.min(route.first_seen),
                sum.1.max(route.last_seen),
                sum.2.saturating_add(route.events),
            );
        }
    }
    let sets = [
        (to_gateway, NodeKind::Agent, NodeKind::Gateway),
        (to_stream, NodeKind::Gateway, NodeKind::Stream),
    ];
    for (sums, from_kind, to_kind) in sets {
        for ((from, to), (first, last, events)) in sums {
            let facts = drawing.edge((from_kind, from), (to_kind, to), EdgeKind::PassesThrough);
            facts.insert("first_seen".to_owned(), to_rfc3339(first).into());
            facts.insert("last_seen".to_owned(), to_rfc3339(last).into());
            facts.insert("events".to_owned(), events.into());
        }
    }
    let mut agents: BTreeMap<&str, u64> = BTreeMap::new();
    for gateway in known.agents.iter().filter_map(|agent| agent.gateway.as_ref()) {
        *agents.entry(gateway.as_str()).or_default() += 1;
    }
    for ((kind, name), facts) in &mut drawing.nodes {
        if *kind == NodeKind::Gateway {
            let here = agents.get(name.as_str()).copied().unwrap_or(0);
            facts.insert("agents".to_owned(), here.into());
            facts.insert("connected".to_owned(), known.gateways_here.contains(name).into());
        }
    }
}

fn schema(subject: &Subject, drawing: &mut Drawing) {
    let versions: Vec<Value> = subject
        .versions
        .iter()
        .map(|version| {
            json!({
                "version": version.version,
                "id": version.id,
                "state": version.state.as_str(),
                "deleted": version.deleted,
                "registered_at": to_rfc3339(version.registered_at),
            })
        })
        .collect();
    let current = subject.current.as_deref();
    let facts = json!({
        "stream": subject.stream,
        "versions": versions,
        "version": current.map(|current| current.version),
        "schema_id": current.map(|current| current.id),
        "format": current.map(|current| current.format.as_str()),
        "fields": current.map(SchemaFacts::listed),
        "closed": current.map(|current| current.closed),
        "rules": current.map(|current| {
            let rule = |rule: &tributary_schema::decode::RuleText| json!({ "name": rule.name, "sql": rule.sql });
            current.rules.iter().map(rule).collect::<Vec<_>>()
        }),
        "unusable": current.and_then(|current| current.unusable.as_deref()),
    });
    drawing.add(NodeKind::Schema, &subject.subject, facts);
    let Some(current) = current else { return };
    if let Some(stream) = &subject.stream {
        let ends = (
            (NodeKind::Schema, subject.subject.as_str()),
            (NodeKind::Stream, stream.as_str()),
        );
        let facts = drawing.edge(ends.0, ends.1, EdgeKind::Validates);
        facts.insert("version".to_owned(), current.version.into());
    }
    for other in &current.refers_to {
        drawing.edge(
            (NodeKind::Schema, other),
            (NodeKind::Schema, &subject.subject),
            EdgeKind::RefersTo,
        );
    }
}

fn view(view: &ViewFacts, drawing: &mut Drawing) {
    let info = &view.info;
    let facts = json!({
        "sql": info.sql,
        "stream": info.stream,
        "reads": info.reads,
        "created_at": to_rfc3339(info.created_at),
        "columns": info.columns,
        "keys": info.keys,
        "compiles": view.plan.is_some(),
    });
    drawing.add(NodeKind::View, &info.name, facts);
    let from = match &info.reads {
        Some(source) => (NodeKind::View, source.as_str()),
        None => (NodeKind::Stream, info.stream.as_str()),
    };
    let facts = drawing.edge(from, (NodeKind::View, &info.name), EdgeKind::Reads);
    let columns: Option<&Vec<String>> = view
        .plan
        .as_deref()
        .filter(|plan| plan.source.is_none())
        .map(|plan| &plan.columns);
    facts.insert("columns".to_owned(), json!(columns));
}

/// The fields that a stream's events have, as its schema or, without one, the views name them.
fn stream_fields(known: &Known, drawing: &mut Drawing) {
    let streams: Vec<String> = drawing
        .nodes
        .keys()
        .filter(|(kind, _)| *kind == NodeKind::Stream)
        .map(|(_, name)| name.clone())
        .collect();
    let schemas: BTreeMap<&str, &SchemaFacts> = known
        .subjects
        .iter()
        .filter_map(|subject| Some((subject.stream.as_ref()?.as_str(), subject.current.as_deref()?)))
        .collect();
    for stream in streams {
        let schema = schemas.get(stream.as_str()).copied();
        let mut fields: Vec<Value> = schema
            .map(|schema| schema.fields.iter().map(listed).collect())
            .unwrap_or_default();
        let named: BTreeSet<&str> = known
            .views
            .iter()
            .filter_map(|view| view.plan.as_deref())
            .filter(|plan| plan.source.is_none() && plan.stream().as_str() == stream)
            .flat_map(|plan| plan.columns.iter().map(String::as_str))
            .filter(|name| !name.starts_with('_'))
            .collect();
        for name in named {
            if schema.is_none_or(|schema| schema.field(name).is_none()) {
                fields.push(json!({ "name": name, "type": null, "required": false, "in_schema": false }));
            }
        }
        let reference = schema.map(|schema| json!({ "id": schema.id, "version": schema.version }));
        let facts = drawing.node(NodeKind::Stream, &stream);
        facts.insert("schema".to_owned(), json!(reference));
        facts.insert("fields".to_owned(), fields.into());
    }
}

/// A node with everything that leads to it (upstream) and that it leads to (downstream), and the edges between.
/// `None` when there is no such node.
#[must_use]
pub fn around(graph: &Graph, kind: NodeKind, name: &str) -> Option<Value> {
    let id = kind.id(name);
    let node = graph.nodes.iter().find(|node| node.id == id)?;
    let upstream = reached(graph, &id, |edge| (&edge.to, &edge.from));
    let downstream = reached(graph, &id, |edge| (&edge.from, &edge.to));
    let of = |ids: &BTreeSet<&str>| -> Vec<&Node> {
        let found = graph.nodes.iter().filter(|node| ids.contains(node.id.as_str()));
        found.collect()
    };
    let among = |ids: &BTreeSet<&str>, end: &str| ids.contains(end) || end == id;
    let edges: Vec<&Edge> = graph
        .edges
        .iter()
        .filter(|edge| {
            [&upstream, &downstream]
                .iter()
                .any(|side| among(side, &edge.from) && among(side, &edge.to))
        })
        .collect();
    Some(json!({
        "node": node,
        "upstream": of(&upstream),
        "downstream": of(&downstream),
        "edges": edges,
    }))
}

fn reached<'g>(
    graph: &'g Graph,
    from: &str,
    ends: impl Fn(&'g Edge) -> (&'g String, &'g String),
) -> BTreeSet<&'g str> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for edge in &graph.edges {
        let (here, there) = ends(edge);
        next.entry(here).or_default().push(there);
    }
    let mut found = BTreeSet::new();
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        for there in next.get(at).into_iter().flatten() {
            if *there != from && found.insert(*there) {
                open.push(there);
            }
        }
    }
    found
}
