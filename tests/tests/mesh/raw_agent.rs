//! An agent made by hand, that can do what a real one never does.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, Endpoint};
use tokio::sync::mpsc;
use tributary_shared::identity::{Identity, Role, TlsPaths};
use tributary_shared::ids::{Epoch, Seq, StreamName};
use tributary_shared::time::now_millis;
use tributary_shared::transport::{ControlReader, send_batch, write_control};
use tributary_shared::wire::{
    BatchContent, BatchHeader, Bye, Codec, Hello, MAX_BATCH_HEADER, MAX_CONTROL_FRAME, MIN_VERSION, OpenLane,
    Segment, ToAgent, ToGateway, VERSION, frame, rows,
};

/// A gateway answers everything within this time.
const ANSWER: Duration = Duration::from_secs(20);

/// A client socket on loopback.
pub fn endpoint() -> Endpoint {
    Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a udp socket")
}

/// Dials a gateway as the holder of a good certificate.
pub async fn dial(endpoint: &Endpoint, gateway: &str, tls: &TlsPaths) -> Connection {
    let identity = Identity::load(tls, Role::Agent).expect("a good certificate");
    let address = gateway.parse().expect("host:port");
    let name = Role::Gateway.server_name().expect("gateways answer");
    let config = identity.client_config().expect("agents dial");
    let connecting = endpoint
        .connect_with(config, address, name)
        .expect("a good configuration");
    connecting.await.expect("the handshake")
}

/// A session that is open.
pub struct RawAgent {
    pub connection: Connection,
    control: mpsc::Sender<Bytes>,
    answers: ControlReader,
}

impl RawAgent {
    /// Says hello and is welcomed.
    pub async fn open(connection: Connection, id: &str) -> Self {
        let opened = Self::try_open(connection, id).await;
        opened.unwrap_or_else(|bye| panic!("a welcome: {bye:?} came instead"))
    }

    /// Says hello; the gateway's last word when it is not welcomed.
    pub async fn try_open(connection: Connection, id: &str) -> Result<Self, Bye> {
        let (send, receive) = connection.open_bi().await.expect("a control stream");
        let (control, queue) = mpsc::channel(16);
        tokio::spawn(write_control(send, queue));
        let mut agent = Self {
            connection,
            control,
            answers: ControlReader::new(receive),
        };
        let hello = Hello {
            min_version: MIN_VERSION,
            max_version: VERSION,
            node: id.to_owned(),
            software: "by hand".to_owned(),
            instance: 1,
            session: 1,
            configuration: None,
        };
        agent.say(&ToGateway::Hello(hello)).await;
        let first = |answer: &ToAgent| matches!(answer, ToAgent::Welcome(_) | ToAgent::Bye(_));
        match agent.wait_for("a welcome", first).await {
            ToAgent::Bye(bye) => Err(bye),
            _ => Ok(agent),
        }
    }

    pub async fn say(&self, message: &ToGateway) {
        let frame = frame::encode("message", message, MAX_CONTROL_FRAME).expect("a small message");
        self.control.send(frame).await.expect("the session is open");
    }

    /// The next answer that fits.
    pub async fn wait_for(&mut self, what: &str, fits: impl Fn(&ToAgent) -> bool) -> ToAgent {
        let answers = async {
            loop {
                match self.answers.next::<ToAgent>().await {
                    Ok(Some(answer)) if fits(&answer) => return answer,
                    Ok(Some(_)) => {}
                    other => panic!("{what}: {other:?} came instead"),
                }
            }
        };
        tokio::time::timeout(ANSWER, answers)
            .await
            .unwrap_or_else(|_| panic!("{what}: not within {ANSWER:?}"))
    }

    pub async fn open_lane(&mut self, lane: u32, stream: &str) {
        let open = OpenLane {
            lane,
            stream: StreamName::new(stream).expect("a good name"),
            epoch: Epoch(1),
            next_seq: 1,
            schema_id: None,
        };
        self.say(&ToGateway::OpenLane(open)).await;
        self.wait_for("the lane is opened", |answer| {
            matches!(answer, ToAgent::LaneOpened(_))
        })
        .await;
    }

    pub async fn send(&self, header: &BatchHeader, body: Bytes) {
        let frame = frame::encode("header", header, MAX_BATCH_HEADER).expect("a small header");
        // the gateway may hang up before it has read all of it
        let _ = send_batch(&self.connection, frame, &mut [body]).await;
    }
}

/// A good batch of one event.
pub fn one_event(lane: u32, first_seq: Seq, payload: &[u8]) -> (BatchHeader, Bytes) {
    let mut raw = Vec::new();
    rows::push_row(&mut raw, payload);
    let raw_len = u32::try_from(raw.len()).expect("a small event");
    batch(lane, first_seq, Codec::None, raw, raw_len)
}

/// A batch of one event with a body that need not be true to its header.
pub fn batch(lane: u32, first_seq: Seq, codec: Codec, body: Vec<u8>, raw_len: u32) -> (BatchHeader, Bytes) {
    let len = u32::try_from(body.len()).expect("a small body");
    let now = now_millis();
    let segment = Segment {
        count: 1,
        collected_at: now,
        spooled_at: now,
        codec,
        len,
        raw_len,
        origin: None,
    };
    let header = BatchHeader {
        writer: 0,
        after_writer: 0,
        lane,
        first_seq,
        count: 1,
        content: BatchContent::Rows,
        segments: vec![segment],
        body_len: len,
        body_crc: frame::checksum(&body),
        sent_at: now,
        traceparent: None,
        contexts: Default::default(),
        attempts: Default::default(),
    };
    (header, Bytes::from(body))
}
