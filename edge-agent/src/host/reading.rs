//! What is read of a host, and the event that two readings make.

use std::time::Duration;

use serde::Serialize;
use tributary_shared::time::{Millis, to_rfc3339};

/// The host at one moment. Sizes in bytes; counters since the host started.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub at: Millis,
    pub host: String,
    /// Busy share of all CPUs since the reading before, in percent.
    pub cpu_percent: f64,
    pub cpu_count: u64,
    pub load: Option<Load>,
    pub memory_total: u64,
    pub memory_used: u64,
    pub swap_total: u64,
    pub swap_used: u64,
    pub disk_total: u64,
    pub disk_used: u64,
    pub net_received: u64,
    pub net_sent: u64,
    pub uptime: Duration,
    pub processes: Option<u64>,
}

/// Load averages over one, five and fifteen minutes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    pub one: f64,
    pub five: f64,
    pub fifteen: f64,
}

/// One event of the `host` stream. Its JSON Schema documents the fields.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HostEvent {
    pub ts: String,
    pub host: String,
    pub cpu_percent: f64,
    pub cpu_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load1: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load5: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load15: Option<f64>,
    pub memory_total_bytes: u64,
    pub memory_used_bytes: u64,
    pub memory_percent: f64,
    pub swap_total_bytes: u64,
    pub swap_used_bytes: u64,
    pub swap_percent: f64,
    pub disk_total_bytes: u64,
    pub disk_used_bytes: u64,
    pub disk_percent: f64,
    pub net_rx_bytes_per_s: f64,
    pub net_tx_bytes_per_s: f64,
    pub uptime_s: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
}

impl HostEvent {
    /// `passed` is the time since `before`, by a monotonic clock.
    #[must_use]
    pub fn between(before: &Reading, now: &Reading, passed: Duration) -> Self {
        Self {
            ts: to_rfc3339(now.at),
            host: now.host.clone(),
            cpu_percent: rounded(now.cpu_percent.clamp(0.0, 100.0)),
            cpu_count: now.cpu_count,
            load1: now.load.map(|load| rounded(load.one)),
            load5: now.load.map(|load| rounded(load.five)),
            load15: now.load.map(|load| rounded(load.fifteen)),
            memory_total_bytes: now.memory_total,
            memory_used_bytes: now.memory_used,
            memory_percent: percent(now.memory_used, now.memory_total),
            swap_total_bytes: now.swap_total,
            swap_used_bytes: now.swap_used,
            swap_percent: percent(now.swap_used, now.swap_total),
            disk_total_bytes: now.disk_total,
            disk_used_bytes: now.disk_used,
            disk_percent: percent(now.disk_used, now.disk_total),
            net_rx_bytes_per_s: rate(before.net_received, now.net_received, passed),
            net_tx_bytes_per_s: rate(before.net_sent, now.net_sent, passed),
            uptime_s: now.uptime.as_secs(),
            processes: now.processes,
        }
    }
}

/// Two digits behind the point are more than these values are worth.
fn rounded(value: f64) -> f64 {
    if value.is_finite() {
        (value * 100.0).round() / 100.0
    } else {
        0.0
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        rounded((part as f64 / whole as f64 * 100.0).min(100.0))
    }
}

/// A counter that fell (an interface went away or was reset) says nothing about the time in between: 0.
fn rate(before: u64, now: u64, passed: Duration) -> f64 {
    let seconds = passed.as_secs_f64();
    if seconds > 0.0 {
        rounded(now.saturating_sub(before) as f64 / seconds)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tributary_shared::host_schema::HOST_SCHEMA;

    use super::*;

    fn reading() -> Reading {
        Reading {
            at: 1_700_000_000_250,
            host: "press-7".to_owned(),
            cpu_percent: 12.345_6,
            cpu_count: 4,
            load: Some(Load {
                one: 0.5,
                five: 0.25,
                fifteen: 0.125,
            }),
            memory_total: 1000,
            memory_used: 250,
            swap_total: 0,
            swap_used: 0,
            disk_total: 3000,
            disk_used: 1000,
            net_received: 5_000,
            net_sent: 100,
            uptime: Duration::from_secs(90),
            processes: Some(12),
        }
    }

    #[test]
    fn shares_and_rates_are_computed_and_never_nonsense() {
        let before = Reading {
            net_received: 1_000,
            net_sent: 900,
            ..reading()
        };
        let event = HostEvent::between(&before, &reading(), Duration::from_secs(2));
        assert_eq!(
            (event.cpu_percent, event.memory_percent, event.disk_percent),
            (12.35, 25.0, 33.33)
        );
        assert_eq!(
            (event.net_rx_bytes_per_s, event.net_tx_bytes_per_s),
            (2_000.0, 0.0)
        );
        assert_eq!(event.swap_percent, 0.0, "without swap");
        let odd = Reading {
            cpu_percent: f64::NAN,
            memory_used: 2_000,
            ..reading()
        };
        let event = HostEvent::between(&before, &odd, Duration::ZERO);
        assert_eq!(
            (event.cpu_percent, event.memory_percent, event.net_rx_bytes_per_s),
            (0.0, 100.0, 0.0)
        );
    }

    #[test]
    fn the_fields_are_those_of_the_schema() {
        let event = HostEvent::between(&reading(), &reading(), Duration::from_secs(10));
        let event = serde_json::to_value(event).expect("JSON");
        let schema: Value = serde_json::from_str(HOST_SCHEMA).expect("JSON");
        let fields = schema["properties"].as_object().expect("properties");
        let event = event.as_object().expect("an object");
        assert!(event.keys().eq(fields.keys()), "{event:?}");
        for (name, value) in event {
            let fits = match fields[name]["type"].as_str() {
                Some("integer") => value.is_u64(),
                Some("number") => value.is_number(),
                Some("string") => value.is_string(),
                other => panic!("{name} is {other:?}"),
            };
            assert!(fits, "{name} = {value}");
        }
    }
}
