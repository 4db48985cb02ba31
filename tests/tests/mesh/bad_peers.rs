//! Peers that must not be served: strangers, holders of the wrong certificate, the silent, and the lying.

use std::net::UdpSocket;
use std::path::Path;
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tributary::up::configs::{AgentSettings, GatewaySettings};
use tributary_shared::identity::{Role, TlsPaths};
use tributary_shared::wire::{ALPN, Codec, MAX_INFLATED_BATCH, RefuseCode, ToAgent, ToGateway};
use tributary_tests::{Mesh, Metrics, Pki, RoleProcess, SOON, free_udp_port, http, past, wait_until};

use crate::raw_agent::{self, RawAgent};
use crate::{mesh, program, temp_dir};

const REFUSED: &str = "tributary_gateway_refused_total";
const REFUSED_UPSTREAM: &str = "tributary_aggregator_refused_total";

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Dials with any certificate at all: what [`tributary_shared::identity::Identity`] would refuse to load.
fn dialler(ca_pem: &str, own: &TlsPaths) -> quinn::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).expect("a CA"))
        .expect("a good CA");
    let chain = vec![CertificateDer::from_pem_file(&own.cert).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(&own.key).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .expect("a pair");
    tls.alpn_protocols = vec![ALPN.to_vec()];
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("a QUIC cipher")))
}

/// Dials and sees the connection end without having been served. In TLS 1.3 the refusal comes after the
/// dialler's own handshake.
async fn is_refused(config: quinn::ClientConfig, address: &str, role: Role) -> String {
    let endpoint = raw_agent::endpoint();
    let name = role.server_name().expect("a role that answers");
    let address = address.parse().expect("host:port");
    let connecting = endpoint
        .connect_with(config, address, name)
        .expect("a good configuration");
    let connection = match tokio::time::timeout(SOON, connecting)
        .await
        .expect("an answer in time")
    {
        Ok(connection) => connection,
        Err(error) => return error.to_string(),
    };
    let ended = tokio::time::timeout(SOON, connection.closed()).await;
    ended.expect("the connection is closed by the server").to_string()
}

/// A role that is started with this configuration must end with a failure and say this.
fn ends_with(role: &str, dir: &Path, config: &str, said: &str) {
    let mut process = RoleProcess::start(program(), role, dir, config).process;
    let status = process.wait(SOON);
    assert_eq!(status.code(), Some(1), "{}", process.log());
    assert!(
        process.log().contains(said),
        "it says {said:?}: {}",
        process.log()
    );
}

fn gateway_config(dir: &Path, tls: TlsPaths) -> String {
    let settings = GatewaySettings {
        listen: "127.0.0.1:0".to_owned(),
        aggregator: format!("127.0.0.1:{}", free_udp_port()),
        ready_file: RoleProcess::ready_file(dir, "gateway"),
        tls,
    };
    settings.render()
}

#[test]
fn strangers_and_wrong_certificates_are_refused_and_counted() {
    let dir = temp_dir();
    let strangers = temp_dir();
    let mesh = mesh(&dir);
    let ours = Pki::of_mesh(dir.path());
    let theirs = Pki::at(&strangers.path().join("other-ca"));
    let (gateway, aggregator) = (mesh.ready().gateway.clone(), mesh.aggregator_listen());
    let expired = ours.issue_for(Role::Agent, "expired", past());
    let foreign = theirs.issue(Role::Agent, "foreign");
    let agent = ours.issue(Role::Agent, "agent-2");
    let other_gateway = ours.issue(Role::Gateway, "gateway-2");

    // at the gateway's port only agents of our CA with a certificate of today are served
    for (what, tls) in [
        ("expired", &expired),
        ("foreign", &foreign),
        ("a gateway", &other_gateway),
    ] {
        let before = mesh.gateway_count(REFUSED, &[("reason", "handshake")]);
        let told = runtime().block_on(is_refused(dialler(ours.ca_pem(), tls), &gateway, Role::Gateway));
        assert!(!told.is_empty(), "{what}");
        Metrics::wait_for_more(
            &mesh.gateway_http(),
            REFUSED,
            &[("reason", "handshake")],
            before,
            SOON,
        );
    }
    // who was turned away, and by whom, is in the audit
    wait_until(SOON, "the refusals are in the audit", || {
        let url = format!("{}/api/v1/audit?kind=refusal", mesh.ready().http);
        let told = http::get_json(&url)?.to_string();
        (told.contains("by gateway ") && told.contains("127.0.0.1"))
            .then_some(())
            .ok_or(told)
    });
    // at the aggregator's only gateways: an agent's certificate cannot act as one
    let before = Metrics::scrape(&mesh.ready().http)
        .expect("metrics")
        .sum(REFUSED_UPSTREAM, &[]);
    runtime().block_on(is_refused(
        dialler(ours.ca_pem(), &agent),
        &aggregator,
        Role::Aggregator,
    ));
    Metrics::wait_for_more(&mesh.ready().http, REFUSED_UPSTREAM, &[], before, SOON);
    mesh.assert_traffic_flows("app");

    // whoever has such a certificate is told at the start, in words
    ends_with(
        "gateway",
        strangers.path(),
        &gateway_config(strangers.path(), agent),
        "agent",
    );
    let expired_gateway = ours.issue_for(Role::Gateway, "expired-gateway", past());
    ends_with(
        "gateway",
        strangers.path(),
        &gateway_config(strangers.path(), expired_gateway),
        "expired",
    );
}

#[test]
fn an_agent_of_another_ca_keeps_its_events_and_says_why() {
    let dir = temp_dir();
    let elsewhere = temp_dir();
    let mesh = mesh(&dir);
    let theirs = Pki::at(&elsewhere.path().join("other-ca"));
    let settings = AgentSettings {
        id: "foreign",
        dir: elsewhere.path().join("agent"),
        gateways: &[mesh.ready().gateway.clone()],
        ready_file: Some(RoleProcess::ready_file(elsewhere.path(), "agent")),
        tls: theirs.issue(Role::Agent, "foreign"),
        intake: "127.0.0.1:0".to_owned(),
        host_metrics: false,
        tails: &[],
    };
    let mut agent = RoleProcess::start(program(), "agent", elsewhere.path(), &settings.render());
    let intake = agent.serving()["intake"].clone();
    let url = format!("{intake}/v1/streams/app/events");
    let answer = http::post(&url, "application/json", b"{\"a\":1}").expect("an answer");
    assert_eq!(answer.status, 200, "its own disk is good: {}", answer.body);
    let status = wait_until(SOON, "the agent says why it is not connected", || {
        let status: Value = http::get_json(&format!("{intake}/v1/status"))?;
        let why = status["connection"]["last_error"].as_str().unwrap_or_default();
        why.contains("CA")
            .then(|| status.clone())
            .ok_or_else(|| status.to_string())
    });
    assert_eq!(status["lanes"][0]["held_events"], 1, "{status}");
    assert!(mesh.ledger("app").expect("the ledger").is_empty());
    mesh.assert_traffic_flows("app");
    agent.stop();
}

#[test]
fn garbage_datagrams_disturb_nobody() {
    let dir = temp_dir();
    let mesh = mesh(&dir);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a udp socket");
    for target in [mesh.ready().gateway.clone(), mesh.aggregator_listen()] {
        for round in 0..2_000u32 {
            // from tiny to a whole Ethernet frame; some look like the start of a QUIC long header
            let len = usize::try_from(round % 1_400).expect("small") + 1;
            let mut datagram: Vec<u8> = (0..len)
                .map(|at| (at as u32).wrapping_mul(2_654_435_761).wrapping_add(round) as u8)
                .collect();
            if round % 3 == 0 {
                datagram[0] |= 0xc0;
            }
            // a full socket buffer drops some, as a network would
            let _ = socket.send_to(&datagram, &target);
        }
    }
    mesh.assert_traffic_flows("app");
    let pids = ["agent", "gateway", "aggregator"].map(|role| mesh.pid(role));
    assert_eq!(
        pids,
        ["agent", "gateway", "aggregator"].map(|role| mesh.ready().pids[role]),
        "nobody died"
    );
}

/// Waits until the server ends this connection.
async fn ends(connection: &quinn::Connection, what: &str) {
    let ended = tokio::time::timeout(SOON, connection.closed()).await;
    assert!(ended.is_ok(), "{what}: the connection is still open");
}

async fn silent_peers(mesh: &Mesh, pki: &Pki) {
    let endpoint = raw_agent::endpoint();
    let gateway = &mesh.ready().gateway;
    let no_stream = raw_agent::dial(&endpoint, gateway, &pki.issue(Role::Agent, "silent-1")).await;
    let no_hello = raw_agent::dial(&endpoint, gateway, &pki.issue(Role::Agent, "silent-2")).await;
    let (mut control, _answers) = no_hello.open_bi().await.expect("a control stream");
    // the peer learns of a stream by its first bytes: the length of a message that never comes
    control.write_all(&[0, 0]).await.expect("two bytes");
    mesh.assert_traffic_flows("meanwhile");
    ends(&no_stream, "no control stream").await;
    ends(&no_hello, "no hello").await;
}

#[test]
fn quic_peers_that_never_say_hello_are_sent_away() {
    let dir = temp_dir();
    let mesh = mesh(&dir);
    let before = mesh.gateway_count(REFUSED, &[]);
    runtime().block_on(silent_peers(&mesh, &Pki::of_mesh(dir.path())));
    Metrics::wait_for_more(&mesh.gateway_http(), REFUSED, &[], before + 1.0, SOON);
    mesh.assert_traffic_flows("app");
}

fn is_malformed(answer: &ToAgent) -> bool {
    matches!(answer, ToAgent::Refuse(refuse) if refuse.code == RefuseCode::Malformed)
}

async fn liars(mesh: &Mesh, pki: &Pki) {
    let endpoint = raw_agent::endpoint();
    let tls = pki.issue(Role::Agent, "liar");
    let bomb = zstd::bulk::compress(&vec![b' '; 4 * MAX_INFLATED_BATCH], 1).expect("zstd");

    let connection = raw_agent::dial(&endpoint, &mesh.ready().gateway, &tls).await;
    let mut agent = RawAgent::open(connection, "liar").await;
    agent.open_lane(1, "lies").await;
    // it says that it is small
    let (header, body) = raw_agent::batch(1, 1, Codec::Zstd, bomb.clone(), 1_000);
    agent.send(&header, body).await;
    agent.wait_for("a refusal of the bomb", is_malformed).await;
    // a checksum that is not the body's
    let (mut header, body) = raw_agent::one_event(1, 1, b"{\"a\":1}");
    header.body_crc ^= 1;
    agent.send(&header, body).await;
    agent
        .wait_for("a refusal of the damaged body", is_malformed)
        .await;
    // the same session still works
    let (header, body) = raw_agent::one_event(1, 1, b"{\"a\":1}");
    agent.send(&header, body).await;
    let answer = agent
        .wait_for("an ack", |answer| matches!(answer, ToAgent::Ack(_)))
        .await;
    assert!(matches!(answer, ToAgent::Ack(ack) if ack.mark == 1), "{answer:?}");
    // it says how large it is: not even the body is read, and the session ends
    let (header, body) = raw_agent::batch(1, 2, Codec::Zstd, bomb, 4 * MAX_INFLATED_BATCH as u32);
    agent.send(&header, body).await;
    agent
        .wait_for("a last word", |answer| matches!(answer, ToAgent::Bye(_)))
        .await;
    ends(&agent.connection, "the bomb").await;

    // words before the hello, and another's name
    let connection = raw_agent::dial(&endpoint, &mesh.ready().gateway, &tls).await;
    let mut agent = RawAgent::open(connection, "liar").await;
    agent.say(&ToGateway::Hello(hello_of("somebody-else"))).await;
    agent
        .wait_for("a last word", |answer| matches!(answer, ToAgent::Bye(_)))
        .await;
    ends(&agent.connection, "a second hello").await;
}

fn hello_of(node: &str) -> tributary_shared::wire::Hello {
    tributary_shared::wire::Hello {
        min_version: 1,
        max_version: 1,
        node: node.to_owned(),
        software: "by hand".to_owned(),
        instance: 2,
        session: 1,
        configuration: None,
    }
}

#[test]
fn bodies_that_inflate_beyond_their_limit_or_lie_are_refused_and_harm_only_their_sender() {
    let dir = temp_dir();
    let mesh = mesh(&dir);
    let before = ["Malformed", "LimitExceeded", "ProtocolError"]
        .map(|reason| (reason, mesh.gateway_count(REFUSED, &[("reason", reason)])));
    runtime().block_on(liars(&mesh, &Pki::of_mesh(dir.path())));
    for (reason, before) in before {
        Metrics::wait_for_more(&mesh.gateway_http(), REFUSED, &[("reason", reason)], before, SOON);
    }
    mesh.assert_traffic_flows("app");
    let [lane] = &mesh.ledger("lies").expect("the ledger")[..] else {
        panic!("one lane")
    };
    assert!(lane.mark == 1 && lane.valid == 1 && lane.balances(), "{lane:?}");
    assert_eq!(lane.agent, "liar", "by its certificate");
}
