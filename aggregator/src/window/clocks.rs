//! Watermarks: how far the event time of each lane has come, and what that says about windows.
//!
//! A lane's watermark is the highest event time it has committed. Events further ahead of their commit than the
//! tolerance are counted and say nothing: a wrong clock cannot close windows. A lane that falls silent, or whose agent
//! left, does not hold the others back. Everything but who left is measured against commit times in the log, so that a
//! replay comes to the same result.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use tributary_shared::ids::{AgentId, LaneNo, StreamName};
use tributary_shared::time::{MIN_MILLIS, Millis};
use tributary_shared::wire::batch::EVENT_TIME_COLUMN;

use super::messages::{AppliedBatch, EngineConfig, LaneWatermark, WindowProgress};

/// Agents that a page names as missing from a window.
const MAX_MISSING: usize = 20;

#[derive(Debug, Clone, Default)]
pub(super) struct Clocks {
    streams: BTreeMap<StreamName, StreamClock>,
    unsaved: BTreeSet<(StreamName, LaneNo)>,
    /// Agents that left. Not stored: after a start nobody is known to be away.
    away: BTreeSet<AgentId>,
}

#[derive(Debug, Clone, Default)]
struct StreamClock {
    newest_commit: Millis,
    lanes: BTreeMap<LaneNo, LaneClock>,
}

#[derive(Debug, Clone)]
struct LaneClock {
    /// `None` when a version stored it that did not note it.
    agent: Option<AgentId>,
    watermark: Option<Millis>,
    last_commit: Millis,
    future_events: u64,
}

/// How far a stream has come, as one view sees it.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    watermark: Option<Millis>,
    /// The agents that are expected to report, and how far each has come; the one that is furthest behind first.
    agents: Vec<(Option<Millis>, AgentId)>,
    allowed_lateness: Millis,
}

impl Progress {
    /// The time up to which all lanes that are waited for have reported.
    pub(super) fn watermark(&self) -> Option<Millis> {
        self.watermark
    }

    /// How many expected agents have not reported past a time: they come first.
    fn behind(&self, time: Millis) -> usize {
        self.agents.partition_point(|(mark, _)| *mark < Some(time))
    }

    /// Share of the expected agents that have reported past a time.
    pub(super) fn completeness(&self, time: Millis) -> f64 {
        let all = self.agents.len();
        if all == 0 {
            return 0.0;
        }
        (all - self.behind(time)) as f64 / all as f64
    }

    /// Whether nothing is expected any more for a window that ends then.
    pub(super) fn is_final(&self, window_end: Millis) -> bool {
        let final_at = window_end.saturating_add(self.allowed_lateness);
        self.watermark.is_some_and(|watermark| watermark >= final_at)
    }

    /// Who has reported past a window's end, and who has not.
    pub(super) fn of_window(&self, window_start: Millis, window_end: Millis) -> WindowProgress {
        let behind = self.behind(window_end);
        let missing = self.agents[..behind].iter().take(MAX_MISSING);
        WindowProgress {
            window_start,
            window_end,
            expected: self.agents.len(),
            reported: self.agents.len() - behind,
            missing: missing.map(|(_, agent)| agent.clone()).collect(),
        }
    }
}

impl Clocks {
    /// Returns how many events are too far ahead of the commit to be believed.
    pub(super) fn observe(&mut self, batch: &AppliedBatch<'_>, config: &EngineConfig) -> u64 {
        let latest = batch.committed_at.saturating_add(config.future_tolerance);
        let (watermark, future_events) = read_times(batch, latest);
        let mark = LaneWatermark {
            lane: batch.lane,
            agent: Some(batch.agent.clone()),
            stream: batch.stream.clone(),
            watermark,
            last_commit: batch.committed_at,
            future_events,
        };
        self.unsaved.insert((mark.stream.clone(), mark.lane));
        self.advance(mark);
        future_events
    }

    /// Takes a stored clock back, or moves one forward.
    pub(super) fn advance(&mut self, mark: LaneWatermark) {
        let stream = self.streams.entry(mark.stream).or_default();
        let lane = stream.lanes.entry(mark.lane).or_insert_with(|| LaneClock {
            agent: None,
            watermark: None,
            last_commit: mark.last_commit,
            future_events: 0,
        });
        if mark.agent.is_some() {
            lane.agent = mark.agent;
        }
        lane.watermark = lane.watermark.max(mark.watermark);
        lane.last_commit = lane.last_commit.max(mark.last_commit);
        lane.future_events += mark.future_events;
        stream.newest_commit = stream.newest_commit.max(mark.last_commit);
    }

    /// Whether anything of the stream was ever committed.
    pub(super) fn knows(&self, stream: &StreamName) -> bool {
        self.streams.contains_key(stream)
    }

    /// Which agents are known to have left. Lanes of theirs hold nothing back until they commit again or come back.
    pub(super) fn set_away(&mut self, away: BTreeSet<AgentId>) {
        self.away = away;
    }

    pub(super) fn progress(
        &self,
        stream: &StreamName,
        config: &EngineConfig,
        allowed_lateness: Millis,
    ) -> Progress {
        let Some(clock) = self.streams.get(stream) else {
            return Progress {
                allowed_lateness,
                ..Progress::default()
            };
        };
        let since = |period: Millis| clock.newest_commit.saturating_sub(period);
        let (active_since, expected_since) = (since(config.idle_after), since(allowed_lateness));
        let away = |lane: &&LaneClock| lane.agent.as_ref().is_some_and(|agent| self.away.contains(agent));
        let lanes = || clock.lanes.values();
        let active = |lane: &&LaneClock| lane.last_commit >= active_since;
        let holding = lanes().filter(active).filter(|lane| !away(lane));
        let lowest = holding.filter_map(|lane| lane.watermark).min();
        // nobody is waited for: what was reached is reached
        let watermark = lowest.or_else(|| lanes().filter_map(|lane| lane.watermark).max());
        let mut agents: HashMap<&AgentId, Option<Millis>> = HashMap::new();
        for lane in lanes().filter(|lane| lane.last_commit >= expected_since) {
            // of an agent's lanes, one that is fed now says more than one that drained long ago
            if let Some(agent) = &lane.agent {
                let mark = agents.entry(agent).or_default();
                *mark = (*mark).max(lane.watermark);
            }
        }
        let mut agents: Vec<(Option<Millis>, AgentId)> = agents
            .into_iter()
            .map(|(agent, mark)| (mark, agent.clone()))
            .collect();
        agents.sort_unstable();
        Progress {
            watermark,
            agents,
            allowed_lateness,
        }
    }

    pub(super) fn lane(&self, stream: &StreamName, lane: LaneNo) -> Option<Millis> {
        self.streams.get(stream)?.lanes.get(&lane)?.watermark
    }

    /// All clocks.
    pub(super) fn lanes(&self) -> Vec<LaneWatermark> {
        let streams = self.streams.iter();
        let lanes =
            streams.flat_map(|(stream, clock)| clock.lanes.iter().map(move |lane| stored(stream, lane)));
        lanes.collect()
    }

    /// The clocks that moved since the last call.
    pub(super) fn take_unsaved(&mut self) -> Vec<LaneWatermark> {
        let unsaved = std::mem::take(&mut self.unsaved);
        let marks = unsaved.into_iter().filter_map(|(stream, lane)| {
            let clock = self.streams.get(&stream)?.lanes.get(&lane)?;
            Some(stored(&stream, (&lane, clock)))
        });
        marks.collect()
    }
}

fn stored(stream: &StreamName, (lane, clock): (&LaneNo, &LaneClock)) -> LaneWatermark {
    LaneWatermark {
        lane: *lane,
        agent: clock.agent.clone(),
        stream: stream.clone(),
        watermark: clock.watermark,
        last_commit: clock.last_commit,
        future_events: clock.future_events,
    }
}

/// The newest event time that is not behind `latest`, and how many are.
fn read_times(batch: &AppliedBatch<'_>, latest: Millis) -> (Option<Millis>, u64) {
    let times = batch.records.and_then(|records| {
        let column = records.column_by_name(EVENT_TIME_COLUMN)?;
        column.as_primitive_opt::<TimestampMillisecondType>()
    });
    let Some(times) = times else {
        return (None, 0);
    };
    // a time before the year 1 is as wrong as one ahead of the clock
    let believed = |time: Millis| time.max(MIN_MILLIS);
    let newest = arrow_arith::aggregate::max(times);
    if newest.is_none_or(|newest| newest <= latest) {
        return (newest.map(believed), 0);
    }
    let newest = times.iter().flatten().filter(|time| *time <= latest).max();
    let future = times.iter().flatten().filter(|time| *time > latest).count();
    (newest.map(believed), future as u64)
}
