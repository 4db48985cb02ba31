//! What the page's live stream says every second, made once a second however many pages are open.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Mutex;
use tributary_shared::time::{Millis, now_millis, to_rfc3339};

use super::{ApiError, ApiState, books};
use crate::commit::{LaneRow, LedgerTotals, LogReader};

/// A made overview serves everybody for this long, in ms: a little less than the streams' tick.
const FRESH_FOR: Millis = 900;
/// Seconds of throughput in each overview: a stream that was delayed leaves no hole in the sparkline.
const SECONDS: usize = 5;

/// The newest overview. Whoever needs a newer one makes it, the others wait for it.
#[derive(Debug, Default)]
pub struct Overview {
    newest: Mutex<Option<(Millis, Arc<str>)>>,
}

impl Overview {
    /// The overview of this second, as JSON text.
    pub async fn get(&self, state: &ApiState) -> Result<Arc<str>, ApiError> {
        let mut newest = self.newest.lock().await;
        let now = now_millis();
        if let Some((made, json)) = newest.as_ref()
            && (0..FRESH_FOR).contains(&(now - made))
        {
            return Ok(Arc::clone(json));
        }
        let json: Arc<str> = make(state, now).await?.into();
        *newest = Some((now, Arc::clone(&json)));
        Ok(json)
    }
}

async fn make(state: &ApiState, now: Millis) -> Result<String, ApiError> {
    let views = state.engine.views().await?;
    let lanes = state.read(LogReader::lanes).await?;
    let streams = books::stream_rows(state, &views).await?;
    // changes when a view is made, replaced or removed
    let fingerprint: Vec<String> = views
        .iter()
        .map(|view| format!("{}@{}", view.name, to_rfc3339(view.created_at)))
        .collect();
    let overview = json!({
        "now": to_rfc3339(now),
        "throughput": state.throughput.last(now, SECONDS),
        "ledger": {
            "lanes": lanes.len(),
            "totals": books::totals(sum(&lanes)),
            "dead_open": lanes.iter().map(|lane| lane.open).sum::<u64>(),
            "balanced": lanes.iter().all(books::lane_balances),
        },
        "agents": state.agents.list(&lanes),
        "streams": streams,
        "views": fingerprint.join(" "),
    });
    Ok(overview.to_string())
}

fn sum(lanes: &[LaneRow]) -> LedgerTotals {
    let mut totals = LedgerTotals::default();
    for lane in lanes {
        totals.produced += lane.mark;
        totals.valid += lane.valid;
        totals.dead += lane.dead;
        totals.dropped += lane.dropped;
        totals.open += lane.open;
    }
    totals
}
