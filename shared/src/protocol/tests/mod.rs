//! Sessions that several tests need, and what both ends must agree on: versions and messages.

mod agent;
mod aggregator;
mod schemas;

use super::*;
use crate::ids::{AgentId, Epoch, GatewayId, LaneNo, SeqRange, StreamName};
use crate::wire::{LaneOpened, Limits, MAX_PROMOTED, SessionKey, ToAgent, ToGateway, Welcome};

#[test]
fn versions_without_overlap_are_refused_with_both_ranges() {
    let hello = |min_version, max_version| crate::wire::Hello {
        min_version,
        max_version,
        node: "a".to_owned(),
        software: String::new(),
        instance: 0,
        session: 0,
        configuration: None,
    };
    assert_eq!(negotiate(&hello(1, 9)), Ok(VERSION));
    let bye = negotiate(&hello(VERSION + 1, VERSION + 3)).expect_err("too new");
    assert!(
        bye.message
            .contains(&format!("{} to {}", VERSION + 1, VERSION + 3)),
        "{}",
        bye.message
    );
}

/// A gateway's session at the aggregator, welcomed, with these lanes open.
fn aggregator_session(lanes: u32) -> AggregatorLink<()> {
    let id = GatewayId::new("g").expect("valid");
    let mut link = AggregatorLink::new(id, "agg".to_owned(), Limits::default(), 0);
    let hello = crate::wire::Hello {
        min_version: VERSION,
        max_version: VERSION,
        node: "g".to_owned(),
        software: String::new(),
        instance: 1,
        session: 1,
        configuration: None,
    };
    link.receive(0, 0, crate::wire::ToAggregator::Hello(hello));
    for lane in 1..=lanes {
        let key = crate::ids::LaneKey {
            agent: AgentId::new("a").expect("valid"),
            stream: StreamName::new("s").expect("valid"),
            epoch: Epoch(u64::from(lane)),
        };
        let open = crate::wire::ToAggregator::OpenLane {
            lane,
            key,
            next_seq: 1,
        };
        link.receive(0, 0, open);
        let lane_no = LaneNo(lane);
        link.lane_opened(LaneOpened {
            lane,
            lane_no,
            mark: 0,
            history: None,
        });
    }
    link
}

fn commit_header(lane: u32, first_seq: u64, count: u32) -> crate::wire::CommitHeader {
    crate::wire::CommitHeader {
        lane: LaneNo(lane),
        first_seq,
        count,
        writer: 0,
        after_writer: 0,
        content: crate::wire::BatchContent::Columns,
        dead_seqs: Vec::new(),
        schema: None,
        columns_len: 0,
        dead_len: 0,
        body_crc: 0,
        gateway: GatewayId::new("g").expect("valid"),
        segments: Vec::new(),
        sent_at: 0,
        received_at: 0,
        admitted_at: 0,
        traceparent: None,
        contexts: Default::default(),
        attempts: Default::default(),
        usage: Vec::new(),
    }
}

/// An agent's session, welcomed, with one lane of ten events.
fn agent_session(now: Tick) -> AgentLink {
    let id = AgentId::new("a").expect("valid");
    let key = SessionKey {
        instance: 1,
        session: 1,
    };
    let mut link = AgentLink::new(&id, "test", key, FreshShare::default(), now);
    link.spool_changed(now, &[lane(1, true)], 0, 0);
    let welcome = Welcome {
        version: VERSION,
        node: "g".to_owned(),
        now: 0,
        limits: Limits::default(),
    };
    link.receive(now, ToAgent::Welcome(welcome));
    link
}

fn lane(lane: u32, fresh: bool) -> LaneView {
    LaneView {
        lane,
        stream: StreamName::new("s").expect("valid"),
        epoch: Epoch(u64::from(lane)),
        next_seq: 1_001,
        committed_seq: 0,
        history: crate::wire::History::default(),
        held_events: 1_000,
        held_bytes: 0,
        fresh,
        priority: Priority::Normal,
    }
}

fn open(link: &mut AgentLink, now: Tick, lane: u32) {
    let opened = LaneOpened {
        lane,
        lane_no: LaneNo(lane),
        mark: 0,
        history: None,
    };
    link.receive(now, ToAgent::LaneOpened(opened));
    link.resume(lane, 0);
}

/// Why the session was given up, once it was.
fn closed(link: &mut AgentLink) -> Option<String> {
    std::iter::from_fn(|| link.output()).find_map(|output| match output {
        AgentOutput::Close { reason, .. } => Some(reason),
        _ => None,
    })
}

/// Ships until nothing is left, each batch a hundred events and 64 KiB, acknowledged at once; the lanes in order.
fn drain(link: &mut AgentLink) -> Vec<u32> {
    let mut order = Vec::new();
    while let Some(shipment) = link.next_shipment(0) {
        let range = SeqRange::from_count(shipment.from_seq, 100);
        link.shipped(0, shipment.lane, range, 64 << 10);
        let mark = range.last;
        link.receive(
            0,
            ToAgent::Ack(crate::wire::Ack {
                lane: shipment.lane,
                mark,
                writer: 0,
            }),
        );
        order.push(shipment.lane);
    }
    order
}

fn schema_info(id: u32) -> crate::wire::SchemaInfo {
    crate::wire::SchemaInfo {
        id,
        version: id,
        format: "JSON".to_owned(),
        text: format!("{{\"title\":\"{id}\"}}"),
        references: Vec::new(),
    }
}

/// A gateway's session with an agent that speaks protocols up to `version`, and says that it keeps `schema_id`.
fn gateway_session(version: u16, schema_id: Option<u32>) -> GatewayLink {
    let (agent, gateway) = (
        AgentId::new("a").expect("valid"),
        GatewayId::new("g").expect("valid"),
    );
    let mut link = GatewayLink::new(agent, gateway, Limits::default(), 0);
    let hello = crate::wire::Hello {
        min_version: 1,
        max_version: version,
        node: "a".to_owned(),
        software: String::new(),
        instance: 1,
        session: 1,
        configuration: None,
    };
    link.receive(0, 0, ToGateway::Hello(hello));
    let open = crate::wire::OpenLane {
        lane: 1,
        stream: stream(),
        epoch: Epoch(1),
        next_seq: 1,
        schema_id,
    };
    link.receive(0, 0, ToGateway::OpenLane(open));
    link
}

fn stream() -> StreamName {
    StreamName::new("s").expect("valid")
}

/// The schemas that a link sends, by id.
fn pushed(link: &mut GatewayLink) -> Vec<Option<u32>> {
    std::iter::from_fn(|| link.output())
        .filter_map(|output| match output {
            GatewayOutput::Send(ToAgent::Schema { schema, .. }) => Some(schema.map(|schema| schema.id)),
            _ => None,
        })
        .collect()
}

/// What version 1 wrote has no schema id and no checks; what version 2 writes is read by version 1, which skips
/// fields that it does not know.
#[test]
fn messages_of_both_versions_are_read_by_both() {
    use crate::wire::frame::{PREFIX, decode, encode};
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct OldOpenLane {
        lane: u32,
        stream: StreamName,
        epoch: Epoch,
        next_seq: u64,
    }
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct OldReport {
        now: i64,
        spool_bytes: u64,
        spool_limit: u64,
        lanes: Vec<crate::wire::LaneReport>,
    }
    let old = OldOpenLane {
        lane: 1,
        stream: stream(),
        epoch: Epoch(1),
        next_seq: 5,
    };
    let bytes = encode("old", &old, 1_000).expect("small");
    let new: crate::wire::OpenLane = decode("new", &bytes[PREFIX..]).expect("reads");
    assert_eq!((new.next_seq, new.schema_id), (5, None));
    let new = crate::wire::OpenLane {
        schema_id: Some(3),
        ..new
    };
    let bytes = encode("new", &new, 1_000).expect("small");
    assert_eq!(
        decode::<OldOpenLane>("old", &bytes[PREFIX..]).expect("reads"),
        old
    );
    let report = crate::wire::NodeReport {
        skew_ms: None,
        promoted: Vec::new(),
        now: 1,
        spool_bytes: 2,
        spool_limit: 3,
        lanes: Vec::new(),
        checks: vec![crate::wire::CheckReport {
            stream: stream(),
            policy: "tag".to_owned(),
            schema_id: Some(3),
            checked: 2,
            invalid: 1,
            refused_requests: 0,
            by_rule: [("type".to_owned(), 1)].into(),
        }],
    };
    let bytes = encode("new", &report, 1_000).expect("small");
    let old: OldReport = decode("old", &bytes[PREFIX..]).expect("reads");
    let bytes = encode("old", &old, 1_000).expect("small");
    let back: crate::wire::NodeReport = decode("new", &bytes[PREFIX..]).expect("reads");
    assert!(back.checks.is_empty() && back.spool_limit == 3);
}

#[test]
fn promoted_traces_travel_once_both_ways_and_few_at_a_time() {
    let many = || (0..100).map(|n| format!("{n:032x}"));
    let mut link = agent_session(0);
    link.promoted(many());
    let reported = |link: &mut AgentLink, now| {
        link.tick(now, 0);
        let outputs = std::iter::from_fn(|| link.output());
        let mut reports = outputs.filter_map(|output| match output {
            AgentOutput::Send(ToGateway::Report(report)) => Some(report.promoted.len()),
            _ => None,
        });
        reports.next()
    };
    assert_eq!(reported(&mut link, 0), Some(MAX_PROMOTED));
    assert_eq!(reported(&mut link, HEARTBEAT_EVERY), Some(0));
    let heartbeat = ToAgent::Heartbeat {
        now: 0,
        audit_head: None,
        promoted: many().collect(),
    };
    link.receive(HEARTBEAT_EVERY, heartbeat);
    let told = std::iter::from_fn(|| link.output()).find_map(|output| match output {
        AgentOutput::Promoted(traces) => Some(traces.len()),
        _ => None,
    });
    assert_eq!(told, Some(MAX_PROMOTED));

    let (agent, gateway) = (
        AgentId::new("a").expect("valid"),
        GatewayId::new("g").expect("valid"),
    );
    let mut link = GatewayLink::new(agent, gateway, Limits::default(), 0);
    let hello = crate::wire::Hello {
        min_version: VERSION,
        max_version: VERSION,
        node: "a".to_owned(),
        software: String::new(),
        instance: 1,
        session: 1,
        configuration: Default::default(),
    };
    link.receive(0, 0, ToGateway::Hello(hello));
    many().for_each(|trace| link.promoted(trace));
    let mut told = Vec::new();
    for now in [HEARTBEAT_EVERY, 2 * HEARTBEAT_EVERY] {
        link.tick(now, 0);
        told.extend(
            std::iter::from_fn(|| link.output()).filter_map(|output| match output {
                GatewayOutput::Send(ToAgent::Heartbeat { promoted, .. }) => Some(promoted.len()),
                _ => None,
            }),
        );
    }
    assert_eq!(told, [MAX_PROMOTED, 0]);
}

#[test]
fn a_batch_without_a_past_says_nothing_of_it_and_one_with_is_read_by_older_programs() {
    use crate::wire::frame::{PREFIX, decode, encode};
    use crate::wire::{Attempt, Attempts, BatchContent, BatchHeader, Context, Contexts};

    #[derive(Debug, serde::Deserialize)]
    struct Older {
        first_seq: u64,
        sent_at: i64,
    }
    let mut header = BatchHeader {
        lane: 1,
        first_seq: 7,
        count: 1,
        writer: 0,
        after_writer: 0,
        content: BatchContent::Rows,
        segments: Vec::new(),
        body_len: 0,
        body_crc: 0,
        sent_at: 9,
        traceparent: None,
        contexts: Contexts::default(),
        attempts: Attempts::default(),
    };
    let plain = encode("header", &header, 10_000).expect("small");
    for name in [&b"contexts"[..], b"attempts"] {
        assert!(!plain.windows(name.len()).any(|part| part == name));
    }
    assert_eq!(
        decode::<BatchHeader>("header", &plain[PREFIX..]).expect("reads"),
        header
    );
    header.contexts = Contexts::choose(vec![Context {
        first_seq: 7,
        last_seq: 7,
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(),
    }]);
    header.attempts.add(Attempt {
        first_seq: 7,
        last_seq: 7,
        sent_at: 1,
        ended_at: 2,
        address: "gw:8602".to_owned(),
        outcome: crate::wire::RefuseCode::Unavailable.as_str().to_owned(),
        reason: "the disk is full".to_owned(),
        traceparent: None,
    });
    let full = encode("header", &header, 10_000).expect("small");
    assert_eq!(
        decode::<BatchHeader>("header", &full[PREFIX..]).expect("reads"),
        header
    );
    let older = decode::<Older>("header", &full[PREFIX..]).expect("reads");
    assert_eq!((older.first_seq, older.sent_at), (7, 9));
}
