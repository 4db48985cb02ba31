//! The calls that a bench makes to the mesh.

use std::collections::BTreeMap;
use std::io::BufReader;

use serde::Deserialize;
use serde_json::json;
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
}

#[derive(Debug, Deserialize)]
struct Windows {
    rows: Vec<BTreeMap<String, serde_json::Value>>,
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
        let url = format!("{}/api/v1/views/{view}/windows?limit={WINDOWS}", self.http);
        let windows: Windows = http::json(&url, &mut self.client.get(&url).call()?)?;
        anyhow::ensure!(
            (windows.rows.len() as u64) < WINDOWS,
            "{view} has more than {WINDOWS} windows"
        );
        Ok(windows
            .rows
            .iter()
            .filter_map(|row| row.get(column)?.as_u64())
            .sum())
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
