//! Which groups a snapshot must store, and the stored form of a group.
//!
//! Between two snapshots lies a period. What changes is noted for the period once. A snapshot begins by ending the
//! period: the groups that were noted are encoded later, a slice at a time, and one that a batch is about to change
//! is encoded before that happens. So the snapshot holds every group as it was at the moment of the cut.

use tributary_shared::time::Millis;

use super::super::codec::{
    KEY_FORMAT, OVERFLOW_KEY, Reader, STATE_FORMAT, STATE_FORMAT_1, put_scalar, put_u64,
};
use super::super::cold::WindowFacts;
use super::super::keys::{Interner, KeyRef};
use super::super::messages::{GroupName, GroupState, StateError};
use super::{Groups, OVERFLOW_ID};
use crate::commit::LogPos;

/// Whether something is stored as it is: the period of its last change, and whether that is encoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Saved(u32);

/// Snapshots are seconds apart: periods stay far below it.
const CHANGED: u32 = 1 << 31;

impl Saved {
    fn changed_in(period: u32) -> Self {
        Self(period | CHANGED)
    }

    fn encoded_in(period: u32) -> Self {
        Self(period)
    }

    fn is_changed(self) -> bool {
        self.0 & CHANGED != 0
    }

    fn period(self) -> u32 {
        self.0 & !CHANGED
    }

    /// Stored as it is.
    pub fn is_clean(self, stored: u32) -> bool {
        !self.is_changed() && self.period() <= stored
    }
}

#[derive(Debug, Clone)]
pub(super) struct Saving {
    /// What changes now belongs to it. From 1 on; what was restored is of period 0.
    period: u32,
    /// All periods up to here are stored.
    pub stored: u32,
    /// What changed in the period.
    slots: Vec<u32>,
    windows: Vec<Millis>,
    emptied: Vec<Millis>,
    removed: Vec<GroupName>,
    /// The snapshot that is being taken: slots that it needs, and how many of them are encoded.
    taken: Vec<u32>,
    encoded: usize,
    /// Encoded ahead of their turn.
    ahead: Vec<GroupState>,
    /// What to note again if the snapshot cannot be stored.
    taken_windows: Vec<Millis>,
    taken_emptied: Vec<Millis>,
    taken_removed: Vec<GroupName>,
}

impl Default for Saving {
    fn default() -> Self {
        Self {
            period: 1,
            stored: 0,
            slots: Vec::new(),
            windows: Vec::new(),
            emptied: Vec::new(),
            removed: Vec::new(),
            taken: Vec::new(),
            encoded: 0,
            ahead: Vec::new(),
            taken_windows: Vec::new(),
            taken_emptied: Vec::new(),
            taken_removed: Vec::new(),
        }
    }
}

/// What a snapshot knows of a view's groups at the moment of the cut.
#[derive(Debug, Default)]
pub(in super::super) struct Cut {
    pub windows: Vec<(Millis, WindowFacts)>,
    /// Windows that had no groups any more at some time; some may have again.
    pub emptied: Vec<Millis>,
    pub removed: Vec<GroupName>,
}

impl Groups {
    /// Notes that a group is about to change.
    pub(super) fn note(&mut self, slot: u32) {
        let saved = self.heads[slot as usize].saved;
        if saved.is_changed() {
            if saved.period() == self.saving.period {
                return;
            }
            let state = self.encode(slot);
            self.saving.ahead.push(state);
        }
        self.heads[slot as usize].saved = Saved::changed_in(self.saving.period);
        self.saving.slots.push(slot);
    }

    /// Notes that a window has other groups than before.
    pub(super) fn note_window(&mut self, window: Millis) {
        let changed = Saved::changed_in(self.saving.period);
        if let Some(pane) = self.panes.get_mut(&window)
            && pane.saved != changed
        {
            pane.saved = changed;
            self.saving.windows.push(window);
        }
    }

    /// Notes that a window has no groups any more.
    pub(super) fn note_emptied(&mut self, window: Millis) {
        self.saving.emptied.push(window);
    }

    /// Notes that a stored group is no more.
    pub(super) fn note_removed(&mut self, window_start: Millis, key: Vec<u8>) {
        self.saving.removed.push(GroupName { window_start, key });
    }

    /// Begins a snapshot: what changed up to now belongs to it. The one before must be through.
    pub(in super::super) fn cut(&mut self) -> Cut {
        debug_assert!(self.is_encoded(), "the snapshot before is not through");
        let saving = &mut self.saving;
        let period = saving.period;
        saving.period += 1;
        saving.taken = std::mem::take(&mut saving.slots);
        saving.encoded = 0;
        saving.taken_windows = std::mem::take(&mut saving.windows);
        saving.taken_emptied = std::mem::take(&mut saving.emptied);
        saving.taken_removed = std::mem::take(&mut saving.removed);
        let panes = &mut self.panes;
        let facts = saving.taken_windows.iter().filter_map(|window| {
            let pane = panes.get_mut(window)?;
            pane.saved = Saved::encoded_in(period);
            Some((*window, pane.facts))
        });
        Cut {
            windows: facts.collect(),
            emptied: saving.taken_emptied.clone(),
            removed: saving.taken_removed.clone(),
        }
    }

    /// Whether every group of the snapshot that was begun is encoded.
    pub(in super::super) fn is_encoded(&self) -> bool {
        self.saving.ahead.is_empty() && self.saving.encoded == self.saving.taken.len()
    }

    /// Groups that were encoded because a batch was about to change them, and wait to be fetched.
    pub(in super::super) fn ahead(&self) -> usize {
        self.saving.ahead.len()
    }

    /// The next groups of the snapshot that was begun, at most `limit` and those that were encoded ahead.
    pub(in super::super) fn next_slice(&mut self, limit: usize) -> Vec<GroupState> {
        let mut slice = std::mem::take(&mut self.saving.ahead);
        let period = self.saving.period - 1;
        let awaited = Saved::changed_in(period);
        while slice.len() < limit && self.saving.encoded < self.saving.taken.len() {
            let slot = self.saving.taken[self.saving.encoded];
            self.saving.encoded += 1;
            // else it was encoded ahead, or is no more
            if self.heads[slot as usize].saved == awaited {
                slice.push(self.encode(slot));
                self.heads[slot as usize].saved = Saved::encoded_in(period);
            }
        }
        slice
    }

    /// The snapshot that was begun is stored.
    pub(in super::super) fn stored(&mut self) {
        let saving = &mut self.saving;
        saving.stored = saving.period - 1;
        saving.taken = Vec::new();
        saving.encoded = 0;
        saving.taken_windows = Vec::new();
        saving.taken_emptied = Vec::new();
        saving.taken_removed = Vec::new();
    }

    /// The snapshot that was begun is not stored: the next one has what it had.
    pub(in super::super) fn not_stored(&mut self) {
        let period = self.saving.period - 1;
        self.saving.ahead.clear();
        self.saving.encoded = 0;
        for slot in std::mem::take(&mut self.saving.taken) {
            let saved = self.heads[slot as usize].saved;
            if saved.period() == period {
                self.heads[slot as usize].saved = Saved::changed_in(self.saving.period);
                self.saving.slots.push(slot);
            }
        }
        for window in std::mem::take(&mut self.saving.taken_windows) {
            self.note_window(window);
        }
        let taken = std::mem::take(&mut self.saving.taken_emptied);
        self.saving.emptied.extend(taken);
        let later = std::mem::replace(
            &mut self.saving.removed,
            std::mem::take(&mut self.saving.taken_removed),
        );
        self.saving.removed.extend(later);
    }

    fn encode(&self, slot: u32) -> GroupState {
        let mut state = vec![STATE_FORMAT];
        put_u64(&mut state, self.row_count(slot));
        put_u64(&mut state, self.revision(slot));
        put_u64(&mut state, self.changed_at(slot).0);
        self.cells.iter().for_each(|cells| cells.encode(slot, &mut state));
        GroupState {
            window_start: self.window(slot),
            key: self.encoded_key(slot),
            state,
        }
    }

    /// A group's key as it is stored.
    pub(in super::super) fn encoded_key(&self, slot: u32) -> Vec<u8> {
        if self.is_overflow(slot) {
            return OVERFLOW_KEY.to_vec();
        }
        let mut key = vec![KEY_FORMAT];
        (0..self.interners.len()).for_each(|at| put_scalar(&mut key, self.key(slot, at)));
        key
    }

    /// Takes a stored group back, as one of those on disk that are counted already. Two groups whose keys are one
    /// number in two forms (5 and 5.0, which earlier versions told apart) become one.
    ///
    /// # Errors
    /// When the bytes are not of this view. The groups are then in disorder and must be thrown away.
    pub(in super::super) fn restore(&mut self, group: &GroupState) -> Result<u32, StateError> {
        let window = group.window_start;
        let (key, rekeyed) = self.read_key(&group.key)?;
        let known = self.find(window, &key);
        self.rekeyed |= rekeyed;
        if known.is_some() && !self.rekeyed {
            return Err(StateError::Malformed);
        }
        let (mut reader, format) = Reader::new(&group.state, &[STATE_FORMAT, STATE_FORMAT_1])?;
        let (rows, revision) = (reader.u64()?, reader.u64()?);
        let changed_at = match format {
            // nobody noted it: before anything that a reader may have seen
            STATE_FORMAT_1 => LogPos(0),
            _ => LogPos(reader.u64()?),
        };
        let slot = match known {
            Some(slot) => {
                for cells in &mut self.cells {
                    cells.push_encoded(&mut reader)?;
                    cells.merge_last(slot);
                }
                slot
            }
            None => {
                let slot = self.make(window, &key);
                for cells in &mut self.cells {
                    cells.restore(slot, &mut reader)?;
                }
                slot
            }
        };
        reader.end()?;
        let head = &mut self.heads[slot as usize];
        head.rows += rows;
        head.revision = head
            .revision
            .saturating_add(u32::try_from(revision).unwrap_or(u32::MAX));
        head.changed_at = head.changed_at.max(changed_at);
        self.cold.groups = self.cold.groups.saturating_sub(1);
        if rekeyed {
            self.note(slot);
            self.note_removed(window, group.key.clone());
            self.note_window(window);
        }
        if known.is_some()
            && let Some(pane) = self.panes.get_mut(&window)
        {
            pane.facts.groups -= 1;
        }
        Ok(slot)
    }

    /// Whether the group with this stored key is in memory.
    pub(in super::super) fn holds(&self, window: Millis, key: &[u8]) -> bool {
        if self.slots_of(window).is_empty() {
            return false;
        }
        if key == OVERFLOW_KEY {
            return self
                .find(window, &vec![OVERFLOW_ID; self.interners.len()])
                .is_some();
        }
        let Ok((mut reader, _)) = Reader::new(key, &[KEY_FORMAT]) else {
            return false;
        };
        let number = |interner: &Interner| {
            let value = reader.scalar().ok()?.normalised();
            interner.find(KeyRef::Scalar(&value))
        };
        let ids: Option<Vec<u32>> = self.interners.iter().map(number).collect();
        ids.is_some_and(|ids| self.find(window, &ids).is_some())
    }

    /// The numbers of a stored key's values, and whether we would store it in another form.
    fn read_key(&mut self, bytes: &[u8]) -> Result<(Vec<u32>, bool), StateError> {
        if bytes == OVERFLOW_KEY {
            return Ok((vec![OVERFLOW_ID; self.interners.len()], false));
        }
        let (mut reader, _) = Reader::new(bytes, &[KEY_FORMAT])?;
        let (mut key, mut rekeyed) = (Vec::with_capacity(self.interners.len()), false);
        for interner in &mut self.interners {
            let stored = reader.scalar()?;
            let value = stored.clone().normalised();
            rekeyed |= value != stored;
            key.push(match interner.find(KeyRef::Scalar(&value)) {
                Some(id) => id,
                None => interner.insert(value),
            });
        }
        reader.end()?;
        Ok((key, rekeyed))
    }
}
