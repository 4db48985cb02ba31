//! Each row of a batch gets its slot.

use tributary_shared::time::Millis;

use super::super::cells::Fold;
use super::super::codec::{KEY_FORMAT, OVERFLOW_KEY};
use super::super::cold::{ColdError, ColdView};
use super::super::keys::KeyCodes;
use super::super::messages::GroupState;
use super::{Bounds, Groups};
use crate::commit::LogPos;

const UNKNOWN: u32 = u32::MAX;
/// A batch's groups are looked up in a plain array while it has at most so many places per row.
const DIRECT_PER_ROW: usize = 8;
const DIRECT_MIN: usize = 4096;

/// A batch's key columns while its rows get their slots.
struct Lookup<'a> {
    columns: &'a [KeyCodes],
    /// For each column and code the number in the view's interner, as far as known.
    ids: Vec<Vec<u32>>,
    bounds: &'a Bounds,
    cold: &'a ColdView<'a>,
}

impl Lookup<'_> {
    /// A row's key as it is stored.
    fn encoded(&self, row: usize) -> Vec<u8> {
        let mut key = vec![KEY_FORMAT];
        for column in self.columns {
            column.value(column.codes[row]).encode(&mut key);
        }
        key
    }

    fn key_bytes(&self, row: usize) -> u64 {
        let bytes = |column: &KeyCodes| column.value(column.codes[row]).heap_bytes() as u64;
        self.columns.iter().map(bytes).sum()
    }
}

impl Groups {
    /// Gives each row its slot, and marks the slots as changed. `windows` has the window of each row as a number, and
    /// where each window starts. Returns the slots, and how many rows went to
    /// overflow groups.
    pub(in super::super) fn assign(
        &mut self,
        windows: (Vec<u32>, Vec<Millis>),
        columns: &[KeyCodes],
        pos: LogPos,
        bounds: &Bounds,
        cold: &ColdView<'_>,
    ) -> (Vec<u32>, u64) {
        self.pos = pos;
        self.touched.clear();
        self.gone.clear();
        let (codes, starts) = windows;
        let ids = columns
            .iter()
            .map(|column| vec![UNKNOWN; column.radix()])
            .collect();
        let mut lookup = Lookup {
            columns,
            ids,
            bounds,
            cold,
        };
        let places = columns
            .iter()
            .try_fold(starts.len(), |all, column| all.checked_mul(column.radix()));
        let limit = DIRECT_MIN.max(codes.len() * DIRECT_PER_ROW);
        let slots = match places.filter(|places| *places <= limit) {
            Some(places) => {
                let mut combined = codes;
                for column in columns {
                    let radix = column.radix() as u32;
                    combined
                        .iter_mut()
                        .zip(&column.codes)
                        .for_each(|(all, code)| *all = *all * radix + code);
                }
                let mut direct = vec![UNKNOWN; places];
                let stride: usize = columns.iter().map(|column| column.radix()).product();
                let slot_of = |(row, place): (usize, &u32)| {
                    let known = direct[*place as usize];
                    if known != UNKNOWN {
                        return known;
                    }
                    let slot = self.slot(starts[*place as usize / stride], row, &mut lookup);
                    direct[*place as usize] = slot;
                    slot
                };
                combined.iter().enumerate().map(slot_of).collect::<Vec<u32>>()
            }
            None => codes
                .iter()
                .enumerate()
                .map(|(row, code)| self.slot(starts[*code as usize], row, &mut lookup))
                .collect(),
        };
        for slot in &slots {
            self.heads[*slot as usize].rows += 1;
        }
        let overflowed = if self.touched.iter().any(|slot| self.is_overflow(*slot)) {
            slots.iter().filter(|slot| self.is_overflow(**slot)).count() as u64
        } else {
            0
        };
        (slots, overflowed)
    }

    /// Folds a column into an aggregate.
    pub(in super::super) fn update(&mut self, cell: usize, fold: &Fold<'_>) {
        self.cells[cell].update(fold);
    }

    /// The slot of a row: its group's, or that of the window's overflow group.
    fn slot(&mut self, window: Millis, row: usize, lookup: &mut Lookup<'_>) -> u32 {
        let mut key = [0u32; crate::view::MAX_KEYS];
        let key = &mut key[..lookup.columns.len()];
        let mut known = true;
        for (at, column) in lookup.columns.iter().enumerate() {
            let code = column.codes[row];
            let id = &mut lookup.ids[at][code as usize];
            if *id == UNKNOWN {
                *id = self.interners[at].find(column.value(code)).unwrap_or(UNKNOWN);
            }
            known &= *id != UNKNOWN;
            key[at] = *id;
        }
        let found = if known { self.find(window, key) } else { None };
        let slot = found.unwrap_or_else(|| self.enter(window, row, key, lookup));
        self.touch(slot);
        slot
    }

    /// The slot of a row whose group is not in memory.
    fn enter(&mut self, window: Millis, row: usize, key: &mut [u32], lookup: &mut Lookup<'_>) -> u32 {
        let (facts, cold) = self.open(window, lookup.cold);
        if cold && let Some(slot) = self.load(window, &lookup.encoded(row), lookup.cold) {
            return slot;
        }
        let bytes = lookup.key_bytes(row);
        let Bounds { groups, key_bytes } = *lookup.bounds;
        if facts.groups >= groups || facts.key_bytes + bytes > key_bytes {
            if cold && let Some(slot) = self.load(window, &OVERFLOW_KEY, lookup.cold) {
                return slot;
            }
            let slot = self.overflow_of(window);
            self.note_window(window);
            return slot;
        }
        for (at, id) in key.iter_mut().enumerate() {
            if *id == UNKNOWN {
                let code = lookup.columns[at].codes[row];
                *id = self.interners[at].insert(lookup.columns[at].value(code).to_scalar());
                lookup.ids[at][code as usize] = *id;
            }
        }
        let slot = self.make(window, key);
        self.join_window(window, slot);
        slot
    }

    /// Takes a window's facts from disk when it has no group in memory. Returns them, and whether it has groups that
    /// are on disk only.
    fn open(&mut self, window: Millis, cold: &ColdView<'_>) -> (super::WindowFacts, bool) {
        if !self.panes.contains_key(&window)
            && self.cold.may_have(window)
            && let Some(facts) = cold.window(window)
        {
            self.restore_window(window, facts);
        }
        let pane = self.panes.get(&window);
        pane.map_or_else(Default::default, |pane| (pane.facts, pane.cold() > 0))
    }

    /// Takes a group from disk.
    fn load(&mut self, window: Millis, key: &[u8], cold: &ColdView<'_>) -> Option<u32> {
        if key == OVERFLOW_KEY && self.panes.get(&window).is_none_or(|pane| !pane.facts.overflow) {
            return None;
        }
        let in_memory = vec![super::OVERFLOW_ID; self.interners.len()];
        if key == OVERFLOW_KEY
            && let Some(slot) = self.find(window, &in_memory)
        {
            return Some(slot);
        }
        let group = GroupState {
            window_start: window,
            key: key.to_vec(),
            state: cold.state(window, key)?,
        };
        match self.restore(&group) {
            Ok(slot) => Some(slot),
            Err(error) => cold.fail(ColdError(error.to_string())),
        }
    }

    pub(super) fn touch(&mut self, slot: u32) {
        if self.heads[slot as usize].changed_at == self.pos {
            return;
        }
        // before the change: a snapshot that is being taken may need the group as it is
        self.note(slot);
        let head = &mut self.heads[slot as usize];
        head.changed_at = self.pos;
        head.revision = head.revision.saturating_add(1);
        self.touched.push(slot);
    }
}
