use super::*;
use crate::ids::{AgentId, Epoch, GatewayId, LaneNo, SeqRange, StreamName};
use crate::wire::{LaneOpened, Limits, SessionKey, ToAgent, ToGateway, Welcome};

#[test]
fn versions_without_overlap_are_refused_with_both_ranges() {
    let hello = |min_version, max_version| crate::wire::Hello {
        min_version,
        max_version,
        node: "a".to_owned(),
        software: String::new(),
        instance: 0,
        session: 0,
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

#[test]
fn a_gateway_whose_batch_has_no_events_is_closed() {
    for (first_seq, count) in [(1, 0), (0, 1)] {
        let id = GatewayId::new("g").expect("valid");
        let mut link: AggregatorLink<()> =
            AggregatorLink::new(id.clone(), "agg".to_owned(), Limits::default(), 0);
        let hello = crate::wire::Hello {
            min_version: VERSION,
            max_version: VERSION,
            node: "g".to_owned(),
            software: String::new(),
            instance: 1,
            session: 1,
        };
        link.receive(0, 0, crate::wire::ToAggregator::Hello(hello));
        let header = crate::wire::CommitHeader {
            lane: LaneNo(1),
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
            gateway: id,
            segments: Vec::new(),
            sent_at: 0,
            received_at: 0,
            admitted_at: 0,
            traceparent: None,
        };
        link.batch(0, header, ());
        let closed = std::iter::from_fn(|| link.output())
            .any(|output| matches!(output, AggregatorOutput::Close { bye: Some(bye) } if bye.message.contains("without events")));
        assert!(closed, "{count} events from {first_seq}");
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
        held_events: 1_000,
        held_bytes: 0,
        fresh,
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
            link.receive(now, ToAgent::Heartbeat { now: 0 });
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
        link.receive(now, ToAgent::Heartbeat { now: 0 });
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
