//! `approx_top_k(x, k)`.

use hashbrown::HashTable;
use serde::Serialize;

use super::super::codec::{Reader, put_u64};
use super::super::messages::StateError;
use super::fold::Fold;
use super::kept::Kept;
use super::slots::{Cell, Slots};
use crate::view::{Scalar, TOP_COUNTERS};

/// A counter for each value, as long as there are at most [`TOP_COUNTERS`] values. With one more, all counters are
/// lowered by as much as leaves half of them, and those at nothing go (Misra and Gries, in bulk). What a counter lost
/// by then is at most `lowered`, and that at most the number of rows divided by half the counters. A pure function of
/// the counts: in which order a table holds them changes nothing.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct TopCell(Option<Box<Counters>>);

#[derive(Debug, Clone, Default)]
struct Counters {
    table: HashTable<Counter>,
    lowered: u64,
    /// Heap bytes of the values.
    texts: usize,
}

#[derive(Debug, Clone)]
struct Counter {
    print: u128,
    count: u64,
    value: Kept,
}

/// One entry of the result.
#[derive(Serialize)]
struct Entry {
    value: Scalar,
    count: u64,
}

/// The table's hash of a value is a part of its fingerprint.
fn hash(print: u128) -> u64 {
    print as u64
}

impl Counters {
    fn add(&mut self, print: u128, count: u64, value: impl FnOnce() -> Kept) {
        if let Some(counter) = self.table.find_mut(hash(print), |counter| counter.print == print) {
            counter.count += count;
            return;
        }
        let value = value();
        self.texts += value.heap_bytes();
        let counter = Counter { print, count, value };
        self.table
            .insert_unique(hash(print), counter, |counter| hash(counter.print));
    }

    fn lower(&mut self) {
        if self.table.len() <= TOP_COUNTERS {
            return;
        }
        let mut counts: Vec<u64> = self.table.iter().map(|counter| counter.count).collect();
        let (_, by, _) = counts.select_nth_unstable_by(TOP_COUNTERS / 2, |a, b| b.cmp(a));
        let by = *by;
        self.lowered += by;
        self.table.retain(|counter| {
            counter.count = counter.count.saturating_sub(by);
            counter.count > 0
        });
        self.texts = self.table.iter().map(|counter| counter.value.heap_bytes()).sum();
    }
}

impl TopCell {
    fn counters(&mut self) -> &mut Counters {
        self.0.get_or_insert_default()
    }

    pub(super) fn is_approximate(&self) -> bool {
        self.0.as_ref().is_some_and(|counters| counters.lowered > 0)
    }

    /// The most frequent values, as JSON text; NULL of none. Values of equal counts stand in their own order.
    pub(super) fn value(&self, k: usize) -> Scalar {
        let Some(counters) = &self.0 else {
            return Scalar::Null;
        };
        let entry = |counter: &Counter| Entry {
            value: counter.value.scalar(),
            count: counter.count,
        };
        let mut entries: Vec<Entry> = counters.table.iter().map(entry).collect();
        entries.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.total_cmp(&b.value)));
        entries.truncate(k);
        // finite numbers, texts, booleans and times are all JSON
        serde_json::to_string(&entries).map_or(Scalar::Null, |text| Scalar::from(text.as_str()))
    }
}

impl Cell for TopCell {
    fn merge(&mut self, other: &Self) {
        let Some(other) = &other.0 else { return };
        let counters = self.counters();
        counters.lowered += other.lowered;
        for counter in &other.table {
            counters.add(counter.print, counter.count, || counter.value.clone());
        }
        counters.lower();
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let Some(counters) = &self.0 else {
            put_u64(out, 0);
            return put_u64(out, 0);
        };
        put_u64(out, counters.lowered);
        put_u64(out, counters.table.len() as u64);
        let mut sorted: Vec<&Counter> = counters.table.iter().collect();
        sorted.sort_unstable_by_key(|counter| counter.print);
        for counter in sorted {
            out.extend_from_slice(&counter.print.to_le_bytes());
            put_u64(out, counter.count);
            counter.value.encode(out);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let mut counters = Counters {
            lowered: reader.u64()?,
            ..Counters::default()
        };
        let len = reader.len(TOP_COUNTERS)?;
        if len == 0 && counters.lowered == 0 {
            return Ok(Self(None));
        }
        for _ in 0..len {
            let (print, count, value) = (reader.u128()?, reader.u64()?, Kept::decode(reader)?);
            counters.add(print, count, || value);
        }
        Ok(Self(Some(Box::new(counters))))
    }

    fn heap_bytes(&self) -> usize {
        let bytes =
            |counters: &Counters| size_of::<Counters>() + counters.table.allocation_size() + counters.texts;
        self.0.as_deref().map_or(0, bytes)
    }
}

impl Slots<TopCell> {
    pub(super) fn update(&mut self, fold: &Fold<'_>) {
        fold.fingerprints(|row, print| {
            self.change(fold.slots[row], |cell| {
                let counters = cell.counters();
                counters.add(print, 1, || Kept::from(&fold.values.scalar(row).normalised()));
                counters.lower();
            });
        });
    }
}
