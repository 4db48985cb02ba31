//! Carries a [`GatewayLink`]: what it says is sent, what it asks is asked upstream.

use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use tokio::sync::mpsc;
use tributary_shared::ids::StreamName;
use tributary_shared::metrics::{self, MetricName};
use tributary_shared::protocol::{GatewayLink, GatewayOutput};
use tributary_shared::telemetry;
use tributary_shared::time::{Monotonic, now_millis};
use tributary_shared::wire::{
    BatchContent, Bye, MAX_CONTROL_FRAME, NodeReport, RefuseCode, SessionKey, ToAgent, frame,
};

use super::messages::{Admission, Admit, Ended, FromAgent, Promoted, RefuseBatch, Stop};
use crate::news::SchemaNews;
use crate::rate::TokenBucket;
use crate::schemas::SchemaBook;
use crate::upstream::{CloseSession, OpenLane, Register, ReportAgent, SessionId, ToSession, Upstream};

/// How often the link is given the time.
const TICK_EVERY: Duration = Duration::from_millis(500);
/// The last words must reach the agent before the connection closes under them.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Bytes of schemas that an agent is told in one tick, but for the last one of them: a new agent with many streams
/// must not fill the way to it.
const TELL_BYTES: usize = 256 << 10;
/// Messages that wait for one session: several for each batch that may be in flight.
const MAILBOX: usize = 256;

/// What a session is made with.
#[derive(Debug)]
pub struct SessionSetup {
    pub id: SessionId,
    pub link: GatewayLink,
    pub clock: Monotonic,
    pub connection: quinn::Connection,
    pub control: mpsc::Sender<Bytes>,
    pub upstream: Addr<Upstream>,
    pub rate: Option<TokenBucket>,
    pub schemas: SchemaBook,
    pub news: SchemaNews,
}

/// The actor. See the module's text.
#[derive(Debug)]
pub struct Session {
    setup: SessionSetup,
    software: String,
    /// What the hello said of it, until it is handed on with the first report.
    configuration: Option<String>,
    /// Known once the agent has said hello.
    key: Option<SessionKey>,
    closing: bool,
    /// The agent knows what was news up to this count; `None` when something waits to be told.
    told: Option<u64>,
}

impl Session {
    #[must_use]
    pub fn new(setup: SessionSetup) -> Self {
        Self {
            setup,
            software: String::new(),
            configuration: None,
            key: None,
            closing: false,
            told: None,
        }
    }

    fn pump(&mut self, ctx: &mut Context<Self>) {
        while let Some(output) = self.setup.link.output() {
            self.act(output, ctx);
        }
    }

    fn act(&mut self, output: GatewayOutput, ctx: &mut Context<Self>) {
        match output {
            GatewayOutput::Send(message) => self.send(&message, ctx),
            GatewayOutput::AgentUp {
                software,
                configuration,
                session,
            } => {
                metrics::counter(MetricName::GatewaySessionsOpened, &[]).inc();
                let remote = self.setup.connection.remote_address();
                tracing::info!(agent = %self.setup.link.agent(), %remote, "agent connected");
                self.software = software;
                self.configuration = configuration;
                self.key = Some(session);
            }
            GatewayOutput::Report(report) => {
                report.promoted.iter().for_each(|trace| telemetry::promote(trace));
                self.report(Some(report), ctx);
            }
            GatewayOutput::OpenUpstream { lane, key, next_seq } => {
                let ask = OpenLane {
                    session: self.setup.id,
                    lane,
                    key,
                    next_seq,
                };
                self.ask_upstream(ask, ctx);
            }
            GatewayOutput::WantSchema { stream } => self.want_schema(stream),
            GatewayOutput::Close { bye } => self.close(bye, ctx),
        }
    }

    /// Makes sure that the aggregator is asked; the answer is told with one of the next ticks.
    fn want_schema(&mut self, stream: StreamName) {
        self.told = None;
        if self.setup.news.told(&stream).is_none() {
            let schemas = self.setup.schemas.clone();
            // when no answer comes in time, the question is asked again with the next connection upstream
            actix::spawn(async move { drop(schemas.get(&stream).await) });
        }
    }

    /// Tells the agent what has changed since the last time, a little at a time.
    fn tell_schemas(&mut self) {
        let changes = self.setup.news.changes();
        if self.told == Some(changes) {
            return;
        }
        let streams: Vec<StreamName> = self.setup.link.schema_streams().cloned().collect();
        let mut bytes = 0;
        for stream in streams {
            if bytes >= TELL_BYTES {
                return;
            }
            if let Some(schema) = self.setup.news.told(&stream) {
                bytes += self.setup.link.schema(&stream, schema.as_deref());
            }
        }
        self.told = Some(changes);
    }

    fn report(&mut self, report: Option<NodeReport>, ctx: &mut Context<Self>) {
        let Some(session) = self.key else { return };
        let agent = self.setup.link.agent().clone();
        let report = report.map(|report| NodeReport {
            skew_ms: Some(report.now.saturating_sub(now_millis())),
            ..report
        });
        // it changes when the agent roams: QUIC takes the session along
        let remote = self.setup.connection.remote_address().to_string();
        let software = self.software.clone();
        let configuration = self.configuration.take();
        self.ask_upstream(
            ReportAgent {
                agent,
                session,
                remote,
                software,
                configuration,
                report,
            },
            ctx,
        );
    }

    fn ask_upstream<M>(&mut self, message: M, ctx: &mut Context<Self>)
    where
        M: Message<Result = ()> + Send + 'static,
        Upstream: Handler<M>,
    {
        if self.setup.upstream.try_send(message).is_err() {
            tracing::warn!(agent = %self.setup.link.agent(), "the upstream actor is overloaded: session closed");
            ctx.stop();
        }
    }

    fn send(&mut self, message: &ToAgent, ctx: &mut Context<Self>) {
        let sent = frame::encode("control message", message, MAX_CONTROL_FRAME)
            .map_err(|error| error.to_string())
            .and_then(|bytes| {
                self.setup
                    .control
                    .try_send(bytes)
                    .map_err(|_| "it does not read".to_owned())
            });
        if let Err(reason) = sent {
            tracing::warn!(agent = %self.setup.link.agent(), reason, "cannot write to an agent: session closed");
            ctx.stop();
        }
    }

    fn close(&mut self, bye: Option<Bye>, ctx: &mut Context<Self>) {
        if self.closing {
            return;
        }
        self.closing = true;
        if let Some(bye) = bye {
            tracing::warn!(agent = %self.setup.link.agent(), code = ?bye.code, reason = bye.message, "closing a session");
            metrics::counter(
                MetricName::GatewayRefused,
                &[("reason", &format!("{:?}", bye.code))],
            )
            .inc();
            self.send(&ToAgent::Bye(bye), ctx);
        }
        ctx.run_later(LAST_WORDS, |_, ctx| ctx.stop());
    }
}

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        metrics::gauge(MetricName::GatewaySessions, &[]).inc();
        let register = Register {
            session: self.setup.id,
            agent: self.setup.link.agent().clone(),
            events: ctx.address().recipient(),
        };
        self.ask_upstream(register, ctx);
        ctx.run_interval(TICK_EVERY, |actor, ctx| {
            let now = actor.setup.clock.tick();
            if let Some(head) = actor.setup.news.head() {
                actor.setup.link.audit_head(&head);
            }
            actor.setup.link.tick(now, now_millis());
            actor.tell_schemas();
            actor.pump(ctx);
        });
    }

    fn stopped(&mut self, ctx: &mut Self::Context) {
        metrics::gauge(MetricName::GatewaySessions, &[]).dec();
        tracing::info!(agent = %self.setup.link.agent(), "agent left");
        self.report(None, ctx);
        // best effort: an upstream actor that is gone has no lanes left to close
        let _ = self.setup.upstream.try_send(CloseSession {
            session: self.setup.id,
        });
        self.setup.connection.close(quinn::VarInt::from_u32(0), b"");
    }
}

impl Handler<FromAgent> for Session {
    type Result = ();

    fn handle(&mut self, FromAgent(message): FromAgent, ctx: &mut Self::Context) {
        self.setup
            .link
            .receive(self.setup.clock.tick(), now_millis(), message);
        self.pump(ctx);
    }
}

impl Handler<Admit> for Session {
    type Result = MessageResult<Admit>;

    fn handle(&mut self, Admit(header): Admit, ctx: &mut Self::Context) -> Self::Result {
        let admitted = self.setup.link.admit(&header);
        let rows = !matches!(header.content, BatchContent::Dropped { .. });
        let wait = match (&admitted, &mut self.setup.rate) {
            (Some(_), Some(bucket)) if rows => bucket.take(header.count, self.setup.clock.tick()).err(),
            _ => None,
        };
        let admission = match wait {
            None => admitted.map(|(lane_no, key)| Admission { lane_no, key }),
            Some(wait) => {
                let message = "this agent sends more events a second than the gateway allows it".to_owned();
                metrics::counter(MetricName::GatewayRefused, &[("reason", "throttled")]).inc();
                self.setup
                    .link
                    .refuse(&header, RefuseCode::Throttled, message, wait);
                None
            }
        };
        self.pump(ctx);
        MessageResult(admission)
    }
}

impl Handler<RefuseBatch> for Session {
    type Result = ();

    fn handle(&mut self, batch: RefuseBatch, ctx: &mut Self::Context) {
        let RefuseBatch {
            header,
            code,
            message,
            retry_after_ms,
        } = batch;
        tracing::warn!(agent = %self.setup.link.agent(), ?code, message, "refused a batch");
        metrics::counter(MetricName::GatewayRefused, &[("reason", &format!("{code:?}"))]).inc();
        self.setup.link.refuse(&header, code, message, retry_after_ms);
        self.pump(ctx);
    }
}

impl Handler<Promoted> for Session {
    type Result = ();

    /// The agent hears of it with the next heartbeat.
    fn handle(&mut self, Promoted(trace): Promoted, _: &mut Self::Context) {
        self.setup.link.promoted(trace);
    }
}

impl Handler<ToSession> for Session {
    type Result = ();

    fn handle(&mut self, event: ToSession, ctx: &mut Self::Context) {
        let link = &mut self.setup.link;
        match event {
            ToSession::LaneOpened(opened) => link.lane_opened(opened),
            ToSession::Ack(ack) => link.ack(ack),
            ToSession::Refuse(refuse) => link.upstream_refused(refuse),
            ToSession::Lost => link.upstream_lost(),
            ToSession::Restored => link.upstream_restored(),
            ToSession::Superseded => link.superseded(),
            ToSession::SupersededElsewhere(session) => link.superseded_elsewhere(session),
        }
        self.pump(ctx);
    }
}

impl Handler<Ended> for Session {
    type Result = ();

    fn handle(&mut self, ended: Ended, ctx: &mut Self::Context) {
        if ended.protocol_error {
            self.setup.link.protocol_error(&ended.reason);
            self.pump(ctx);
        } else {
            tracing::debug!(agent = %self.setup.link.agent(), reason = ended.reason, "connection ended");
            ctx.stop();
        }
    }
}

impl Handler<Stop> for Session {
    type Result = ();

    fn handle(&mut self, stop: Stop, ctx: &mut Self::Context) {
        self.setup.link.drain(stop.retry_after_ms);
        self.pump(ctx);
    }
}
