//! What the agent knows of schemas, and what its checks have counted. Shared by all inputs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tributary_shared::ids::StreamName;
use tributary_shared::metrics::{MetricName, counter};
use tributary_shared::wire::{CheckReport, SchemaInfo};

use super::compile::{Compiled, Compiler};
use super::judge::Check;
use super::keep::{PREFIX, Shelf, read, stored};
use super::messages::{CheckPolicies, CheckPolicy, Tally};
use crate::spool::SpoolHandle;

/// Policies, schemas and counts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Checks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    policies: CheckPolicies,
    spool: SpoolHandle,
    compiler: Option<Compiler>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    shelf: Shelf,
    /// Schemas of checked streams.
    schemas: BTreeMap<StreamName, Arc<Known>>,
    totals: BTreeMap<StreamName, Total>,
}

/// A schema of a checked stream, compiled when it is first needed.
#[derive(Debug)]
struct Known {
    info: SchemaInfo,
    compiled: OnceLock<Option<Compiled>>,
}

#[derive(Debug, Clone, Default)]
struct Total {
    tally: Tally,
    refused_requests: u64,
}

impl Checks {
    /// Checks without any schema yet. Without a compiler nothing is judged but frames.
    #[must_use]
    pub fn new(policies: CheckPolicies, spool: SpoolHandle, compiler: Option<Compiler>) -> Self {
        let state = Mutex::default();
        Self(Arc::new(Inner {
            policies,
            spool,
            compiler,
            state,
        }))
    }

    /// Takes back what an earlier process has kept. A spool that cannot be read now costs nothing: schemas are told
    /// again with the next session.
    pub async fn load(&self) {
        let kept = match self.0.spool.positions(PREFIX.to_owned()).await {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(%error, "kept schemas cannot be read: events are checked once a gateway has told them");
                return;
            }
        };
        for (stream, schema) in kept.iter().filter_map(read) {
            self.remember(&stream, Some(schema));
        }
    }

    /// A gateway's word on a stream. Returns when it is on disk, or cannot be.
    pub async fn learn(&self, stream: StreamName, schema: Option<SchemaInfo>) {
        let position = stored(&stream, schema.as_ref());
        let (id, version) = schema.as_ref().map(|schema| (schema.id, schema.version)).unzip();
        tracing::info!(%stream, id, version, "heard of a schema");
        let fits = schema.is_none() || self.remember(&stream, schema.clone());
        if schema.is_none() {
            self.remember(&stream, None);
        }
        let position = if fits {
            position
        } else {
            tracing::warn!(%stream, "too many schemas to keep: this one is known until the agent ends");
            stored(&stream, None)
        };
        if let Err(error) = self.0.spool.append_position(position).await {
            tracing::warn!(%stream, %error, "a schema cannot be kept: it is known until the agent ends");
        }
    }

    /// `false` when there is no room on disk.
    fn remember(&self, stream: &StreamName, schema: Option<SchemaInfo>) -> bool {
        let checked = self.policy(stream) != CheckPolicy::Off;
        let mut state = self.state();
        let fits = state.shelf.put(stream, schema.as_ref());
        match schema.filter(|_| checked) {
            Some(info) => {
                let known = Arc::new(Known {
                    info,
                    compiled: OnceLock::new(),
                });
                state.schemas.insert(stream.clone(), known);
            }
            None => drop(state.schemas.remove(stream)),
        }
        fits
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The schemas on disk: a gateway need not tell them again.
    #[must_use]
    pub fn kept(&self) -> Vec<(StreamName, u32)> {
        self.state().shelf.ids().collect()
    }

    /// The streams that are checked.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamName> {
        let checked = self
            .0
            .policies
            .iter()
            .filter(|(_, policy)| **policy != CheckPolicy::Off);
        checked.map(|(stream, _)| stream.clone()).collect()
    }

    #[must_use]
    pub fn policy(&self, stream: &StreamName) -> CheckPolicy {
        self.0.policies.get(stream).copied().unwrap_or_default()
    }

    /// A check of a stream's next events; `None` when they are not to be checked, or no schema is known. The first
    /// one after a change compiles the schema, which takes milliseconds.
    #[must_use]
    pub fn begin(&self, stream: &StreamName) -> Option<Check> {
        let policy = self.policy(stream);
        if policy == CheckPolicy::Off {
            return None;
        }
        let known = self.state().schemas.get(stream).cloned()?;
        let compiled = known.compiled.get_or_init(|| {
            let compile = self.0.compiler?;
            compile(stream, &known.info)
        });
        Some(Check::new(
            compiled.as_ref(),
            known.info.id,
            policy == CheckPolicy::Reject,
        ))
    }

    /// Events were taken: what their check found counts.
    pub fn taken(&self, stream: &StreamName, tally: &Tally) {
        if tally.checked == 0 {
            return;
        }
        for (rule, count) in &tally.by_rule {
            let labels = [("stream", stream.as_str()), ("rule", rule)];
            counter(MetricName::CheckInvalid, &labels).inc_by(*count);
        }
        let mut state = self.state();
        state.totals.entry(stream.clone()).or_default().tally.add(tally);
    }

    /// A request was refused for an invalid event.
    pub fn refused(&self, stream: &StreamName) {
        let mut state = self.state();
        state.totals.entry(stream.clone()).or_default().refused_requests += 1;
    }

    /// Schemas that have been compiled.
    #[cfg(test)]
    pub(super) fn compiled(&self) -> usize {
        let compiled = |known: &&Arc<Known>| known.compiled.get().is_some();
        self.state().schemas.values().filter(compiled).count()
    }

    /// What is to be shown of every checked stream.
    #[must_use]
    pub fn reports(&self) -> Vec<CheckReport> {
        let state = self.state();
        let checked = self
            .0
            .policies
            .iter()
            .filter(|(_, policy)| **policy != CheckPolicy::Off);
        checked
            .map(|(stream, policy)| {
                let Total {
                    tally,
                    refused_requests,
                } = state.totals.get(stream).cloned().unwrap_or_default();
                CheckReport {
                    stream: stream.clone(),
                    policy: policy.as_str().to_owned(),
                    schema_id: state.schemas.get(stream).map(|known| known.info.id),
                    checked: tally.checked,
                    invalid: tally.invalid,
                    refused_requests,
                    by_rule: tally.by_rule,
                }
            })
            .collect()
    }
}
