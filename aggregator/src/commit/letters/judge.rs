//! Takes requests into the open group: looks where the letters stand on disk, and lets [`Settling`] decide.

use arrow_array::BooleanArray;
use arrow_select::filter::filter_record_batch;
use rusqlite::{Connection, OptionalExtension};
use tributary_shared::ids::{LaneNo, Seq};
use tributary_shared::wire::WireError;
use tributary_shared::wire::frame::checksum;

use super::super::body::BodyFacts;
use super::super::columns::{decode_valid, encode};
use super::super::group::Group;
use super::super::lane::LaneBook;
use super::super::messages::{CommitError, LogPos};
use super::messages::{
    DiscardRequest, LetterState, PreparedReplay, ReplayHeader, ReplayRequest, SettleAnswer,
};
use super::read::state;
use super::settle::{Discard, Replay};

impl ReplayRequest {
    /// Checks that the columns are those of the letters, and decodes them. Costs CPU: run it outside the commit thread.
    ///
    /// # Errors
    /// [`CommitError::Wire`] when they are not.
    pub fn prepare(self) -> Result<PreparedReplay, CommitError> {
        let Self {
            lane,
            key,
            letters,
            columns,
            schema,
            act,
        } = self;
        let rows = u32::try_from(letters.len()).unwrap_or(u32::MAX);
        let ascending = letters.is_sorted_by(|a, b| a.1 < b.1);
        let records = decode_valid(&columns, rows)?.filter(|_| ascending);
        let records = records.ok_or_else(|| {
            WireError::Inconsistent("a replay has no rows, or its seqs do not rise".to_owned())
        })?;
        let facts = BodyFacts::of(Some(&records), &columns, []);
        let (ids, seqs) = letters.into_iter().unzip();
        let header = ReplayHeader {
            lane,
            seqs,
            schema,
            body_crc: checksum(&columns),
            by: act.by,
            fix: act.fix,
        };
        Ok(PreparedReplay {
            key,
            header,
            ids,
            columns,
            records,
            facts,
        })
    }
}

impl PreparedReplay {
    /// Keeps the rows that are marked. `None` when there are none.
    fn keep(mut self, kept: &[bool]) -> Result<Option<Self>, WireError> {
        if kept.iter().all(|kept| *kept) {
            return Ok(Some(self));
        }
        if !kept.contains(&true) {
            return Ok(None);
        }
        let mask = BooleanArray::from(kept.to_vec());
        self.records = filter_record_batch(&self.records, &mask).map_err(|error| WireError::Encode {
            what: "columns",
            reason: error.to_string(),
        })?;
        self.columns = encode(&self.records)?;
        let mut marks = kept.iter();
        self.ids.retain(|_| marks.next().copied().unwrap_or(false));
        let mut marks = kept.iter();
        self.header
            .seqs
            .retain(|_| marks.next().copied().unwrap_or(false));
        self.header.body_crc = checksum(&self.columns);
        self.facts = BodyFacts::of(Some(&self.records), &self.columns, []);
        Ok(Some(self))
    }
}

/// Where a letter lies and stands.
fn look(db: &Connection, id: i64) -> Result<Option<(LaneNo, Seq, LetterState)>, CommitError> {
    let mut select = db.prepare_cached("SELECT lane, seq, state FROM dead_letters WHERE id = ?1")?;
    let found: Option<(u32, Seq, i64)> = select
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let place = |(lane, seq, tag)| Ok((LaneNo(lane), seq, state(id, tag)?));
    found.map(place).transpose()
}

/// Takes the open ones of a replay's letters into the group, as the entry at `pos`, and moves the lane's counts. The
/// entry has a position only if any letter is open: then the answer's `settled` is not 0.
///
/// # Errors
/// When the letters cannot be read, or the rows that stay cannot be encoded.
pub fn judge_replay(
    db: &Connection,
    book: &mut LaneBook,
    group: &mut Group,
    batch: Box<PreparedReplay>,
    pos: LogPos,
) -> Result<SettleAnswer, CommitError> {
    let lane = batch.header.lane;
    let mut letters = Vec::with_capacity(batch.ids.len());
    for (id, seq) in batch.ids.iter().zip(&batch.header.seqs) {
        // an id that is at another place now is not the letter that was judged
        let here = look(db, *id)?.filter(|(at, of, _)| (*at, of) == (lane, seq));
        letters.push((*id, here.map(|(_, _, state)| state)));
    }
    let (taken, answer) = group.settling.take(letters, LetterState::Replayed);
    let ids: Vec<i64> = batch
        .ids
        .iter()
        .zip(&taken)
        .filter(|(_, taken)| **taken)
        .map(|(id, _)| *id)
        .collect();
    let kept = batch.keep(&taken).inspect_err(|_| group.settling.release(&ids))?;
    if let Some(batch) = kept {
        book.set(lane, book.counts(lane).revived(answer.settled));
        let batch = Box::new(batch);
        group.replays.push(Replay { pos, batch });
    }
    Ok(answer)
}

/// Takes the open ones of these letters into the group.
///
/// # Errors
/// When the letters cannot be read.
pub fn judge_discard(
    db: &Connection,
    group: &mut Group,
    request: DiscardRequest,
) -> Result<SettleAnswer, CommitError> {
    let DiscardRequest { ids, by, reason } = request;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        found.push((id, look(db, id)?));
    }
    let states = found
        .iter()
        .map(|(id, place)| (*id, place.map(|(_, _, state)| state)));
    let (taken, answer) = group.settling.take(states, LetterState::Discarded);
    let places = found.iter().zip(taken).filter(|(_, taken)| *taken);
    let letters: Vec<(i64, LaneNo, Seq)> = places
        .filter_map(|((id, place), _)| place.map(|(lane, seq, _)| (*id, lane, seq)))
        .collect();
    if !letters.is_empty() {
        group.discards.push(Discard { letters, by, reason });
    }
    Ok(answer)
}
