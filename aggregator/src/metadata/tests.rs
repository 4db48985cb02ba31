//! The book over its file.

use tributary_shared::ids::{AgentId, Epoch, GatewayId, LaneKey, StreamName};

use super::*;

fn reported<'a>(software: &'a str, configuration: Option<&'a str>) -> Reported<'a> {
    Reported {
        kind: NodeKind::Agent,
        name: "press-7",
        software,
        configuration,
    }
}

fn lane(stream: &str) -> LaneKey {
    LaneKey {
        agent: AgentId::new("press-7").expect("valid"),
        stream: StreamName::new(stream).expect("valid"),
        epoch: Epoch(1),
    }
}

#[test]
fn what_changed_is_told_once_and_survives_a_restart() {
    let dir = tempfile::tempdir().expect("dir");
    let metadata = Metadata::open(dir.path()).expect("opens");
    let one = r#"{"gateways":["g:1"],"spool.limit":"1GiB"}"#;
    let two = r#"{"gateways":["g:1"],"spool.limit":"2GiB","ships":[]}"#;
    let first = metadata.seen(reported("a/1", Some(one)), 10).expect("new");
    assert_eq!(first.changed, ["software", "gateways", "spool.limit"]);
    assert_eq!(metadata.seen(reported("a/1", Some(one)), 20), None);
    assert_eq!(
        metadata.seen(reported("a/1", None), 25),
        None,
        "a report without it says nothing new"
    );
    metadata.save().expect("saved");
    drop(metadata);

    let metadata = Metadata::open(dir.path()).expect("opens again");
    assert_eq!(
        metadata.seen(reported("a/1", Some(one)), 30),
        None,
        "known from before"
    );
    let change = metadata.seen(reported("a/2", Some(two)), 40).expect("changed");
    assert_eq!(change.changed, ["software", "ships", "spool.limit"]);
    let record = &change.record;
    assert_eq!(
        (record.first_seen, record.last_seen, record.changed_at),
        (10, 40, 40)
    );
    assert_ne!(record.digest, first.record.digest);
    metadata.left(NodeKind::Agent, "press-7", 90);
    metadata.save().expect("saved");
    drop(metadata);
    let nodes = Metadata::open(dir.path()).expect("opens").nodes();
    assert_eq!(nodes.len(), 1);
    assert_eq!((nodes[0].last_seen, nodes[0].changed_at), (90, 40));
    assert_eq!(nodes[0].configuration, change.record.configuration);
}

#[test]
fn garbage_is_no_configuration() {
    let dir = tempfile::tempdir().expect("dir");
    let metadata = Metadata::open(dir.path()).expect("opens");
    let long = format!(
        "{{\"a\":\"{}\"}}",
        "x".repeat(tributary_shared::wire::MAX_CONFIGURATION)
    );
    for (at, garbage) in ["{", "[1]", "7", long.as_str()].into_iter().enumerate() {
        let told = metadata.seen(reported("a/1", Some(garbage)), 1);
        assert_eq!(
            told.is_some(),
            at == 0,
            "only the first time is it new: {garbage:.20}"
        );
    }
    assert_eq!(metadata.nodes()[0].configuration, None);
}

#[test]
fn routes_add_up_over_restarts() {
    let dir = tempfile::tempdir().expect("dir");
    let (one, two) = (
        GatewayId::new("g1").expect("valid"),
        GatewayId::new("g2").expect("valid"),
    );
    let metadata = Metadata::open(dir.path()).expect("opens");
    metadata.passed(&lane("s"), &one, 10, 5);
    metadata.passed(&lane("s"), &two, 1, 6);
    metadata.save().expect("saved");
    metadata.passed(&lane("s"), &one, 7, 9);
    metadata.save().expect("saved");
    drop(metadata);
    let metadata = Metadata::open(dir.path()).expect("opens again");
    metadata.passed(&lane("s"), &one, 3, 12);
    let routes = metadata.routes();
    let shown: Vec<_> = routes
        .iter()
        .map(|route| {
            (
                route.gateway.as_str(),
                route.events,
                route.first_seen,
                route.last_seen,
            )
        })
        .collect();
    assert_eq!(shown, [("g1", 20, 5, 12), ("g2", 1, 6, 6)]);
}

#[test]
fn a_gateway_is_here_while_any_session_of_it_is() {
    let dir = tempfile::tempdir().expect("dir");
    let metadata = Metadata::open(dir.path()).expect("opens");
    let here = || metadata.gateways_here().into_iter().collect::<Vec<_>>();
    metadata.session_began("g");
    metadata.session_began("g");
    metadata.session_ended("g", 1);
    assert_eq!(here(), ["g"], "the older session ended after the newer one began");
    metadata.session_ended("g", 2);
    assert_eq!(here(), [""; 0]);
}

#[test]
fn a_file_of_a_newer_program_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    drop(Metadata::open(dir.path()).expect("opens"));
    let db = rusqlite::Connection::open(dir.path().join(METADATA_FILE)).expect("opens");
    db.pragma_update(None, "user_version", 9).expect("set");
    drop(db);
    let refused = Metadata::open(dir.path()).expect_err("too new");
    assert!(refused.to_string().contains("format 9"), "{refused}");
}
