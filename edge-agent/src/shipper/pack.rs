//! Blocks of the spool become one batch. Pure.

use bytes::Bytes;
use tributary_shared::ids::{Seq, SeqRange};
use tributary_shared::protocol::{Claim, FORGOTTEN, UNDELIVERABLE};
use tributary_shared::time::Millis;
use tributary_shared::wire::{BatchContent, BatchHeader, Context, Contexts, History, Limits, Segment};

use crate::spool::Block;

/// Segments of one batch: their header entries must fit [`tributary_shared::wire::MAX_BATCH_HEADER`] also with
/// long origins.
const MAX_SEGMENTS: usize = 256;

/// A batch that is ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed {
    pub header: BatchHeader,
    pub body: Vec<Bytes>,
}

impl Packed {
    #[must_use]
    pub fn range(&self) -> SeqRange {
        self.header.range()
    }
}

/// Packs the blocks' beginning into the largest batch that `limits` allow, of one writer: `history` says who numbered
/// the lane. `from_seq` is where the lane goes on; blocks that begin above it leave a hole which is reported as
/// dropped, so that the loss is counted.
/// `None` when there is nothing to send.
#[must_use]
pub fn pack(
    (lane, history): (u32, &History),
    from_seq: Seq,
    blocks: &[Block],
    give_up: bool,
    limits: &Limits,
    now: Millis,
) -> Option<Packed> {
    let first = blocks.first()?;
    let range = first.range();
    if range.first > from_seq {
        let hole = SeqRange {
            first: from_seq,
            last: range.first - 1,
        };
        return Some(dropped(lane, one_writer(history, hole), FORGOTTEN, now));
    }
    match first {
        Block::Dropped { range, reason } => Some(dropped(lane, one_writer(history, *range), reason, now)),
        Block::Rows(rows) if give_up => {
            Some(dropped(lane, one_writer(history, rows.range), UNDELIVERABLE, now))
        }
        Block::Rows(_) => Some(rows((lane, history), blocks, limits, now)),
    }
}

/// The beginning of a range, as far as one process has numbered it.
fn one_writer(history: &History, range: SeqRange) -> Claim {
    let last = history
        .run_end(range.first)
        .map_or(range.last, |end| end.min(range.last));
    Claim {
        range: SeqRange { last, ..range },
        writer: history.writer_at(range.first),
        after_writer: history.writer_at(range.first - 1),
    }
}

/// A batch that reports seqs which stand for no event any more.
#[must_use]
pub fn dropped(lane: u32, claim: Claim, reason: &str, now: Millis) -> Packed {
    let content = BatchContent::Dropped {
        reason: reason.to_owned(),
    };
    let count = u32::try_from(claim.range.count()).unwrap_or(u32::MAX);
    let header = header(lane, claim, count, content, now);
    Packed {
        header,
        body: Vec::new(),
    }
}

fn header(lane: u32, claim: Claim, count: u32, content: BatchContent, now: Millis) -> BatchHeader {
    BatchHeader {
        lane,
        first_seq: claim.range.first,
        count,
        writer: claim.writer,
        after_writer: claim.after_writer,
        content,
        segments: Vec::new(),
        body_len: 0,
        body_crc: crc32fast::hash(&[]),
        sent_at: now,
        traceparent: None,
        contexts: Default::default(),
        attempts: Default::default(),
    }
}

fn rows((lane, history): (u32, &History), blocks: &[Block], limits: &Limits, now: Millis) -> Packed {
    let first_seq = blocks.first().map_or(0, |block| block.range().first);
    let writer = history.writer_at(first_seq);
    let mut segments: Vec<Segment> = Vec::new();
    let mut contexts: Vec<Context> = Vec::new();
    let mut body = Vec::new();
    let mut crc = crc32fast::Hasher::new();
    let (mut count, mut len, mut inflated) = (0u32, 0u32, 0u32);
    for block in blocks {
        let Block::Rows(rows) = block else { break };
        let segment = rows.segment();
        let fits = segments.len() < MAX_SEGMENTS
            && history.writer_at(rows.range.first) == writer
            && count.saturating_add(segment.count) <= limits.max_batch_rows
            && len.saturating_add(segment.len) <= limits.max_batch_body
            && inflated.saturating_add(segment.raw_len) <= limits.max_inflated;
        // the first block always goes: a gateway with smaller limits than its size says so
        if !segments.is_empty() && !fits {
            break;
        }
        count += segment.count;
        len += segment.len;
        inflated += segment.raw_len;
        // the block's own checksum was verified when it was read
        crc.combine(&crc32fast::Hasher::new_with_initial_len(
            rows.crc,
            u64::from(segment.len),
        ));
        add_contexts(&mut contexts, &rows.contexts);
        body.push(rows.body.clone());
        segments.push(segment);
    }
    let range = SeqRange::from_count(first_seq, count);
    let mut header = header(lane, one_writer(history, range), count, BatchContent::Rows, now);
    header.segments = segments;
    header.contexts = Contexts::choose(contexts);
    header.body_len = len;
    header.body_crc = crc.finalize();
    Packed { header, body }
}

/// A request that fills several blocks is one again.
fn add_contexts(contexts: &mut Vec<Context>, more: &[Context]) {
    for context in more {
        match contexts.last_mut() {
            Some(last)
                if last.last_seq + 1 == context.first_seq && last.traceparent == context.traceparent =>
            {
                last.last_seq = context.last_seq;
            }
            _ => contexts.push(context.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tributary_shared::wire::Codec;

    use super::*;
    use crate::spool::RowsBlock;

    fn block(first: Seq, last: Seq, body: &'static [u8]) -> Block {
        Block::Rows(RowsBlock {
            range: SeqRange { first, last },
            collected_at: 1,
            spooled_at: 2,
            codec: Codec::None,
            raw_len: body.len() as u32,
            origin: None,
            contexts: Vec::new(),
            body: Bytes::from_static(body),
            crc: crc32fast::hash(body),
        })
    }

    #[test]
    fn blocks_are_joined_and_the_checksum_is_that_of_the_whole_body() {
        let packed = pack(
            (7, &History::default()),
            1,
            &[block(1, 2, b"one"), block(3, 3, b"two")],
            false,
            &Limits::default(),
            9,
        );
        let packed = packed.expect("a batch");
        assert_eq!(packed.range(), SeqRange { first: 1, last: 3 });
        assert_eq!(packed.header.body_crc, crc32fast::hash(b"onetwo"));
        assert_eq!(packed.header.body_len, 6);
    }

    #[test]
    fn limits_end_the_batch_and_a_drop_record_does_too() {
        let limits = Limits {
            max_batch_rows: 3,
            ..Limits::default()
        };
        let drop = Block::Dropped {
            range: SeqRange { first: 4, last: 9 },
            reason: "drop_oldest".into(),
        };
        let blocks = [
            block(1, 2, b"a"),
            block(3, 3, b"b"),
            drop.clone(),
            block(10, 10, b"c"),
        ];
        assert_eq!(
            pack((1, &History::default()), 1, &blocks, false, &limits, 0)
                .expect("rows")
                .range()
                .last,
            3
        );
        assert_eq!(
            pack((1, &History::default()), 1, &blocks[..1], false, &limits, 0)
                .expect("rows")
                .range()
                .last,
            2
        );
        let packed = pack((1, &History::default()), 4, &[drop], false, &limits, 0).expect("drop");
        assert_eq!(
            packed.header.content,
            BatchContent::Dropped {
                reason: "drop_oldest".to_owned()
            }
        );
        assert_eq!(packed.header.count, 6);
    }

    #[test]
    fn a_hole_and_an_undeliverable_block_are_reported_as_dropped() {
        let hole = pack(
            (1, &History::default()),
            5,
            &[block(8, 9, b"a")],
            false,
            &Limits::default(),
            0,
        )
        .expect("hole");
        assert_eq!(hole.range(), SeqRange { first: 5, last: 7 });
        assert_eq!(
            hole.header.content,
            BatchContent::Dropped {
                reason: FORGOTTEN.to_owned()
            }
        );
        let bad = pack(
            (1, &History::default()),
            8,
            &[block(8, 9, b"a")],
            true,
            &Limits::default(),
            0,
        )
        .expect("bad");
        assert_eq!(
            bad.header.content,
            BatchContent::Dropped {
                reason: UNDELIVERABLE.to_owned()
            }
        );
        assert_eq!(
            pack((1, &History::default()), 1, &[], false, &Limits::default(), 0),
            None
        );
    }

    #[test]
    fn a_batch_is_of_one_writer_and_names_the_one_before_it() {
        let history = History::default()
            .extended(1, 7)
            .expect("new")
            .extended(4, 8)
            .expect("new");
        let drop = Block::Dropped {
            range: SeqRange { first: 2, last: 9 },
            reason: "drop_oldest".into(),
        };
        let claim = |from, blocks: &[Block]| {
            let packed = pack((1, &history), from, blocks, false, &Limits::default(), 0).expect("a batch");
            let BatchHeader {
                writer, after_writer, ..
            } = packed.header;
            (packed.range().first, packed.range().last, writer, after_writer)
        };
        assert_eq!(claim(2, &[block(2, 3, b"a"), block(4, 5, b"b")]), (2, 3, 7, 7));
        assert_eq!(claim(4, &[block(4, 5, b"b"), block(6, 6, b"c")]), (4, 6, 8, 7));
        assert_eq!(claim(1, &[block(1, 1, b"a"), drop.clone()]), (1, 1, 7, 0));
        assert_eq!(claim(2, &[drop]), (2, 3, 7, 7));
        // a hole in front of what is held is of its own writers as well
        assert_eq!(claim(2, &[block(6, 6, b"c")]), (2, 3, 7, 7));
    }
}
