//! Random events, looked up over HTTP one after the other, as a person would.

use std::time::Instant;

use anyhow::Context as _;
use rand::RngExt as _;
use serde::Serialize;
use serde_json::Value;
use tributary_shared::ids::{LaneNo, LineageId};
use tributary_shared::time::to_rfc3339;

use super::batches::{LANES, START, STREAM, lane_key, order};
use super::{BATCH, percentile};
use crate::http;

/// Searches by a field: each decodes the entries of a minute.
const SEARCHES: u64 = 200;
const MINUTE: i64 = 60_000;

/// The figures.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Lookups {
    pub lookups: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    pub searches: u64,
    pub search_p50_ms: f64,
    pub search_p99_ms: f64,
}

/// # Errors
/// When an answer is not that of the event.
pub async fn measure(url: String, events: u64, lookups: u64) -> anyhow::Result<Lookups> {
    tokio::task::spawn_blocking(move || blocking(&url, events, lookups)).await?
}

fn blocking(url: &str, events: u64, lookups: u64) -> anyhow::Result<Lookups> {
    let client = http::client();
    let get = |path: &str| -> anyhow::Result<Value> {
        let mut response = client.get(format!("{url}{path}")).call()?;
        http::json(path, &mut response)
    };
    let per_lane = events / BATCH / LANES * BATCH;
    anyhow::ensure!(per_lane > 0, "too few events for {LANES} lanes of whole batches");
    let mut random = rand::rng();
    let mut took = Vec::new();
    for nth in 0..lookups {
        let (lane, seq) = (random.random_range(0..LANES), random.random_range(1..=per_lane));
        let name = if nth % 2 == 0 {
            // lanes are numbered from 1 on, in the order in which they were opened
            LineageId::new(LaneNo(u32::try_from(lane)? + 1), seq).to_string()
        } else {
            format!("{}/{seq}", lane_key(lane)?)
        };
        let began = Instant::now();
        let path = get(&format!("/api/v1/events/{name}"))?;
        took.push(began.elapsed().as_secs_f64() * 1e3);
        check(&path, lane, seq).with_context(|| format!("the path of {name}: {path}"))?;
    }
    let mut searched = Vec::new();
    for _ in 0..SEARCHES.min(lookups) {
        let (lane, seq) = (random.random_range(0..LANES), random.random_range(1..=per_lane));
        let id = order(lane, seq);
        let from = (START + id.cast_signed()) / MINUTE * MINUTE;
        let (from, to) = (to_rfc3339(from), to_rfc3339(from + MINUTE));
        let began = Instant::now();
        let found = get(&format!(
            "/api/v1/events?stream={STREAM}&order_id={id}&from={from}&to={to}"
        ))?;
        searched.push(began.elapsed().as_secs_f64() * 1e3);
        let only = &found["events"][0];
        anyhow::ensure!(
            only["seq"] == seq && found["complete"] == true,
            "order {id}: {found}"
        );
    }
    Ok(Lookups {
        lookups,
        p50_ms: percentile(&mut took, 0.5),
        p99_ms: percentile(&mut took, 0.99),
        max_ms: percentile(&mut took, 1.0),
        searches: searched.len() as u64,
        search_p50_ms: percentile(&mut searched, 0.5),
        search_p99_ms: percentile(&mut searched, 0.99),
    })
}

/// The path is that of this event, whole, and leads to its window.
fn check(path: &Value, lane: u64, seq: u64) -> anyhow::Result<()> {
    let window = &path["windows"][0];
    let minute = (START + order(lane, seq).cast_signed()) / MINUTE * MINUTE;
    anyhow::ensure!(
        path["seq"] == seq && path["agent"] == lane_key(lane)?.agent.as_str() && path["outcome"] == "valid",
        "another event"
    );
    anyhow::ensure!(window["window_start"] == to_rfc3339(minute), "another window");
    anyhow::ensure!(
        path["hops"].as_array().is_some_and(|hops| hops.len() == 7),
        "not all hops"
    );
    Ok(())
}
