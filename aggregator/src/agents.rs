//! Which agents exist, what they last said of themselves, and how far behind they are.
//!
//! Only what gateways told since this process started is kept here; an agent that has not connected since is
//! known from its lanes in the log. It grows with the number of certificates that were used, not with traffic.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::watch;
use tributary_shared::ids::{AgentId, GatewayId, LaneKey, Seq};
use tributary_shared::metrics::{self, MetricName};
use tributary_shared::time::{Millis, to_rfc3339};
use tributary_shared::wire::{CheckReport, NodeReport};

use crate::commit::LaneRow;

/// One agent as `GET /api/v1/agents` shows it. What is not known is `null`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentRow {
    pub agent: AgentId,
    pub connected: bool,
    pub gateway: Option<GatewayId>,
    /// Address that the gateway sees.
    pub remote: Option<String>,
    pub software: Option<String>,
    /// RFC 3339; the last report or the last commit, whichever is later.
    pub last_seen: Option<String>,
    /// Events that the agent has given a seq and that are not committed here.
    pub lag_events: Option<u64>,
    pub held_events: Option<u64>,
    pub held_bytes: Option<u64>,
    pub spool_bytes: Option<u64>,
    pub spool_limit: Option<u64>,
    /// The agent's clock minus its gateway's when its report came in (minus ours where the gateway is too old to say);
    /// positive when the agent is ahead.
    pub clock_skew_ms: Option<i64>,
    /// Lanes that the log knows of it.
    pub lanes: usize,
    /// What its own checks have found, by stream; empty when it checks none.
    pub checks: Vec<CheckReport>,
}

/// What an agent last said of one of its lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneAtAgent {
    /// The highest seq that was given out.
    pub produced: Seq,
    pub held_events: u64,
    pub reported_at: Millis,
}

#[derive(Debug, Clone)]
struct Entry {
    /// `None`: away.
    gateway: Option<GatewayId>,
    remote: String,
    software: String,
    last_seen: Millis,
    report: Option<(NodeReport, Millis)>,
}

/// The agents of this mesh. Sessions write it, the API reads it.
#[derive(Debug, Default)]
pub struct AgentDirectory {
    entries: Mutex<HashMap<AgentId, Entry>>,
    /// Agents that were here since this process started, and are not now.
    away: watch::Sender<BTreeSet<AgentId>>,
}

impl AgentDirectory {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AgentId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The agents that left, whenever that changes.
    #[must_use]
    pub fn away(&self) -> watch::Receiver<BTreeSet<AgentId>> {
        self.away.subscribe()
    }

    fn tell_away(&self, entries: &HashMap<AgentId, Entry>) {
        let gone = entries.iter().filter(|(_, entry)| entry.gateway.is_none());
        let gone: BTreeSet<AgentId> = gone.map(|(agent, _)| agent.clone()).collect();
        self.away.send_if_modified(|known| {
            let changed = *known != gone;
            *known = gone;
            changed
        });
    }

    /// An agent opened a session with a gateway. A session at another gateway is thereby over.
    pub fn connected(&self, agent: &AgentId, gateway: &GatewayId, remote: &str, software: &str, at: Millis) {
        let mut entries = self.lock();
        let report = entries.remove(agent).and_then(|entry| entry.report);
        let entry = Entry {
            gateway: Some(gateway.clone()),
            remote: remote.to_owned(),
            software: software.to_owned(),
            last_seen: at,
            report,
        };
        entries.insert(agent.clone(), entry);
        self.tell_away(&entries);
    }

    /// A connected agent said how it is. Without a session before it, the report is not kept.
    pub fn report(&self, agent: &AgentId, report: NodeReport, at: Millis) {
        if let Some(entry) = self.lock().get_mut(agent) {
            entry.last_seen = entry.last_seen.max(at);
            metrics::gauge(MetricName::AgentClockSkew, &[("agent", agent.as_str())])
                .set(skew(&report, at) as f64 / 1_000.0);
            entry.report = Some((report, at));
        }
    }

    /// An agent left a gateway. Ignored when it has a newer session at another gateway.
    pub fn disconnected(&self, agent: &AgentId, gateway: &GatewayId, at: Millis) {
        let mut entries = self.lock();
        if let Some(entry) = entries.get_mut(agent)
            && entry.gateway.as_ref() == Some(gateway)
        {
            entry.gateway = None;
            entry.last_seen = entry.last_seen.max(at);
            self.tell_away(&entries);
        }
    }

    /// A gateway's own session ended: whoever was connected through it is away until told otherwise.
    pub fn gateway_lost(&self, gateway: &GatewayId) {
        let mut entries = self.lock();
        for entry in entries.values_mut() {
            if entry.gateway.as_ref() == Some(gateway) {
                entry.gateway = None;
            }
        }
        self.tell_away(&entries);
    }

    /// The lanes that agents reported since this process started.
    #[must_use]
    pub fn lanes(&self) -> HashMap<LaneKey, LaneAtAgent> {
        let entries = self.lock();
        let reports = entries
            .iter()
            .filter_map(|(agent, entry)| Some((agent, entry.report.as_ref()?)));
        let lanes = reports.flat_map(|(agent, (report, at))| {
            report.lanes.iter().map(move |lane| {
                let key = LaneKey {
                    agent: agent.clone(),
                    stream: lane.stream.clone(),
                    epoch: lane.epoch,
                };
                let told = LaneAtAgent {
                    produced: lane.next_seq.saturating_sub(1),
                    held_events: lane.held_events,
                    reported_at: *at,
                };
                (key, told)
            })
        });
        lanes.collect()
    }

    /// Every agent that is known from a session or from a lane, by name.
    #[must_use]
    pub fn list(&self, lanes: &[LaneRow]) -> Vec<AgentRow> {
        let mut by_agent: HashMap<AgentId, Vec<&LaneRow>> = HashMap::new();
        for lane in lanes {
            by_agent.entry(lane.key.agent.clone()).or_default().push(lane);
        }
        let entries = self.lock().clone();
        for agent in entries.keys() {
            by_agent.entry(agent.clone()).or_default();
        }
        let mut rows: Vec<AgentRow> = by_agent
            .into_iter()
            .map(|(agent, lanes)| row(&agent, entries.get(&agent), &lanes))
            .collect();
        rows.sort_by(|a, b| a.agent.cmp(&b.agent));
        rows
    }
}

fn skew(report: &NodeReport, at: Millis) -> i64 {
    report.skew_ms.unwrap_or_else(|| report.now.saturating_sub(at))
}

fn row(agent: &AgentId, entry: Option<&Entry>, lanes: &[&LaneRow]) -> AgentRow {
    let committed = lanes.iter().filter_map(|lane| lane.last_committed_at).max();
    let gateway = entry.and_then(|entry| entry.gateway.clone());
    let report = entry.and_then(|entry| entry.report.as_ref());
    let held = |of: fn(&tributary_shared::wire::LaneReport) -> u64| {
        report.map(|(report, _)| report.lanes.iter().map(of).fold(0u64, u64::saturating_add))
    };
    AgentRow {
        agent: agent.clone(),
        connected: gateway.is_some(),
        gateway,
        remote: entry.map(|entry| entry.remote.clone()),
        software: entry.map(|entry| entry.software.clone()),
        last_seen: entry.map(|entry| entry.last_seen).max(committed).map(to_rfc3339),
        lag_events: report.map(|(report, _)| lag(agent, report, lanes)),
        held_events: held(|lane| lane.held_events),
        held_bytes: held(|lane| lane.held_bytes),
        spool_bytes: report.map(|(report, _)| report.spool_bytes),
        spool_limit: report.map(|(report, _)| report.spool_limit),
        clock_skew_ms: report.map(|(report, at)| skew(report, *at)),
        lanes: lanes.len(),
        checks: report.map_or_else(Vec::new, |(report, _)| report.checks.clone()),
    }
}

/// What was produced when the agent reported, less what is committed by now.
fn lag(agent: &AgentId, report: &NodeReport, lanes: &[&LaneRow]) -> u64 {
    let mark = |key: &LaneKey| {
        lanes
            .iter()
            .find(|lane| lane.key == *key)
            .map_or(0, |lane| lane.mark)
    };
    report.lanes.iter().fold(0, |sum: u64, lane| {
        let key = LaneKey {
            agent: agent.clone(),
            stream: lane.stream.clone(),
            epoch: lane.epoch,
        };
        // what is committed already is not lag, whatever mark the agent has heard of
        let known = mark(&key).max(lane.committed_seq);
        sum.saturating_add(lane.next_seq.saturating_sub(1).saturating_sub(known))
    })
}

#[cfg(test)]
mod tests {
    use tributary_shared::ids::{Epoch, LaneNo, StreamName};
    use tributary_shared::wire::LaneReport;

    use super::*;

    fn agent(name: &str) -> AgentId {
        AgentId::new(name).expect("valid")
    }

    fn gateway(name: &str) -> GatewayId {
        GatewayId::new(name).expect("valid")
    }

    fn stream() -> StreamName {
        StreamName::new("s").expect("valid")
    }

    fn lane(name: &str, mark: u64, at: Millis) -> LaneRow {
        let key = LaneKey {
            agent: agent(name),
            stream: stream(),
            epoch: Epoch(1),
        };
        let last_committed_at = Some(at);
        LaneRow {
            lane_no: LaneNo(1),
            key,
            mark,
            valid: mark,
            dead: 0,
            open: 0,
            dropped: 0,
            opened_at: 0,
            last_committed_at,
            floor_seq: 0,
        }
    }

    fn report(now: Millis, next_seq: u64) -> NodeReport {
        let lane = LaneReport {
            stream: stream(),
            epoch: Epoch(1),
            next_seq,
            committed_seq: 3,
            held_events: next_seq - 4,
            held_bytes: 700,
        };
        NodeReport {
            skew_ms: None,
            promoted: Vec::new(),
            now,
            spool_bytes: 4096,
            spool_limit: 8192,
            lanes: vec![lane],
            checks: Vec::new(),
        }
    }

    #[test]
    fn lag_counts_from_the_committed_mark_and_not_from_what_the_agent_heard() {
        let directory = AgentDirectory::new();
        directory.connected(&agent("a"), &gateway("g"), "10.0.0.1:5", "x", 1_000);
        directory.report(&agent("a"), report(61_500, 11), 1_500);
        let rows = directory.list(&[lane("a", 8, 1_400)]);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].lag_events, Some(2), "10 produced, 8 committed");
        assert_eq!(rows[0].held_events, Some(7));
        assert_eq!(rows[0].clock_skew_ms, Some(60_000));
        let told = directory.lanes();
        let expected = LaneAtAgent {
            produced: 10,
            held_events: 7,
            reported_at: 1_500,
        };
        assert_eq!(told.into_values().collect::<Vec<_>>(), [expected]);
        assert_eq!(rows[0].last_seen.as_deref(), Some("1970-01-01T00:00:01.500Z"));
    }

    #[test]
    fn a_late_goodbye_from_the_old_gateway_does_not_hide_the_new_session() {
        let directory = AgentDirectory::new();
        directory.connected(&agent("a"), &gateway("old"), "r", "x", 1);
        directory.connected(&agent("a"), &gateway("new"), "r", "x", 2);
        directory.disconnected(&agent("a"), &gateway("old"), 3);
        directory.gateway_lost(&gateway("old"));
        assert!(directory.list(&[])[0].connected);
        directory.gateway_lost(&gateway("new"));
        assert!(!directory.list(&[])[0].connected);
    }

    #[test]
    fn an_agent_of_an_earlier_life_is_known_from_its_lanes() {
        let rows = AgentDirectory::new().list(&[lane("b", 5, 9_000), lane("a", 5, 7_000)]);
        let seen: Vec<_> = rows
            .iter()
            .map(|row| (row.agent.as_str(), row.connected, row.lag_events))
            .collect();
        assert_eq!(seen, [("a", false, None), ("b", false, None)]);
    }
}
