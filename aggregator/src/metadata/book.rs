//! The book of nodes and routes: written in memory by sessions, made durable every few seconds.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Value};
use tributary_shared::ids::{AgentId, GatewayId, LaneKey, StreamName};
use tributary_shared::time::Millis;
use tributary_shared::wire::MAX_CONFIGURATION;

pub use super::store::METADATA_FILE;

use super::fields::{FactsCache, SchemaFacts};
use super::messages::{ConfigurationChange, MetadataError, NodeKind, NodeRecord, Reported, Route};
use super::store::Store;

/// Agents and gateways that are remembered: as many as certificates were used. Beyond that, new ones are not.
const MAX_NODES: usize = 100_000;
/// Agents times streams times gateways. Beyond that, new ones are not remembered.
const MAX_ROUTES: usize = 200_000;
/// A peer's words are not ours to store at any length.
const MAX_SOFTWARE: usize = 200;

type NodeKey = (NodeKind, String);
type RouteKey = (AgentId, StreamName, GatewayId);

#[derive(Debug, Default)]
struct Book {
    nodes: BTreeMap<NodeKey, NodeRecord>,
    routes: HashMap<RouteKey, Route>,
    /// What the file does not have yet.
    changed_nodes: BTreeSet<NodeKey>,
    changed_routes: HashSet<RouteKey>,
    /// Sessions of gateways that are open: a new one may begin before the old one ends.
    sessions: BTreeMap<String, u32>,
    /// It was said once that there are too many.
    full: bool,
}

#[derive(Debug)]
struct Inner {
    book: Mutex<Book>,
    store: Mutex<Store>,
    facts: FactsCache,
}

/// A handle on the metadata store; clones share it.
#[derive(Debug, Clone)]
pub struct Metadata(Arc<Inner>);

impl Metadata {
    /// Opens `metadata.db` in a directory that exists.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub fn open(dir: &Path) -> Result<Self, MetadataError> {
        let store = Store::open(dir)?;
        let mut book = Book::default();
        for node in store.nodes()? {
            book.nodes.insert((node.kind, node.name.clone()), node);
        }
        for route in store.routes()? {
            let key = (route.agent.clone(), route.stream.clone(), route.gateway.clone());
            book.routes.insert(key, route);
        }
        Ok(Self(Arc::new(Inner {
            book: Mutex::new(book),
            store: Mutex::new(store),
            facts: FactsCache::default(),
        })))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node connected, or is still there. `Some` when its program or configuration is another one than before, or
    /// it is new.
    pub fn seen(&self, reported: Reported<'_>, at: Millis) -> Option<ConfigurationChange> {
        let mut book = self.book();
        let key = (reported.kind, reported.name.to_owned());
        if let Some(known) = book.nodes.get_mut(&key) {
            known.last_seen = known.last_seen.max(at);
            let changed = changes(known, reported);
            if !changed.is_empty() {
                let first_seen = known.first_seen;
                *known = record(reported, known.configuration.clone(), at);
                known.first_seen = first_seen;
            }
            let record = known.clone();
            book.changed_nodes.insert(key);
            return (!changed.is_empty()).then_some(ConfigurationChange { record, changed });
        }
        if book.nodes.len() >= MAX_NODES {
            book.say_full();
            return None;
        }
        let record = record(reported, None, at);
        book.nodes.insert(key.clone(), record.clone());
        book.changed_nodes.insert(key);
        let keys = record
            .configuration
            .as_ref()
            .into_iter()
            .flat_map(|map| map.keys());
        let changed = std::iter::once("software".to_owned())
            .chain(keys.cloned())
            .collect();
        Some(ConfigurationChange { record, changed })
    }

    /// A gateway's session began.
    pub fn session_began(&self, gateway: &str) {
        *self.book().sessions.entry(gateway.to_owned()).or_default() += 1;
    }

    /// A session that began has ended.
    pub fn session_ended(&self, gateway: &str, at: Millis) {
        let mut book = self.book();
        if let Some(open) = book.sessions.get_mut(gateway) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                book.sessions.remove(gateway);
            }
        }
        drop(book);
        self.left(NodeKind::Gateway, gateway, at);
    }

    /// Gateways that have a session.
    #[must_use]
    pub fn gateways_here(&self) -> BTreeSet<String> {
        self.book().sessions.keys().cloned().collect()
    }

    /// A node that was here has left.
    pub fn left(&self, kind: NodeKind, name: &str, at: Millis) {
        let mut book = self.book();
        let key = (kind, name.to_owned());
        if let Some(known) = book.nodes.get_mut(&key) {
            known.last_seen = known.last_seen.max(at);
            book.changed_nodes.insert(key);
        }
    }

    /// Events of a lane were committed that came through a gateway.
    pub fn passed(&self, lane: &LaneKey, gateway: &GatewayId, events: u64, at: Millis) {
        let mut book = self.book();
        let key = (lane.agent.clone(), lane.stream.clone(), gateway.clone());
        if let Some(known) = book.routes.get_mut(&key) {
            known.last_seen = known.last_seen.max(at);
            known.events = known.events.saturating_add(events);
        } else if book.routes.len() < MAX_ROUTES {
            let (agent, stream, gateway) = key.clone();
            let route = Route {
                agent,
                stream,
                gateway,
                first_seen: at,
                last_seen: at,
                events,
            };
            book.routes.insert(key.clone(), route);
        } else {
            book.say_full();
            return;
        }
        book.changed_routes.insert(key);
    }

    /// Every node that was ever seen, by kind and name.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeRecord> {
        self.book().nodes.values().cloned().collect()
    }

    /// Every way that events came, by agent, stream and gateway.
    #[must_use]
    pub fn routes(&self) -> Vec<Route> {
        let mut routes: Vec<Route> = self.book().routes.values().cloned().collect();
        routes.sort_by(|a, b| (&a.agent, &a.stream, &a.gateway).cmp(&(&b.agent, &b.stream, &b.gateway)));
        routes
    }

    /// Views with the definitions of which OpenLineage was told that they run. Blocks on the disk.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub fn runs(&self) -> Result<Vec<(String, Millis)>, MetadataError> {
        self.0.store.lock().unwrap_or_else(PoisonError::into_inner).runs()
    }

    /// Sets them. Blocks on the disk.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub fn set_runs(&self, runs: &[(String, Millis)]) -> Result<(), MetadataError> {
        let mut store = self.0.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.put_runs(runs)
    }

    /// Makes what changed durable. Blocks on the disk.
    ///
    /// # Errors
    /// [`MetadataError`]; what changed is tried again the next time.
    pub fn save(&self) -> Result<(), MetadataError> {
        // one at a time, so that a slow one cannot write over a later one
        let mut store = self.0.store.lock().unwrap_or_else(PoisonError::into_inner);
        let (nodes, routes) = {
            let mut book = self.book();
            let (nodes, routes) = (
                std::mem::take(&mut book.changed_nodes),
                std::mem::take(&mut book.changed_routes),
            );
            let nodes: Vec<NodeRecord> = nodes
                .iter()
                .filter_map(|key| book.nodes.get(key).cloned())
                .collect();
            let routes: Vec<Route> = routes
                .iter()
                .filter_map(|key| book.routes.get(key).cloned())
                .collect();
            (nodes, routes)
        };
        if nodes.is_empty() && routes.is_empty() {
            return Ok(());
        }
        let saved = store.put(&nodes, &routes);
        if saved.is_err() {
            let mut book = self.book();
            book.changed_nodes
                .extend(nodes.into_iter().map(|node| (node.kind, node.name)));
            book.changed_routes.extend(
                routes
                    .into_iter()
                    .map(|route| (route.agent, route.stream, route.gateway)),
            );
        }
        saved
    }

    pub(crate) fn facts(&self, key: (u32, u32)) -> Option<Arc<SchemaFacts>> {
        self.0.facts.get(key)
    }

    pub(crate) fn keep_facts(&self, facts: &Arc<SchemaFacts>) {
        self.0.facts.put(facts);
    }
}

impl Book {
    fn say_full(&mut self) {
        if !self.full {
            self.full = true;
            tracing::warn!(
                nodes = self.nodes.len(),
                routes = self.routes.len(),
                "the metadata store is full: what is new is left out of the graph"
            );
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_SOFTWARE).collect()
}

/// A configuration that is no JSON object, or too long, is none.
fn parse(configuration: Option<&str>) -> Option<Map<String, Value>> {
    let text = configuration.filter(|text| text.len() <= MAX_CONFIGURATION)?;
    serde_json::from_str(text).ok()
}

/// `kept` is what an older program, which says nothing of its configuration, is taken to still have.
fn record(reported: Reported<'_>, kept: Option<Arc<Map<String, Value>>>, at: Millis) -> NodeRecord {
    let configuration = parse(reported.configuration).map(Arc::new).or(kept);
    let text = configuration
        .as_deref()
        .map(|map| serde_json::to_string(map).unwrap_or_default());
    NodeRecord {
        kind: reported.kind,
        name: reported.name.to_owned(),
        software: cut(reported.software),
        digest: text.map(|text| hex(digest(&SHA256, text.as_bytes()).as_ref())),
        configuration,
        first_seen: at,
        last_seen: at,
        changed_at: at,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is another than before, by key.
fn changes(known: &NodeRecord, reported: Reported<'_>) -> Vec<String> {
    let mut changed = Vec::new();
    if known.software != cut(reported.software) {
        changed.push("software".to_owned());
    }
    // a report that leaves it out says that nothing changed
    let Some(now) = parse(reported.configuration) else {
        return changed;
    };
    let none = Map::new();
    let before = known.configuration.as_deref().unwrap_or(&none);
    let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let differ = keys.into_iter().filter(|key| before.get(*key) != now.get(*key));
    changed.extend(differ.cloned());
    changed
}
