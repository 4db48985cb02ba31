//! Which schema wrote which rows of a batch.

use arrow_array::Int32Array;
use tributary_shared::wire::{SchemaRef, SchemaUse};

/// Counts rows by writer. Rows of one writer follow each other nearly always, so runs are kept, not rows.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The writer of each run of valid rows, and its length.
    runs: Vec<(Option<SchemaRef>, u32)>,
    /// A row more for each rejected one.
    rejected: Vec<(Option<SchemaRef>, u32)>,
}

fn count(runs: &mut Vec<(Option<SchemaRef>, u32)>, writer: Option<SchemaRef>) {
    match runs.last_mut() {
        Some((last, rows)) if *last == writer => *rows += 1,
        _ => runs.push((writer, 1)),
    }
}

impl Tally {
    #[inline]
    pub(super) fn add(&mut self, writer: Option<SchemaRef>, valid: bool) {
        count(if valid { &mut self.runs } else { &mut self.rejected }, writer);
    }

    /// The writer of each run of valid rows, and its length.
    pub(super) fn runs(&self) -> &[(Option<SchemaRef>, u32)] {
        &self.runs
    }

    /// Valid rows, ascending, that turned out to break a rule of their writer.
    pub(super) fn reject(&mut self, rows: impl Iterator<Item = usize>) {
        let (mut at, mut end) = (0, self.runs.first().map_or(0, |run| run.1 as usize));
        let mut gone = vec![0u32; self.runs.len()];
        for row in rows {
            while row >= end && at + 1 < self.runs.len() {
                at += 1;
                end += self.runs[at].1 as usize;
            }
            gone[at] += 1;
        }
        for (run, gone) in self.runs.iter_mut().zip(gone).filter(|(_, gone)| *gone > 0) {
            run.1 -= gone;
            self.rejected.push((run.0, gone));
        }
    }

    /// The id of each valid row's schema, when they differ.
    pub(super) fn ids(&self) -> Option<Int32Array> {
        if self.runs.len() < 2 {
            return None;
        }
        let id = |writer: Option<SchemaRef>| writer.and_then(|writer| i32::try_from(writer.id).ok());
        let runs = self.runs.iter();
        Some(
            runs.flat_map(|(writer, rows)| std::iter::repeat_n(id(*writer), *rows as usize))
                .collect(),
        )
    }

    /// What each writer wrote, ascending by id. Rows whose writer is not known are left out.
    pub(super) fn usage(&self) -> Vec<SchemaUse> {
        let mut usage: Vec<SchemaUse> = Vec::new();
        let runs = self.runs.iter().map(|run| (run, 0));
        for ((writer, rows), rejected) in runs.chain(self.rejected.iter().map(|run| (run, 1))) {
            let Some(schema) = *writer else { continue };
            match usage.iter_mut().find(|known| known.schema == schema) {
                Some(known) => {
                    known.rows += rows;
                    known.rejected += rejected * rows;
                }
                None => usage.push(SchemaUse {
                    schema,
                    rows: *rows,
                    rejected: rejected * rows,
                }),
            }
        }
        usage.sort_by_key(|known| known.schema.id);
        usage
    }
}
