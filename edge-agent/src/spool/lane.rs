//! The lanes of a spool as its thread knows them, and what an aggregator's mark means for one of them. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tributary_shared::ids::{Epoch, Seq, StreamName};
pub(super) use tributary_shared::protocol::SpoolVerdict as Verdict;
use tributary_shared::protocol::{RetiredLane, SpoolLane, judge};
use tributary_shared::wire::History;

use super::messages::{DropRecord, LaneId, LaneInfo};

/// One lane. Every seq in `(committed_seq, next_seq)` lies in exactly one block or drop record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lane {
    pub id: LaneId,
    pub stream: StreamName,
    pub epoch: Epoch,
    pub active: bool,
    pub next_seq: Seq,
    pub committed_seq: Seq,
    /// `next_seq` when a process first opened the spool since the aggregator was last heard: seqs from here on
    /// were given out but never sent. `None` once the aggregator was heard since.
    pub unsent_from: Option<Seq>,
    /// Which processes have numbered its seqs.
    pub history: History,
    pub held_bytes: u64,
    pub dropped_events: u64,
    pub dropped: Arc<[DropRecord]>,
}

impl Lane {
    /// A lane that nobody has written to.
    pub(super) fn new(id: LaneId, stream: StreamName, epoch: Epoch, active: bool) -> Self {
        Self {
            id,
            stream,
            epoch,
            active,
            next_seq: 1,
            committed_seq: 0,
            unsent_from: None,
            history: History::default(),
            held_bytes: 0,
            dropped_events: 0,
            dropped: Arc::new([]),
        }
    }

    pub(super) fn held_events(&self) -> u64 {
        self.next_seq - 1 - self.committed_seq - self.dropped_events
    }

    pub(super) fn is_empty(&self) -> bool {
        self.committed_seq + 1 == self.next_seq
    }

    pub(super) fn info(&self) -> LaneInfo {
        LaneInfo {
            lane: self.id,
            stream: self.stream.clone(),
            epoch: self.epoch,
            active: self.active,
            next_seq: self.next_seq,
            committed_seq: self.committed_seq,
            history: self.history.clone(),
            held_events: self.held_events(),
            held_bytes: self.held_bytes,
            dropped_events: self.dropped_events,
            dropped: Arc::clone(&self.dropped),
        }
    }

    /// Judges the aggregator's mark, by what it knows of who numbered the seqs up to there.
    pub(super) fn judge(&self, mark: Seq, theirs: Option<&History>) -> Verdict {
        let lane = SpoolLane {
            unsent_from: self.unsent_from,
            committed_seq: self.committed_seq,
            next_seq: self.next_seq,
            history: &self.history,
        };
        judge(lane, mark, theirs)
    }

    /// This process numbers what comes next.
    pub(super) fn number_by(&mut self, writer: u64) {
        if let Some(history) = self.history.extended(self.next_seq, writer) {
            self.history = history;
        }
    }
}

/// All lanes, by id.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    by_id: BTreeMap<LaneId, Lane>,
    active: HashMap<StreamName, LaneId>,
    /// Those that are gone.
    pub retired: Arc<[RetiredLane]>,
}

impl Lanes {
    pub(super) fn insert(&mut self, lane: Lane) {
        if lane.active {
            self.active.insert(lane.stream.clone(), lane.id);
        }
        self.by_id.insert(lane.id, lane);
    }

    pub(super) fn remove(&mut self, id: LaneId) {
        if let Some(lane) = self.by_id.remove(&id)
            && self.active.get(&lane.stream) == Some(&id)
        {
            self.active.remove(&lane.stream);
        }
    }

    /// The lane no longer takes its stream's new events.
    pub(super) fn retire(&mut self, id: LaneId) {
        if let Some(lane) = self.by_id.get_mut(&id)
            && std::mem::take(&mut lane.active)
        {
            self.active.remove(&lane.stream);
        }
    }

    pub(super) fn get(&self, id: LaneId) -> Option<&Lane> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn active(&self, stream: &StreamName) -> Option<LaneId> {
        self.active.get(stream).copied()
    }

    /// In id order: older epochs of a stream come before newer ones.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.by_id.values()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}

#[cfg(test)]
mod tests {
    use tributary_shared::ids::SeqRange;

    use super::*;

    fn lane(committed_seq: Seq, next_seq: Seq, unsent_from: Option<Seq>) -> Lane {
        let stream = "s".parse().expect("name");
        let new = Lane::new(LaneId(1), stream, Epoch(1), true);
        Lane {
            next_seq,
            committed_seq,
            unsent_from,
            ..new
        }
    }

    #[test]
    fn a_mark_among_the_sent_seqs_resumes() {
        assert_eq!(lane(50, 100, None).judge(50, None), Verdict::Resume);
        assert_eq!(lane(50, 100, None).judge(99, None), Verdict::Resume);
        assert_eq!(lane(50, 120, Some(100)).judge(99, None), Verdict::Resume);
        assert_eq!(lane(0, 1, None).judge(0, None), Verdict::Resume);
    }

    #[test]
    fn a_restored_image_is_found_out_even_when_it_has_overtaken_the_mark() {
        let keep_below = 100;
        assert_eq!(
            lane(50, 120, Some(100)).judge(199, None),
            Verdict::BehindPast { keep_below }
        );
        assert_eq!(
            lane(50, 120, Some(100)).judge(105, None),
            Verdict::BehindPast { keep_below }
        );
        assert_eq!(
            lane(50, 100, Some(100)).judge(100, None),
            Verdict::BehindPast { keep_below }
        );
    }

    #[test]
    fn a_live_twin_costs_duplicates_rather_than_events() {
        assert_eq!(
            lane(50, 100, None).judge(100, None),
            Verdict::BehindPast { keep_below: 51 }
        );
    }

    #[test]
    fn an_aggregator_that_forgot_is_told_what_is_gone() {
        let lost = SeqRange { first: 21, last: 50 };
        assert_eq!(lane(50, 100, None).judge(20, None), Verdict::Rewound { lost });
        assert_eq!(
            lane(50, 100, Some(100)).judge(20, None),
            Verdict::Rewound { lost }
        );
    }
}
