//! What untrusted bytes meet, as functions of bytes: `fuzz/` drives them with libFuzzer, and a test of this package
//! drives them with seeds and with mutations of seeds.
//!
//! A function returns whatever the bytes are, and panics when a promise about them is broken.

mod seeds;

use std::sync::{Arc, LazyLock};

use aggregator::commit::{CommitRequest, prepare};
use aggregator::view::{MAX_SQL, ViewPlan};
use bytes::Bytes;
use edge_agent::intake::payload::{Events, LineBody, PayloadError, document};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use tributary::workload::Workload;
use tributary_schema::decode::{DecodeLimits, Decoder, StreamSchema, Writer, Writers, split_body};
use tributary_shared::ids::{AgentId, Epoch, LaneKey, StreamName};
use tributary_shared::wire::frame::{FrameReader, PREFIX, checksum, decode, encode};
use tributary_shared::wire::rows::{Rows, compress, inflate, push_row};
use tributary_shared::wire::{
    BatchHeader, Codec, CommitHeader, FromAggregator, MAX_BATCH_HEADER, MAX_CONTROL_FRAME, SchemaInfo,
    Segment, ToAgent, ToAggregator, ToGateway,
};

pub use seeds::seeds;

/// A target: its name, which is the name of its corpus, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 8] = [
    ("frames", frames),
    ("headers", headers),
    ("batch_bodies", batch_bodies),
    ("rows", rows),
    ("commit_bodies", commit_bodies),
    ("view_sql", view_sql),
    ("intake", intake),
    ("wire_format", wire_format),
];

/// Frames of all four directions, as they come out of a stream in pieces: a message that was understood is the same
/// message when it is written and read again.
pub fn frames(data: &[u8]) {
    // the first byte says how the stream is cut
    let Some((&cut, stream)) = data.split_first() else {
        return;
    };
    let mut reader = FrameReader::new(MAX_CONTROL_FRAME);
    for piece in stream.chunks(usize::from(cut).max(1)) {
        reader.extend(piece);
        loop {
            match reader.next_frame() {
                Ok(Some(payload)) => {
                    assert!(payload.len() <= MAX_CONTROL_FRAME, "the limit is kept");
                    again::<ToGateway>(&payload, MAX_CONTROL_FRAME);
                    again::<ToAgent>(&payload, MAX_CONTROL_FRAME);
                    again::<ToAggregator>(&payload, MAX_CONTROL_FRAME);
                    again::<FromAggregator>(&payload, MAX_CONTROL_FRAME);
                }
                Ok(None) => break,
                // the session ends here
                Err(_) => return,
            }
        }
    }
}

/// Headers of batches, on both hops.
pub fn headers(data: &[u8]) {
    if let Some(header) = again::<BatchHeader>(data, MAX_BATCH_HEADER)
        && header.count > 0
    {
        let range = header.range();
        assert!(range.first <= range.last, "{range:?}");
    }
    if let Some(header) = again::<CommitHeader>(data, MAX_BATCH_HEADER) {
        assert!(header.valid() <= header.count);
        assert!(header.body_len() >= header.dead_len as usize);
    }
}

/// The message, if the bytes are one; and then it survives a round trip. Compared as bytes: a message may hold a
/// NaN, which is not equal to itself.
fn again<T: Serialize + DeserializeOwned>(payload: &[u8], limit: usize) -> Option<T> {
    let message: T = decode("message", payload).ok()?;
    let frame = encode("message", &message, usize::MAX).expect("what was read can be written");
    // names may be longer than what stood for them, so only what fits the limit is sent
    if frame.len() - PREFIX <= limit {
        let read: T = decode("message", &frame[PREFIX..]).expect("what was written can be read");
        let twice = encode("message", &read, limit).expect("and written again");
        assert_eq!(frame, twice);
    }
    Some(message)
}

static SCHEMA: LazyLock<StreamSchema> = LazyLock::new(|| {
    let info = SchemaInfo {
        id: 1,
        version: 1,
        format: "JSON".to_owned(),
        text: Workload::Sensor.schema().to_owned(),
        references: Vec::new(),
    };
    StreamSchema::compile(&info).expect("the workload's own schema")
});

/// Small, so that a run is quick; the decoder must keep to whatever it is given.
const LIMITS: DecodeLimits = DecodeLimits {
    inflated: 64 << 10,
    rows: 1_000,
    event_bytes: 4 << 10,
};

/// A batch body at the gateway: every event of a batch that adds up becomes a row or a dead letter, never both,
/// never neither.
pub fn batch_bodies(data: &[u8]) {
    // segments declare what the first bytes say, whatever follows
    let [codec, count, raw_high, raw_low, body @ ..] = data else {
        return;
    };
    let half = body.len() / 2;
    let codec = if codec & 1 == 0 { Codec::None } else { Codec::Zstd };
    let segment = |len: usize, count: u8| Segment {
        count: u32::from(count),
        collected_at: 1_790_000_000_000,
        spooled_at: 1_790_000_000_001,
        codec,
        len: u32::try_from(len).unwrap_or(u32::MAX),
        raw_len: u32::from(*raw_high) << 8 | u32::from(*raw_low),
        origin: None,
    };
    let one = vec![segment(body.len(), *count)];
    let two = vec![segment(half, *count), segment(body.len() - half, 1)];
    for segments in [one, two] {
        let header = BatchHeader {
            writer: 0,
            after_writer: 0,
            lane: 1,
            first_seq: 1,
            count: segments.iter().map(|segment| segment.count).sum(),
            content: tributary_shared::wire::BatchContent::Rows,
            segments,
            body_len: u32::try_from(body.len()).unwrap_or(u32::MAX),
            body_crc: checksum(body),
            sent_at: 0,
            traceparent: None,
            contexts: Default::default(),
            attempts: Default::default(),
        };
        let Ok(parts) = split_body(&header, body) else {
            continue;
        };
        for schema in [&*SCHEMA, &StreamSchema::schemaless()] {
            let Ok(decoded) = Decoder::new().decode(schema, 1, &parts, &LIMITS) else {
                continue;
            };
            let dead = u32::try_from(decoded.dead.len()).unwrap_or(u32::MAX);
            assert_eq!(decoded.valid + dead, header.count, "conservation");
            assert!(decoded.inflated <= LIMITS.inflated, "bounded");
            let seqs = decoded.dead_seqs();
            assert!(seqs.is_sorted_by(|a, b| a < b) && seqs.iter().all(|seq| header.range().contains(*seq)));
        }
    }
}

/// Rows as the spool keeps them: what is read is what was written, and inflation keeps to its limit.
pub fn rows(data: &[u8]) {
    let read: Vec<&[u8]> = Rows::new(data).map_while(Result::ok).collect();
    assert!(read.iter().map(|row| row.len()).sum::<usize>() <= data.len());
    let mut written = Vec::new();
    read.iter().for_each(|row| push_row(&mut written, row));
    let again: Vec<&[u8]> = Rows::new(&written)
        .map(|row| row.expect("just written"))
        .collect();
    assert_eq!(read, again);

    let (codec, packed) = compress(&written).expect("memory");
    let segment = |len: usize, raw_len: usize, codec| Segment {
        count: u32::try_from(read.len()).unwrap_or(u32::MAX),
        collected_at: 0,
        spooled_at: 0,
        codec,
        len: u32::try_from(len).unwrap_or(u32::MAX),
        raw_len: u32::try_from(raw_len).unwrap_or(u32::MAX),
        origin: None,
    };
    let whole = segment(packed.len(), written.len(), codec);
    assert_eq!(
        inflate(&whole, &packed, written.len()).expect("just packed"),
        written
    );
    if let Some(limit) = written.len().checked_sub(1) {
        inflate(&whole, &packed, limit).expect_err("more than the limit");
    }
    // any bytes as a compressed segment
    let foreign = segment(data.len(), 1 << 12, Codec::Zstd);
    if let Ok(raw) = inflate(&foreign, data, 1 << 12) {
        assert_eq!(raw.len(), 1 << 12);
    }
}

/// A batch at the aggregator, header frame and body: what passes adds up.
pub fn commit_bodies(data: &[u8]) {
    let Some((len, rest)) = data.split_first_chunk::<2>() else {
        return;
    };
    let len = usize::from(u16::from_be_bytes(*len)).min(rest.len());
    let (header, body) = rest.split_at(len);
    let Ok(mut header) = decode::<CommitHeader>("commit header", header) else {
        return;
    };
    // else hardly any mutation passes the checksum
    header.body_crc = checksum(body);
    let (count, dead) = (header.count, header.dead_seqs.len());
    let key = LaneKey {
        agent: AgentId::new("fuzz").expect("a good id"),
        stream: StreamName::new("fuzz").expect("a good name"),
        epoch: Epoch(1),
    };
    let request = CommitRequest {
        key,
        header,
        body: Bytes::copy_from_slice(body),
    };
    if prepare(request).is_ok() {
        assert!(count > 0 && dead <= count as usize, "{count} events, {dead} dead");
    }
}

/// The text of a view: compiled or refused with a reason; what compiles compiles again.
pub fn view_sql(data: &[u8]) {
    let Ok(sql) = std::str::from_utf8(data) else {
        return;
    };
    match ViewPlan::compile("fuzz", sql) {
        Ok(plan) => {
            assert!(sql.len() <= MAX_SQL && !plan.columns().is_empty());
            let again = ViewPlan::compile("fuzz", plan.sql()).expect("its own text");
            assert_eq!(again.columns(), plan.columns());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The schemas that [`wire_format`] reads by, with their ids.
const WRITTEN_WITH: [(u32, &str, &str); 3] = [
    (
        1,
        "AVRO",
        r#"{"type":"record","name":"E","fields":[{"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
            {"name":"n","type":["null","double","string"]},{"name":"l","type":{"type":"array","items":"null"}},
            {"name":"m","type":{"type":"map","values":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}},
            {"name":"e","type":["null","E"],"default":null}]}"#,
    ),
    (
        2,
        "PROTOBUF",
        "syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\"; import \"google/protobuf/struct.proto\";
         message E { google.protobuf.Timestamp at = 1; uint64 n = 2; repeated double l = 3; map<string, E> m = 4;
           google.protobuf.Value v = 5; message I { string s = 1; } }",
    ),
    (3, "JSON", r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#),
];

static WRITERS: LazyLock<Vec<Arc<StreamSchema>>> = LazyLock::new(|| {
    let schemas = WRITTEN_WITH.iter().map(|(id, format, text)| {
        let info = SchemaInfo {
            id: *id,
            version: 1,
            format: (*format).to_owned(),
            text: (*text).to_owned(),
            references: Vec::new(),
        };
        Arc::new(StreamSchema::compile(&info).expect("a schema"))
    });
    schemas.collect()
});

/// A payload in a serializer's wire format, on streams of each language: valid or a dead letter with reasons.
pub fn wire_format(data: &[u8]) {
    let known = WRITTEN_WITH.iter().zip(WRITERS.iter());
    let writers =
        Writers::from_iter(known.map(|((id, ..), schema)| (*id, Writer::Known(Arc::clone(schema)))));
    let mut row = Vec::new();
    push_row(&mut row, data);
    let len = u32::try_from(row.len()).unwrap_or(u32::MAX);
    let segment = Segment {
        count: 1,
        collected_at: 0,
        spooled_at: 0,
        codec: Codec::None,
        len,
        raw_len: len,
        origin: None,
    };
    for reader in WRITERS.iter() {
        let parts = [(&segment, row.as_slice())];
        let decoded = Decoder::new().decode_known(reader, &writers, 1, &parts, &DecodeLimits::default());
        let decoded = decoded.expect("the batch itself is sound");
        assert_eq!(decoded.valid as usize + decoded.dead.len(), 1, "conservation");
        assert!(decoded.dead.iter().all(|letter| !letter.reasons.is_empty()));
        assert_eq!(decoded.columns.is_empty(), decoded.valid == 0);
    }
}

/// The largest event that [`intake`] lets pass.
const MAX_EVENT: usize = 1 << 10;

/// Bodies of requests: lines are the same however the body is cut, and every event taken is one JSON object.
pub fn intake(data: &[u8]) {
    let lines = |piece: usize| -> Result<Events, PayloadError> {
        let mut body = LineBody::new(MAX_EVENT, data.len(), None);
        data.chunks(piece.max(1)).try_for_each(|piece| body.feed(piece))?;
        body.finish()
    };
    let whole = lines(data.len());
    for piece in [1, 7] {
        match (&whole, &lines(piece)) {
            (Ok(whole), Ok(pieces)) => assert_eq!(
                (whole.count, &whole.rows),
                (pieces.count, &pieces.rows),
                "cut into pieces of {piece}"
            ),
            (Err(_), Err(_)) => {}
            (whole, pieces) => panic!("whole: {whole:?}, in pieces of {piece}: {pieces:?}"),
        }
    }
    for events in [whole, document(data, MAX_EVENT, None)].into_iter().flatten() {
        let mut count = 0;
        for row in Rows::new(&events.rows) {
            let row = row.expect("rows of our own");
            assert!(row.len() <= MAX_EVENT);
            // by its grammar: half of a surrogate pair is for the gateway to judge
            let _: IgnoredAny = serde_json::from_slice(row).expect("a JSON text");
            assert_eq!(row.first(), Some(&b'{'), "an object");
            count += 1;
        }
        assert!(count > 0 && count == events.count);
    }
}
