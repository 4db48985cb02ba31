//! What the audit records without being asked: the configuration at a start, gateways that are new, refusals, and heads
//! while nothing else is written.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tributary_audit::{Content, Kind};
use tributary_shared::ids::GatewayId;
use tributary_shared::refusals::Refusals;

use super::messages::{AuditQuery, Kinds};
use super::{Act, read};
use crate::commit::{CommitError, CommitHandle, LogReader};

/// A tree that grew is signed so often, also when nothing more comes.
const SIGN_EVERY: Duration = Duration::from_secs(60);
/// How soon somebody who is turned away is recorded.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Leaves that are read at a time.
const CHUNK: usize = 1_000;

/// Records a configuration that is another one than the last that was recorded: which settings changed, and all of it.
///
/// # Errors
/// Those of the log.
pub async fn record_configuration(
    commit: &CommitHandle,
    log: &LogReader,
    now: Map<String, Value>,
) -> Result<(), CommitError> {
    let before = log.with(own_settings)?;
    if before.as_ref() == Some(&now) {
        return Ok(());
    }
    let changed: Vec<&String> = match &before {
        None => Vec::new(),
        Some(before) => now
            .keys()
            .filter(|key| before.get(*key) != now.get(*key))
            .collect(),
    };
    let detail = json!({ "changed": changed, "settings": now });
    commit
        .record(Act::new(Kind::Configuration, detail))
        .await
        .map(|_| ())
}

/// The aggregator's settings as they were recorded last. Leaves of agents and gateways name their role.
fn own_settings(db: &Connection) -> Result<Option<Map<String, Value>>, CommitError> {
    let mut query = AuditQuery {
        kinds: Kinds::One(Kind::Configuration),
        from: None,
        newest_first: true,
        limit: CHUNK,
    };
    loop {
        let leaves = read::page(db, query)?.leaves;
        let Some(last) = leaves.last() else {
            return Ok(None);
        };
        query.from = Some(last.index);
        for leaf in leaves {
            if let Content::Act { detail, .. } = leaf.content
                && !detail.contains_key("role")
            {
                return Ok(detail.get("settings").and_then(Value::as_object).cloned());
            }
        }
    }
}

/// The gateways that the audit has a leaf of. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct KnownGateways {
    names: Arc<Mutex<HashSet<String>>>,
}

impl KnownGateways {
    /// Those that were ever seen.
    ///
    /// # Errors
    /// Those of the log.
    pub fn load(log: &LogReader) -> Result<Self, CommitError> {
        let names = log.with(enrolled)?;
        let names = Arc::new(Mutex::new(names));
        Ok(Self { names })
    }

    /// Records a gateway that was never seen before.
    ///
    /// # Errors
    /// Those of the log; then it is tried again with the next session.
    pub async fn seen(
        &self,
        gateway: &GatewayId,
        from: &str,
        commit: &CommitHandle,
    ) -> Result<(), CommitError> {
        let names = || self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if !names().insert(gateway.to_string()) {
            return Ok(());
        }
        let detail = json!({ "role": "gateway", "name": gateway.as_str(), "from": from });
        let recorded = commit.record(Act::new(Kind::Enrolment, detail)).await;
        if recorded.is_err() {
            names().remove(gateway.as_str());
        }
        recorded.map(|_| ())
    }
}

fn enrolled(db: &Connection) -> Result<HashSet<String>, CommitError> {
    let mut names = HashSet::new();
    let mut query = AuditQuery {
        kinds: Kinds::One(Kind::Enrolment),
        from: None,
        newest_first: false,
        limit: CHUNK,
    };
    loop {
        let leaves = read::page(db, query)?.leaves;
        let Some(last) = leaves.last() else {
            return Ok(names);
        };
        query.from = Some(last.index + 1);
        for leaf in leaves {
            if let Content::Act { detail, .. } = leaf.content
                && detail.get("role").and_then(Value::as_str) == Some("gateway")
            {
                names.extend(detail.get("name").and_then(Value::as_str).map(str::to_owned));
            }
        }
    }
}

/// Records refusals and signs heads, for as long as it is polled. The first refusal after a quiet minute is recorded at
/// once; those of the minute behind it are one leaf.
pub async fn keep(commit: CommitHandle, refusals: Refusals) {
    let mut sign = tokio::time::interval(SIGN_EVERY);
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut rested = Instant::now();
    loop {
        tokio::select! {
            // a log that cannot store says so itself
            _ = sign.tick() => drop(commit.sign().await),
            now = look.tick() => if now >= rested && record_refusals(&commit, &refusals).await {
                rested = now + SIGN_EVERY;
            }
        }
    }
}

/// Records who was turned away. Returns whether there was anything to record, and it is.
pub async fn record_refusals(commit: &CommitHandle, refusals: &Refusals) -> bool {
    let refused = refusals.take();
    let Some(act) = super::refusals::refused(&refused) else {
        return false;
    };
    let recorded = commit.record(act).await;
    if let Err(error) = &recorded {
        tracing::warn!(%error, "refusals are not in the audit yet");
        refusals.give_back(refused);
    }
    recorded.is_ok()
}
