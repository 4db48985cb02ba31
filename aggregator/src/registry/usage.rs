//! Which agents still send events of which version. Counted in memory beside the commits, saved every few
//! seconds in one transaction: a crash forgets the last seconds of it, and the commit never waits.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tributary_shared::ids::{AgentId, StreamName};
use tributary_shared::metrics::{self, MetricName};
use tributary_shared::time::Millis;
use tributary_shared::wire::SchemaRef;

use super::messages::Usage;
use super::rules::State;
use super::store::Store;
use super::{Registry, RegistryError, subject_of};

/// Agents times streams times versions that are counted between two saves; what comes on top is not counted.
const MAX_PENDING: usize = 1 << 16;

type Key = (StreamName, AgentId, u32, u32);

#[derive(Debug, Clone, Copy)]
struct Count {
    rows: u64,
    first: Millis,
    last: Millis,
}

/// What was counted since the last save.
#[derive(Debug, Default)]
pub(super) struct UsageBook(Mutex<HashMap<Key, Count>>);

impl UsageBook {
    fn add(&self, key: Key, count: Count) {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = pending.get_mut(&key) {
            known.rows += count.rows;
            known.first = known.first.min(count.first);
            known.last = known.last.max(count.last);
        } else if pending.len() < MAX_PENDING {
            pending.insert(key, count);
        }
    }

    fn take(&self) -> HashMap<Key, Count> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Registry {
    /// Counts committed rows that a version judged. Never waits for a disk.
    pub fn note_use(&self, stream: &StreamName, agent: &AgentId, schema: SchemaRef, rows: u64, at: Millis) {
        if rows == 0 {
            return;
        }
        let key = (stream.clone(), agent.clone(), schema.version, schema.id);
        let count = Count {
            rows,
            first: at,
            last: at,
        };
        self.shared.usage.add(key, count);
    }

    /// Makes what was counted durable, and warns of deprecated versions that are in use.
    ///
    /// # Errors
    /// Those of SQLite; what was counted is kept for the next time.
    pub fn save_usage(&self) -> Result<(), RegistryError> {
        let pending = self.shared.usage.take();
        if pending.is_empty() {
            return Ok(());
        }
        let mut store = self.store();
        let saved = store.write(|db| {
            for ((stream, agent, version, id), count) in &pending {
                let usage = Usage {
                    agent: agent.to_string(),
                    version: *version,
                    id: *id,
                    rows: count.rows,
                    first_seen: count.first,
                    last_seen: count.last,
                };
                Store::add_usage(db, &subject_of(stream), &usage)?;
            }
            Ok(())
        });
        if let Err(error) = saved {
            drop(store);
            for (key, count) in pending {
                self.shared.usage.add(key, count);
            }
            return Err(error);
        }
        warn_of_deprecated(&store, &pending)
    }
}

fn warn_of_deprecated(store: &Store, pending: &HashMap<Key, Count>) -> Result<(), RegistryError> {
    let mut by_version: HashMap<(&StreamName, u32), (u64, &AgentId)> = HashMap::new();
    for ((stream, agent, version, _), count) in pending {
        by_version.entry((stream, *version)).or_insert((0, agent)).0 += count.rows;
    }
    for ((stream, version), (rows, agent)) in by_version {
        let subject = subject_of(stream);
        let state = store.version_row(&subject, version)?.map(|row| row.state);
        if state == Some(State::Deprecated) {
            metrics::counter(MetricName::SchemaDeprecatedEvents, &[("subject", &subject)]).inc_by(rows);
            tracing::warn!(subject, version, rows, %agent, "events of a deprecated schema version are sent");
        }
    }
    Ok(())
}
