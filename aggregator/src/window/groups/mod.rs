//! The groups of one view: for each (window, key values) a slot, and per slot the state of the aggregates.
//!
//! Everything about a slot stands in arrays that are indexed by it. A batch is folded in two steps: each row
//! gets its slot, then each aggregate runs over its column once. Slot 0 belongs to no group.
//!
//! A window takes so many groups and bytes of key texts; what comes beyond goes to its overflow group, which is a
//! group like any other but for its key. Which keys have groups of their own depends on nothing but the log.
//!
//! Groups that are stored as they are may leave memory ([`leaving`]). Their slots are used again, and so are the
//! numbers of key values that no group in memory has.

mod assign;
mod leaving;
mod pane;
mod saving;
mod sessions;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};

use hashbrown::{DefaultHashBuilder, HashTable};
use tributary_shared::time::Millis;

use self::pane::{Cold, Pane};
use self::saving::{Saved, Saving};
use self::sessions::Sessions;
use super::cells::Cells;
use super::cold::WindowFacts;
use super::keys::{Interner, KeyRef};
use super::messages::GoneRow;
use super::pinned::Pinned;
use crate::commit::LogPos;
use crate::view::{CellSpec, Scalar};

pub(super) use saving::Cut;
pub(super) use sessions::SessionRules;

/// The number that stands for every key value of an overflow group.
const OVERFLOW_ID: u32 = u32::MAX - 1;
static NULL: Scalar = Scalar::Null;

#[derive(Debug, Clone)]
pub(super) struct Groups {
    hasher: DefaultHashBuilder,
    /// Slots by window and key.
    table: HashTable<u32>,
    panes: BTreeMap<Millis, Pane>,
    interners: Vec<Interner>,
    heads: Vec<Head>,
    /// The key values of each slot, as numbers of the interners; `interners.len()` for each slot.
    ids: Vec<u32>,
    cells: Vec<Cells>,
    /// Slots without a group; their cells are empty.
    free: Vec<u32>,
    cold: Cold,
    saving: Saving,
    /// The entry that is being folded.
    pos: LogPos,
    /// Slots that it changed.
    touched: Vec<u32>,
    sessions: Sessions,
    /// Rows that the entry ended.
    gone: Vec<GoneRow>,
    /// A stored key was written in another form than ours.
    rekeyed: bool,
}

/// What a window may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub groups: u64,
    /// Bytes of key texts.
    pub key_bytes: u64,
}

/// What every group has, together because it changes together.
#[derive(Debug, Clone, Copy)]
struct Head {
    window: Millis,
    rows: u64,
    /// The log position of the entry that changed the group last.
    changed_at: LogPos,
    revision: u32,
    saved: Saved,
}

impl Head {
    fn new(window: Millis) -> Self {
        Self {
            window,
            rows: 0,
            changed_at: LogPos(0),
            revision: 0,
            saved: Saved::default(),
        }
    }
}

impl Groups {
    pub(super) fn new(keys: usize, specs: &[CellSpec]) -> Self {
        let mut groups = Self {
            hasher: DefaultHashBuilder::default(),
            table: HashTable::new(),
            panes: BTreeMap::new(),
            interners: vec![Interner::default(); keys],
            heads: vec![Head::new(0)],
            ids: vec![OVERFLOW_ID; keys],
            cells: specs.iter().map(|spec| Cells::new(spec.kind)).collect(),
            free: Vec::new(),
            cold: Cold::default(),
            saving: Saving::default(),
            pos: LogPos(0),
            touched: Vec::new(),
            sessions: Sessions::default(),
            gone: Vec::new(),
            rekeyed: false,
        };
        groups.cells.iter_mut().for_each(Cells::push);
        groups
    }

    /// Groups, in memory or not; overflow groups are counted as well.
    pub(super) fn len(&self) -> u64 {
        self.hot() as u64 + self.cold.groups
    }

    /// Groups in memory.
    pub(super) fn hot(&self) -> usize {
        self.heads.len() - 1 - self.free.len()
    }

    pub(super) fn window_count(&self) -> u64 {
        self.panes.len() as u64 + self.cold.windows
    }

    /// Windows that start within the bounds and have groups in memory, with those groups' slots, oldest first.
    pub(super) fn windows_between(
        &self,
        from: Option<Millis>,
        to: Option<Millis>,
    ) -> impl DoubleEndedIterator<Item = (Millis, &[u32])> {
        let from = from.unwrap_or(Millis::MIN);
        let to = to.unwrap_or(Millis::MAX).max(from);
        self.panes
            .range(from..to)
            .map(|(start, pane)| (*start, pane.slots.as_slice()))
    }

    /// The groups of a window that are in memory.
    pub(super) fn slots_of(&self, window: Millis) -> &[u32] {
        self.panes.get(&window).map_or(&[], |pane| &pane.slots)
    }

    /// The groups of a window that are in memory and may have the wanted keys.
    pub(super) fn slots_with(&self, window: Millis, pinned: &Pinned) -> Vec<u32> {
        let all = self.slots_of(window);
        if let Some(keys) = pinned.combinations().filter(|keys| keys.len() < all.len()) {
            let overflow = vec![OVERFLOW_ID; self.interners.len()];
            let overflow = pinned.takes_overflow().then_some(overflow);
            let probes = keys.iter().chain(&overflow);
            return probes.filter_map(|key| self.find(window, key)).collect();
        }
        let takes = |slot: &&u32| match self.is_overflow(**slot) {
            true => pinned.takes_overflow(),
            false => pinned.takes(self.key_ids(**slot)),
        };
        all.iter().filter(takes).copied().collect()
    }

    pub(super) fn key_count(&self) -> usize {
        self.interners.len()
    }

    /// The number of a key's value, if a group in memory has it.
    pub(super) fn find_key(&self, key: usize, value: &Scalar) -> Option<u32> {
        self.interners[key].find(KeyRef::Scalar(value))
    }

    /// Whether some groups of the window may be on disk only.
    pub(super) fn may_be_cold(&self, window: Millis) -> bool {
        match self.panes.get(&window) {
            Some(pane) => pane.cold() > 0,
            None => self.cold.may_have(window),
        }
    }

    /// Whether a group that is on disk only may have changed at this log position or later.
    pub(super) fn cold_changed_since(&self, pos: LogPos) -> bool {
        self.cold.groups > 0 && self.cold.newest_change >= pos
    }

    /// Takes note that what is stored is no newer than this.
    pub(super) fn restored_up_to(&mut self, pos: LogPos) {
        self.cold.newest_change = pos;
    }

    /// Whether any group is on disk only.
    pub(super) fn has_cold(&self) -> bool {
        self.cold.groups > 0
    }

    pub(super) fn contains(&self, slot: u32) -> bool {
        self.heads
            .get(slot as usize)
            .is_some_and(|head| head.revision > 0)
    }

    pub(super) fn window(&self, slot: u32) -> Millis {
        self.heads[slot as usize].window
    }

    pub(super) fn revision(&self, slot: u32) -> u64 {
        self.heads[slot as usize].revision.into()
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

    /// The value of a key in a slot; NULL in an overflow group.
    pub(super) fn key(&self, slot: u32, key: usize) -> &Scalar {
        match self.ids[slot as usize * self.interners.len() + key] {
            OVERFLOW_ID => &NULL,
            id => self.interners[key].value(id),
        }
    }

    /// Whether the group stands for all those that its window had no room for.
    pub(super) fn is_overflow(&self, slot: u32) -> bool {
        self.key_ids(slot).first() == Some(&OVERFLOW_ID)
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

    /// Adds a group of other cells of the same kinds to a slot. Revisions add up; the newest change counts.
    pub(super) fn merge_slot(&mut self, slot: u32, source: &Self, from: u32) {
        self.merge_head(slot, source, from);
        for (cells, other) in self.cells.iter_mut().zip(&source.cells) {
            cells.merge_from(slot, other, from);
        }
    }

    /// The same for what a group has beside its cells.
    pub(super) fn merge_head(&mut self, slot: u32, source: &Self, from: u32) {
        let other = source.heads[from as usize];
        let head = &mut self.heads[slot as usize];
        head.rows += other.rows;
        head.revision = head.revision.saturating_add(other.revision);
        head.changed_at = head.changed_at.max(other.changed_at);
    }

    /// Counts a row of another view in a slot.
    pub(super) fn count_row(&mut self, slot: u32, revision: u64, changed_at: LogPos) {
        let head = &mut self.heads[slot as usize];
        head.rows += 1;
        head.revision = head
            .revision
            .saturating_add(u32::try_from(revision).unwrap_or(u32::MAX));
        head.changed_at = head.changed_at.max(changed_at);
    }

    /// Adds what a cell of other groups saw.
    pub(super) fn merge_cell(&mut self, at: usize, slot: u32, other: &Cells, from: u32) {
        self.cells[at].merge_from(slot, other, from);
    }

    /// The slot of a window's group with the key of another, made if it is not there; without a bound. What an
    /// overflow group holds belongs to the overflow group.
    pub(super) fn slot_like(&mut self, window: Millis, source: &Self, from: u32) -> u32 {
        match source.is_overflow(from) {
            true => self.overflow_of(window),
            false => self.slot_of(window, &source.keys(from)),
        }
    }

    /// The slot of a window's group, made if it is not there; without a bound.
    pub(super) fn slot_of(&mut self, window: Millis, key: &[Scalar]) -> u32 {
        let mut ids = Vec::with_capacity(key.len());
        for (interner, value) in self.interners.iter_mut().zip(key) {
            let known = interner.find(KeyRef::Scalar(value));
            ids.push(known.unwrap_or_else(|| interner.insert(value.clone())));
        }
        self.find(window, &ids).unwrap_or_else(|| self.make(window, &ids))
    }

    /// The slot of a window's overflow group, made if it is not there.
    pub(super) fn overflow_of(&mut self, window: Millis) -> u32 {
        let ids = vec![OVERFLOW_ID; self.interners.len()];
        if let Some(slot) = self.find(window, &ids) {
            return slot;
        }
        let slot = self.make(window, &ids);
        if let Some(pane) = self.panes.get_mut(&window) {
            pane.facts.overflow = true;
        }
        slot
    }

    fn find(&self, window: Millis, key: &[u32]) -> Option<u32> {
        let hash = hash_group(&self.hasher, window, key);
        let is = |slot: &u32| self.heads[*slot as usize].window == window && self.key_ids(*slot) == key;
        self.table.find(hash, is).copied()
    }

    fn key_ids(&self, slot: u32) -> &[u32] {
        let stride = self.interners.len();
        &self.ids[slot as usize * stride..][..stride]
    }

    /// Makes the slot of a group that is not in memory.
    fn make(&mut self, window: Millis, key: &[u32]) -> u32 {
        let stride = self.interners.len();
        let slot = match self.free.pop() {
            Some(slot) => {
                self.heads[slot as usize] = Head::new(window);
                self.ids[slot as usize * stride..][..stride].copy_from_slice(key);
                slot
            }
            None => {
                // the budget of memory is far below 2^32 groups
                let slot = self.heads.len() as u32;
                self.heads.push(Head::new(window));
                self.ids.extend_from_slice(key);
                self.cells.iter_mut().for_each(Cells::push);
                slot
            }
        };
        for (interner, id) in self.interners.iter_mut().zip(key) {
            interner.hold(*id);
        }
        self.enlist(window, key, slot);
        slot
    }

    /// Lists a slot under its window and key.
    fn enlist(&mut self, window: Millis, key: &[u32], slot: u32) {
        let hash = hash_group(&self.hasher, window, key);
        let (hasher, heads, ids, stride) = (&self.hasher, &self.heads, &self.ids, key.len());
        self.table.insert_unique(hash, slot, |slot| {
            let at = *slot as usize;
            hash_group(hasher, heads[at].window, &ids[at * stride..][..stride])
        });
        self.panes.entry(window).or_default().slots.push(slot);
    }

    /// Bytes in memory, without those of slots that wait for their next group.
    pub(super) fn bytes(&self) -> usize {
        let slot = size_of::<Head>()
            + self.interners.len() * size_of::<u32>()
            + PLACE_BYTES
            + self.cells.iter().map(|cells| cells.slot_bytes(0)).sum::<usize>();
        let cells: usize = self.cells.iter().map(|cells| cells.bytes()).sum();
        let places =
            self.heads.capacity() * (slot - self.cells.iter().map(|c| c.slot_bytes(0)).sum::<usize>());
        let keys: usize = self.interners.iter().map(Interner::bytes).sum();
        (places + cells + keys + self.panes.len() * PANE_BYTES).saturating_sub(self.free.len() * slot)
    }
}

/// What a slot takes in the hash table, in the list of its window and in the list of what changed.
const PLACE_BYTES: usize = 18;
/// What a window takes beside its groups.
const PANE_BYTES: usize = 120;

fn hash_group(hasher: &DefaultHashBuilder, window: Millis, key: &[u32]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write_i64(window);
    key.iter().for_each(|id| state.write_u32(*id));
    state.finish()
}

/// What is stored of windows, for what reads them without making them.
impl Groups {
    /// Takes note of what is on disk, before anything is restored.
    pub(super) fn restore_cold(&mut self, groups: u64, windows: u64, newest: Option<Millis>) {
        self.cold = Cold {
            groups,
            windows,
            newest,
            newest_change: LogPos(u64::MAX),
        };
    }

    /// Takes note of a stored window that groups are restored of.
    pub(super) fn restore_window(&mut self, window: Millis, facts: WindowFacts) {
        let pane = self.panes.entry(window).or_default();
        pane.facts = facts;
        self.cold.windows = self.cold.windows.saturating_sub(1);
    }
}
