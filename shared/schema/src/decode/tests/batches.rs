//! Batches that lie about themselves are errors; bad events in honest ones are not.

use serde_json::json;
use tributary_shared::ids::Seq;
use tributary_shared::wire::{BatchContent, BatchHeader, Codec, Segment, WireError};

use super::{compile, decode, segment};
use crate::decode::{DecodeLimits, Decoded, Decoder, StreamSchema, split_body};

fn run(segments: &[(Segment, Vec<u8>)], limits: &DecodeLimits) -> Result<Decoded, WireError> {
    let parts: Vec<(&Segment, &[u8])> = segments
        .iter()
        .map(|(segment, bytes)| (segment, bytes.as_slice()))
        .collect();
    Decoder::new().decode(&StreamSchema::schemaless(), 100, &parts, limits)
}

#[test]
fn seqs_run_on_over_segments() {
    let segments = [segment(&["{}", "x"]), segment(&["y", "{}", "z"])];
    let decoded = run(&segments, &DecodeLimits::default()).expect("sound");
    assert_eq!((decoded.valid, decoded.dead_seqs()), (2, vec![101, 102, 104]));
    let near_the_end: Seq = Seq::MAX;
    let parts: Vec<(&Segment, &[u8])> = segments
        .iter()
        .map(|(segment, bytes)| (segment, bytes.as_slice()))
        .collect();
    let limits = DecodeLimits::default();
    assert!(
        Decoder::new()
            .decode(&StreamSchema::schemaless(), near_the_end, &parts, &limits)
            .is_ok()
    );
}

#[test]
fn batches_that_do_not_hold_what_they_declare_are_refused() {
    let limits = DecodeLimits::default();
    let inconsistent = |change: fn(&mut (Segment, Vec<u8>))| {
        let mut damaged = segment(&["{\"a\":1}", "{\"a\":2}", "{\"a\":3}"]);
        change(&mut damaged);
        matches!(
            run(&[segment(&["{}"]), damaged], &limits),
            Err(WireError::Inconsistent(_))
        )
    };
    assert!(inconsistent(|(segment, _)| segment.count = 2));
    assert!(inconsistent(|(segment, _)| segment.count = 4));
    assert!(inconsistent(|(segment, _)| segment.count = 0));
    assert!(inconsistent(|(segment, _)| segment.len += 1));
    assert!(inconsistent(|(segment, _)| segment.raw_len -= 1));
    assert!(inconsistent(|(segment, _)| segment.codec = Codec::Zstd));
    assert!(inconsistent(|(_, bytes)| bytes[0] = 0x7f));
    assert!(matches!(run(&[], &limits), Err(WireError::Inconsistent(_))));
}

#[test]
fn a_refused_batch_leaves_nothing_behind_for_the_next() {
    let schema =
        compile(&json!({"type": "object", "properties": {"a": {"type": "integer"}}})).expect("compiles");
    let mut decoder = Decoder::new();
    let (mut lying, bytes) = segment(&["{\"a\":1}", "{\"a\":2}"]);
    lying.count = 3;
    let limits = DecodeLimits::default();
    assert!(decoder.decode(&schema, 1, &[(&lying, &bytes)], &limits).is_err());
    let (honest, bytes) = segment(&["{\"a\":3}"]);
    let after = decoder
        .decode(&schema, 1, &[(&honest, &bytes)], &limits)
        .expect("sound");
    assert_eq!(after, decode(&schema, &["{\"a\":3}"]));
}

#[test]
fn limits_are_checked_on_declared_sizes() {
    let limits = DecodeLimits {
        inflated: 1000,
        rows: 10,
        event_bytes: 50,
    };
    let mut bomb = segment(&["{}"]);
    bomb.0.raw_len = u32::MAX;
    assert!(matches!(
        run(&[bomb.clone(), bomb.clone()], &limits),
        Err(WireError::TooLarge { limit: 1000, .. })
    ));
    let crowded = segment(&["{}"; 11]);
    assert!(matches!(
        run(&[crowded], &limits),
        Err(WireError::TooLarge { limit: 10, .. })
    ));
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(60));
    let decoded = run(&[segment(&["{}", &long])], &limits).expect("sound");
    assert_eq!(
        (decoded.valid, decoded.dead[0].reasons[0].rule.as_str()),
        (1, "too_large")
    );
}

#[test]
fn any_schema_finds_its_builders_again() {
    let schemas: Vec<StreamSchema> = (0..12)
        .map(|n| {
            compile(&json!({"type": "object", "properties": {n.to_string(): {"type": "integer"}}}))
                .expect("compiles")
        })
        .collect();
    let mut decoder = Decoder::new();
    for n in (0..12).chain([3, 3, 11, 0]) {
        let row = format!("{{\"{n}\":{n}}}");
        let (segment, bytes) = segment(&[&row]);
        let decoded = decoder
            .decode(&schemas[n], 1, &[(&segment, &bytes)], &DecodeLimits::default())
            .expect("sound");
        assert_eq!(decoded, decode(&schemas[n], &[&row]), "schema {n}");
    }
}

#[test]
fn a_body_is_cut_at_its_segments() {
    let (first, second) = (segment(&["{}"]), segment(&["{}", "{}"]));
    let body = [first.1.clone(), second.1.clone()].concat();
    let mut header = BatchHeader {
        writer: 0,
        after_writer: 0,
        lane: 1,
        first_seq: 1,
        count: 3,
        content: BatchContent::Rows,
        segments: vec![first.0, second.0],
        body_len: body.len() as u32,
        body_crc: 0,
        sent_at: 0,
        traceparent: None,
        contexts: Default::default(),
        attempts: Default::default(),
    };
    let parts = split_body(&header, &body).expect("sound");
    assert_eq!(
        parts.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(),
        [first.1.as_slice(), second.1.as_slice()]
    );
    assert!(split_body(&header, &body[1..]).is_err());
    assert!(split_body(&header, &[body.as_slice(), b"x"].concat()).is_err());
    header.count = 4;
    assert!(split_body(&header, &body).is_err());
}
