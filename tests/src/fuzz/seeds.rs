//! Inputs to begin with: good ones of every kind, each below 2 KiB, so that mutations stay near what is good.

use tributary::workload::{Generator, Workload};
use tributary_shared::ids::{GatewayId, LaneNo};
use tributary_shared::wire::frame::{PREFIX, checksum, encode};
use tributary_shared::wire::rows::{compress, push_row};
use tributary_shared::wire::{
    Attempt, Attempts, BatchContent, BatchHeader, Codec, CommitHeader, Context, Contexts, DeadLetter, Hello,
    Limits, Reason, Segment, SegmentOrigin, ToAgent, ToGateway, Welcome,
};

/// The inputs of a target.
///
/// # Panics
/// When there is no such target.
#[must_use]
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "frames" => frames(),
        "headers" => vec![unframed(&batch_header()), unframed(&commit_header(2, 0, 0))],
        "batch_bodies" => batch_bodies(),
        "rows" => vec![
            packed_lines(Workload::Sensor).0,
            b"\x01a\x00\x02{}".to_vec(),
            b"\xff\xff\xff\xff\x0f".to_vec(),
        ],
        "commit_bodies" => commit_bodies(),
        "view_sql" => texts(&VIEWS),
        "intake" => texts(&BODIES),
        "wire_format" => FRAMED.iter().map(|row| row.to_vec()).collect(),
        _ => panic!("no target {target}"),
    }
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

const VIEWS: [&str; 6] = [
    "SELECT window_start, window_end, site, count(*) AS n, avg(temperature) AS t_avg FROM TUMBLE(readings, ts, \
     INTERVAL '1 minute') WHERE status <> 'test' GROUP BY window_start, window_end, site",
    "SELECT window_start, sum(a + b * 2) AS s, min(c), max(c) FROM TUMBLE(s, ts, INTERVAL '5' SECOND) GROUP BY window_start",
    "SELECT window_start, upper(x) AS u, count(*) FROM TUMBLE(s, ts, INTERVAL '1 hour') WHERE x LIKE 'a%' AND y IS NOT \
     NULL GROUP BY window_start, upper(x)",
    "SELECT window_start, CASE WHEN a > 1 THEN 'hi' ELSE 'lo' END AS k, count(*) AS n FROM TUMBLE(s, ts, INTERVAL '1 \
     day') GROUP BY window_start, CASE WHEN a > 1 THEN 'hi' ELSE 'lo' END",
    "SELECT * FROM TUMBLE(s, ts, INTERVAL '1 minute')",
    "SELECT window_start, count(*) FROM s WHERE a IN (1, 2.5, -3) GROUP BY window_start -- not a window",
];

const BODIES: [&str; 7] = [
    "{\"ts\":1790000000000,\"device\":\"d-1\",\"temperature\":21.5}\n{\"a\":[1,2,{\"b\":null}]}\r\n\n  {}  \n",
    "[{\"a\":1},{\"b\":\"\\u00e9\\ud83d\\ude00\"},{}]",
    "{\"a\":1}",
    " [ ] ",
    "{\"a\":1e400}\n{\"a\":-0.0}\n{\"a\":18446744073709551616}",
    "{\"a\":\"\\ud800\"}\n{\"a\" 1}",
    "[{\"a\":{\"b\":{\"c\":{\"d\":[[[[[]]]]]}}}}]",
];

/// Payloads in wire format: AVRO with every branch, PROTOBUF as first and as nested message, JSON, and strangers.
const FRAMED: [&[u8]; 8] = [
    b"\0\0\0\0\x01\x02\0\0\0\0",
    b"\0\0\0\0\x01\x80\x01\x02\0\0\0\0\0\0\xf0\x3f\x04\0\x02\x02k\x04\x04\xd2\0\x02\x02\x04\x02x\0\0\0",
    b"\0\0\0\0\x02\0\x0a\x04\x08\x01\x10\x02\x10\xff\x01\x1a\x08\0\0\0\0\0\0\xf0\x3f\x22\x07\x0a\x01k\x12\x02\x10\x01",
    b"\0\0\0\0\x02\x04\0\0\x0a\x01s",
    b"\0\0\0\0\x02\0\x2a\x09\x32\x07\x0a\x05\x11\0\0\0\0",
    b"\0\0\0\0\x03{\"n\":1}",
    b"\0\0\0\0\x09{}",
    b"\x01{}",
];

/// A message as the payload of a frame.
fn unframed<T: serde::Serialize>(message: &T) -> Vec<u8> {
    encode("a seed", message, usize::MAX).expect("a good message")[PREFIX..].to_vec()
}

fn frames() -> Vec<Vec<u8>> {
    let hello = ToGateway::Hello(Hello {
        min_version: 1,
        max_version: 1,
        node: "edge-1".to_owned(),
        software: "tributary".to_owned(),
        instance: 7,
        session: 1,
        configuration: Some(r#"{"gateways":["g:1"]}"#.to_owned()),
    });
    let welcome = ToAgent::Welcome(Welcome {
        version: 1,
        node: "gw-1".to_owned(),
        now: 1_790_000_000_000,
        limits: Limits::default(),
    });
    let frame = |frames: &[u8]| {
        // cut into pieces of 16 bytes
        let mut seed = vec![16];
        seed.extend_from_slice(frames);
        seed
    };
    let hello = encode("a seed", &hello, usize::MAX).expect("a good message");
    let welcome = encode("a seed", &welcome, usize::MAX).expect("a good message");
    let goodbye = encode("a seed", &ToGateway::Goodbye, usize::MAX).expect("a good message");
    let all = [&hello[..], &welcome, &goodbye].concat();
    vec![frame(&hello), frame(&welcome), frame(&all), frame(&[0xff; 4])]
}

/// Four events of a workload as rows, compressed, and their length before that.
fn packed_lines(workload: Workload) -> (Vec<u8>, Vec<u8>) {
    let (mut generator, mut lines, mut raw) = (Generator::new(workload, 1), Vec::new(), Vec::new());
    for _ in 0..4 {
        lines.clear();
        generator.line(&mut lines, 1_790_000_000_000);
        push_row(&mut raw, lines.trim_ascii());
    }
    let packed = compress(&raw).expect("memory").1;
    (raw, packed)
}

fn batch_bodies() -> Vec<Vec<u8>> {
    let (raw, packed) = packed_lines(Workload::Sensor);
    let body = |codec: Codec, count: u8, raw: &[u8], body: &[u8]| {
        let len = u16::try_from(raw.len()).expect("a small seed").to_be_bytes();
        let mut seed = vec![u8::from(codec == Codec::Zstd), count, len[0], len[1]];
        seed.extend_from_slice(body);
        seed
    };
    let odd = b"\x02{}\x03[1]\x10{\"ts\":\"tomorrow\"";
    vec![
        body(Codec::Zstd, 4, &raw, &packed),
        body(Codec::None, 4, &raw, &raw),
        body(Codec::None, 3, odd, odd),
    ]
}

fn batch_header() -> BatchHeader {
    let (raw, packed) = packed_lines(Workload::Sensor);
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a small seed");
    BatchHeader {
        writer: 0,
        after_writer: 0,
        lane: 1,
        first_seq: 11,
        count: 4,
        content: BatchContent::Rows,
        segments: vec![Segment {
            count: 4,
            collected_at: 1_790_000_000_000,
            spooled_at: 1_790_000_000_005,
            codec: Codec::Zstd,
            len: len(&packed),
            raw_len: len(&raw),
            origin: Some("http".to_owned()),
        }],
        body_len: len(&packed),
        body_crc: checksum(&packed),
        sent_at: 1_790_000_000_010,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        contexts: Contexts::choose(vec![Context {
            first_seq: 11,
            last_seq: 12,
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
        }]),
        attempts: attempts(),
    }
}

fn attempts() -> Attempts {
    let mut attempts = Attempts::default();
    attempts.add(Attempt {
        first_seq: 11,
        last_seq: 14,
        sent_at: 1_790_000_000_007,
        ended_at: 1_790_000_000_009,
        address: "gw-1:8602".to_owned(),
        outcome: "lost".to_owned(),
        reason: "timed out".to_owned(),
        traceparent: None,
    });
    attempts
}

fn commit_header(count: u32, columns_len: usize, dead_len: usize) -> CommitHeader {
    CommitHeader {
        writer: 0,
        after_writer: 0,
        lane: LaneNo(1),
        first_seq: 1,
        count,
        content: BatchContent::Rows,
        dead_seqs: (1..=u64::from(count)).collect(),
        schema: None,
        columns_len: u32::try_from(columns_len).expect("a small seed"),
        dead_len: u32::try_from(dead_len).expect("a small seed"),
        body_crc: 0,
        gateway: GatewayId::new("gw-1").expect("a good id"),
        segments: vec![SegmentOrigin {
            count,
            collected_at: 1,
            spooled_at: 2,
            origin: None,
        }],
        sent_at: 3,
        received_at: 4,
        admitted_at: 5,
        traceparent: None,
        contexts: Default::default(),
        attempts: Default::default(),
        usage: Vec::new(),
    }
}

/// A header, its length in two bytes before it, and a body.
fn with_body(header: &CommitHeader, body: &[u8]) -> Vec<u8> {
    let header = unframed(header);
    let len = u16::try_from(header.len()).expect("a small seed").to_be_bytes();
    [&len[..], &header, body].concat()
}

fn commit_bodies() -> Vec<Vec<u8>> {
    let letter = |seq| DeadLetter {
        seq,
        reasons: vec![Reason {
            path: "/temperature".to_owned(),
            rule: "type".to_owned(),
            message: "is no number".to_owned(),
        }],
        payload: b"{\"temperature\":\"warm\"}".to_vec(),
    };
    let dead = tributary_schema::decode::encode_dead(&[letter(1), letter(2)]).expect("good letters");
    let mut dropped = commit_header(9, 0, 0);
    dropped.content = BatchContent::Dropped {
        reason: "drop_oldest".to_owned(),
    };
    dropped.dead_seqs.clear();
    // one object without fields
    let body = b"\x02{}";
    let segment = Segment {
        count: 1,
        collected_at: 1_790_000_000_000,
        spooled_at: 0,
        codec: Codec::None,
        len: 3,
        raw_len: 3,
        origin: None,
    };
    let schemaless = tributary_schema::decode::StreamSchema::schemaless();
    let limits = tributary_schema::decode::DecodeLimits::default();
    let columns = tributary_schema::decode::Decoder::new()
        .decode(&schemaless, 1, &[(&segment, &body[..])], &limits)
        .expect("one good event")
        .columns;
    let mut valid = commit_header(1, columns.len(), 0);
    valid.dead_seqs.clear();
    vec![
        with_body(&commit_header(2, 0, dead.len()), &dead),
        with_body(&dropped, &[]),
        with_body(&valid, &columns),
    ]
}
