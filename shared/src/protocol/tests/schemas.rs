//! Schemas on their way to gateways and agents.

use super::*;

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
