//! The agent's end: fail-over, whose batches go first, twins.

use super::*;

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
