//! Checks a batch before it may enter a transaction, and trims what is committed already. Pure.
//!
//! After [`prepare`] nothing about a batch can be wrong except its place in the lane: a transaction never
//! fails because of what a gateway sent.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use bytes::Bytes;
use tributary_schema::decode::writer_id;
use tributary_shared::ids::{Seq, SeqRange};
use tributary_shared::wire::batch::SCHEMA_ID_COLUMN;
use tributary_shared::wire::frame::{checksum, decode};
use tributary_shared::wire::history::MAX_WRITER;
use tributary_shared::wire::{
    BatchContent, CommitHeader, DeadLetter, MAX_BATCH_ROWS, SegmentOrigin, WireError,
};

use super::body::BodyFacts;
use super::columns::{decode_valid, encode};
use super::messages::{CommitRequest, Prepared};

/// SQLite's integers are signed.
const MAX_SEQ: Seq = i64::MAX as u64;
/// A reason is a word, not a text.
const MAX_DROP_REASON: usize = 64;

fn broken(message: impl Into<String>) -> WireError {
    WireError::Inconsistent(message.into())
}

/// Verifies checksum, sizes, counts and contents, and decodes the columns: the only time that happens. Costs
/// CPU (about 0.1 µs a row): run it outside the commit thread.
///
/// # Errors
/// [`WireError`] saying what does not add up. The batch is to be refused as malformed.
pub fn prepare(request: CommitRequest) -> Result<Prepared, WireError> {
    let CommitRequest {
        key,
        mut header,
        body,
    } = request;
    check_range(&header)?;
    if body.len() != header.body_len() {
        let (len, declared) = (body.len(), header.body_len());
        return Err(broken(format!(
            "the header declares a body of {declared} bytes, it has {len}"
        )));
    }
    let actual = checksum(&body);
    if actual != header.body_crc {
        return Err(WireError::Checksum {
            expected: header.body_crc,
            actual,
        });
    }
    if let BatchContent::Dropped { reason } = &header.content {
        check_dropped(&header, reason)?;
        header.body_crc = checksum(&[]);
        return Ok(Prepared {
            key,
            header,
            columns: Bytes::new(),
            records: None,
            dead: Vec::new(),
            facts: BodyFacts::of(None, &[], []),
        });
    }
    check_dead_seqs(&header)?;
    let mut columns = body.slice(..header.columns_len as usize);
    let dead = decode_dead(&header, &body[header.columns_len as usize..])?;
    let records = decode_valid(&columns, header.valid())?;
    if records.is_none() {
        columns = Bytes::new();
    }
    // from here on the header describes what the log stores: the columns alone
    header.body_crc = if columns.len() == body.len() {
        actual
    } else {
        checksum(&columns)
    };
    header.columns_len = length(&columns)?;
    header.dead_len = 0;
    let facts = facts(records.as_ref(), &columns, &dead);
    Ok(Prepared {
        key,
        header,
        columns,
        records,
        dead,
        facts,
    })
}

fn facts(records: Option<&RecordBatch>, columns: &[u8], dead: &[DeadLetter]) -> BodyFacts {
    BodyFacts::of(
        records,
        columns,
        dead.iter().map(|letter| letter.payload.as_slice()),
    )
}

fn length(columns: &Bytes) -> Result<u32, WireError> {
    let limit = u32::MAX as usize;
    u32::try_from(columns.len()).map_err(|_| WireError::TooLarge {
        what: "columns",
        len: columns.len(),
        limit,
    })
}

fn check_range(header: &CommitHeader) -> Result<(), WireError> {
    let last = header
        .first_seq
        .checked_add(u64::from(header.count))
        .map(|end| end.saturating_sub(1));
    if header.writer.max(header.after_writer) > MAX_WRITER {
        return Err(broken("a writer's number is beyond 63 bits"));
    }
    if header.first_seq == 0 || header.count == 0 || last.is_none_or(|last| last > MAX_SEQ) {
        let (first, count) = (header.first_seq, header.count);
        return Err(broken(format!(
            "{count} events from seq {first} are not a range of seqs"
        )));
    }
    Ok(())
}

fn check_dropped(header: &CommitHeader, reason: &str) -> Result<(), WireError> {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if reason.is_empty() || reason.len() > MAX_DROP_REASON || !reason.bytes().all(word) {
        return Err(broken(
            "the reason of a drop is not a snake-case word of at most 64 letters",
        ));
    }
    if header.body_len() != 0 || !header.dead_seqs.is_empty() {
        return Err(broken("a batch that reports drops has a body"));
    }
    Ok(())
}

fn check_dead_seqs(header: &CommitHeader) -> Result<(), WireError> {
    if header.count > MAX_BATCH_ROWS {
        let (len, limit) = (header.count as usize, MAX_BATCH_ROWS as usize);
        return Err(WireError::TooLarge {
            what: "batch (in rows)",
            len,
            limit,
        });
    }
    let range = header.range();
    let ascending = header.dead_seqs.is_sorted_by(|a, b| a < b);
    if !ascending || !header.dead_seqs.iter().all(|seq| range.contains(*seq)) {
        return Err(broken(
            "the seqs of the dead letters are not ascending within the batch",
        ));
    }
    Ok(())
}

fn decode_dead(header: &CommitHeader, bytes: &[u8]) -> Result<Vec<DeadLetter>, WireError> {
    let dead: Vec<DeadLetter> = if bytes.is_empty() {
        Vec::new()
    } else {
        decode("dead letters", bytes)?
    };
    if !dead
        .iter()
        .map(|letter| letter.seq)
        .eq(header.dead_seqs.iter().copied())
    {
        return Err(broken("the dead letters are not those that the header names"));
    }
    Ok(dead)
}

/// Removes the first `trim` events, which are committed already. What stays is a batch like any other.
///
/// # Errors
/// [`WireError::Encode`] when the remaining rows cannot be encoded; the batch must not be used then.
pub fn trim(batch: &mut Prepared, trim: u64) -> Result<(), WireError> {
    debug_assert!(
        trim < batch.range().count(),
        "a batch that is trimmed keeps at least one event"
    );
    if trim == 0 {
        return Ok(());
    }
    let range = batch.range();
    let kept = SeqRange {
        first: range.first + trim,
        last: range.last,
    };
    batch.header.first_seq = kept.first;
    batch.header.after_writer = batch.header.writer;
    batch.header.count =
        u32::try_from(kept.count()).map_err(|_| broken("a batch grew while it was trimmed"))?;
    trim_segments(&mut batch.header.segments, trim);
    let dead_gone = batch.header.dead_seqs.partition_point(|seq| *seq < kept.first);
    batch.header.dead_seqs.drain(..dead_gone);
    batch.dead.drain(..dead_gone);
    let valid = batch.header.valid() as usize;
    if let Some(records) = batch.records.take() {
        if valid == 0 {
            batch.columns = Bytes::new();
        } else {
            let records = records.slice(records.num_rows() - valid, valid);
            batch.columns = encode(&records)?;
            batch.records = Some(records);
        }
    }
    trim_usage(batch);
    batch.header.columns_len = length(&batch.columns)?;
    batch.header.body_crc = checksum(&batch.columns);
    batch.facts = facts(batch.records.as_ref(), &batch.columns, &batch.dead);
    Ok(())
}

/// Counts anew what each schema wrote, from the rows and letters that are left.
fn trim_usage(batch: &mut Prepared) {
    let header = &mut batch.header;
    let newest = header.schema.map(|schema| schema.id);
    let ids = batch
        .records
        .as_ref()
        .and_then(|records| records.column_by_name(SCHEMA_ID_COLUMN))
        .and_then(|ids| ids.as_primitive_opt::<Int32Type>());
    let mut only = header.usage.iter().filter(|used| used.rows > used.rejected);
    let only = only.next().map(|used| used.schema.id);
    let valid = batch.records.as_ref().map_or(0, |records| records.num_rows());
    for used in &mut header.usage {
        let id = used.schema.id;
        let letters = batch.dead.iter();
        let rejected = letters.filter(|letter| writer_id(&letter.payload).or(newest) == Some(id));
        let taken = match ids {
            Some(ids) => ids
                .iter()
                .filter(|of| of.and_then(|of| u32::try_from(of).ok()) == Some(id))
                .count(),
            None if only == Some(id) => valid,
            None => 0,
        };
        // both are at most the batch's count
        used.rejected = rejected.count() as u32;
        used.rows = used.rejected + taken as u32;
    }
    header.usage.retain(|used| used.rows > 0);
}

fn trim_segments(segments: &mut Vec<SegmentOrigin>, mut trim: u64) {
    segments.retain_mut(|segment| {
        let gone = trim.min(u64::from(segment.count));
        trim -= gone;
        segment.count -= u32::try_from(gone).unwrap_or(segment.count);
        segment.count > 0
    });
}
