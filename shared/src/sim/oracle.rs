//! What was promised, and whether it holds: knows every event that was ever handed to an agent.

use std::collections::HashMap;
use std::sync::Arc;

use super::spool::{Content, Row};
use crate::ids::{Epoch, Seq, SeqRange};
use crate::protocol::FORGOTTEN;

/// Numbers the events of a run.
pub(super) type EventNo = u32;
/// Agent (its identity, not its process), stream, epoch.
pub(super) type Key = (usize, u32, Epoch);

#[derive(Debug, Clone, Copy)]
struct Event {
    agent: usize,
    stream: u32,
    /// The newest identity that it was given, as the number of a key and a seq.
    at: (u32, Seq),
    /// Its producer was told so.
    accepted: bool,
    counted: u8,
    /// Named in a line of the ledger.
    ledgered: bool,
    /// A restored aggregator forgot it: it is sent again, or the ledger will name its seq.
    forgotten: bool,
    /// Its only copy was destroyed by what no program can undo.
    lost_ok: bool,
}

/// A promise that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// As the design names it.
    pub promise: &'static str,
    pub step: u64,
    pub detail: String,
}

#[derive(Debug, Default)]
pub(super) struct Oracle {
    pub step: u64,
    pub broken: Option<Broken>,
    events: Vec<Event>,
    keys: HashMap<Key, u32>,
    /// The highest durable mark that each lane ever had.
    marks: HashMap<Key, Seq>,
    /// How many events the log counts, and the sum of their numbers: what the views must show.
    pub total: (u64, u64),
}

impl Oracle {
    pub fn broke(&mut self, promise: &'static str, detail: String) {
        let step = self.step;
        self.broken.get_or_insert(Broken {
            promise,
            step,
            detail,
        });
    }

    pub fn require(&mut self, holds: bool, promise: &'static str, detail: impl FnOnce() -> String) {
        if !holds {
            self.broke(promise, detail());
        }
    }

    pub fn require_ok(&mut self, holds: Result<(), String>, promise: &'static str) {
        if let Err(detail) = holds {
            self.broke(promise, detail);
        }
    }

    fn key_no(&mut self, key: Key) -> u32 {
        let next = self.keys.len() as u32;
        *self.keys.entry(key).or_insert(next)
    }

    /// A producer hands over an event.
    pub fn produce(&mut self, agent: usize, stream: u32) -> EventNo {
        self.events.push(Event {
            agent,
            stream,
            at: (u32::MAX, 0),
            accepted: false,
            counted: 0,
            ledgered: false,
            forgotten: false,
            lost_ok: false,
        });
        self.events.len() as EventNo - 1
    }

    pub fn produced(&self) -> u64 {
        self.events.len() as u64
    }

    /// Events got their seqs.
    pub fn identified(&mut self, agent: usize, row: &Row, first: Seq, events: &[EventNo]) {
        let key = self.key_no((agent, row.stream, row.epoch));
        for (no, seq) in events.iter().zip(first..) {
            let event = &mut self.events[*no as usize];
            event.at = (key, seq);
        }
    }

    pub fn accepted(&mut self, events: impl Iterator<Item = EventNo>) {
        events.for_each(|no| self.events[no as usize].accepted = true);
    }

    /// A batch is durable in the log. `never-twice`, `none-invented`.
    pub fn committed(&mut self, key: Key, range: SeqRange, content: &Content) {
        let mark = self.marks.entry(key).or_default();
        *mark = (*mark).max(range.last);
        match content {
            Content::Rows(events) => events.iter().for_each(|no| self.count(key, *no)),
            Content::Dropped(reason, events) => {
                for no in events.iter() {
                    self.events[*no as usize].ledgered = true;
                }
                if *reason == FORGOTTEN {
                    let key = self.key_no(key);
                    let named = |event: &&mut Event| event.at.0 == key && range.contains(event.at.1);
                    for event in self.events.iter_mut().filter(named) {
                        event.ledgered |= event.forgotten;
                    }
                }
            }
        }
    }

    fn count(&mut self, key: Key, no: EventNo) {
        let Some(event) = self.events.get_mut(no as usize) else {
            return self.broke("none-invented", format!("event {no} was never produced"));
        };
        event.counted = event.counted.saturating_add(1);
        let event = *event;
        self.total = (self.total.0 + 1, self.total.1 + u64::from(no));
        self.require(
            (event.agent, event.stream) == (key.0, key.1),
            "none-invented",
            || format!("event {no} of another lane is counted in {key:?}"),
        );
        self.require(event.counted == 1, "never-twice", || {
            format!("event {no} is counted {} times, now in {key:?}", event.counted)
        });
    }

    /// Events that a restored aggregator forgot, and whose seqs it has given to others: they are reported elsewhere.
    pub fn taken(
        &mut self,
        (agent, stream): (usize, u32),
        epoch: Epoch,
        from: Seq,
        count: u64,
    ) -> Arc<[EventNo]> {
        let key = self.key_no((agent, stream, epoch));
        let events = self.events.iter().enumerate();
        let taken = |event: &Event| {
            let (of, seq) = event.at;
            of == key && (from..from + count).contains(&seq) && event.forgotten && event.counted == 0
        };
        let found = events.filter(|(_, event)| taken(event));
        found.map(|(no, _)| no as EventNo).collect()
    }

    /// The agent deletes what it believes to be committed. `ack-after-fsync`.
    pub fn believed(&mut self, key: Key, mark: Seq) {
        let durable = self.marks.get(&key).copied().unwrap_or(0);
        self.require(mark <= durable, "ack-after-fsync", || {
            format!("{key:?} deletes up to {mark}, durable is {durable}")
        });
    }

    /// The aggregator begins anew with an older log; its batches are committed again, one by one. What is missing
    /// then is forgotten, and where it was is kept in mind.
    pub fn restored(&mut self, newer: impl Iterator<Item = (Key, SeqRange, Content)>) {
        self.total = (0, 0);
        for event in &mut self.events {
            event.counted = 0;
            event.ledgered = false;
        }
        for (key, range, content) in newer {
            let key = self.key_no(key);
            for (no, seq) in content.events().iter().zip(range.first..) {
                let event = &mut self.events[*no as usize];
                event.at = (key, seq);
                event.forgotten = true;
            }
        }
    }

    /// Accepted events that are nowhere: not counted, in no line of the ledger, in no spool.
    fn missing<'a>(&self, held: impl Iterator<Item = &'a Content>) -> Vec<EventNo> {
        let mut found = vec![false; self.events.len()];
        for no in held.flat_map(Content::events) {
            found[*no as usize] = true;
        }
        let nowhere = |no: &usize| {
            let event = &self.events[*no];
            event.accepted && event.counted == 0 && !event.ledgered && !found[*no]
        };
        (0..self.events.len())
            .filter(nowhere)
            .map(|no| no as EventNo)
            .collect()
    }

    /// `conservation`: every accepted event is counted, in the ledger, or held.
    pub fn check_conservation<'a>(&mut self, held: impl Iterator<Item = &'a Content>, at_the_end: bool) {
        let unexplained = self.missing(held).into_iter().find(|no| {
            let event = &self.events[*no as usize];
            !event.lost_ok && (at_the_end || !event.forgotten)
        });
        if let Some(no) = unexplained {
            let event = self.events[no as usize];
            self.broke(
                "conservation",
                format!("event {no} was accepted and is nowhere: {event:?}"),
            );
        }
    }

    /// An agent's disk was replaced: what was only there is lost, and no program can help it.
    pub fn excuse_missing<'a>(&mut self, held: impl Iterator<Item = &'a Content>) {
        for no in self.missing(held) {
            self.events[no as usize].lost_ok = true;
        }
    }
}
