//! The heads that this agent keeps, in memory and in the spool's database.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tributary_shared::time::{Millis, now_millis};

use super::read::{Told, Verdict, compare, thin};
use crate::spool::{InputPosition, SpoolHandle};

const KEY: &str = "audit/heads";
/// Some hundred bytes each.
const MAX_HEADS: usize = 32;
const MAX_WARNINGS: usize = 16;
/// Heads come each minute; a flash disk need not take each of them.
const KEEP_EVERY: Millis = 600_000;

/// What is kept, and shown by `/v1/status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadsReport {
    /// Oldest first.
    pub heads: Vec<String>,
    /// What did not fit, oldest first.
    pub warnings: Vec<String>,
}

#[derive(Debug, Default)]
struct State {
    report: HeadsReport,
    newest: Option<Told>,
    kept_at: Millis,
    /// There is more in memory than on disk.
    unkept: bool,
}

impl State {
    /// As it is stored, from now on.
    fn stored(&mut self) -> InputPosition {
        self.unkept = false;
        InputPosition {
            key: KEY.to_owned(),
            // texts always serialize
            value: serde_json::to_vec(&self.report).unwrap_or_default(),
        }
    }
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Heads {
    spool: SpoolHandle,
    state: Arc<Mutex<State>>,
}

impl Heads {
    #[must_use]
    pub fn new(spool: SpoolHandle) -> Self {
        let state = Arc::default();
        Self { spool, state }
    }

    /// Takes back what an earlier process has kept.
    pub async fn load(&self) {
        let kept = match self.spool.positions(KEY.to_owned()).await {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(%error, "kept heads of the audit cannot be read");
                return;
            }
        };
        let Some(stored) = kept.iter().find(|position| position.key == KEY) else {
            return;
        };
        match serde_json::from_slice::<HeadsReport>(&stored.value) {
            Ok(report) => {
                let mut state = self.state();
                state.newest = report.heads.last().and_then(|text| Told::read(text));
                state.report = report;
            }
            Err(error) => {
                tracing::warn!(%error, "kept heads of the audit cannot be read: new ones are kept from now on")
            }
        }
    }

    /// A head that a gateway has told. Returns when it is on disk, if it is to be.
    pub async fn told(&self, text: String) {
        let Some(position) = self.take(&text, now_millis()) else {
            return;
        };
        self.write(position).await;
    }

    /// Writes what is not on disk yet; for an orderly stop.
    pub async fn save(&self) {
        let position = {
            let mut state = self.state();
            state.unkept.then(|| state.stored())
        };
        if let Some(position) = position {
            self.write(position).await;
        }
    }

    async fn write(&self, position: InputPosition) {
        if let Err(error) = self.spool.append_position(position).await {
            tracing::warn!(%error, "heads of the audit cannot be kept: they are known until the agent ends");
        }
    }

    /// What is to be written now.
    fn take(&self, text: &str, now: Millis) -> Option<InputPosition> {
        let Some(told) = Told::read(text) else {
            tracing::warn!("a gateway told a head of the audit that is none");
            return None;
        };
        let mut state = self.state();
        let odd = match compare(state.newest.as_ref(), &told) {
            Verdict::Older => return None,
            Verdict::Newer => false,
            Verdict::Odd(why) => {
                tracing::error!(why, "the aggregator's audit is not the one that it was");
                state.report.warnings.truncate(MAX_WARNINGS - 1);
                state.report.warnings.push(why);
                true
            }
        };
        thin(&mut state.report.heads, MAX_HEADS);
        state.report.heads.push(told.text.clone());
        state.newest = Some(told);
        state.unkept = true;
        if !odd && now.abs_diff(state.kept_at) < KEEP_EVERY.unsigned_abs() {
            return None;
        }
        state.kept_at = now;
        Some(state.stored())
    }

    /// What is kept.
    #[must_use]
    pub fn report(&self) -> HeadsReport {
        self.state().report.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tributary_shared::ids::AgentId;

    use super::*;
    use crate::spool::{self, SpoolConfig};

    fn head(size: u64, at: i64) -> String {
        format!("t/a\n{size}\nroot{size}\ntime {at}\n\n— t/a xxxx\n")
    }

    fn open(dir: &std::path::Path) -> SpoolHandle {
        spool::open(SpoolConfig::new(dir), AgentId::new("edge").expect("valid")).expect("opens")
    }

    #[tokio::test]
    async fn heads_and_what_did_not_fit_outlive_the_process() {
        let dir = tempfile::tempdir().expect("dir");
        let spool = open(dir.path());
        let heads = Heads::new(spool.clone());
        heads.told(head(10, 1)).await;
        heads.told(head(20, 2)).await;
        heads.told(head(15, 1)).await;
        heads.told("x".to_owned()).await;
        assert_eq!(heads.report().heads, [head(10, 1), head(20, 2)]);
        assert!(heads.report().warnings.is_empty());
        heads.told(head(12, 3)).await;
        assert!(
            heads.report().warnings[0].starts_with("removed tail"),
            "{:?}",
            heads.report()
        );
        // from there on the shorter tree is what is compared with
        heads.told(head(13, 4)).await;
        assert_eq!(heads.report().warnings.len(), 1);
        heads.save().await;
        spool.shutdown().await.expect("stops");

        let spool = open(dir.path());
        let again = Heads::new(spool.clone());
        again.load().await;
        assert_eq!(again.report().warnings, heads.report().warnings);
        assert_eq!(
            again.report().heads,
            [head(10, 1), head(20, 2), head(12, 3), head(13, 4)]
        );
        spool.shutdown().await.expect("stops");
    }
}
