//! Keeps the connection to the aggregator and routes its answers to the sessions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, watch};
use tributary_shared::actors::{Backoff, DeathWatch};
use tributary_shared::identity::Identity;
use tributary_shared::ids::{AgentId, GatewayId};
use tributary_shared::protocol::{UpstreamLink, UpstreamOutput};
use tributary_shared::refusals::Refusals;
use tributary_shared::time::{Millis, Monotonic, now_millis};
use tributary_shared::transport::{CONTROL_QUEUE, ControlReader, write_control};
use tributary_shared::wire::{
    Ack, FromAggregator, LaneOpened, MAX_CONTROL_FRAME, Refuse, RefuseCode, ToAggregator, frame,
};

use super::dial::dial;
use super::messages::{
    CloseSession, OpenLane, Register, ReportAgent, Sent, SessionId, ToSession, UpstreamConnection,
};
use super::reports::Reports;
use crate::news::SchemaNews;
use crate::schemas::SchemaBook;

/// First and longest pause between attempts. The aggregator is one, so its gateways may ask often.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
/// How often the link is given the time.
const TICK_EVERY: Duration = Duration::from_millis(500);
/// Messages that wait for this actor: a few for each batch in flight of each session.
const MAILBOX: usize = 4_096;

/// One connection's state.
#[derive(Debug)]
struct Session {
    link: UpstreamLink,
    connection: Arc<UpstreamConnection>,
    control: mpsc::Sender<Bytes>,
}

/// What the actor is made with.
#[derive(Debug, Clone)]
pub struct UpstreamSetup {
    pub gateway: GatewayId,
    pub address: String,
    pub endpoint: quinn::Endpoint,
    pub identity: Arc<Identity>,
    pub schemas: SchemaBook,
    pub news: SchemaNews,
    pub instance: u64,
    pub software: String,
    /// Told to the aggregator with each hello.
    pub configuration: Option<String>,
    /// Peers that were turned away: the aggregator is told.
    pub refusals: Refusals,
}

/// The actor. See the module's text.
#[derive(Debug)]
pub struct Upstream {
    setup: UpstreamSetup,
    clock: Monotonic,
    current: Option<Session>,
    published: Arc<watch::Sender<Option<Arc<UpstreamConnection>>>>,
    sessions: HashMap<SessionId, (AgentId, Recipient<ToSession>)>,
    /// Our lane handles towards the aggregator, and whose they are.
    handles: BTreeMap<u32, (SessionId, u32)>,
    reports: Reports,
    lanes: HashMap<(SessionId, u32), u32>,
    next_handle: u32,
    attempts: u32,
    serial: u64,
    _death: DeathWatch,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Received {
    serial: u64,
    message: FromAggregator,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Lost {
    serial: u64,
    reason: String,
}

/// A schema is wanted: a question to the aggregator.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct WantSchema(pub ToAggregator);

impl Upstream {
    /// `published` always holds the current connection.
    #[must_use]
    pub fn new(
        setup: UpstreamSetup,
        published: Arc<watch::Sender<Option<Arc<UpstreamConnection>>>>,
        death: DeathWatch,
    ) -> Self {
        Self {
            setup,
            clock: Monotonic::start(),
            current: None,
            published,
            sessions: HashMap::new(),
            handles: BTreeMap::new(),
            reports: Reports::default(),
            lanes: HashMap::new(),
            next_handle: 0,
            attempts: 0,
            serial: 0,
            _death: death,
        }
    }

    fn dial(&mut self, ctx: &mut Context<Self>) {
        let setup = self.setup.clone();
        let attempt = async move { dial(&setup.endpoint, &setup.identity, &setup.address).await };
        ctx.spawn(
            attempt
                .into_actor(self)
                .map(|outcome, actor, ctx| actor.dialled(outcome, ctx)),
        );
    }

    fn dial_later(&mut self, ctx: &mut Context<Self>) {
        self.attempts = self.attempts.saturating_add(1);
        let pause = BACKOFF.delay(self.attempts, rand::random());
        ctx.run_later(pause, |actor, ctx| actor.dial(ctx));
    }

    fn dialled(&mut self, outcome: Result<quinn::Connection, String>, ctx: &mut Context<Self>) {
        match outcome {
            Ok(quic) => self.connected(quic, ctx),
            Err(reason) => {
                tracing::warn!(aggregator = %self.setup.address, reason, "cannot reach the aggregator");
                self.dial_later(ctx);
            }
        }
    }

    fn connected(&mut self, quic: quinn::Connection, ctx: &mut Context<Self>) {
        self.serial += 1;
        let (queue, frames) = mpsc::channel(CONTROL_QUEUE);
        let credit = Semaphore::new(0);
        let connection = Arc::new(UpstreamConnection {
            serial: self.serial,
            quic,
            credit,
        });
        let setup = &self.setup;
        let mut link = UpstreamLink::new(&setup.gateway, &setup.software, setup.instance, self.clock.tick());
        link.configured(setup.configuration.clone());
        self.current = Some(Session {
            link,
            connection: Arc::clone(&connection),
            control: queue,
        });
        let address = ctx.address();
        actix::spawn(async move {
            let serial = connection.serial;
            let reason = control(&connection.quic, frames, &address, serial).await;
            connection.quic.close(quinn::VarInt::from_u32(0), b"");
            let _ = address.send(Lost { serial, reason }).await;
        });
        self.pump(ctx);
    }

    fn pump(&mut self, ctx: &mut Context<Self>) {
        while let Some(output) = self.current.as_mut().and_then(|session| session.link.output()) {
            self.act(output, ctx);
        }
    }

    fn act(&mut self, output: UpstreamOutput, ctx: &mut Context<Self>) {
        match output {
            UpstreamOutput::Send(ToAggregator::Heartbeat { now, .. }) => self.heartbeat(now, ctx),
            UpstreamOutput::Send(message) => {
                self.send(&message, ctx);
            }
            UpstreamOutput::Connected {
                aggregator,
                limits,
                version,
            } => {
                self.attempts = 0;
                tracing::info!(aggregator, "connected to the aggregator");
                let Some(session) = &mut self.current else { return };
                session
                    .connection
                    .credit
                    .add_permits(limits.max_in_flight as usize);
                for ask in self.setup.schemas.connected(version) {
                    session.link.send(ask);
                }
                for report in self.reports.all() {
                    session.link.send(report.clone().into());
                }
                self.published.send_replace(Some(Arc::clone(&session.connection)));
                self.tell_all(&ToSession::Restored);
            }
            UpstreamOutput::LaneOpened(opened) => {
                self.tell(opened.lane, |lane| {
                    ToSession::LaneOpened(LaneOpened { lane, ..opened })
                });
            }
            UpstreamOutput::Ack { ack, credit } => {
                self.give_back(credit);
                self.tell(ack.lane, |lane| ToSession::Ack(Ack { lane, ..ack }));
            }
            UpstreamOutput::Refuse { refuse, credit } => {
                self.give_back(credit);
                if refuse.code == RefuseCode::SchemaChanged {
                    // it may know less than it told, after a restore: what was told is asked again
                    self.setup.schemas.forget_writers();
                }
                self.tell(refuse.lane, |lane| ToSession::Refuse(Refuse { lane, ..refuse }));
            }
            UpstreamOutput::Schema { stream, schema } => {
                self.setup.schemas.put(stream.clone(), schema.as_ref());
                self.setup.news.put(stream, schema);
            }
            UpstreamOutput::SchemaById {
                stream,
                id,
                schema,
                refused,
            } => self
                .setup
                .schemas
                .put_writer(&stream, id, schema.as_ref(), refused),
            UpstreamOutput::Superseded { agent, session } => {
                // the session itself knows whether it is meant
                for (_, events) in self.sessions.values().filter(|(of, _)| *of == agent) {
                    let _ = events.try_send(ToSession::SupersededElsewhere(session));
                }
            }
            UpstreamOutput::AuditHead(head) => self.setup.news.put_head(head),
            UpstreamOutput::Close { reason } => self.lose(&reason, ctx),
        }
    }

    /// Tells who was turned away along with it; what cannot be sent waits for the next one.
    fn heartbeat(&mut self, now: Millis, ctx: &mut Context<Self>) {
        let refused = self.setup.refusals.take();
        let message = ToAggregator::Heartbeat { now, refused };
        if !self.send(&message, ctx)
            && let ToAggregator::Heartbeat { refused, .. } = message
        {
            self.setup.refusals.give_back(refused);
        }
    }

    /// False when it could not be handed on; then the connection is given up.
    fn send(&mut self, message: &ToAggregator, ctx: &mut Context<Self>) -> bool {
        let Some(session) = &self.current else {
            return false;
        };
        let sent = frame::encode("control message", message, MAX_CONTROL_FRAME)
            .map_err(|error| error.to_string())
            .and_then(|bytes| {
                session
                    .control
                    .try_send(bytes)
                    .map_err(|_| "it does not read".to_owned())
            });
        match sent {
            Ok(()) => true,
            Err(reason) => {
                self.lose(&reason, ctx);
                false
            }
        }
    }

    fn give_back(&self, credit: usize) {
        if let Some(session) = &self.current {
            session.connection.credit.add_permits(credit);
        }
    }

    fn tell(&mut self, handle: u32, event: impl FnOnce(u32) -> ToSession) {
        let Some((id, lane)) = self.handles.get(&handle) else {
            return;
        };
        let Some((_, events)) = self.sessions.get(id) else {
            return;
        };
        // a session that does not keep up with its acks is wedged: ended by its own timeouts
        if events.try_send(event(*lane)).is_err() {
            tracing::warn!(session = id, "a session does not take its answers");
        }
    }

    fn tell_all(&self, event: &ToSession) {
        for (_, events) in self.sessions.values() {
            let _ = events.try_send(event.clone());
        }
    }

    fn lose(&mut self, reason: &str, ctx: &mut Context<Self>) {
        let Some(session) = self.current.take() else {
            return;
        };
        tracing::warn!(reason, "lost the aggregator");
        session.connection.credit.close();
        session.connection.quic.close(quinn::VarInt::from_u32(0), b"");
        self.published.send_replace(None);
        self.handles.clear();
        self.lanes.clear();
        self.tell_all(&ToSession::Lost);
        self.dial_later(ctx);
    }

    fn forget_lane(&mut self, session: SessionId, lane: u32) {
        let Some(handle) = self.lanes.remove(&(session, lane)) else {
            return;
        };
        self.handles.remove(&handle);
        if let Some(current) = &mut self.current {
            let credit = current.link.close_lane(handle);
            current.connection.credit.add_permits(credit);
        }
    }
}

/// Runs one connection's control stream until it ends; the reason is for the log.
async fn control(
    quic: &quinn::Connection,
    frames: mpsc::Receiver<Bytes>,
    actor: &Addr<Upstream>,
    serial: u64,
) -> String {
    let (send, receive) = match quic.open_bi().await {
        Ok(streams) => streams,
        Err(error) => return error.to_string(),
    };
    // what is said must not wait behind the batches; an error means that the connection ended, as the reader sees
    let _ = send.set_priority(1);
    let mut reader = ControlReader::new(receive);
    let read = async {
        loop {
            match reader.next::<FromAggregator>().await {
                Ok(Some(message)) => {
                    if actor.send(Received { serial, message }).await.is_err() {
                        return "this gateway stops".to_owned();
                    }
                }
                Ok(None) => return "the aggregator ended the session".to_owned(),
                Err(error) => return error.to_string(),
            }
        }
    };
    let write = async {
        match write_control(send, frames).await {
            Ok(()) => "the session was closed".to_owned(),
            Err(error) => error.to_string(),
        }
    };
    tokio::select! {
        reason = read => reason,
        reason = write => reason,
    }
}

impl Actor for Upstream {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.dial(ctx);
        ctx.run_interval(TICK_EVERY, |actor, ctx| {
            let now = actor.clock.tick();
            if let Some(session) = &mut actor.current {
                session.link.tick(now, now_millis());
            }
            actor.pump(ctx);
        });
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        if let Some(session) = self.current.take() {
            session
                .connection
                .quic
                .close(quinn::VarInt::from_u32(0), b"stopping");
        }
        Running::Stop
    }
}

impl Handler<Received> for Upstream {
    type Result = ();

    fn handle(&mut self, received: Received, ctx: &mut Self::Context) {
        let Some(session) = &mut self.current else { return };
        if session.connection.serial == received.serial {
            session.link.receive(received.message);
            self.pump(ctx);
        }
    }
}

impl Handler<Lost> for Upstream {
    type Result = ();

    fn handle(&mut self, lost: Lost, ctx: &mut Self::Context) {
        if self
            .current
            .as_ref()
            .is_some_and(|session| session.connection.serial == lost.serial)
        {
            self.lose(&lost.reason, ctx);
        }
    }
}

impl Handler<WantSchema> for Upstream {
    type Result = ();

    fn handle(&mut self, WantSchema(question): WantSchema, ctx: &mut Self::Context) {
        if let Some(session) = &mut self.current {
            session.link.send(question);
        }
        self.pump(ctx);
    }
}

impl Handler<Register> for Upstream {
    type Result = ();

    fn handle(&mut self, new: Register, _: &mut Self::Context) {
        for (agent, events) in self.sessions.values() {
            if *agent == new.agent {
                let _ = events.try_send(ToSession::Superseded);
            }
        }
        if self
            .current
            .as_ref()
            .is_some_and(|session| session.link.is_open())
        {
            let _ = new.events.try_send(ToSession::Restored);
        }
        self.sessions.insert(new.session, (new.agent, new.events));
    }
}

impl Handler<CloseSession> for Upstream {
    type Result = ();

    fn handle(&mut self, closed: CloseSession, _: &mut Self::Context) {
        self.sessions.remove(&closed.session);
        let lanes: Vec<u32> = self
            .lanes
            .keys()
            .filter(|(session, _)| *session == closed.session)
            .map(|(_, lane)| *lane)
            .collect();
        for lane in lanes {
            self.forget_lane(closed.session, lane);
        }
    }
}

impl Handler<OpenLane> for Upstream {
    type Result = ();

    fn handle(&mut self, open: OpenLane, ctx: &mut Self::Context) {
        self.forget_lane(open.session, open.lane);
        let Some(session) = self.current.as_mut().filter(|session| session.link.is_open()) else {
            // the session asks again when it hears `Restored`
            return;
        };
        self.next_handle = self.next_handle.wrapping_add(1);
        let handle = self.next_handle;
        session.link.open_lane(handle, open.key, open.next_seq);
        self.handles.insert(handle, (open.session, open.lane));
        self.lanes.insert((open.session, open.lane), handle);
        self.pump(ctx);
    }
}

impl Handler<Sent> for Upstream {
    type Result = bool;

    fn handle(&mut self, sent: Sent, _: &mut Self::Context) -> bool {
        let Some(session) = &mut self.current else {
            return false;
        };
        let Some(handle) = self.lanes.get(&(sent.session, sent.lane)) else {
            return false;
        };
        let current = session.connection.serial == sent.serial;
        if current {
            session.link.sent(*handle, sent.last);
        }
        current
    }
}

impl Handler<ReportAgent> for Upstream {
    type Result = ();

    fn handle(&mut self, report: ReportAgent, ctx: &mut Self::Context) {
        self.reports.heard(&report);
        if let Some(session) = &mut self.current {
            session.link.send(report.into());
        }
        self.pump(ctx);
    }
}
