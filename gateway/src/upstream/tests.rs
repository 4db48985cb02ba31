//! The actor against an aggregator that a test plays, over real QUIC on loopback.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix::Actor as _;
use tokio::sync::{mpsc, watch};
use tributary_shared::actors::{Policy, Supervised, supervise};
use tributary_shared::identity::{Authority, Identity, Role, Validity};
use tributary_shared::ids::AgentId;
use tributary_shared::refusals::Refusals;
use tributary_shared::time::now_millis;
use tributary_shared::transport::ControlReader;
use tributary_shared::wire::{
    FromAggregator, Limits, MAX_CONTROL_FRAME, NodeReport, SessionKey, ToAggregator, VERSION, Welcome, frame,
};

use super::{ReportAgent, Upstream, UpstreamSetup};
use crate::schemas::SchemaBook;

/// Far more than a step needs; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// An aggregator that welcomes its gateway and then only listens.
struct Played {
    endpoint: quinn::Endpoint,
    address: SocketAddr,
}

/// One connection of the gateway, which ends with this value.
struct Call {
    connection: quinn::Connection,
    reader: ControlReader,
    _send: quinn::SendStream,
}

impl Played {
    fn new(identity: &Identity) -> Self {
        let server = identity.server_config(Role::Gateway, 16).expect("a server");
        let local = "127.0.0.1:0".parse().expect("an address");
        let endpoint = identity.listen(server, local).expect("a port");
        let address = endpoint.local_addr().expect("bound");
        Self { endpoint, address }
    }

    async fn answer(&self) -> Call {
        let answer = async {
            let connection = self
                .endpoint
                .accept()
                .await
                .expect("open")
                .await
                .expect("a gateway");
            let (mut send, receive) = connection.accept_bi().await.expect("its control stream");
            let mut reader = ControlReader::new(receive);
            let hello = reader.next::<ToAggregator>().await.expect("a message");
            assert!(matches!(hello, Some(ToAggregator::Hello(_))), "{hello:?}");
            let welcome = FromAggregator::Welcome(Welcome {
                version: VERSION,
                node: "agg".to_owned(),
                now: 0,
                limits: Limits::default(),
            });
            let welcome = frame::encode("control message", &welcome, MAX_CONTROL_FRAME).expect("small");
            send.write_all(&welcome).await.expect("it listens");
            Call {
                connection,
                reader,
                _send: send,
            }
        };
        tokio::time::timeout(PATIENCE, answer)
            .await
            .expect("the gateway dials")
    }
}

impl Call {
    /// The next that is said of an agent.
    async fn agent(&mut self) -> ReportAgent {
        let heard = async {
            loop {
                let message = self.reader.next::<ToAggregator>().await.expect("a message");
                if let ToAggregator::Agent {
                    agent,
                    session,
                    remote,
                    software,
                    configuration,
                    report,
                } = message.expect("the connection lasts")
                {
                    return ReportAgent {
                        agent,
                        session,
                        remote,
                        software,
                        configuration,
                        report,
                    };
                }
            }
        };
        tokio::time::timeout(PATIENCE, heard)
            .await
            .expect("a report comes")
    }
}

fn identity(ca: &Authority, dir: &Path, role: Role, id: &str) -> Identity {
    let day = Duration::from_secs(24 * 3600);
    let bundle = ca.issue(role, id, Validity::from_now(now_millis(), day));
    let paths = bundle.expect("a bundle").write(&dir.join(id)).expect("written");
    Identity::load(&paths, role).expect("a good identity")
}

fn start(identity: Identity, aggregator: SocketAddr) -> Supervised<Upstream> {
    let local = "127.0.0.1:0".parse().expect("an address");
    let mut endpoint = quinn::Endpoint::client(local).expect("a port");
    endpoint.set_default_client_config(identity.client_config().expect("a client"));
    let (wanted, _) = mpsc::unbounded_channel();
    let setup = UpstreamSetup {
        gateway: identity.own().clone().gateway().expect("a gateway"),
        address: aggregator.to_string(),
        endpoint,
        identity: Arc::new(identity),
        schemas: SchemaBook::new(wanted),
        news: crate::news::SchemaNews::default(),
        instance: 1,
        software: "test".to_owned(),
        configuration: None,
        refusals: Refusals::default(),
    };
    let published = Arc::new(watch::channel(None).0);
    let factory = move |death| Upstream::new(setup.clone(), Arc::clone(&published), death).start();
    supervise("upstream", Policy::default(), factory, |_| {})
}

fn report(agent: &str, spool_bytes: Option<u64>) -> ReportAgent {
    ReportAgent {
        agent: AgentId::new(agent).expect("valid"),
        session: SessionKey {
            instance: 5,
            session: 1,
        },
        remote: String::new(),
        software: String::new(),
        configuration: None,
        report: spool_bytes.map(|spool_bytes| NodeReport {
            skew_ms: None,
            promoted: Vec::new(),
            now: 0,
            spool_bytes,
            spool_limit: 1_000,
            lanes: Vec::new(),
            checks: Vec::new(),
        }),
    }
}

#[actix::test]
async fn an_aggregator_that_comes_back_hears_of_the_agents_that_are_still_there() {
    let dir = tempfile::tempdir().expect("dir");
    let ca = Authority::create(&dir.path().join("ca"), now_millis()).expect("a CA");
    let aggregator = Played::new(&identity(&ca, dir.path(), Role::Aggregator, "agg"));
    let upstream = start(identity(&ca, dir.path(), Role::Gateway, "gw"), aggregator.address);
    let upstream = upstream.addr().expect("it lives");
    let mut call = aggregator.answer().await;
    for said in [
        report("stays", Some(1)),
        report("leaves", Some(2)),
        report("stays", Some(3)),
    ] {
        upstream.send(said.clone()).await.expect("it lives");
        let heard = call.agent().await;
        assert_eq!((heard.agent, heard.report), (said.agent, said.report));
    }
    call.connection.close(quinn::VarInt::from_u32(0), b"killed");
    drop(call);
    // while the aggregator is away, one agent leaves and another reports: nobody says anything after that
    for said in [report("leaves", None), report("comes", Some(4))] {
        upstream.send(said).await.expect("it lives");
    }

    let mut call = aggregator.answer().await;
    let mut heard = [call.agent().await, call.agent().await];
    heard.sort_by_key(|report| report.agent.to_string());
    let heard: Vec<_> = heard
        .iter()
        .map(|report| {
            (
                report.agent.as_str(),
                report.report.as_ref().map(|report| report.spool_bytes),
            )
        })
        .collect();
    assert_eq!(heard, [("comes", Some(4)), ("stays", Some(3))]);
}
