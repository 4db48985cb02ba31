//! metadata.db: IO without decisions.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, Row, TransactionBehavior, params};
use serde_json::{Map, Value};
use tributary_shared::ids::{AgentId, GatewayId, StreamName};
use tributary_shared::time::Millis;

use super::messages::{MetadataError, NodeKind, NodeRecord, Route};

/// File name within the aggregator's directory.
pub const METADATA_FILE: &str = "metadata.db";
/// What this program writes, and the newest that it reads. Kept in `user_version`.
const FORMAT_VERSION: i64 = 1;

const TABLES: &str = "
    CREATE TABLE nodes (
        kind          TEXT NOT NULL,
        name          TEXT NOT NULL,
        software      TEXT NOT NULL,
        configuration TEXT,
        digest        TEXT,
        first_seen    INTEGER NOT NULL,
        last_seen     INTEGER NOT NULL,
        changed_at    INTEGER NOT NULL,
        PRIMARY KEY (kind, name)
    ) WITHOUT ROWID;
    CREATE TABLE routes (
        agent      TEXT NOT NULL,
        stream     TEXT NOT NULL,
        gateway    TEXT NOT NULL,
        first_seen INTEGER NOT NULL,
        last_seen  INTEGER NOT NULL,
        events     INTEGER NOT NULL,
        PRIMARY KEY (agent, stream, gateway)
    ) WITHOUT ROWID;
    CREATE TABLE runs (
        view       TEXT PRIMARY KEY,
        created_at INTEGER NOT NULL
    ) WITHOUT ROWID;
    PRAGMA user_version = 1;";

#[derive(Debug)]
pub(super) struct Store {
    db: Connection,
}

impl Store {
    /// Opens metadata.db in a directory that exists; makes it when needed.
    pub(super) fn open(dir: &Path) -> Result<Self, MetadataError> {
        let mut db = Connection::open(dir.join(METADATA_FILE))?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        // what a crash of the host takes with it, the nodes say again when they come back
        db.pragma_update(None, "synchronous", "NORMAL")?;
        let found: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match found {
            0 => {
                let change = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
                change.execute_batch(TABLES)?;
                change.commit()?;
            }
            FORMAT_VERSION => {}
            found => {
                return Err(MetadataError::FormatTooNew {
                    found,
                    known: FORMAT_VERSION,
                });
            }
        }
        Ok(Self { db })
    }

    pub(super) fn nodes(&self) -> Result<Vec<NodeRecord>, MetadataError> {
        let mut select = self.db.prepare(
            "SELECT kind, name, software, configuration, digest, first_seen, last_seen, changed_at FROM nodes",
        )?;
        let nodes = select
            .query_map([], node)?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(nodes.into_iter().flatten().collect())
    }

    pub(super) fn routes(&self) -> Result<Vec<Route>, MetadataError> {
        let mut select = self
            .db
            .prepare("SELECT agent, stream, gateway, first_seen, last_seen, events FROM routes")?;
        let routes = select
            .query_map([], route)?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(routes.into_iter().flatten().collect())
    }

    /// Views with the definitions of which OpenLineage was told that they run.
    pub(super) fn runs(&self) -> Result<Vec<(String, Millis)>, MetadataError> {
        let mut select = self
            .db
            .prepare("SELECT view, created_at FROM runs ORDER BY view")?;
        let runs = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(runs.collect::<rusqlite::Result<_>>()?)
    }

    pub(super) fn put_runs(&mut self, runs: &[(String, Millis)]) -> Result<(), MetadataError> {
        let change = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        change.execute("DELETE FROM runs", [])?;
        for (view, created_at) in runs {
            change
                .prepare_cached("INSERT INTO runs (view, created_at) VALUES (?1, ?2)")?
                .execute(params![view, created_at])?;
        }
        change.commit()?;
        Ok(())
    }

    /// Writes all of it, or nothing.
    pub(super) fn put(&mut self, nodes: &[NodeRecord], routes: &[Route]) -> Result<(), MetadataError> {
        let change = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut put = change.prepare_cached(
                "INSERT OR REPLACE INTO nodes
                    (kind, name, software, configuration, digest, first_seen, last_seen, changed_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?;
            for node in nodes {
                let configuration = node
                    .configuration
                    .as_deref()
                    .map(|map| serde_json::to_string(map).unwrap_or_default());
                put.execute(params![
                    node.kind.as_str(),
                    node.name,
                    node.software,
                    configuration,
                    node.digest,
                    node.first_seen,
                    node.last_seen,
                    node.changed_at
                ])?;
            }
            let mut put = change.prepare_cached(
                "INSERT OR REPLACE INTO routes (agent, stream, gateway, first_seen, last_seen, events)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for route in routes {
                put.execute(params![
                    route.agent.as_str(),
                    route.stream.as_str(),
                    route.gateway.as_str(),
                    route.first_seen,
                    route.last_seen,
                    route.events
                ])?;
            }
        }
        change.commit()?;
        Ok(())
    }
}

/// `None` for a row that names what there is not: somebody else wrote it.
fn node(row: &Row<'_>) -> rusqlite::Result<Option<NodeRecord>> {
    let kind: String = row.get(0)?;
    let Some(kind) = NodeKind::parse(&kind) else {
        return Ok(None);
    };
    let configuration: Option<String> = row.get(3)?;
    let configuration: Option<Map<String, Value>> =
        configuration.and_then(|text| serde_json::from_str(&text).ok());
    Ok(Some(NodeRecord {
        kind,
        name: row.get(1)?,
        software: row.get(2)?,
        configuration: configuration.map(Arc::new),
        digest: row.get(4)?,
        first_seen: row.get(5)?,
        last_seen: row.get(6)?,
        changed_at: row.get(7)?,
    }))
}

fn route(row: &Row<'_>) -> rusqlite::Result<Option<Route>> {
    let text = |at: usize| row.get::<_, String>(at);
    let (Ok(agent), Ok(stream), Ok(gateway)) = (
        AgentId::new(&text(0)?),
        StreamName::new(&text(1)?),
        GatewayId::new(&text(2)?),
    ) else {
        return Ok(None);
    };
    Ok(Some(Route {
        agent,
        stream,
        gateway,
        first_seen: row.get(3)?,
        last_seen: row.get(4)?,
        events: row.get(5)?,
    }))
}
