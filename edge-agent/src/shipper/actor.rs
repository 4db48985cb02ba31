//! Carries an [`AgentLink`]: what it says is sent, what it acknowledges is told to the spool.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tributary_shared::actors::{Backoff, DeathWatch};
use tributary_shared::identity::Identity;
use tributary_shared::ids::SeqRange;
use tributary_shared::metrics::{self, Counter, Gauge, MetricName};
use tributary_shared::protocol::{
    AgentLink, AgentOutput, Claim, FORGOTTEN, LaneView, Priority, Shipment, Tick,
};
use tributary_shared::telemetry;
use tributary_shared::time::{Monotonic, now_millis};
use tributary_shared::transport::{
    CONTROL_QUEUE, ControlReader, TransportError, send_batch_ranked, write_control,
};
use tributary_shared::wire::{
    ByeCode, History, Limits, MAX_BATCH_HEADER, MAX_CONTROL_FRAME, SessionKey, ToAgent, ToGateway, frame,
};

use super::attempts::AttemptBook;
use super::config::ShipConfig;
use super::dial::{Rota, dial, when_asked};
use super::forks::{OpenedLane, leave_shared_epochs, open_lane};
use super::messages::{Lost, Received, SpoolChanged, Stop};
use super::pack::{Packed, dropped, pack};
use super::rival::Rivalry;
use super::trace::BatchTraces;
use crate::check::Checks;
use crate::heads::Heads;
use crate::intake::{ConnectionState, ConnectionStatus};
use crate::spool::{Block, LaneId, LaneInfo, SpoolError, SpoolHandle, SpoolStatus};

/// First and longest bound of the pause between attempts; full jitter lies below it.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
/// How often the link is given the time when nothing else happens.
const TICK_EVERY: Duration = Duration::from_millis(500);
/// A gateway that does not answer the handshake by then is stopped or cut off, and the next one is asked. Time
/// for two lost packets on a slow link, and half of what the transport itself would wait.
const DIAL_TIMEOUT: Duration = Duration::from_secs(6);
/// One read of the spool: about what one batch holds, so that little is read in vain.
const READ_ROWS: u32 = 8_192;
const READ_BYTES: usize = 512 << 10;
/// Below that of live data, which is below that of control messages.
const BACKLOG_PRIORITY: i32 = -1;
/// Messages that wait for this actor: acks of the batches in flight and the spool's changes.
const MAILBOX: usize = 256;

/// What the actor is made with.
#[derive(Debug)]
pub struct ShipperSetup {
    pub spool: SpoolHandle,
    pub gateways: Vec<String>,
    pub endpoint: quinn::Endpoint,
    pub identity: Arc<Identity>,
    pub software: String,
    /// Told to the centre with each hello.
    pub configuration: Option<String>,
    pub ship: ShipConfig,
    pub status: watch::Sender<ConnectionStatus>,
    pub checks: Checks,
    pub heads: Heads,
}

#[derive(Debug)]
struct Session {
    link: AgentLink,
    connection: quinn::Connection,
    control: mpsc::Sender<Bytes>,
    limits: Limits,
    serial: u64,
    opened: Tick,
    address: String,
}

#[derive(Debug)]
struct Meters {
    connected: Gauge,
    batches: Counter,
    bytes: Counter,
}

/// The actor. See the module's text.
#[derive(Debug)]
pub struct Shipper {
    setup: Arc<ShipperSetup>,
    rota: Rota,
    clock: Monotonic,
    instance: u64,
    session: Option<Session>,
    serial: u64,
    failures: u32,
    /// A batch is being read or written: the next one waits for it, so that at most one is in memory.
    shipping: bool,
    /// Newest marks on their way into the spool; a lane's next one waits until the last is stored.
    marks: HashMap<u32, (u64, bool)>,
    traces: BatchTraces,
    attempts: AttemptBook,
    rivalry: Rivalry,
    /// Active lanes that were begun after a rival was met.
    own_lanes: Vec<LaneId>,
    meters: Meters,
    stopping: bool,
    _death: DeathWatch,
}

impl Shipper {
    #[must_use]
    pub fn new(setup: Arc<ShipperSetup>, death: DeathWatch) -> Self {
        Self {
            rota: Rota::new(setup.gateways.clone(), rand::random()),
            traces: BatchTraces::new(setup.spool.agent().clone()),
            attempts: AttemptBook::default(),
            setup,
            clock: Monotonic::start(),
            instance: rand::random(),
            session: None,
            serial: 0,
            failures: 0,
            shipping: false,
            marks: HashMap::new(),
            rivalry: Rivalry::default(),
            own_lanes: Vec::new(),
            meters: Meters {
                connected: metrics::gauge(MetricName::ShipperConnected, &[]),
                batches: metrics::counter(MetricName::ShipperBatches, &[]),
                bytes: metrics::counter(MetricName::ShipperBytes, &[]),
            },
            stopping: false,
            _death: death,
        }
    }

    fn dial(&mut self, ctx: &mut Context<Self>) {
        let Some(address) = self.rota.next() else { return };
        self.publish(ConnectionState::Connecting, Some(&address), None);
        let (endpoint, identity) = (self.setup.endpoint.clone(), Arc::clone(&self.setup.identity));
        let attempt = dial(endpoint, identity, address.clone());
        let attempt = async move {
            let answer = tokio::time::timeout(DIAL_TIMEOUT, attempt).await;
            answer.unwrap_or_else(|_| Err(format!("no answer within {} s", DIAL_TIMEOUT.as_secs())))
        };
        ctx.spawn(
            attempt
                .into_actor(self)
                .map(move |outcome, actor, ctx| actor.dialled(outcome, address, ctx)),
        );
    }

    fn dialled(
        &mut self,
        outcome: Result<quinn::Connection, String>,
        address: String,
        ctx: &mut Context<Self>,
    ) {
        let label = if outcome.is_ok() { "connected" } else { "failed" };
        metrics::counter(MetricName::ShipperReconnects, &[("outcome", label)]).inc();
        match outcome {
            Ok(connection) => self.connected(connection, address, ctx),
            Err(reason) => {
                tracing::warn!(
                    gateway = address,
                    reason,
                    "cannot reach a gateway: events stay in the spool"
                );
                self.dial_later(0, Some(reason), ctx);
            }
        }
    }

    fn dial_later(&mut self, at_least: u64, reason: Option<String>, ctx: &mut Context<Self>) {
        if self.stopping {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        self.publish(ConnectionState::Waiting, None, reason);
        let pause = BACKOFF.delay(self.failures, rand::random());
        let asked = when_asked(at_least, rand::random());
        ctx.run_later(pause.max(asked), |actor, ctx| actor.dial(ctx));
    }

    /// Another process has this agent's identity. It has the session now; this one backs off, and stops writing
    /// to epochs that the other may have a copy of.
    fn superseded(&mut self, reason: String, ctx: &mut Context<Self>) {
        let Some(session) = self.end_session(&reason) else {
            return;
        };
        let pause = self
            .rivalry
            .lost(session.opened, self.clock.tick(), rand::random());
        tracing::error!(
            gateway = session.address,
            reason,
            pause_s = pause.as_secs(),
            "another process lives with this agent's identity: give each host an id and a spool of its own"
        );
        self.failures = self.failures.saturating_add(1);
        self.publish(ConnectionState::Superseded, None, Some(reason));
        let spool = self.setup.spool.clone();
        let lanes = spool.watch().borrow().lanes.clone();
        self.own_lanes
            .retain(|own| lanes.iter().any(|lane| lane.lane == *own));
        let own = self.own_lanes.clone();
        let leave = async move { leave_shared_epochs(&spool, &own).await };
        ctx.spawn(leave.into_actor(self).map(|begun, actor, _| match begun {
            Ok(begun) => actor.own_lanes.extend(begun),
            Err(error) => tracing::warn!(%error, "cannot begin epochs of this agent's own"),
        }));
        ctx.run_later(pause, |actor, ctx| actor.dial(ctx));
    }

    fn publish(&self, state: ConnectionState, gateway: Option<&str>, error: Option<String>) {
        self.meters
            .connected
            .set(f64::from(u8::from(state == ConnectionState::Connected)));
        self.setup.status.send_modify(|status| {
            if status.state != state {
                status.since = now_millis();
            }
            status.state = state;
            status.gateway = gateway.map(str::to_owned);
            status.attempts = u64::from(self.failures);
            if error.is_some() {
                status.last_error = error;
            }
        });
    }

    fn connected(&mut self, connection: quinn::Connection, address: String, ctx: &mut Context<Self>) {
        self.serial += 1;
        let serial = self.serial;
        let (control, frames) = mpsc::channel(CONTROL_QUEUE);
        let agent = self.setup.spool.agent();
        let (key, opened) = (
            SessionKey {
                instance: self.instance,
                session: serial,
            },
            self.clock.tick(),
        );
        let mut link = AgentLink::new(
            agent,
            &self.setup.software,
            key,
            self.setup.ship.schedule(),
            opened,
        );
        link.configured(self.setup.configuration.clone());
        link.keeps(self.setup.checks.kept());
        link.wants(self.setup.checks.streams());
        let (quic, addr) = (connection.clone(), ctx.address());
        self.session = Some(Session {
            link,
            connection,
            control,
            limits: Limits::default(),
            serial,
            opened,
            address,
        });
        actix::spawn(async move {
            let reason = control_stream(&quic, frames, &addr, serial).await;
            let _ = addr.send(Lost { serial, reason }).await;
        });
        self.spool_changed();
        self.pump(ctx);
    }

    fn spool_changed(&mut self) {
        let status: SpoolStatus = self.setup.spool.watch().borrow().clone();
        let now = self.clock.tick();
        if let Some(session) = &mut self.session {
            let priority = |lane: &LaneInfo| self.setup.spool.policy(&lane.stream).priority;
            let views = status.lanes.iter().filter_map(|lane| view(lane, priority(lane)));
            let views: Vec<LaneView> = views.collect();
            session
                .link
                .spool_changed(now, &views, status.bytes, status.limit);
            session.link.retired(now, &status.retired);
        }
    }

    fn pump(&mut self, ctx: &mut Context<Self>) {
        while let Some(output) = self.session.as_mut().and_then(|session| session.link.output()) {
            self.act(output, ctx);
        }
        self.ship(ctx);
    }

    fn act(&mut self, output: AgentOutput, ctx: &mut Context<Self>) {
        match output {
            AgentOutput::Send(message) => self.send(&message, ctx),
            AgentOutput::Connected {
                gateway,
                limits,
                gateway_now,
            } => {
                self.failures = 0;
                let skew_ms = now_millis() - gateway_now;
                let Some(session) = &mut self.session else { return };
                session.limits = limits;
                let address = session.address.clone();
                tracing::info!(gateway, address, skew_ms, "connected to a gateway");
                self.publish(ConnectionState::Connected, Some(&address), None);
            }
            AgentOutput::LaneOpened { lane, mark, history } => self.resume(lane, mark, history, ctx),
            AgentOutput::Committed { lane, mark } => {
                self.traces.committed(lane, mark, now_millis());
                self.attempts.committed(lane, mark);
                self.commit_mark(lane, mark, ctx);
            }
            AgentOutput::ReportForgotten {
                lane,
                range,
                writer,
                after_writer,
            } => {
                let claim = Claim {
                    range,
                    writer,
                    after_writer,
                };
                self.report_forgotten(lane, claim, ctx);
            }
            AgentOutput::ForgottenAndTaken { no, from } => self.forgotten_and_taken(no, from, ctx),
            AgentOutput::Refused {
                lane,
                expected,
                code,
                message,
            } => {
                tracing::warn!(lane, ?code, message, "a batch was refused: it is sent again");
                let (now, code) = (now_millis(), code.as_str());
                self.traces.refused(lane, expected, code, now);
                self.attempts.refused(lane, expected, (code, &message), now);
            }
            AgentOutput::Schema { stream, schema } => {
                let checks = self.setup.checks.clone();
                // in the order in which they came: each is polled as soon as it is spawned
                ctx.spawn(async move { checks.learn(stream, schema).await }.into_actor(self));
            }
            AgentOutput::Promoted(traces) => traces.iter().for_each(|trace| telemetry::promote(trace)),
            AgentOutput::AuditHead(head) => {
                let heads = self.setup.heads.clone();
                ctx.spawn(async move { heads.told(head).await }.into_actor(self));
            }
            AgentOutput::Close {
                reason,
                code: Some(ByeCode::Superseded),
                ..
            } => self.superseded(reason, ctx),
            AgentOutput::Close {
                reason, retry_after, ..
            } => self.lose(reason, retry_after, ctx),
        }
    }

    fn send(&mut self, message: &ToGateway, ctx: &mut Context<Self>) {
        let Some(session) = &self.session else { return };
        let sent = frame::encode("control message", message, MAX_CONTROL_FRAME)
            .map_err(|error| error.to_string())
            .and_then(|bytes| {
                session
                    .control
                    .try_send(bytes)
                    .map_err(|_| "the gateway does not read".to_owned())
            });
        if let Err(reason) = sent {
            self.lose(reason, 0, ctx);
        }
    }

    /// The spool judges the aggregator's mark before the first batch of the lane.
    fn resume(&mut self, lane: u32, mark: u64, history: Option<History>, ctx: &mut Context<Self>) {
        self.attempts.committed(lane, mark);
        let (spool, serial) = (self.setup.spool.clone(), self.serial);
        let rule = self.setup.ship.backlog;
        let ask = async move {
            open_lane(
                &spool,
                LaneId(i64::from(lane)),
                (mark, history),
                rule,
                now_millis(),
            )
            .await
        };
        ctx.spawn(ask.into_actor(self).map(move |answer, actor, ctx| {
            match answer {
                Ok(OpenedLane { info, forked }) if info.lane == LaneId(i64::from(lane)) => {
                    if forked {
                        tracing::info!(stream = %info.stream, epoch = %info.epoch, held_events = info.held_events,
                            "live data goes on in a new epoch, the backlog drains beside it");
                    }
                    actor.spool_changed();
                    if let Some(session) = actor.session.as_mut().filter(|session| session.serial == serial) {
                        session.link.resume(lane, mark);
                    }
                }
                Ok(OpenedLane { info, .. }) => {
                    tracing::warn!(stream = %info.stream, epoch = %info.epoch, mark,
                        "the spool is behind its own past: the stream goes on in a new epoch");
                    actor.spool_changed();
                }
                Err(SpoolError::UnknownLane | SpoolError::Closed) => {}
                Err(error) => actor.lose(format!("the spool cannot open a lane: {error}"), 0, ctx),
            }
            actor.pump(ctx);
        }));
    }

    /// Marks are stored one at a time a lane; while one is stored, only the newest waits.
    fn commit_mark(&mut self, lane: u32, mark: u64, ctx: &mut Context<Self>) {
        let entry = self.marks.entry(lane).or_insert((0, false));
        entry.0 = entry.0.max(mark);
        if entry.1 {
            return;
        }
        entry.1 = true;
        let (mark, spool) = (entry.0, self.setup.spool.clone());
        let store = async move { spool.commit_mark(LaneId(i64::from(lane)), mark).await };
        ctx.spawn(store.into_actor(self).map(move |stored, actor, ctx| {
            if let Err(error) = stored
                && error != SpoolError::UnknownLane
            {
                // the mark is told again at the next opening of the lane
                tracing::warn!(lane, mark, %error, "cannot store a mark");
            }
            match actor.marks.remove(&lane) {
                Some((newest, _)) if newest > mark => actor.commit_mark(lane, newest, ctx),
                _ => {}
            }
        }));
    }

    fn ship(&mut self, ctx: &mut Context<Self>) {
        if self.shipping || self.stopping {
            return;
        }
        let now = self.clock.tick();
        let Some(session) = &mut self.session else { return };
        let Some(shipment) = session.link.next_shipment(now) else {
            return;
        };
        self.shipping = true;
        let (spool, limits, serial) = (self.setup.spool.clone(), session.limits, session.serial);
        let read = async move {
            let Shipment { lane, from_seq, .. } = shipment;
            let rows = READ_ROWS.min(limits.max_batch_rows);
            let bytes = READ_BYTES.min(limits.max_batch_body as usize);
            spool.read(LaneId(i64::from(lane)), from_seq, rows, bytes).await
        };
        ctx.spawn(read.into_actor(self).map(move |blocks, actor, ctx| {
            let now = actor.clock.tick();
            let session = actor.session.as_ref().filter(|session| session.serial == serial);
            if session.is_some_and(|session| !session.link.is_next(now, &shipment)) {
                // a refusal came while this was read: the lane goes on elsewhere
                actor.shipping = false;
                actor.ship(ctx);
                return;
            }
            let sent = match blocks {
                Ok(blocks) => actor.dispatch(serial, shipment, &blocks, ctx),
                Err(error) => {
                    tracing::warn!(%error, "cannot read the spool");
                    false
                }
            };
            if !sent {
                actor.shipping = false;
            }
        }));
    }

    /// Sends what was read; false when there is nothing (left) to send.
    fn dispatch(
        &mut self,
        serial: u64,
        shipment: Shipment,
        blocks: &[Block],
        ctx: &mut Context<Self>,
    ) -> bool {
        let now = self.clock.tick();
        let Some(session) = self.session.as_mut().filter(|session| session.serial == serial) else {
            return false;
        };
        let Shipment {
            lane,
            from_seq,
            give_up,
            fresh,
        } = shipment;
        let status = self.setup.spool.watch();
        let history = {
            let lanes = &status.borrow().lanes;
            let read = lanes.iter().find(|info| info.lane == LaneId(i64::from(lane)));
            read.map(|info| info.history.clone())
        };
        // drained or forked meanwhile
        let Some(history) = history else { return false };
        let of = (lane, &history);
        let Some(mut packed) = pack(of, from_seq, blocks, give_up, &session.limits, now_millis()) else {
            return false;
        };
        if give_up {
            tracing::error!(lane, range = ?packed.range(), "a batch cannot be delivered and is given up");
        }
        let range = packed.range();
        packed.header.attempts = self.attempts.before(lane, range);
        let view = session
            .link
            .lane(lane)
            .map(|view| (view, session.link.lane_no(lane)));
        packed.header.traceparent = self.traces.begin(&packed.header, view);
        self.attempts.sent(&packed.header, &session.address);
        session
            .link
            .shipped(now, lane, range, u64::from(packed.header.body_len));
        self.setup
            .spool
            .set_in_flight(LaneId(i64::from(lane)), range.last);
        self.meters.batches.inc();
        self.meters.bytes.inc_by(u64::from(packed.header.body_len));
        let write = write_batch(session.connection.clone(), packed, fresh);
        ctx.spawn(write.into_actor(self).map(move |written, actor, ctx| {
            actor.shipping = false;
            if let Err(error) = written {
                actor.lose_serial(serial, &error.to_string(), ctx);
            }
            actor.pump(ctx);
        }));
        true
    }

    /// The aggregator was restored from before these events: nobody has them any more, and the ledger says so.
    fn report_forgotten(&mut self, lane: u32, claim: Claim, ctx: &mut Context<Self>) {
        let (serial, Some(session)) = (self.serial, &self.session) else {
            return;
        };
        let SeqRange { first, last } = claim.range;
        tracing::error!(
            first,
            last,
            "aggregator lost committed events of a lane that is drained"
        );
        metrics::counter(MetricName::SpoolDropped, &[("reason", FORGOTTEN)]).inc_by(claim.range.count());
        self.meters.batches.inc();
        let packed = dropped(lane, claim, FORGOTTEN, now_millis());
        let write = write_batch(session.connection.clone(), packed, false);
        ctx.spawn(write.into_actor(self).map(move |written, actor, ctx| {
            if let Err(error) = written {
                actor.lose_serial(serial, &error.to_string(), ctx);
            }
        }));
    }

    fn forgotten_and_taken(&mut self, no: u64, from: u64, ctx: &mut Context<Self>) {
        let spool = self.setup.spool.clone();
        let report = async move { spool.forgotten_and_taken(no, from).await };
        ctx.spawn(report.into_actor(self).map(|reported, actor, ctx| {
            if let Err(error) = reported {
                // it is found again by the next session
                actor.lose(format!("the spool cannot name a loss: {error}"), 0, ctx);
            }
        }));
    }

    fn lose_serial(&mut self, serial: u64, reason: &str, ctx: &mut Context<Self>) {
        if self
            .session
            .as_ref()
            .is_some_and(|session| session.serial == serial)
        {
            self.lose(reason.to_owned(), 0, ctx);
        }
    }

    fn lose(&mut self, reason: String, retry_after: u64, ctx: &mut Context<Self>) {
        let Some(session) = self.end_session(&reason) else {
            return;
        };
        if !self.stopping {
            tracing::warn!(
                gateway = session.address,
                reason,
                "lost the gateway: events stay in the spool"
            );
        }
        self.dial_later(retry_after, Some(reason), ctx);
    }

    fn end_session(&mut self, reason: &str) -> Option<Session> {
        let session = self.session.take()?;
        session.connection.close(quinn::VarInt::from_u32(0), b"");
        self.setup.spool.clear_in_flight();
        self.traces.lost(reason, now_millis());
        self.attempts.lost(reason, now_millis());
        Some(session)
    }
}

fn view(lane: &LaneInfo, priority: Priority) -> Option<LaneView> {
    Some(LaneView {
        lane: u32::try_from(lane.lane.0).ok()?,
        stream: lane.stream.clone(),
        epoch: lane.epoch,
        next_seq: lane.next_seq,
        committed_seq: lane.committed_seq,
        history: lane.history.clone(),
        held_events: lane.held_events,
        held_bytes: lane.held_bytes,
        fresh: lane.active,
        priority,
    })
}

async fn write_batch(
    connection: quinn::Connection,
    mut packed: Packed,
    fresh: bool,
) -> Result<(), TransportError> {
    let header = frame::encode("batch header", &packed.header, MAX_BATCH_HEADER)?;
    // live data passes by the backlog that QUIC still holds
    let priority = if fresh { 0 } else { BACKLOG_PRIORITY };
    send_batch_ranked(&connection, header, &mut packed.body, priority).await
}

/// Runs one connection's control stream until it ends; the reason is for people.
async fn control_stream(
    quic: &quinn::Connection,
    frames: mpsc::Receiver<Bytes>,
    actor: &Addr<Shipper>,
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
            match reader.next::<ToAgent>().await {
                Ok(Some(message)) => {
                    if actor.send(Received { serial, message }).await.is_err() {
                        return "the agent stops".to_owned();
                    }
                }
                Ok(None) => return "the gateway ended the session".to_owned(),
                Err(error) => return error.to_string(),
            }
        }
    };
    let write = write_control(send, frames);
    tokio::pin!(read);
    tokio::select! {
        reason = &mut read => reason,
        written = write => match written {
            Ok(()) => "the session was closed".to_owned(),
            Err(error) => error.to_string(),
        },
    }
}

impl Actor for Shipper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        let (mut status, addr) = (self.setup.spool.watch(), ctx.address().downgrade());
        actix::spawn(async move {
            // one message at a time: while the actor is busy, changes melt into one
            while status.changed().await.is_ok() {
                let Some(addr) = addr.upgrade() else { return };
                if addr.send(SpoolChanged).await.is_err() {
                    return;
                }
            }
        });
        ctx.run_interval(TICK_EVERY, |actor, ctx| {
            let now = actor.clock.tick();
            if let Some(session) = &mut actor.session {
                session.link.checked(actor.setup.checks.reports());
                session.link.promoted(actor.traces.take_promoted());
                session.link.tick(now, now_millis());
            }
            actor.pump(ctx);
        });
        self.dial(ctx);
    }
}

impl Handler<Received> for Shipper {
    type Result = ();

    fn handle(&mut self, received: Received, ctx: &mut Self::Context) {
        let now = self.clock.tick();
        if let Some(session) = self
            .session
            .as_mut()
            .filter(|session| session.serial == received.serial)
        {
            session.link.receive(now, received.message);
            self.pump(ctx);
        }
    }
}

impl Handler<Lost> for Shipper {
    type Result = ();

    fn handle(&mut self, lost: Lost, ctx: &mut Self::Context) {
        self.lose_serial(lost.serial, &lost.reason, ctx);
    }
}

impl Handler<SpoolChanged> for Shipper {
    type Result = ();

    fn handle(&mut self, _: SpoolChanged, ctx: &mut Self::Context) {
        self.spool_changed();
        self.pump(ctx);
    }
}

impl Handler<Stop> for Shipper {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        self.stopping = true;
        if let Some(session) = &mut self.session {
            session.link.goodbye();
        }
        self.pump(ctx);
        ctx.stop();
    }
}
