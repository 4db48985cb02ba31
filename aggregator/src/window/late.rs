//! Events that a view did not take because they came after its retention: a line for each lane, never silence.

use std::collections::{BTreeMap, BTreeSet};

use tributary_shared::ids::{LaneNo, SeqRange};

use super::messages::LateLine;

/// The lines of one view. There is at most one for each lane of its stream.
#[derive(Debug, Clone, Default)]
pub(super) struct LateLines {
    lines: BTreeMap<LaneNo, LateLine>,
    unsaved: BTreeSet<LaneNo>,
}

impl LateLines {
    /// Notes that so many events of a batch came too late.
    pub(super) fn add(&mut self, lane: LaneNo, range: SeqRange, count: u64) {
        self.unsaved.insert(lane);
        self.restore(LateLine { lane, range, count });
    }

    /// Takes a stored line back.
    pub(super) fn restore(&mut self, line: LateLine) {
        let known = self
            .lines
            .entry(line.lane)
            .or_insert(LateLine { count: 0, ..line });
        known.range.first = known.range.first.min(line.range.first);
        known.range.last = known.range.last.max(line.range.last);
        known.count += line.count;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &LateLine> {
        self.lines.values()
    }

    /// Notes that a line is not stored after all.
    pub(super) fn unsave(&mut self, line: LateLine) {
        self.unsaved.insert(line.lane);
    }

    /// The lines that changed since the last call.
    pub(super) fn take_unsaved(&mut self) -> Vec<LateLine> {
        let unsaved = std::mem::take(&mut self.unsaved);
        unsaved
            .iter()
            .filter_map(|lane| self.lines.get(lane).copied())
            .collect()
    }
}
