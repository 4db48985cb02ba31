//! Sessions: runs of a key's events with less than a gap between them. An event within the gap of one extends it, one
//! within the gap of two makes them one. What the sessions are depends on the times only, never on their order.
//!
//! A session is named by its start and key, as every row is: one that begins earlier now, or became part of an
//! earlier one, is a row that is gone. All sessions of a view stay in memory, because any event may join any of them.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use tributary_shared::time::Millis;

use super::super::keys::{KeyCodes, KeyRef};
use super::{Bounds, GoneRow, Groups, Interner, LogPos, OVERFLOW_ID};
use crate::view::Scalar;

/// The sessions of a view by key.
#[derive(Debug, Clone, Default)]
pub(super) struct Sessions {
    by_key: HashMap<Vec<u32>, BTreeMap<Millis, Session>>,
    indexed: bool,
    /// Slots of sessions that became part of another one with the present batch, and whose: events of the batch may have
    /// been given them already, so nobody gets them before it is through.
    retired: Vec<(u32, u32)>,
}

#[derive(Debug, Clone, Copy)]
struct Session {
    slot: u32,
    /// The time of its last event.
    last: Millis,
}

/// How a view makes sessions.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct SessionRules {
    pub gap: Millis,
    /// The cell that keeps the time of a session's last event.
    pub last: usize,
}

impl Sessions {
    /// Forgets a session that is beyond the retention.
    pub(super) fn forget(&mut self, key: &[u32], start: Millis) {
        if let Some(sessions) = self.by_key.get_mut(key) {
            sessions.remove(&start);
            if sessions.is_empty() {
                self.by_key.remove(key);
            }
        }
    }
}

impl Groups {
    /// [`Groups::assign`] for sessions. Here the bound on groups is one on all sessions of the view.
    pub(in super::super) fn assign_sessions(
        &mut self,
        times: &[Millis],
        rules: SessionRules,
        columns: &[KeyCodes],
        pos: LogPos,
        bounds: &Bounds,
    ) -> (Vec<u32>, u64) {
        self.pos = pos;
        self.touched.clear();
        self.gone.clear();
        self.index_sessions(rules);
        let (codes, keys) = self.session_keys(times.len(), columns, bounds);
        let mut order: Vec<usize> = (0..times.len()).collect();
        order.sort_by_key(|row| (codes[*row], times[*row]));
        let mut overflowed = 0;
        let mut slots = vec![0; times.len()];
        let together = |a: &usize, b: &usize| codes[*a] == codes[*b] && times[*b] - times[*a] < rules.gap;
        for run in order.chunk_by(together) {
            let (first, last) = (times[run[0]], times[run[run.len() - 1]]);
            let key = &keys[codes[run[0]] as usize];
            let slot = self.session(key, (first, last), rules, bounds);
            run.iter().for_each(|row| slots[*row] = slot);
            self.touch(slot);
            self.heads[slot as usize].rows += run.len() as u64;
            if self.is_overflow(slot) {
                overflowed += run.len() as u64;
            }
        }
        for (from, to) in std::mem::take(&mut self.sessions.retired) {
            // in the order in which they became one: chains are followed to their end
            slots
                .iter_mut()
                .filter(|slot| **slot == from)
                .for_each(|slot| *slot = to);
            self.free.push(from);
        }
        (slots, overflowed)
    }

    /// The session of a key that holds a time: its start and its end.
    pub(in super::super) fn session_at(
        &self,
        time: Millis,
        key: &[Scalar],
        rules: SessionRules,
    ) -> Option<(Option<Millis>, Option<Millis>)> {
        let ids = self.interners.iter().zip(key);
        let ids: Vec<u32> = ids
            .map(|(interner, value)| interner.find(KeyRef::Scalar(value)))
            .collect::<Option<_>>()?;
        let windows = self.panes.range(..=time).rev();
        let mut slots = windows.flat_map(|(_, pane)| &pane.slots);
        // the newest session of the key that began until then is the only one that may hold it
        let slot = *slots.find(|slot| self.key_ids(**slot) == ids)?;
        let Scalar::Time(last) = self.cells[rules.last].value(slot) else {
            return None;
        };
        (time <= last).then_some((Some(self.window(slot)), Some(last + rules.gap)))
    }

    /// First and last event of each session of the overflow.
    pub(in super::super) fn overflow_sessions(&self, rules: SessionRules) -> Vec<(Millis, Millis)> {
        let slots = self.panes.values().flat_map(|pane| &pane.slots);
        let overflow = slots.filter(|slot| self.is_overflow(**slot));
        let span = |slot: &u32| match self.cells[rules.last].value(*slot) {
            Scalar::Time(last) => Some((self.window(*slot), last)),
            _ => None,
        };
        overflow.filter_map(span).collect()
    }

    /// Finds the sessions again after a start.
    fn index_sessions(&mut self, rules: SessionRules) {
        if std::mem::replace(&mut self.sessions.indexed, true) {
            return;
        }
        // the bound on groups is far below 2^32
        for slot in 1..self.heads.len() as u32 {
            let start = self.heads[slot as usize].window;
            let Scalar::Time(last) = self.cells[rules.last].value(slot) else {
                continue;
            };
            let key = self.key_ids(slot).to_vec();
            let sessions = self.sessions.by_key.entry(key).or_default();
            sessions.insert(start, Session { slot, last });
        }
    }

    /// Each row's key as a number, and the keys; that of the overflow group where there is no room for a new key.
    fn session_keys(
        &mut self,
        rows: usize,
        columns: &[KeyCodes],
        bounds: &Bounds,
    ) -> (Vec<u32>, Vec<Vec<u32>>) {
        let mut numbers: HashMap<Vec<u32>, u32> = HashMap::new();
        let mut keys: Vec<Vec<u32>> = Vec::new();
        let codes = (0..rows)
            .map(|row| {
                let key = self.session_key(row, columns, bounds);
                let key = key.unwrap_or_else(|| vec![OVERFLOW_ID; columns.len()]);
                *numbers.entry(key).or_insert_with_key(|key| {
                    keys.push(key.clone());
                    // a batch has fewer rows than 2^32
                    (keys.len() - 1) as u32
                })
            })
            .collect();
        (codes, keys)
    }

    fn session_key(&mut self, row: usize, columns: &[KeyCodes], bounds: &Bounds) -> Option<Vec<u32>> {
        let mut key = Vec::with_capacity(columns.len());
        for (at, column) in columns.iter().enumerate() {
            let value = column.value(column.codes[row]);
            if let Some(id) = self.interners[at].find(value) {
                key.push(id);
                continue;
            }
            let kept: usize = self.interners.iter().map(Interner::heap).sum();
            if self.session_count() >= bounds.groups || (kept + value.heap_bytes()) as u64 > bounds.key_bytes
            {
                return None;
            }
            key.push(self.interners[at].insert(value.to_scalar()));
        }
        Some(key)
    }

    /// Sessions, without those of the overflow group.
    fn session_count(&self) -> u64 {
        let overflow = vec![OVERFLOW_ID; self.interners.len()];
        let overflowed = self
            .sessions
            .by_key
            .get(&overflow)
            .filter(|_| !overflow.is_empty());
        self.len() - overflowed.map_or(0, |sessions| sessions.len() as u64)
    }

    /// The session that a run of events goes into: a new one, or what the sessions within the gap become. Without
    /// room for a new one it is a session of the overflow group.
    fn session(
        &mut self,
        key: &[u32],
        (first, last): (Millis, Millis),
        rules: SessionRules,
        bounds: &Bounds,
    ) -> u32 {
        let full = self.session_count() >= bounds.groups;
        let mut sessions = self.sessions.by_key.remove(key).unwrap_or_default();
        let near: Vec<(Millis, Session)> = sessions
            .range(..last.saturating_add(rules.gap))
            .rev()
            .take_while(|(_, session)| session.last.saturating_add(rules.gap) > first)
            .map(|(start, session)| (*start, *session))
            .collect();
        let full = full && key.first().is_some_and(|id| *id != OVERFLOW_ID);
        let slot = match near.split_last() {
            None if full => {
                let overflow = vec![OVERFLOW_ID; key.len()];
                if !sessions.is_empty() {
                    self.sessions.by_key.insert(key.to_vec(), sessions);
                }
                return self.session(&overflow, (first, last), rules, bounds);
            }
            None => {
                let slot = self.open_session(first, key);
                sessions.insert(first, Session { slot, last });
                slot
            }
            Some(((start, oldest), later)) => {
                let mut end = last.max(oldest.last);
                for (start, session) in later.iter().rev() {
                    end = end.max(session.last);
                    self.end_session(session.slot, session.last + rules.gap);
                    self.merge_within(oldest.slot, session.slot);
                    self.touched.retain(|touched| *touched != session.slot);
                    self.remove(session.slot);
                    // it was freed just now
                    self.free.pop();
                    self.sessions.retired.push((session.slot, oldest.slot));
                    sessions.remove(start);
                }
                if first < *start {
                    self.end_session(oldest.slot, oldest.last + rules.gap);
                    self.rename(oldest.slot, first);
                }
                sessions.remove(start);
                let session = Session {
                    slot: oldest.slot,
                    last: end,
                };
                sessions.insert(first.min(*start), session);
                oldest.slot
            }
        };
        self.sessions.by_key.insert(key.to_vec(), sessions);
        slot
    }

    fn open_session(&mut self, start: Millis, key: &[u32]) -> u32 {
        let slot = self.make(start, key);
        self.join_window(start, slot);
        slot
    }

    /// Notes that a row with this name is no more.
    fn end_session(&mut self, slot: u32, window_end: Millis) {
        self.gone.push(GoneRow {
            window_start: self.window(slot),
            window_end,
            key: self.keys(slot),
        });
    }

    fn merge_within(&mut self, slot: u32, other: u32) {
        // a snapshot that is being taken may need it as it is
        self.note(slot);
        let merged = self.heads[other as usize];
        let head = &mut self.heads[slot as usize];
        head.rows += merged.rows;
        head.revision = head.revision.saturating_add(merged.revision);
        self.cells
            .iter_mut()
            .for_each(|cells| cells.merge_within(slot, other));
    }
}
