//! What a mesh looks like at one moment, read from the API's answers. Pure.

use serde_json::Value;

/// Seconds over which "now" is averaged.
const RATE_SECONDS: usize = 5;

/// One moment of a mesh.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// The aggregator's time, RFC 3339.
    pub now: String,
    /// Events of the last seconds, oldest first.
    pub seconds: Vec<u64>,
    pub streams: Vec<Line>,
    pub agents: Vec<Line>,
    pub views: Vec<Line>,
    pub connected: usize,
    /// Events that agents hold and that are not committed; of those agents that have reported.
    pub lag: u64,
    pub dead_open: u64,
}

/// One row of a table, and whether somebody should look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub cells: Vec<String>,
    pub alarming: bool,
}

pub const STREAM_HEAD: [&str; 5] = ["STREAM", "EVENTS", "DEAD OPEN", "DROPPED", "LAST SEEN"];
pub const AGENT_HEAD: [&str; 5] = ["AGENT", "STATE", "LAG", "SPOOL", "LAST SEEN"];
pub const VIEW_HEAD: [&str; 5] = ["VIEW", "STATE", "WINDOWS", "GROUPS", "EVENTS"];

impl Snapshot {
    /// Reads the answers of `/throughput`, `/streams`, `/agents` and `/views`.
    #[must_use]
    pub fn read(throughput: &Value, streams: &Value, agents: &Value, views: &Value) -> Self {
        let count = |value: &Value| value.as_u64().unwrap_or(0);
        let buckets = list(&throughput["buckets"]);
        let seconds = buckets
            .iter()
            .map(|bucket| {
                ["valid", "dead", "dropped"]
                    .iter()
                    .map(|kind| count(&bucket[*kind]))
                    .sum()
            })
            .collect();
        let (streams, agents) = (list(&streams["streams"]), list(&agents["agents"]));
        Self {
            now: words(&throughput["now"]),
            seconds,
            connected: agents.iter().filter(|agent| agent["connected"] == true).count(),
            lag: agents.iter().map(|agent| count(&agent["lag_events"])).sum(),
            dead_open: streams.iter().map(|stream| count(&stream["dead_open"])).sum(),
            streams: streams.iter().map(stream_line).collect(),
            agents: agents.iter().map(agent_line).collect(),
            views: list(&views["views"]).iter().map(view_line).collect(),
        }
    }

    /// Events a second, just now.
    #[must_use]
    pub fn rate(&self) -> f64 {
        let recent = &self.seconds[self.seconds.len().saturating_sub(RATE_SECONDS)..];
        recent.iter().sum::<u64>() as f64 / recent.len().max(1) as f64
    }

    /// The mesh in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{:.0} events/s · {} of {} agents connected · lag {} · {} dead letters open",
            self.rate(),
            self.connected,
            self.agents.len(),
            number(self.lag),
            number(self.dead_open),
        )
    }

    /// As text, for pipes and scripts.
    #[must_use]
    pub fn text(&self) -> String {
        let table = |head: &[&str], lines: &[Line]| {
            let cells: Vec<Vec<String>> = lines.iter().map(|line| line.cells.clone()).collect();
            crate::schema::aligned(head, &cells)
        };
        format!(
            "{}  {}\n\n{}\n{}\n{}",
            self.now,
            self.summary(),
            table(&STREAM_HEAD, &self.streams),
            table(&AGENT_HEAD, &self.agents),
            table(&VIEW_HEAD, &self.views),
        )
    }
}

fn stream_line(stream: &Value) -> Line {
    let cell = |field: &str| shown(&stream[field]);
    Line {
        cells: vec![
            cell("stream"),
            cell("events"),
            cell("dead_open"),
            cell("dropped"),
            cell("last_seen"),
        ],
        alarming: stream["dead_open"].as_u64().is_some_and(|open| open > 0),
    }
}

fn agent_line(agent: &Value) -> Line {
    let connected = agent["connected"] == true;
    let state = if connected { "connected" } else { "away" };
    let spool = match (agent["spool_bytes"].as_u64(), agent["spool_limit"].as_u64()) {
        (Some(bytes), Some(limit)) if limit > 0 => format!("{:.0} %", bytes as f64 * 100.0 / limit as f64),
        _ => "-".to_owned(),
    };
    Line {
        cells: vec![
            shown(&agent["agent"]),
            state.to_owned(),
            shown(&agent["lag_events"]),
            spool,
            shown(&agent["last_seen"]),
        ],
        alarming: !connected,
    }
}

fn view_line(view: &Value) -> Line {
    let live = view["live"] == true;
    let state = if live { "live" } else { "back-filling" };
    Line {
        cells: vec![
            shown(&view["name"]),
            state.to_owned(),
            shown(&view["windows"]),
            shown(&view["groups"]),
            shown(&view["applied"]),
        ],
        alarming: !live,
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn words(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(count) => count.as_u64().map_or_else(|| count.to_string(), number),
        other => other.to_string(),
    }
}

/// With a comma between thousands.
fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
pub mod tests {
    use serde_json::json;

    use super::*;

    /// A mesh of two streams, two agents and two views.
    pub fn sample() -> Snapshot {
        Snapshot::read(
            &json!({ "now": "2026-01-31T12:00:00.000Z", "buckets": [
                { "valid": 900, "dead": 0, "dropped": 0 }, { "valid": 10, "dead": 2, "dropped": 3 },
                { "valid": 20, "dead": 0, "dropped": 0 }, { "valid": 0, "dead": 0, "dropped": 0 },
                { "valid": 30, "dead": 0, "dropped": 0 }, { "valid": 35, "dead": 0, "dropped": 0 },
            ]}),
            &json!({ "streams": [
                { "stream": "readings", "events": 1_234_567, "dead_open": 4, "dropped": 0, "last_seen": null },
            ]}),
            &json!({ "agents": [
                { "agent": "press-7", "connected": true, "lag_events": 1500, "spool_bytes": 50, "spool_limit": 200,
                  "last_seen": "2026-01-31T11:59:59.000Z" },
                { "agent": "press-8", "connected": false, "lag_events": null, "spool_bytes": null },
            ]}),
            &json!({ "views": [
                { "name": "by_site", "live": true, "windows": 60, "groups": 240, "applied": 1_234_500 },
                { "name": "hours", "live": false, "windows": 1, "groups": 2, "applied": 3 },
            ]}),
        )
    }

    #[test]
    fn a_snapshot_is_text_for_scripts() {
        assert_eq!(
            sample().text(),
            "2026-01-31T12:00:00.000Z  20 events/s · 1 of 2 agents connected · lag 1,500 · 4 dead letters open\n\
             \n\
             STREAM    EVENTS     DEAD OPEN  DROPPED  LAST SEEN\n\
             readings  1,234,567  4          0        -\n\
             \n\
             AGENT    STATE      LAG    SPOOL  LAST SEEN\n\
             press-7  connected  1,500  25 %   2026-01-31T11:59:59.000Z\n\
             press-8  away       -      -      -\n\
             \n\
             VIEW     STATE         WINDOWS  GROUPS  EVENTS\n\
             by_site  live          60       240     1,234,500\n\
             hours    back-filling  1        2       3\n"
        );
    }

    #[test]
    fn answers_of_another_shape_are_an_empty_mesh_and_no_crash() {
        let nothing = Snapshot::read(&Value::Null, &json!([]), &json!({ "agents": 7 }), &json!(""));
        assert!(
            nothing.summary().starts_with("0 events/s"),
            "{}",
            nothing.summary()
        );
    }
}
