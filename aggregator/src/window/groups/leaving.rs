//! Groups leave memory: because they are stored as they are and others need the room, or because they are no more.

use tributary_shared::time::Millis;

use super::{Groups, Head, hash_group};

impl Groups {
    /// The oldest window after another that has groups in memory.
    pub(in super::super) fn window_after(&self, window: Option<Millis>) -> Option<Millis> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = window.map_or(Unbounded, Excluded);
        self.panes
            .range((from, Unbounded))
            .next()
            .map(|(start, _)| *start)
    }

    /// Lets those groups of a window go that are stored as they are, at most so many. Returns how many.
    pub(in super::super) fn evict(&mut self, window: Millis, most: usize) -> usize {
        let stored = self.saving.stored;
        let Some(pane) = self.panes.get_mut(&window) else {
            return 0;
        };
        let (mut gone, heads) = (Vec::new(), &self.heads);
        pane.slots.retain(|slot| {
            let goes = gone.len() < most && heads[*slot as usize].saved.is_clean(stored);
            if goes {
                gone.push(*slot);
            }
            !goes
        });
        let forgotten = pane.slots.is_empty() && pane.saved.is_clean(stored);
        for slot in &gone {
            self.cold.newest_change = self.cold.newest_change.max(self.changed_at(*slot));
            self.unlist(*slot);
        }
        self.cold.groups += gone.len() as u64;
        if forgotten {
            self.panes.remove(&window);
            self.cold.windows += 1;
            self.cold.newest = self.cold.newest.max(Some(window));
        }
        gone.len()
    }

    /// Takes a group away for good.
    pub(in super::super) fn remove(&mut self, slot: u32) {
        // a snapshot that is being taken may need it
        self.note(slot);
        let (window, key) = (self.window(slot), self.encoded_key(slot));
        self.leave_window(window, slot);
        self.note_removed(window, key);
        self.unlist(slot);
    }

    /// Lets a group begin at another time: its old name is no more.
    pub(in super::super) fn rename(&mut self, slot: u32, window: Millis) {
        self.note(slot);
        let (old, key) = (self.window(slot), self.encoded_key(slot));
        let ids = self.key_ids(slot).to_vec();
        let hash = hash_group(&self.hasher, old, &ids);
        if let Ok(entry) = self.table.find_entry(hash, |other| *other == slot) {
            entry.remove();
        }
        self.leave_window(old, slot);
        self.note_removed(old, key);
        self.heads[slot as usize].window = window;
        self.enlist(window, &ids, slot);
        self.join_window(window, slot);
    }

    /// Counts a new group of a window.
    pub(super) fn join_window(&mut self, window: Millis, slot: u32) {
        let (overflow, bytes) = (self.is_overflow(slot), key_bytes(self, slot));
        if let Some(pane) = self.panes.get_mut(&window) {
            pane.facts.overflow |= overflow;
            pane.facts.groups += u64::from(!overflow);
            pane.facts.key_bytes += bytes;
        }
        self.note_window(window);
    }

    fn leave_window(&mut self, window: Millis, slot: u32) {
        let (overflow, bytes) = (self.is_overflow(slot), key_bytes(self, slot));
        if let Some(pane) = self.panes.get_mut(&window) {
            pane.slots.retain(|other| *other != slot);
            pane.facts.overflow &= !overflow;
            pane.facts.groups -= u64::from(!overflow);
            pane.facts.key_bytes = pane.facts.key_bytes.saturating_sub(bytes);
        }
        self.note_window(window);
        if self
            .panes
            .get(&window)
            .is_some_and(|pane| pane.facts.stored() == 0)
        {
            self.panes.remove(&window);
            self.note_emptied(window);
        }
    }

    /// Takes a window away for good, with what is in memory of it; what is stored is deleted by who asks. Returns
    /// how many groups it had.
    pub(in super::super) fn forget_window(&mut self, window: Millis) -> u64 {
        let Some(pane) = self.panes.remove(&window) else {
            return 0;
        };
        for slot in &pane.slots {
            let key = self.key_ids(*slot).to_vec();
            self.sessions.forget(&key, window);
            self.unlist(*slot);
        }
        self.cold.groups = self.cold.groups.saturating_sub(pane.cold());
        pane.facts.stored()
    }

    /// Takes note that a window of which nothing is in memory is no more.
    pub(in super::super) fn forget_cold_window(&mut self, groups: u64) {
        self.cold.groups = self.cold.groups.saturating_sub(groups);
        self.cold.windows = self.cold.windows.saturating_sub(1);
    }

    /// Frees a slot that its window does not list any more.
    fn unlist(&mut self, slot: u32) {
        let at = slot as usize;
        let stride = self.interners.len();
        let hash = hash_group(&self.hasher, self.heads[at].window, self.key_ids(slot));
        if let Ok(entry) = self.table.find_entry(hash, |other| *other == slot) {
            entry.remove();
        }
        for (interner, id) in self.interners.iter_mut().zip(&self.ids[at * stride..][..stride]) {
            interner.release(*id);
        }
        self.heads[at] = Head::new(0);
        self.cells.iter_mut().for_each(|cells| cells.clear(slot));
        self.free.push(slot);
    }
}

fn key_bytes(groups: &Groups, slot: u32) -> u64 {
    let bytes = |at| super::KeyRef::Scalar(groups.key(slot, at)).heap_bytes() as u64;
    (0..groups.interners.len()).map(bytes).sum()
}
