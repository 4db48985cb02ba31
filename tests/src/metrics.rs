//! What a process counts about itself.

use crate::{http, wait_until};
use std::time::Duration;

/// The samples of one scrape, as OpenMetrics text.
#[derive(Debug, Clone)]
pub struct Metrics(String);

impl Metrics {
    /// Reads `/metrics` of a server.
    ///
    /// # Errors
    /// With what came instead.
    pub fn scrape(base: &str) -> Result<Self, String> {
        let answer = http::get(&format!("{base}/metrics")).map_err(|error| error.to_string())?;
        match answer.status {
            200 => Ok(Self(answer.body)),
            status => Err(format!("status {status}: {}", answer.body)),
        }
    }

    /// The sum over all series of a name that have all of these labels; 0 when there is none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{value}\""))
            .collect();
        let samples = self.0.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (found, rest) = series.split_once('{').unwrap_or((series, ""));
            let fits = found == name && wanted.iter().all(|label| rest.contains(label.as_str()));
            fits.then(|| value.parse::<f64>().ok()).flatten()
        });
        samples.sum()
    }

    /// Waits until a sum has grown by one at least from what it was `before`.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn wait_for_more(base: &str, name: &str, labels: &[(&str, &str)], before: f64, within: Duration) {
        wait_until(within, &format!("{name}{labels:?} grows beyond {before}"), || {
            let metrics = Self::scrape(base)?;
            let now = metrics.sum(name, labels);
            (now > before).then_some(()).ok_or_else(|| {
                let all: Vec<&str> = metrics.0.lines().filter(|line| line.starts_with(name)).collect();
                format!("{now}, of {all:?}")
            })
        });
    }
}
