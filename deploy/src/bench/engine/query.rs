//! How long a reader waits for a day of minutes of one device, while batches are applied.

use std::time::Instant;

use aggregator::window::WindowQuery;
use serde::Serialize;

use super::fold::{Fed, by_device};
use super::rows::{BATCH_ROWS, Rows, name};

/// 70 devices over 1,440 minutes are 100,800 groups.
const DEVICES: u64 = 70;
const DAY: i64 = 86_400_000;
/// Each device once in 20 s.
const ROWS_PER_SECOND: u64 = 7;

/// The figures.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Queries {
    pub groups: u64,
    pub queries: u64,
    /// Of an answer.
    pub rows: usize,
    /// From the arrival of a batch, which the query waits for, to its answer.
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// The query alone.
    pub alone_p50_ms: f64,
}

/// # Errors
/// When the view does not compile.
pub fn measure(list: &str, queries: u64) -> anyhow::Result<Queries> {
    let made = Rows::new(DEVICES, ROWS_PER_SECOND, u64::MAX);
    let mut fed = Fed::new(&by_device(list), DEVICES * 2)?;
    let rows = DAY as u64 / 1_000 * ROWS_PER_SECOND;
    for first in (0..rows).step_by(BATCH_ROWS as usize) {
        fed.apply(&made.batch(first..rows.min(first + BATCH_ROWS))?, DAY);
    }
    let batch = made.batch(rows / 2..rows / 2 + BATCH_ROWS)?;
    let (mut waits, mut alone, mut found) = (Vec::new(), Vec::new(), 0);
    for query in 0..queries {
        let query = WindowQuery {
            from: Some(0),
            to: Some(DAY),
            limit: 2_000,
            filters: vec![("device".to_owned(), name(query % DEVICES))],
            ..WindowQuery::default()
        };
        let arrived = Instant::now();
        fed.apply(&batch, DAY);
        let began = Instant::now();
        found = fed.read(&query)?;
        alone.push(began.elapsed().as_secs_f64() * 1e3);
        waits.push(arrived.elapsed().as_secs_f64() * 1e3);
    }
    let at = |sorted: &mut Vec<f64>, share: f64| {
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() - 1) as f64 * share) as usize]
    };
    Ok(Queries {
        groups: fed.engine.stats("bench").map_or(0, |stats| stats.groups),
        queries,
        rows: found,
        p50_ms: at(&mut waits, 0.5),
        p99_ms: at(&mut waits, 0.99),
        alone_p50_ms: at(&mut alone, 0.5),
    })
}
