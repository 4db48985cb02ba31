//! Preparing and trimming batches.

use tributary_shared::wire::{SchemaRef, SchemaUse, WireError};

use super::super::body::BodyFacts;
use super::super::prepare::trim;
use super::*;

const LANE: LaneNo = LaneNo(1);

#[test]
fn every_trim_keeps_exactly_the_later_seqs() {
    let key = lane_key("s", 1);
    for n in 0..20 {
        let mut request = rows(LANE, &key, range(11, 30));
        request.header.schema = schema(7, 1);
        request.header.usage = vec![SchemaUse {
            schema: SchemaRef { id: 7, version: 1 },
            rows: 20,
            rejected: request.header.dead_seqs.len() as u32,
        }];
        let mut batch = prepare(request).expect("good");
        trim(&mut batch, n).expect("trims");
        let used = batch.header.usage[0];
        assert_eq!(
            (used.rows, used.rejected),
            (batch.header.count, batch.dead.len() as u32)
        );
        let first = 11 + n;
        assert_eq!(batch.range(), range(first, 30));
        let valid: Vec<Seq> = (first..=30).filter(|seq| !is_dead(*seq)).collect();
        let dead: Vec<Seq> = (first..=30).filter(|seq| is_dead(*seq)).collect();
        assert_eq!(batch.header.dead_seqs, dead);
        assert_eq!(
            batch.dead.iter().map(|letter| letter.seq).collect::<Vec<_>>(),
            dead
        );
        assert_eq!(batch.records.as_ref().map(seqs_of).unwrap_or_default(), valid);
        assert_eq!(batch.header.body_crc, checksum(&batch.columns));
        let stored = columns::decode_valid(&batch.columns, batch.header.valid()).expect("decodes");
        assert_eq!(stored, batch.records, "what is stored is what the engine gets");
        let letters = batch.dead.iter().map(|letter| letter.payload.as_slice());
        let facts = BodyFacts::of(stored.as_ref(), &batch.columns, letters);
        assert_eq!(batch.facts, facts, "and what it is anchored and found by");
        let segments: Vec<u32> = batch
            .header
            .segments
            .iter()
            .map(|segment| segment.count)
            .collect();
        let kept = 20 - n as u32;
        assert_eq!(
            segments,
            if kept > 10 {
                vec![kept - 10, 10]
            } else {
                vec![kept]
            }
        );
    }
}

#[test]
fn a_trim_that_leaves_only_dead_letters_leaves_no_columns() {
    let mut batch = prepare(rows(LANE, &lane_key("s", 1), range(1, 3))).expect("good");
    trim(&mut batch, 2).expect("trims");
    assert_eq!(
        (batch.header.valid(), batch.records, batch.columns.len()),
        (0, None, 0)
    );
    assert_eq!(batch.header.dead_seqs, [3]);
}

type Change = fn(&mut CommitRequest);

fn refused(change: impl FnOnce(&mut CommitRequest)) -> WireError {
    let mut request = rows(LANE, &lane_key("s", 1), range(1, 10));
    change(&mut request);
    prepare(request).expect_err("refused")
}

/// Replaces the body and makes checksum and lengths fit it.
fn with_body(request: &mut CommitRequest, columns: &[u8], dead: &[u8]) {
    request.body = [columns, dead].concat().into();
    request.header.columns_len = columns.len() as u32;
    request.header.dead_len = dead.len() as u32;
    request.header.body_crc = checksum(&request.body);
}

#[test]
fn whatever_does_not_add_up_is_refused() {
    assert!(matches!(
        refused(|r| r.header.body_crc ^= 1),
        WireError::Checksum { .. }
    ));
    let cases: [(&str, Change); 11] = [
        ("shorter body", |r| r.body.truncate(10)),
        ("no events", |r| r.header.count = 0),
        ("seq 0", |r| r.header.first_seq = 0),
        ("beyond the last seq", |r| r.header.first_seq = i64::MAX as u64),
        ("overflow", |r| r.header.first_seq = u64::MAX),
        ("row count", |r| r.header.count += 1),
        ("dead seqs not ascending", |r| r.header.dead_seqs.reverse()),
        ("dead seq outside", |r| r.header.dead_seqs[1] = 11),
        ("a dead letter less", |r| r.header.dead_seqs.truncate(1)),
        ("another dead letter", |r| r.header.dead_seqs[0] = 4),
        ("lengths swapped", |r| {
            let header = &mut r.header;
            std::mem::swap(&mut header.columns_len, &mut header.dead_len);
        }),
    ];
    for (name, change) in &cases {
        let error = refused(change);
        assert!(
            matches!(error, WireError::Inconsistent(_) | WireError::Decode { .. }),
            "{name}: {error}"
        );
    }
}

#[test]
fn garbage_columns_are_refused_wherever_they_are_damaged() {
    let good = columns::encode(&records(&[1, 2, 4, 5, 6, 7, 9, 10])).expect("encodes");
    for cut in 0..good.len() - 8 {
        let result = columns::decode_valid(&good.slice(..cut), 8);
        assert!(result.is_err(), "cut at {cut}");
    }
    // no bit flip may panic or over-allocate; the checksum, not this test, detects changed values
    for at in 0..good.len() {
        let mut bytes = good.to_vec();
        bytes[at] ^= 0xff;
        let _ = columns::decode_valid(&bytes.into(), 8);
    }
    let twice = [&good[..good.len() - 8], &good].concat();
    assert!(columns::decode_valid(&twice.into(), 8).is_err());
}

#[test]
fn columns_without_event_time_are_refused() {
    let all = records(&[1, 2, 4]);
    let without = columns::encode(&all.project(&[1]).expect("projects")).expect("encodes");
    let error = prepare({
        let mut request = rows(LANE, &lane_key("s", 1), range(1, 2));
        with_body(&mut request, &without, &[]);
        request.header.count = 3;
        request
    });
    assert!(
        error
            .expect_err("refused")
            .to_string()
            .contains(EVENT_TIME_COLUMN)
    );
}

#[test]
fn a_buffer_that_declares_gigabytes_is_refused_before_it_is_inflated() {
    let all = records(&(1..=4_000).collect::<Vec<_>>());
    let mut bytes = columns::encode(&all).expect("encodes").to_vec();
    // every compressed buffer starts with its inflated size: 4,000 values of 8 bytes
    let size = 32_000i64.to_le_bytes();
    let at = bytes
        .windows(8)
        .position(|window| window == size)
        .expect("a compressed buffer");
    bytes[at..at + 8].copy_from_slice(&(1i64 << 40).to_le_bytes());
    assert!(matches!(
        columns::decode_valid(&bytes.into(), 4_000),
        Err(WireError::TooLarge { .. })
    ));
}

#[test]
fn drops_carry_a_word_and_no_body() {
    let key = lane_key("s", 1);
    assert!(prepare(drops(LANE, &key, range(1, 1 << 30), "drop_oldest")).is_ok());
    for bad in ["", "Drop", "two words", &"x".repeat(65)] {
        assert!(prepare(drops(LANE, &key, range(1, 9), bad)).is_err(), "{bad:?}");
    }
    let mut with_rows = rows(LANE, &key, range(1, 9));
    with_rows.header.content = BatchContent::Dropped {
        reason: "drop_oldest".to_owned(),
    };
    assert!(prepare(with_rows).is_err());
}
