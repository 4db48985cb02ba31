//! Watermarks: how far the event time of each lane has come, and what that says about windows.
//!
//! A lane's watermark is the highest event time it has committed, but never more than a minute ahead of the
//! commit: a wrong clock cannot close windows. A lane that falls silent stops to hold the others back.
//! Everything is measured against commit times in the log, so that a replay comes to the same result.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use tributary_shared::ids::{LaneNo, StreamName};
use tributary_shared::time::{MIN_MILLIS, Millis};
use tributary_shared::wire::batch::EVENT_TIME_COLUMN;

use super::messages::{AppliedBatch, EngineConfig, LaneWatermark};

#[derive(Debug, Clone, Default)]
pub(super) struct Clocks {
    streams: BTreeMap<StreamName, StreamClock>,
    unsaved: BTreeSet<(StreamName, LaneNo)>,
}

#[derive(Debug, Clone, Default)]
struct StreamClock {
    newest_commit: Millis,
    lanes: BTreeMap<LaneNo, LaneClock>,
}

#[derive(Debug, Clone, Copy)]
struct LaneClock {
    watermark: Option<Millis>,
    last_commit: Millis,
}

/// The watermarks of a stream's active lanes, lowest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    watermarks: Vec<Millis>,
    allowed_lateness: Millis,
}

impl Progress {
    /// The time up to which all active lanes have reported.
    pub(super) fn watermark(&self) -> Option<Millis> {
        self.watermarks.first().copied()
    }

    /// Share of the active lanes that passed a time.
    pub(super) fn completeness(&self, time: Millis) -> f64 {
        let all = self.watermarks.len();
        if all == 0 {
            return 0.0;
        }
        let behind = self.watermarks.partition_point(|watermark| *watermark < time);
        (all - behind) as f64 / all as f64
    }

    /// Whether nothing is expected any more for a window that ends then.
    pub(super) fn is_final(&self, window_end: Millis) -> bool {
        let final_at = window_end.saturating_add(self.allowed_lateness);
        self.watermark().is_some_and(|watermark| watermark >= final_at)
    }
}

impl Clocks {
    pub(super) fn observe(&mut self, batch: &AppliedBatch<'_>, config: &EngineConfig) {
        let newest = newest_event(batch).map(|time| {
            // a time before the year 1 is as wrong as one ahead of the clock
            time.clamp(
                MIN_MILLIS,
                batch
                    .committed_at
                    .saturating_add(config.future_tolerance)
                    .max(MIN_MILLIS),
            )
        });
        let mark = LaneWatermark {
            lane: batch.lane,
            stream: batch.stream.clone(),
            watermark: newest,
            last_commit: batch.committed_at,
        };
        self.unsaved.insert((mark.stream.clone(), mark.lane));
        self.advance(mark);
    }

    /// Takes a stored clock back, or moves one forward.
    pub(super) fn advance(&mut self, mark: LaneWatermark) {
        let stream = self.streams.entry(mark.stream).or_default();
        let new = LaneClock {
            watermark: None,
            last_commit: mark.last_commit,
        };
        let lane = stream.lanes.entry(mark.lane).or_insert(new);
        lane.watermark = lane.watermark.max(mark.watermark);
        lane.last_commit = lane.last_commit.max(mark.last_commit);
        stream.newest_commit = stream.newest_commit.max(mark.last_commit);
    }

    pub(super) fn progress(
        &self,
        stream: &StreamName,
        config: &EngineConfig,
        allowed_lateness: Millis,
    ) -> Progress {
        let Some(clock) = self.streams.get(stream) else {
            return Progress::default();
        };
        let active_since = clock.newest_commit.saturating_sub(config.idle_after);
        let active = clock
            .lanes
            .values()
            .filter(|lane| lane.last_commit >= active_since);
        let mut marks: Vec<Millis> = active.filter_map(|lane| lane.watermark).collect();
        marks.sort_unstable();
        Progress {
            watermarks: marks,
            allowed_lateness,
        }
    }

    pub(super) fn lane(&self, stream: &StreamName, lane: LaneNo) -> Option<Millis> {
        self.streams.get(stream)?.lanes.get(&lane)?.watermark
    }

    /// The clocks that moved since the last call.
    pub(super) fn take_unsaved(&mut self) -> Vec<LaneWatermark> {
        let unsaved = std::mem::take(&mut self.unsaved);
        let marks = unsaved.into_iter().filter_map(|(stream, lane)| {
            let clock = *self.streams.get(&stream)?.lanes.get(&lane)?;
            Some(LaneWatermark {
                lane,
                stream,
                watermark: clock.watermark,
                last_commit: clock.last_commit,
            })
        });
        marks.collect()
    }
}

fn newest_event(batch: &AppliedBatch<'_>) -> Option<Millis> {
    let times = batch.records?.column_by_name(EVENT_TIME_COLUMN)?;
    arrow_arith::aggregate::max(times.as_primitive_opt::<TimestampMillisecondType>()?)
}
