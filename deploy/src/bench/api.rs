//! The calls that a bench or a soak makes to the mesh.

use std::collections::BTreeMap;
use std::io::BufReader;

use serde::Deserialize;
use serde_json::json;
use tributary_shared::ids::{AgentId, Epoch, Seq, StreamName};
use tributary_shared::time::Millis;
use ureq::{Agent, BodyReader};

use super::openmetrics::sum;
use crate::http;

/// More windows than a bench makes: 1,000 devices in a few minutes.
const WINDOWS: u64 = 10_000;

/// `/api/v1/ledger`, its totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Totals {
    pub produced: u64,
    pub valid: u64,
    pub dead: u64,
    pub dropped: u64,
}

#[derive(Debug, Deserialize)]
struct Ledger {
    totals: Totals,
    lanes: Vec<LedgerLane>,
}

/// One lane of `/api/v1/ledger`.
#[derive(Debug, Clone, Deserialize)]
pub struct LedgerLane {
    pub agent: AgentId,
    pub stream: StreamName,
    pub epoch: Epoch,
    pub mark: Seq,
    pub valid: u64,
    pub dead: u64,
    pub dropped: Vec<Dropped>,
}

/// Events that an agent gave up.
#[derive(Debug, Clone, Deserialize)]
pub struct Dropped {
    pub from: Seq,
    pub to: Seq,
    pub count: u64,
}

/// A row of a view, by column.
pub type Row = BTreeMap<String, serde_json::Value>;

#[derive(Debug, Deserialize)]
struct Windows {
    rows: Vec<Row>,
}

/// An agent's `/v1/status`, what matters here of it.
#[derive(Debug, Deserialize)]
struct AgentStatus {
    lanes: Vec<HeldLane>,
}

#[derive(Debug, Deserialize)]
struct HeldLane {
    held_events: u64,
}

/// How far the aggregator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Events committed as valid.
    pub valid: u64,
    /// The newest log position, and the one that the views have.
    pub committed: u64,
    pub applied: u64,
}

#[derive(Debug, Deserialize)]
struct View {
    live: bool,
}

/// An aggregator's API.
#[derive(Debug)]
pub struct Api {
    client: Agent,
    http: String,
    registry: String,
}

impl Api {
    #[must_use]
    pub fn new(http: &str, registry: &str) -> Self {
        Self {
            client: http::client(),
            http: http.to_owned(),
            registry: registry.to_owned(),
        }
    }

    /// Registers the JSON Schema of a stream.
    ///
    /// # Errors
    /// When it is refused.
    pub fn register(&self, stream: &str, schema: &str) -> anyhow::Result<()> {
        let url = format!("{}/subjects/{stream}-value/versions", self.registry);
        let body = json!({"schemaType": "JSON", "schema": schema}).to_string();
        let mut response = self
            .client
            .post(&url)
            .content_type("application/json")
            .send(body)?;
        http::json::<serde_json::Value>(&url, &mut response)?;
        Ok(())
    }

    /// # Errors
    /// When it is refused.
    pub fn create_view(&self, name: &str, sql: &str) -> anyhow::Result<()> {
        let url = format!("{}/api/v1/views/{name}", self.http);
        let body = json!({ "sql": sql }).to_string();
        let mut response = self
            .client
            .put(&url)
            .content_type("application/json")
            .send(body)?;
        http::json::<serde_json::Value>(&url, &mut response)?;
        Ok(())
    }

    /// Whether a view has read the whole log and keeps up with it.
    ///
    /// # Errors
    /// When there is no such view, or the aggregator does not answer.
    pub fn is_live(&self, view: &str) -> anyhow::Result<bool> {
        let url = format!("{}/api/v1/views/{view}", self.http);
        Ok(http::json::<View>(&url, &mut self.client.get(&url).call()?)?.live)
    }

    /// # Errors
    /// When the aggregator does not answer.
    pub fn totals(&self) -> anyhow::Result<Totals> {
        let url = format!("{}/api/v1/ledger", self.http);
        Ok(http::json::<Ledger>(&url, &mut self.client.get(&url).call()?)?.totals)
    }

    /// Every lane that the ledger knows.
    ///
    /// # Errors
    /// When the aggregator does not answer.
    pub fn lanes(&self) -> anyhow::Result<Vec<LedgerLane>> {
        let url = format!("{}/api/v1/ledger", self.http);
        Ok(http::json::<Ledger>(&url, &mut self.client.get(&url).call()?)?.lanes)
    }

    /// Cheap: reads counters only.
    ///
    /// # Errors
    /// When the aggregator does not answer.
    pub fn position(&self) -> anyhow::Result<Position> {
        let text = self.metrics(&self.http)?;
        Ok(Position {
            valid: sum(&text, "tributary_commit_events_total", &[("verdict", "valid")]) as u64,
            committed: sum(&text, "tributary_committed_position", &[]) as u64,
            applied: sum(&text, "tributary_applied_position", &[]) as u64,
        })
    }

    /// Events that agents hold, by their intakes.
    ///
    /// # Errors
    /// When one does not answer.
    pub fn held(&self, intakes: &[String]) -> anyhow::Result<u64> {
        let mut held = 0;
        for intake in intakes {
            let url = format!("{intake}/v1/status");
            let status: AgentStatus = http::json(&url, &mut self.client.get(&url).call()?)?;
            held += status.lanes.iter().map(|lane| lane.held_events).sum::<u64>();
        }
        Ok(held)
    }

    /// The metrics of any process, as text.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn metrics(&self, base: &str) -> anyhow::Result<String> {
        http::text(&mut self.client.get(format!("{base}/metrics")).call()?)
    }

    /// The sum of a column over all windows of a view.
    ///
    /// # Errors
    /// When the aggregator does not answer, or there are more windows than it shows at once.
    pub fn window_sum(&self, view: &str, column: &str) -> anyhow::Result<u64> {
        let rows = self.rows(view, "")?;
        Ok(rows.iter().filter_map(|row| row.get(column)?.as_u64()).sum())
    }

    /// The rows of all windows of a view that start at `from` or later and before `to`.
    ///
    /// # Errors
    /// When the aggregator does not answer, or there are more windows than it shows at once.
    pub fn rows_between(&self, view: &str, from: Millis, to: Millis) -> anyhow::Result<Vec<Row>> {
        self.rows(view, &format!("&from={from}&to={to}"))
    }

    fn rows(&self, view: &str, bounds: &str) -> anyhow::Result<Vec<Row>> {
        let url = format!(
            "{}/api/v1/views/{view}/windows?limit={WINDOWS}{bounds}",
            self.http
        );
        let windows: Windows = http::json(&url, &mut self.client.get(&url).call()?)?;
        anyhow::ensure!(
            (windows.rows.len() as u64) < WINDOWS,
            "{view} has more than {WINDOWS} windows"
        );
        Ok(windows.rows)
    }

    /// A view's live rows, as Server-Sent Events.
    ///
    /// # Errors
    /// When the aggregator does not answer.
    pub fn live(&self, view: &str) -> anyhow::Result<BufReader<BodyReader<'static>>> {
        let url = format!("{}/api/v1/views/{view}/live", self.http);
        let response = http::streaming_client().get(&url).call()?;
        anyhow::ensure!(
            response.status().is_success(),
            "{url}: the answer is {}",
            response.status()
        );
        Ok(BufReader::new(
            response.into_body().into_with_config().limit(u64::MAX).reader(),
        ))
    }
}
