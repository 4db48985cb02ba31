//! The groups of one view: for each (window, key values) a slot, and per slot the state of the aggregates.
//!
//! Everything about a slot stands in arrays that are indexed by it. A batch is folded in two steps: each row
//! gets its slot, then each aggregate runs over its column once. Slot 0 belongs to no group: it takes the rows
//! that would need one group more than the bound allows, so that the inner loops need no test for them.

mod sessions;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};

use hashbrown::{DefaultHashBuilder, HashTable};
use tributary_shared::time::Millis;

use super::cells::Cells;
use super::codec::{KEY_FORMAT, Reader, STATE_FORMAT, STATE_FORMAT_1, put_scalar, put_u64};
use super::keys::{Interner, KeyCodes, KeyRef};
use super::messages::{GoneRow, GroupName, GroupState, StateError};
use super::panes::pane_codes;
use crate::commit::LogPos;
use crate::view::{CellSpec, Mode, Scalar, Vector, WindowKind};

pub(super) use sessions::SessionRules;
use sessions::Sessions;

/// The slot of rows that found no room.
const OVERFLOW: u32 = 0;
const UNKNOWN: u32 = u32::MAX;
/// The window of a slot that no group has.
const FREE: Millis = Millis::MIN;
/// A batch's groups are looked up in a plain array while it has at most so many places per row.
const DIRECT_PER_ROW: usize = 8;
const DIRECT_MIN: usize = 4096;

#[derive(Debug, Clone)]
pub(super) struct Groups {
    hasher: DefaultHashBuilder,
    /// Slots by window and key.
    table: HashTable<u32>,
    by_window: BTreeMap<Millis, Vec<u32>>,
    interners: Vec<Interner>,
    key_bytes: usize,
    heads: Vec<Head>,
    /// The key values of each slot, as numbers of the interners; `interners.len()` for each slot.
    ids: Vec<u32>,
    unsaved_slots: Vec<u32>,
    cells: Vec<Cells>,
    /// The entry that is being folded.
    pos: LogPos,
    /// Slots that the present batch changed.
    touched: Vec<u32>,
    /// A stored key was written in another form than ours: all groups must be stored anew.
    rekeyed: bool,
    sessions: Sessions,
    /// Rows that the present batch ended.
    gone: Vec<GoneRow>,
    /// Stored groups that are no more.
    removed: Vec<GroupName>,
}

/// What a view may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Groups of one window.
    pub groups: usize,
    /// Bytes of key texts.
    pub key_bytes: usize,
}

/// What every group has, together because it changes together.
#[derive(Debug, Clone, Copy)]
struct Head {
    window: Millis,
    rows: u64,
    revision: u64,
    /// The log position of the entry that changed the group last.
    changed_at: LogPos,
    unsaved: bool,
}

/// A batch's key columns while its rows get their slots.
struct Lookup<'a> {
    columns: &'a [KeyCodes],
    /// For each column and code the number in the view's interner, as far as known.
    ids: Vec<Vec<u32>>,
}

impl Groups {
    pub(super) fn new(keys: usize, specs: &[CellSpec]) -> Self {
        let mut groups = Self {
            hasher: DefaultHashBuilder::default(),
            table: HashTable::new(),
            by_window: BTreeMap::new(),
            interners: vec![Interner::default(); keys],
            key_bytes: 0,
            heads: Vec::new(),
            ids: Vec::new(),
            unsaved_slots: Vec::new(),
            cells: specs.iter().map(|spec| Cells::new(spec.kind)).collect(),
            pos: LogPos(0),
            touched: Vec::new(),
            rekeyed: false,
            sessions: Sessions::default(),
            gone: Vec::new(),
            removed: Vec::new(),
        };
        groups.cells.iter_mut().for_each(Cells::push);
        groups.push_slot(0, &vec![0; keys]);
        groups
    }

    /// Groups, without the overflow.
    pub(super) fn len(&self) -> usize {
        self.heads.len() - 1 - self.sessions.free()
    }

    pub(super) fn window_count(&self) -> usize {
        self.by_window.len()
    }

    /// Windows that start within the bounds, with their slots, oldest first.
    pub(super) fn windows_between(
        &self,
        from: Option<Millis>,
        to: Option<Millis>,
    ) -> impl DoubleEndedIterator<Item = (Millis, &[u32])> {
        let from = from.unwrap_or(Millis::MIN);
        let to = to.unwrap_or(Millis::MAX).max(from);
        self.by_window
            .range(from..to)
            .map(|(start, slots)| (*start, slots.as_slice()))
    }

    pub(super) fn contains(&self, slot: u32) -> bool {
        let head = self.heads.get(slot as usize);
        slot != OVERFLOW && head.is_some_and(|head| head.window != FREE)
    }

    pub(super) fn window(&self, slot: u32) -> Millis {
        self.heads[slot as usize].window
    }

    pub(super) fn revision(&self, slot: u32) -> u64 {
        self.heads[slot as usize].revision
    }

    /// The log position of the group's last change.
    pub(super) fn changed_at(&self, slot: u32) -> LogPos {
        self.heads[slot as usize].changed_at
    }

    pub(super) fn row_count(&self, slot: u32) -> u64 {
        self.heads[slot as usize].rows
    }

    pub(super) fn cells(&self, at: usize) -> &Cells {
        &self.cells[at]
    }

    /// The value of a key in a slot.
    pub(super) fn key(&self, slot: u32, key: usize) -> &Scalar {
        self.interners[key].value(self.ids[slot as usize * self.interners.len() + key])
    }

    /// Gives each row its slot, and marks the slots as changed. `times` are in the range of
    /// [`tributary_shared::time`]. Returns the slots, and how many rows found no room.
    pub(super) fn assign(
        &mut self,
        times: &[Millis],
        window: &WindowKind,
        columns: &[KeyCodes],
        pos: LogPos,
        bounds: &Bounds,
    ) -> (Vec<u32>, u64) {
        self.pos = pos;
        self.touched.clear();
        self.gone.clear();
        let (window_codes, windows) = pane_codes(times, window);
        let ids = columns
            .iter()
            .map(|column| vec![UNKNOWN; column.radix()])
            .collect();
        let mut lookup = Lookup { columns, ids };
        let places = columns
            .iter()
            .try_fold(windows.len(), |all, column| all.checked_mul(column.radix()));
        let limit = DIRECT_MIN.max(times.len() * DIRECT_PER_ROW);
        let slots = match places.filter(|places| *places <= limit) {
            Some(places) => {
                let mut combined = window_codes;
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
                    let slot = self.slot(windows[*place as usize / stride], row, &mut lookup, bounds);
                    direct[*place as usize] = slot;
                    slot
                };
                combined.iter().enumerate().map(slot_of).collect::<Vec<u32>>()
            }
            None => window_codes
                .iter()
                .enumerate()
                .map(|(row, code)| self.slot(windows[*code as usize], row, &mut lookup, bounds))
                .collect(),
        };
        for slot in &slots {
            self.heads[*slot as usize].rows += 1;
        }
        let overflowed = std::mem::take(&mut self.heads[OVERFLOW as usize].rows);
        (slots, overflowed)
    }

    fn groups_of(&self, window: Millis) -> usize {
        self.by_window.get(&window).map_or(0, Vec::len)
    }

    /// Folds a column into an aggregate.
    pub(super) fn update(&mut self, cell: usize, slots: &[u32], values: &Vector, mode: Mode) {
        self.cells[cell].update(slots, values, mode);
    }

    /// The key values of a slot.
    pub(super) fn keys(&self, slot: u32) -> Vec<Scalar> {
        (0..self.interners.len())
            .map(|at| self.key(slot, at).clone())
            .collect()
    }

    /// Rows that the last batch ended.
    pub(super) fn take_gone(&mut self) -> Vec<GoneRow> {
        std::mem::take(&mut self.gone)
    }

    /// Slots that the last batch changed, each once.
    pub(super) fn touched(&self) -> &[u32] {
        &self.touched
    }

    /// The slot of a row, made if there is room.
    fn slot(&mut self, window: Millis, row: usize, lookup: &mut Lookup<'_>, bounds: &Bounds) -> u32 {
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
        let slot = found
            .or_else(|| self.insert(window, row, key, lookup, bounds))
            .unwrap_or(OVERFLOW);
        self.touch(slot);
        slot
    }

    fn find(&self, window: Millis, key: &[u32]) -> Option<u32> {
        let hash = hash_group(&self.hasher, window, key);
        self.table.find(hash, |slot| self.is(*slot, window, key)).copied()
    }

    fn is(&self, slot: u32, window: Millis, key: &[u32]) -> bool {
        self.heads[slot as usize].window == window && self.key_ids(slot) == key
    }

    fn key_ids(&self, slot: u32) -> &[u32] {
        let stride = self.interners.len();
        &self.ids[slot as usize * stride..][..stride]
    }

    /// `None` when there is no room.
    fn insert(
        &mut self,
        window: Millis,
        row: usize,
        key: &mut [u32],
        lookup: &mut Lookup<'_>,
        bounds: &Bounds,
    ) -> Option<u32> {
        let new_bytes = |at: usize| match key[at] {
            UNKNOWN => lookup.columns[at]
                .value(lookup.columns[at].codes[row])
                .heap_bytes(),
            _ => 0,
        };
        let bytes: usize = (0..key.len()).map(new_bytes).sum();
        if self.groups_of(window) >= bounds.groups || self.key_bytes + bytes > bounds.key_bytes {
            return None;
        }
        self.key_bytes += bytes;
        for (at, id) in key.iter_mut().enumerate() {
            if *id == UNKNOWN {
                let code = lookup.columns[at].codes[row];
                *id = self.interners[at].insert(lookup.columns[at].value(code).to_scalar());
                lookup.ids[at][code as usize] = *id;
            }
        }
        self.cells.iter_mut().for_each(Cells::push);
        Some(self.link(window, key))
    }

    /// Makes the slot of a new group whose cells are there already.
    fn link(&mut self, window: Millis, key: &[u32]) -> u32 {
        let slot = self.push_slot(window, key);
        let hash = hash_group(&self.hasher, window, key);
        let (hasher, heads, ids, stride) = (&self.hasher, &self.heads, &self.ids, key.len());
        self.table.insert_unique(hash, slot, |slot| {
            let at = *slot as usize;
            hash_group(hasher, heads[at].window, &ids[at * stride..][..stride])
        });
        self.by_window.entry(window).or_default().push(slot);
        slot
    }

    /// Adds a group of other cells of the same kinds to a slot. Revisions add up; the newest change counts.
    pub(super) fn merge_slot(&mut self, slot: u32, source: &Self, from: u32) {
        self.merge_head(slot, source, from);
        for (cells, other) in self.cells.iter_mut().zip(&source.cells) {
            cells.merge_from(slot, other, from);
        }
    }

    /// The same for what a group has beside its cells.
    #[allow(dead_code, reason = "of windows that are made of panes or of another view")]
    pub(super) fn merge_head(&mut self, slot: u32, source: &Self, from: u32) {
        let other = source.heads[from as usize];
        let head = &mut self.heads[slot as usize];
        head.rows += other.rows;
        head.revision += other.revision;
        head.changed_at = head.changed_at.max(other.changed_at);
    }

    /// The slot of a window's group, made if it is not there; without a bound.
    #[allow(dead_code, reason = "of windows that are made of panes or of another view")]
    pub(super) fn slot_of(&mut self, window: Millis, key: &[Scalar]) -> u32 {
        let mut ids = Vec::with_capacity(key.len());
        for (interner, value) in self.interners.iter_mut().zip(key) {
            let value_ref = KeyRef::Scalar(value);
            ids.push(match interner.find(value_ref) {
                Some(id) => id,
                None => {
                    self.key_bytes += value_ref.heap_bytes();
                    interner.insert(value.clone())
                }
            });
        }
        self.find(window, &ids).unwrap_or_else(|| {
            self.cells.iter_mut().for_each(Cells::push);
            self.link(window, &ids)
        })
    }

    fn push_slot(&mut self, window: Millis, key: &[u32]) -> u32 {
        // the bound on groups is far below 2^32
        let slot = self.heads.len() as u32;
        self.heads.push(Head {
            window,
            rows: 0,
            revision: 0,
            changed_at: LogPos(0),
            unsaved: false,
        });
        self.ids.extend_from_slice(key);
        slot
    }

    fn touch(&mut self, slot: u32) {
        let head = &mut self.heads[slot as usize];
        if slot == OVERFLOW || head.changed_at == self.pos {
            return;
        }
        head.changed_at = self.pos;
        head.revision += 1;
        self.touched.push(slot);
        if !head.unsaved {
            head.unsaved = true;
            self.unsaved_slots.push(slot);
        }
    }

    /// The groups that changed since the last call, in stored form.
    pub(super) fn take_unsaved(&mut self) -> Vec<GroupState> {
        let slots = std::mem::take(&mut self.unsaved_slots);
        let unsaved = |slot: &u32| std::mem::take(&mut self.heads[*slot as usize].unsaved);
        let slots: Vec<u32> = slots.into_iter().filter(unsaved).collect();
        slots.into_iter().map(|slot| self.encode(slot)).collect()
    }

    /// The stored groups that ended since the last call.
    pub(super) fn take_removed(&mut self) -> Vec<GroupName> {
        std::mem::take(&mut self.removed)
    }

    fn stored_key(&self, slot: u32) -> Vec<u8> {
        let mut key = vec![KEY_FORMAT];
        (0..self.interners.len()).for_each(|at| put_scalar(&mut key, self.key(slot, at)));
        key
    }

    fn encode(&self, slot: u32) -> GroupState {
        let key = self.stored_key(slot);
        let mut state = vec![STATE_FORMAT];
        put_u64(&mut state, self.row_count(slot));
        put_u64(&mut state, self.revision(slot));
        put_u64(&mut state, self.changed_at(slot).0);
        self.cells.iter().for_each(|cells| cells.encode(slot, &mut state));
        GroupState {
            window_start: self.window(slot),
            key,
            state,
        }
    }

    /// Takes a stored group back. Two groups whose keys are one number in two forms (5 and 5.0, which earlier
    /// versions told apart) become one.
    ///
    /// # Errors
    /// When the bytes are not of this view. The groups are then in disorder and must be thrown away.
    pub(super) fn restore(&mut self, group: &GroupState) -> Result<(), StateError> {
        let (mut reader, _) = Reader::new(&group.key, &[KEY_FORMAT])?;
        let mut key = Vec::with_capacity(self.interners.len());
        for interner in &mut self.interners {
            let stored = reader.scalar()?;
            let value = stored.clone().normalised();
            self.rekeyed |= value != stored;
            key.push(match interner.find(KeyRef::Scalar(&value)) {
                Some(id) => id,
                None => {
                    self.key_bytes += KeyRef::Scalar(&value).heap_bytes();
                    interner.insert(value)
                }
            });
        }
        reader.end()?;
        let known = self.find(group.window_start, &key);
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
        for cells in &mut self.cells {
            cells.push_encoded(&mut reader)?;
        }
        reader.end()?;
        let slot = match known {
            Some(slot) => {
                self.cells.iter_mut().for_each(|cells| cells.merge_last(slot));
                slot
            }
            None => self.link(group.window_start, &key),
        };
        let head = &mut self.heads[slot as usize];
        head.rows += rows;
        head.revision += revision;
        head.changed_at = head.changed_at.max(changed_at);
        Ok(())
    }

    /// Ends the restoring. True when the groups must be stored anew, all of them, in place of what was stored.
    pub(super) fn restored(&mut self) -> bool {
        if !std::mem::take(&mut self.rekeyed) {
            return false;
        }
        // the bound on groups is far below 2^32
        self.unsaved_slots = (1..self.heads.len() as u32).collect();
        self.heads.iter_mut().for_each(|head| head.unsaved = true);
        true
    }
}

fn hash_group(hasher: &DefaultHashBuilder, window: Millis, key: &[u32]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write_i64(window);
    key.iter().for_each(|id| state.write_u32(*id));
    state.finish()
}
