//! Folds log entries once more, and notes which events fall into the rows. Pure.

use hashbrown::HashMap;
use tributary_shared::ids::Seq;
use tributary_shared::time::Millis;

use super::super::codec::{KEY_FORMAT, OVERFLOW_KEY};
use super::super::keys::KeyCodes;
use super::super::panes::RUNNING;
use super::super::sift::{self, Admitted, admit_numbered, keep, key_codes};
use super::basis::Basis;
use super::messages::Asked;
use super::tally::Tally;
use crate::commit::Committed;
use crate::view::{Evaluator, Frame, WindowKind};

/// What was found so far.
#[derive(Debug, Default)]
pub struct Recount {
    /// The newest event, where that decides what was too late.
    pub(super) newest: Option<Millis>,
    pub(in super::super) sure: Tally,
    /// Events that may be in the rows, or may not.
    pub(in super::super) unsure: Tally,
}

/// A row of an entry that may be in one of the rows.
struct Candidate {
    row: usize,
    time: Millis,
    key: Vec<u8>,
    /// Whether it was too late cannot be told.
    perhaps_late: bool,
}

/// What a candidate turned out to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Counts,
    Perhaps,
    IsElsewhere,
}

impl Recount {
    /// Goes on where a page ended.
    #[must_use]
    pub fn behind(newest: Option<Millis>) -> Self {
        Self {
            newest,
            ..Self::default()
        }
    }

    /// Events that were found.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.sure.events
    }

    /// Takes the next entry, in log order. `owned` says which of these groups there are.
    ///
    /// # Errors
    /// Those of `owned`.
    pub fn entry<E>(
        &mut self,
        basis: &Basis,
        entry: &Committed,
        owned: &mut impl FnMut(Vec<Asked>) -> Result<Vec<bool>, E>,
    ) -> Result<(), E> {
        let candidates = self.candidates(basis, entry);
        if candidates.is_empty() {
            return Ok(());
        }
        let verdicts = verdicts(basis, &candidates, owned)?;
        let seqs = entry.header.valid_seqs();
        let (mut sure, mut unsure): (Vec<Seq>, Vec<Seq>) = (Vec::new(), Vec::new());
        for (candidate, verdict) in candidates.iter().zip(verdicts) {
            // the log checks on reading that there are as many rows as seqs
            let Some(seq) = seqs.get(candidate.row) else {
                continue;
            };
            match verdict {
                Verdict::IsElsewhere => {}
                Verdict::Counts if !candidate.perhaps_late => sure.push(*seq),
                Verdict::Counts | Verdict::Perhaps => unsure.push(*seq),
            }
        }
        self.sure.add(entry, &sure);
        self.unsure.add(entry, &unsure);
        Ok(())
    }

    /// The rows of an entry that counted in the view, at times at which the wanted rows are.
    fn candidates(&mut self, basis: &Basis, entry: &Committed) -> Vec<Candidate> {
        let Some(records) = entry.records.as_ref().filter(|_| entry.pos <= basis.position) else {
            return Vec::new();
        };
        let plan = &basis.plan;
        let frame = Frame::bind(plan, records);
        let evaluator = Evaluator::new(frame.mode);
        let (Admitted { frame, times, .. }, mut rows) = admit_numbered(plan, frame, &evaluator);
        let horizon = sift::horizon(self.newest, basis.retention);
        if basis.judges_late() {
            let newest = sift::newest_believed(&times, entry.committed_at, basis.future_tolerance);
            self.newest = self.newest.max(newest);
        }
        let windowed = plan.window != WindowKind::None;
        let wanted = |time: &Millis| {
            !windowed || (*time >= horizon && (basis.targets.from..basis.targets.to).contains(time))
        };
        let mask = times.values().iter().map(|time| Some(wanted(time))).collect();
        let frame = keep(frame, &mask, Some(&mut rows));
        if frame.rows == 0 {
            return Vec::new();
        }
        let (times, columns) = (frame.times(), key_codes(plan, &frame, &evaluator));
        let candidate = |(at, row): (usize, usize)| {
            let time = times.value(at);
            Candidate {
                row,
                time: if windowed { time } else { RUNNING },
                key: encoded(&columns, at),
                perhaps_late: windowed && basis.late_is_lost && time < basis.horizon,
            }
        };
        rows.into_iter().enumerate().map(candidate).collect()
    }

    /// Takes the events that could not be told for events of the rows.
    pub(super) fn trust_all(&mut self) {
        self.sure.merge(std::mem::take(&mut self.unsure));
    }
}

/// A row's key as it is stored.
pub(in super::super) fn encoded(columns: &[KeyCodes], row: usize) -> Vec<u8> {
    let mut key = vec![KEY_FORMAT];
    for column in columns {
        column.value(column.codes[row]).encode(&mut key);
    }
    key
}

fn verdicts<E>(
    basis: &Basis,
    candidates: &[Candidate],
    owned: &mut impl FnMut(Vec<Asked>) -> Result<Vec<bool>, E>,
) -> Result<Vec<Verdict>, E> {
    let targets = &basis.targets;
    let sure = |counts: bool| {
        if counts {
            Verdict::Counts
        } else {
            Verdict::IsElsewhere
        }
    };
    let own = |candidate: &Candidate| targets.hold(&candidate.key, candidate.time);
    if !basis.overflowed || basis.plan.keys.is_empty() {
        return Ok(candidates.iter().map(|candidate| sure(own(candidate))).collect());
    }
    let overflow = |candidate: &Candidate| targets.hold(&OVERFLOW_KEY, candidate.time);
    let concerned = |candidate: &&Candidate| own(candidate) || overflow(candidate);
    let name = |candidate: &Candidate| (basis.group_time(candidate.time), candidate.key.clone());
    let mut asked: Vec<Asked> = candidates.iter().filter(concerned).map(name).collect();
    asked.sort_unstable();
    asked.dedup();
    let known: HashMap<Asked, bool> = asked.clone().into_iter().zip(owned(asked)?).collect();
    let verdict = |candidate: &Candidate| {
        let has_group = known.get(&name(candidate)).copied().unwrap_or(false);
        match (own(candidate), overflow(candidate)) {
            (false, false) => Verdict::IsElsewhere,
            // who has a group in a window has had it from the first event on, and who has none got none
            (own, overflow) if !basis.is_of_sessions() => sure(if has_group { own } else { overflow }),
            // it is in one of the two
            (true, true) => Verdict::Counts,
            (true, false) if !basis.in_overflow_session(candidate.time) => Verdict::Counts,
            (false, true) if !has_group => Verdict::Counts,
            (true, false) | (false, true) => Verdict::Perhaps,
        }
    };
    Ok(candidates.iter().map(verdict).collect())
}
