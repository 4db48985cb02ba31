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

#[test]
fn a_gateway_whose_batch_has_no_events_is_closed() {
    for (first_seq, count) in [(1, 0), (0, 1)] {
        let mut link = aggregator_session(0);
        link.batch(0, commit_header(1, first_seq, count), ());
        let closed = std::iter::from_fn(|| link.output())
            .any(|output| matches!(output, AggregatorOutput::Close { bye: Some(bye) } if bye.message.contains("without events")));
        assert!(closed, "{count} events from {first_seq}");
    }
}

#[test]
fn bounded_a_gateway_that_floods_the_aggregator_has_its_lanes_rewound_and_its_session_stays() {
    const LANES: u32 = 7;
    let mut link = aggregator_session(LANES);
    let most = 2 * Limits::default().max_in_flight as usize;
    let (mut rewound, mut fullest) = (0, 0);
    // the first batch of each lane never comes
    for at in 0..20 * most as u64 {
        let lane = 1 + (at % u64::from(LANES)) as u32;
        link.batch(0, commit_header(lane, 2 + at / u64::from(LANES), 1), ());
        fullest = fullest.max(link.waiting());
        assert!(link.waiting() <= most, "{} early batches", link.waiting());
        while let Some(output) = link.output() {
            match output {
                AggregatorOutput::Send(crate::wire::FromAggregator::Refuse(refuse)) => {
                    assert_eq!(refuse.expected, 1, "all of the lane must be sent again");
                    rewound += 1;
                }
                AggregatorOutput::Close { bye } => panic!("closed: {bye:?}"),
                _ => {}
            }
        }
    }
    assert!(
        fullest == most && rewound > 10,
        "{fullest} at most, {rewound} times rewound"
    );
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

#[test]
fn fail_over_begins_when_a_gateway_is_silent_for_three_heartbeats() {
    let mut link = agent_session(0);
    open(&mut link, 0, 1);
    for now in (0..60_000).step_by(500) {
        if now % HEARTBEAT_EVERY == 0 {
            link.receive(
                now,
                ToAgent::Heartbeat {
                    now: 0,
                    audit_head: None,
                    promoted: Vec::new(),
                },
            );
        }
        link.tick(now, 0);
    }
    assert_eq!(
        closed(&mut link),
        None,
        "a gateway that has nothing to say but lives"
    );
    let last = 58_000;
    link.tick(last + SILENCE_TIMEOUT - 1, 0);
    assert_eq!(closed(&mut link), None);
    link.tick(last + SILENCE_TIMEOUT, 0);
    assert_eq!(closed(&mut link).as_deref(), Some("the gateway has gone silent"));
}

#[test]
fn fail_over_begins_when_a_gateway_lives_but_cannot_open_lanes() {
    let mut link = agent_session(0);
    let mut now = 0;
    let reason = loop {
        link.receive(
            now,
            ToAgent::Heartbeat {
                now: 0,
                audit_head: None,
                promoted: Vec::new(),
            },
        );
        link.tick(now, 0);
        if let Some(reason) = closed(&mut link) {
            break reason;
        }
        now += 500;
        assert!(
            now <= 2 * ACK_TIMEOUT,
            "the agent stays with a gateway that has no aggregator"
        );
    };
    assert!(reason.contains("opening of lanes"), "{reason}");
}

#[test]
fn fresh_first_keeps_a_part_of_the_credit_for_live_data() {
    let mut link = agent_session(0);
    link.spool_changed(0, &[lane(1, false), lane(2, true)], 0, 0);
    open(&mut link, 0, 1);
    let mut sent = Vec::new();
    while let Some(shipment) = link.next_shipment(0) {
        sent.push((shipment.lane, shipment.fresh));
        link.shipped(0, shipment.lane, SeqRange::from_count(shipment.from_seq, 1), 1);
    }
    let credit = Limits::default().max_in_flight as usize;
    assert_eq!(
        sent,
        vec![(1, false); credit - credit / 4],
        "backlog alone, up to its part"
    );
    open(&mut link, 0, 2);
    let mut live = 0;
    while let Some(shipment) = link.next_shipment(0) {
        assert!(shipment.fresh, "the rest of the credit is for live data");
        link.shipped(0, shipment.lane, SeqRange::from_count(shipment.from_seq, 1), 1);
        live += 1;
    }
    assert_eq!(live, credit / 4);
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

#[test]
fn after_an_outage_streams_of_a_higher_priority_drain_first() {
    let mut link = agent_session(0);
    let view = |id, fresh, priority| LaneView {
        priority,
        ..lane(id, fresh)
    };
    let lanes = [
        view(1, false, Priority::Low),
        view(2, false, Priority::High),
        view(3, false, Priority::Normal),
        view(4, true, Priority::Low),
        view(5, true, Priority::High),
    ];
    link.spool_changed(0, &lanes, 0, 0);
    (1..=5).for_each(|id| open(&mut link, 0, id));
    let order = drain(&mut link);
    // live data has its share first, so that the two kinds are in order each for itself
    let of = |ids: &[u32]| -> Vec<u32> { order.iter().copied().filter(|id| ids.contains(id)).collect() };
    assert_eq!(of(&[4, 5]), [[5; 10], [4; 10]].concat());
    assert_eq!(of(&[1, 2, 3]), [[2; 10], [3; 10], [1; 10]].concat());
    let live_ends = order.iter().rposition(|id| *id >= 4).expect("live lanes");
    assert!(live_ends <= 41, "live data first up to its share: {order:?}");
}

#[test]
fn a_stream_of_low_priority_does_not_starve_behind_one_that_never_ends() {
    let mut link = agent_session(0);
    let view = |id, priority, next_seq| LaneView {
        priority,
        next_seq,
        ..lane(id, true)
    };
    let lanes = [view(1, Priority::Low, 1_001), view(2, Priority::High, 1_000_001)];
    link.spool_changed(0, &lanes, 0, 0);
    (1..=2).for_each(|id| open(&mut link, 0, id));
    let order = drain(&mut link);
    let low: Vec<usize> = (0..order.len()).filter(|at| order[*at] == 1).collect();
    assert_eq!(low.len(), 10);
    assert!(low[0] >= 20, "the first one waits for a while: {low:?}");
    let share = low[9] as f64 / 10.0;
    assert!((19.0..=22.0).contains(&share), "one batch in {share}");
}

#[test]
fn lanes_that_should_send_first_are_opened_first() {
    let id = AgentId::new("a").expect("valid");
    let key = SessionKey {
        instance: 1,
        session: 1,
    };
    let mut link = AgentLink::new(&id, "test", key, FreshShare::default(), 0);
    let view = |id, fresh, priority| LaneView {
        priority,
        ..lane(id, fresh)
    };
    let lanes = [
        view(1, false, Priority::High),
        view(2, true, Priority::Low),
        view(3, true, Priority::High),
    ];
    link.spool_changed(0, &lanes, 0, 0);
    let welcome = Welcome {
        version: VERSION,
        node: "g".to_owned(),
        now: 0,
        limits: Limits::default(),
    };
    link.receive(0, ToAgent::Welcome(welcome));
    let opened = std::iter::from_fn(|| link.output()).filter_map(|output| match output {
        AgentOutput::Send(ToGateway::OpenLane(open)) => Some(open.lane),
        _ => None,
    });
    assert_eq!(opened.collect::<Vec<_>>(), [3, 2, 1]);
}

#[test]
fn a_session_that_has_no_backlog_uses_all_of_its_credit() {
    let mut link = agent_session(0);
    open(&mut link, 0, 1);
    while let Some(shipment) = link.next_shipment(0) {
        link.shipped(0, shipment.lane, SeqRange::from_count(shipment.from_seq, 1), 1);
    }
    assert_eq!(link.in_flight(), Limits::default().max_in_flight as usize);
}

#[test]
fn only_the_session_that_is_meant_is_superseded() {
    let (agent, gateway) = (
        AgentId::new("a").expect("valid"),
        GatewayId::new("g").expect("valid"),
    );
    let mut link = GatewayLink::new(agent, gateway, Limits::default(), 0);
    let hello = crate::wire::Hello {
        min_version: MIN_VERSION,
        max_version: VERSION,
        node: "a".to_owned(),
        software: String::new(),
        instance: 7,
        session: 3,
        configuration: None,
    };
    link.receive(0, 0, ToGateway::Hello(hello));
    let key = |session| SessionKey { instance: 7, session };
    link.superseded_elsewhere(key(2));
    let closes = |link: &mut GatewayLink| {
        std::iter::from_fn(|| link.output()).any(|output| {
            matches!(output, GatewayOutput::Close { bye: Some(bye) } if bye.code == ByeCode::Superseded)
        })
    };
    assert!(!closes(&mut link), "an older session of the same agent was meant");
    link.superseded_elsewhere(key(3));
    assert!(closes(&mut link));
}

#[test]
fn a_refusal_that_comes_while_the_next_batch_is_read_is_not_undone() {
    let mut link = agent_session(0);
    open(&mut link, 0, 1);
    let first = link.next_shipment(0).expect("ten events");
    link.shipped(0, 1, SeqRange { first: 1, last: 10 }, 1);
    let second = link.next_shipment(0).expect("more events");
    assert!(link.is_next(0, &second));
    let refuse = crate::wire::Refuse {
        lane: 1,
        expected: 1,
        code: crate::wire::RefuseCode::Throttled,
        message: String::new(),
        retry_after_ms: 500,
    };
    link.receive(1, ToAgent::Refuse(refuse));
    assert!(
        !link.is_next(600, &second),
        "the first batch must be sent again before it"
    );
    assert!(
        !link.is_next(100, &first),
        "and not before the time that was asked for"
    );
    assert!(link.is_next(600, &first));
    assert_eq!(link.next_shipment(600).map(|next| next.from_seq), Some(1));
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

#[test]
fn an_agent_is_told_a_schema_once_and_again_when_it_changes() {
    let mut link = gateway_session(VERSION, Some(7));
    let wanted = std::iter::from_fn(|| link.output())
        .any(|output| output == GatewayOutput::WantSchema { stream: stream() });
    assert!(wanted);
    assert_eq!(
        link.schema(&stream(), Some(&schema_info(7))),
        0,
        "it keeps that one"
    );
    assert!(link.schema(&stream(), Some(&schema_info(8))) > 0);
    link.schema(&stream(), Some(&schema_info(8)));
    link.schema(&stream(), None);
    link.schema(&stream(), None);
    let mut huge = schema_info(9);
    huge.text = " ".repeat(MAX_PUSHED_SCHEMA + 1);
    link.schema(&stream(), Some(&huge));
    link.schema(&StreamName::new("other").expect("valid"), Some(&schema_info(8)));
    assert_eq!(pushed(&mut link), [Some(8), None]);
}

#[test]
fn an_agent_of_the_version_before_hears_nothing_of_schemas() {
    let mut link = gateway_session(crate::wire::SCHEMAS_TO_AGENTS - 1, None);
    link.schema(&stream(), Some(&schema_info(8)));
    let outputs: Vec<_> = std::iter::from_fn(|| link.output()).collect();
    let quiet = |output: &GatewayOutput| {
        !matches!(
            output,
            GatewayOutput::WantSchema { .. } | GatewayOutput::Send(ToAgent::Schema { .. })
        )
    };
    assert!(outputs.iter().all(quiet), "{outputs:?}");
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
fn an_agent_keeps_schemas_of_its_own_streams_only_and_says_which() {
    let mut link = agent_session(0);
    while link.output().is_some() {}
    let own = link.lane(1).expect("opened").stream.clone();
    for stream in [own.clone(), StreamName::new("somebody-elses").expect("valid")] {
        let schema = Some(schema_info(4));
        link.receive(1, ToAgent::Schema { stream, schema });
    }
    let told: Vec<_> = std::iter::from_fn(|| link.output()).collect();
    assert_eq!(
        told,
        [AgentOutput::Schema {
            stream: own.clone(),
            schema: Some(schema_info(4))
        }]
    );
    // the next epoch of the stream is opened with what was told
    link.spool_changed(2, &[lane(2, true)], 0, 0);
    let opened = std::iter::from_fn(|| link.output()).find_map(|output| match output {
        AgentOutput::Send(ToGateway::OpenLane(open)) => Some(open.schema_id),
        _ => None,
    });
    assert_eq!(opened, Some(Some(4)));
}

#[test]
fn a_schema_that_rows_name_is_asked_for_and_answered_either_way() {
    use crate::wire::{FromAggregator, SCHEMA_BY_ID_SINCE, ToAggregator};

    let gateway = GatewayId::new("g").expect("valid");
    let mut upstream = UpstreamLink::new(&gateway, "test", 1, 0);
    let mut center: AggregatorLink<()> = AggregatorLink::new(gateway, "agg".to_owned(), Limits::default(), 0);
    let mut found = Vec::new();
    let mut spoken = 0;
    let ask = |id| ToAggregator::GetSchemaById { stream: stream(), id };
    for _ in 0..4 {
        while let Some(output) = upstream.output() {
            match output {
                UpstreamOutput::Send(message) => center.receive(0, 0, message),
                UpstreamOutput::Connected { version, .. } => {
                    spoken = version;
                    upstream.send(ask(7));
                    upstream.send(ask(8));
                }
                UpstreamOutput::SchemaById {
                    id, schema, refused, ..
                } => found.push((id, schema, refused)),
                other => panic!("{other:?}"),
            }
        }
        while let Some(output) = center.output() {
            match output {
                AggregatorOutput::Send(message) => upstream.receive(message),
                AggregatorOutput::FindSchema { stream, id } => {
                    let refused = crate::wire::Reason {
                        path: String::new(),
                        rule: "unknown_schema".to_owned(),
                        message: "no".to_owned(),
                    };
                    let answer = if id == 7 { Ok(schema_info(7)) } else { Err(refused) };
                    center.schema_by_id(stream, id, answer);
                }
                AggregatorOutput::GatewayUp { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(spoken >= SCHEMA_BY_ID_SINCE);
    let [(7, Some(schema), None), (8, None, Some(refused))] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!((schema.id, refused.rule.as_str()), (7, "unknown_schema"));

    // what a version that says less sends is understood
    #[derive(serde::Serialize)]
    enum Terse {
        SchemaById { stream: StreamName, id: u32 },
    }
    let terse = Terse::SchemaById {
        stream: stream(),
        id: 9,
    };
    let bytes = rmp_serde::to_vec_named(&terse).expect("encodes");
    let message: FromAggregator = crate::wire::frame::decode("message", &bytes).expect("decodes");
    assert!(matches!(
        message,
        FromAggregator::SchemaById {
            id: 9,
            schema: None,
            refused: None,
            ..
        }
    ));
}

#[test]
fn a_checked_stream_is_asked_for_before_it_has_a_lane_unless_the_gateway_is_too_old() {
    for (version, asks) in [(crate::wire::SCHEMAS_TO_AGENTS - 1, false), (VERSION, true)] {
        let (id, key) = (
            AgentId::new("a").expect("valid"),
            SessionKey {
                instance: 1,
                session: 1,
            },
        );
        let mut link = AgentLink::new(&id, "test", key, FreshShare::default(), 0);
        link.keeps([(stream(), 7)]);
        link.wants([stream()]);
        let welcome = Welcome {
            version,
            node: "g".to_owned(),
            now: 0,
            limits: Limits::default(),
        };
        link.receive(0, ToAgent::Welcome(welcome));
        let asked = std::iter::from_fn(|| link.output()).find_map(|output| match output {
            AgentOutput::Send(ToGateway::WantSchema { stream, schema_id }) => Some((stream, schema_id)),
            _ => None,
        });
        assert_eq!(asked.clone(), asks.then(|| (stream(), Some(7))));
        let schema = Some(schema_info(8));
        link.receive(
            1,
            ToAgent::Schema {
                stream: stream(),
                schema,
            },
        );
        assert!(
            matches!(link.output(), Some(AgentOutput::Schema { .. })),
            "without any lane"
        );

        let Some((stream, schema_id)) = asked else {
            continue;
        };
        let mut gateway = gateway_session(VERSION, None);
        gateway.receive(
            1,
            0,
            ToGateway::WantSchema {
                stream: stream.clone(),
                schema_id,
            },
        );
        gateway.schema(&stream, Some(&schema_info(7)));
        gateway.schema(&stream, Some(&schema_info(8)));
        assert_eq!(pushed(&mut gateway), [Some(8)]);
    }
}

#[test]
fn the_streams_whose_schemas_an_agent_may_want_are_bounded() {
    let mut gateway = gateway_session(VERSION, None);
    for n in 0..2 * Limits::default().max_lanes {
        let stream = StreamName::new(&format!("s{n}")).expect("valid");
        gateway.receive(
            1,
            0,
            ToGateway::WantSchema {
                stream,
                schema_id: None,
            },
        );
    }
    assert_eq!(
        gateway.schema_streams().count(),
        Limits::default().max_lanes as usize
    );
}

#[test]
fn never_twice_an_acknowledgement_of_a_twins_batch_deletes_nothing() {
    let mut link = agent_session(0);
    let numbered = LaneView {
        history: crate::wire::History::default().extended(1, 7).expect("new"),
        ..lane(1, true)
    };
    link.spool_changed(0, &[numbered], 0, 0);
    open(&mut link, 0, 1);
    let mut committed = |writer| {
        let ack = crate::wire::Ack {
            lane: 1,
            mark: 100,
            writer,
        };
        link.receive(0, ToAgent::Ack(ack));
        std::iter::from_fn(|| link.output()).any(|output| matches!(output, AgentOutput::Committed { .. }))
    };
    assert!(!committed(9), "its batch was on the way when the lane was opened");
    assert!(committed(7));
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
