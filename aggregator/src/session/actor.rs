//! Carries an [`AggregatorLink`].

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use tokio::sync::mpsc;
use tributary_shared::ids::{AgentId, LaneKey, StreamName};
use tributary_shared::metrics::{self, MetricName};
use tributary_shared::protocol::{AggregatorLink, AggregatorOutput, CommitOutcome};
use tributary_shared::telemetry;

use tributary_shared::time::{Monotonic, now_millis};
use tributary_shared::wire::{
    Bye, FromAggregator, LaneOpened, MAX_CONTROL_FRAME, MAX_PROMOTED, NodeReport, RefuseCode, SessionKey,
    frame,
};

use super::messages::{Answered, Arrived, Ended, Found, FromGateway, KeyOf, Opened, SchemaChanged, Stop};
use super::submit::{Books, Submission, submit};
use super::{MAX_IN_FLIGHT, Shared, Supersede};
use crate::audit;
use crate::metadata::{NodeKind, Reported};

/// How often the link is given the time.
const TICK_EVERY: Duration = Duration::from_millis(500);
/// The last words must reach the gateway before the connection closes under them.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Messages that wait for one session: several for each batch in flight, and one a lane when a gateway
/// reconnects with all its agents.
const MAILBOX: usize = 4_096;

/// What a session is made with.
#[derive(Debug)]
pub struct SessionSetup {
    pub link: AggregatorLink<Box<crate::commit::Prepared>>,
    pub clock: Monotonic,
    pub connection: quinn::Connection,
    pub control: mpsc::Sender<Bytes>,
    pub shared: Arc<Shared>,
}

/// The actor. See the module's text.
#[derive(Debug)]
pub struct Session {
    setup: SessionSetup,
    /// Batches in order, on their way to the commit. Twice the credit: after a rewind, batches of before it
    /// may still be waiting.
    submissions: Option<mpsc::Sender<Submission>>,
    subscribed: HashSet<StreamName>,
    agents: HashSet<AgentId>,
    /// Its hello was good.
    greeted: bool,
    closing: bool,
}

impl Session {
    #[must_use]
    pub fn new(setup: SessionSetup) -> Self {
        Self {
            setup,
            submissions: None,
            subscribed: HashSet::new(),
            agents: HashSet::new(),
            greeted: false,
            closing: false,
        }
    }

    fn pump(&mut self, ctx: &mut Context<Self>) {
        while let Some(output) = self.setup.link.output() {
            self.act(output, ctx);
        }
    }

    fn act(&mut self, output: AggregatorOutput<Box<crate::commit::Prepared>>, ctx: &mut Context<Self>) {
        match output {
            AggregatorOutput::Send(message) => self.send(&message, ctx),
            AggregatorOutput::OpenLane { lane, key, next_seq } => self.open_lane(lane, key, next_seq, ctx),
            AggregatorOutput::Subscribe { stream } => {
                self.subscribed.insert(stream.clone());
                self.push_schema(stream);
            }
            AggregatorOutput::FindSchema { stream, id } => self.find_schema(stream, id, ctx),
            AggregatorOutput::Commit { generation, body, .. } => {
                let submission = Submission {
                    batch: body,
                    generation,
                };
                let queued = self
                    .submissions
                    .as_ref()
                    .map(|queue| queue.try_send(submission).is_ok());
                if queued != Some(true) {
                    self.setup
                        .link
                        .protocol_error("more batches than the credit allows");
                }
            }
            AggregatorOutput::GatewayUp {
                software,
                configuration,
            } => {
                tracing::info!(gateway = %self.setup.link.gateway(), software, "gateway connected");
                let gateway = self.setup.link.gateway().to_string();
                self.greeted = true;
                self.setup.shared.metadata.session_began(&gateway);
                self.node_seen((NodeKind::Gateway, &gateway), &software, configuration.as_deref());
            }
            AggregatorOutput::Refused { peers } => {
                let gateway = self.setup.link.gateway();
                for peer in peers {
                    let why = format!("by gateway {gateway}: {}", peer.why);
                    self.setup.shared.refusals.add(&peer.who, &why, peer.count);
                }
            }
            AggregatorOutput::Agent {
                agent,
                session,
                remote,
                software,
                configuration,
                report,
            } => {
                if report.is_some() && (configuration.is_some() || !self.agents.contains(&agent)) {
                    self.node_seen(
                        (NodeKind::Agent, agent.as_str()),
                        &software,
                        configuration.as_deref(),
                    );
                }
                self.agent(&agent, session, (&remote, &software), report);
            }
            AggregatorOutput::Close { bye } => self.close(bye, ctx),
        }
    }

    /// An agent or a gateway is here: it goes into the graph, and into the audit when it is another than it was.
    fn node_seen(&self, (kind, name): (NodeKind, &str), software: &str, configuration: Option<&str>) {
        let reported = Reported {
            kind,
            name,
            software,
            configuration,
        };
        let Some(change) = self.setup.shared.metadata.seen(reported, now_millis()) else {
            return;
        };
        let commit = self.setup.shared.commit.clone();
        actix::spawn(async move {
            let act = audit::node_configuration(&change);
            if let Err(error) = commit.record(act).await {
                let node = &change.record.name;
                tracing::warn!(node, %error, "the audit does not say that a node's configuration changed");
            }
        });
    }

    /// A gateway asks once for each schema that it meets, and a registry that cannot be read is asked again.
    fn find_schema(&self, stream: StreamName, id: u32, ctx: &mut Context<Self>) {
        let registry = self.setup.shared.registry.clone();
        let addr = ctx.address();
        actix::spawn(async move {
            let name = stream.clone();
            let found = tokio::task::spawn_blocking(move || registry.stream_writer(&name, id)).await;
            match found {
                // a session that ended needs no answer
                Ok(Ok(schema)) => drop(addr.send(Found { stream, id, schema }).await),
                Ok(Err(error)) => tracing::error!(%stream, id, %error, "cannot look a schema up"),
                Err(error) => tracing::error!(%stream, id, %error, "looking a schema up panicked"),
            }
        });
    }

    fn open_lane(&mut self, lane: u32, key: LaneKey, next_seq: u64, ctx: &mut Context<Self>) {
        let commit = self.setup.shared.commit.clone();
        let addr = ctx.address();
        actix::spawn(async move {
            let opened = match commit.open_lane(key.clone(), next_seq).await {
                Ok(state) => Some(LaneOpened {
                    lane,
                    lane_no: state.lane_no,
                    mark: state.mark,
                    history: Some(state.history),
                }),
                Err(error) => {
                    tracing::warn!(lane = %key, %error, "cannot open a lane");
                    None
                }
            };
            let _ = addr.send(Opened(opened)).await;
        });
    }

    fn agent(
        &mut self,
        agent: &AgentId,
        session: SessionKey,
        (remote, software): (&str, &str),
        report: Option<NodeReport>,
    ) {
        let (directory, gateway) = (&self.setup.shared.agents, self.setup.link.gateway());
        let sightings = &self.setup.shared.sightings;
        let now = now_millis();
        let promoted = report.iter().flat_map(|report| &report.promoted);
        promoted
            .take(MAX_PROMOTED)
            .for_each(|trace| telemetry::promote(trace));
        match report {
            None => {
                if sightings.left(agent, session) {
                    self.agents.remove(agent);
                    directory.disconnected(agent, gateway, now);
                    self.setup
                        .shared
                        .metadata
                        .left(NodeKind::Agent, agent.as_str(), now);
                }
            }
            Some(_) if !sightings.seen(agent, gateway, session) => {
                self.agents.remove(agent);
            }
            Some(report) => {
                if self.agents.insert(agent.clone()) {
                    directory.connected(agent, gateway, remote, software, now);
                }
                directory.report(agent, report, now);
            }
        }
    }

    fn push_schema(&mut self, stream: StreamName) {
        let schema = self.setup.shared.registry.cache().latest(&stream);
        self.setup
            .link
            .schema(stream, schema.map(|schema| schema.as_ref().clone()));
    }

    fn send(&mut self, message: &FromAggregator, ctx: &mut Context<Self>) {
        let sent = frame::encode("control message", message, MAX_CONTROL_FRAME)
            .map_err(|error| error.to_string())
            .and_then(|bytes| {
                self.setup
                    .control
                    .try_send(bytes)
                    .map_err(|_| "it does not read".to_owned())
            });
        if let Err(reason) = sent {
            tracing::warn!(gateway = %self.setup.link.gateway(), reason, "cannot write to a gateway: session closed");
            ctx.stop();
        }
    }

    fn close(&mut self, bye: Option<Bye>, ctx: &mut Context<Self>) {
        if self.closing {
            return;
        }
        self.closing = true;
        if let Some(bye) = bye {
            tracing::warn!(gateway = %self.setup.link.gateway(), code = ?bye.code, reason = bye.message, "closing a session");
            let code = format!("{:?}", bye.code);
            metrics::counter(MetricName::AggregatorRefused, &[("reason", &code)]).inc();
            let gateway = self.setup.link.gateway().as_str();
            self.setup.shared.refusals.count(gateway, &code);
            self.send(&FromAggregator::Bye(bye), ctx);
        }
        ctx.run_later(LAST_WORDS, |_, ctx| ctx.stop());
    }
}

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        let gateway = self.setup.link.gateway().clone();
        self.setup
            .shared
            .sightings
            .gateway_up(gateway, ctx.address().recipient());
        let (sender, queue) = mpsc::channel(2 * MAX_IN_FLIGHT as usize);
        self.submissions = Some(sender);
        let shared = &self.setup.shared;
        let books = Books {
            registry: shared.registry.clone(),
            metadata: shared.metadata.clone(),
        };
        actix::spawn(submit(queue, shared.commit.clone(), books, ctx.address()));
        ctx.run_interval(TICK_EVERY, |actor, ctx| {
            let now = actor.setup.clock.tick();
            if let Some(head) = actor.setup.shared.commit.audit_head() {
                actor.setup.link.audit_head(&head);
            }
            actor.setup.link.tick(now, now_millis());
            actor.pump(ctx);
        });
    }

    fn stopped(&mut self, ctx: &mut Self::Context) {
        let gateway = self.setup.link.gateway();
        self.setup
            .shared
            .sightings
            .gateway_down(gateway, &ctx.address().recipient());
        tracing::info!(gateway = %self.setup.link.gateway(), "gateway left");
        self.setup.shared.agents.gateway_lost(gateway);
        if self.greeted {
            let metadata = &self.setup.shared.metadata;
            metadata.session_ended(gateway.as_str(), now_millis());
        }
        self.setup.connection.close(quinn::VarInt::from_u32(0), b"");
    }
}

impl Handler<FromGateway> for Session {
    type Result = ();

    fn handle(&mut self, FromGateway(message): FromGateway, ctx: &mut Self::Context) {
        self.setup
            .link
            .receive(self.setup.clock.tick(), now_millis(), message);
        self.pump(ctx);
    }
}

impl Handler<KeyOf> for Session {
    type Result = Option<LaneKey>;

    fn handle(&mut self, KeyOf(lane_no): KeyOf, _: &mut Self::Context) -> Self::Result {
        self.setup.link.key(lane_no).cloned()
    }
}

impl Handler<Arrived> for Session {
    type Result = ();

    fn handle(&mut self, arrived: Arrived, ctx: &mut Self::Context) {
        let lane_no = arrived.header.lane;
        match arrived.batch {
            Ok(batch) => self
                .setup
                .link
                .batch(self.setup.clock.tick(), arrived.header, batch),
            Err(error) => {
                tracing::warn!(gateway = %self.setup.link.gateway(), lane = %lane_no, %error, "refused a damaged batch");
                metrics::counter(MetricName::AggregatorRefused, &[("reason", "malformed")]).inc();
                self.setup.link.malformed(lane_no, error.to_string());
            }
        }
        self.pump(ctx);
    }
}

impl Handler<Opened> for Session {
    type Result = ();

    fn handle(&mut self, Opened(opened): Opened, ctx: &mut Self::Context) {
        match opened {
            Some(opened) => self.setup.link.lane_opened(opened),
            // the gateway comes back, and asks for its lanes again
            None => self.setup.link.drain(),
        }
        self.pump(ctx);
    }
}

impl Handler<Found> for Session {
    type Result = ();

    fn handle(&mut self, Found { stream, id, schema }: Found, ctx: &mut Self::Context) {
        self.setup.link.schema_by_id(stream, id, schema);
        self.pump(ctx);
    }
}

impl Handler<Answered> for Session {
    type Result = ();

    fn handle(&mut self, answered: Answered, ctx: &mut Self::Context) {
        let Answered {
            lane_no,
            generation,
            outcome,
        } = answered;
        if let CommitOutcome::Refused {
            code: RefuseCode::SchemaChanged,
            ..
        } = &outcome
            && let Some(stream) = self.setup.link.key(lane_no).map(|key| key.stream.clone())
        {
            // first the schema, then the refusal: what is sent again is judged by the new one
            self.push_schema(stream);
        }
        self.setup.link.answered(lane_no, generation, outcome);
        self.pump(ctx);
    }
}

impl Handler<SchemaChanged> for Session {
    type Result = ();

    fn handle(&mut self, SchemaChanged(stream): SchemaChanged, ctx: &mut Self::Context) {
        if self.subscribed.contains(&stream) {
            self.push_schema(stream);
            self.pump(ctx);
        }
    }
}

impl Handler<Supersede> for Session {
    type Result = ();

    fn handle(&mut self, Supersede { agent, session }: Supersede, ctx: &mut Self::Context) {
        self.setup.link.supersede(agent, session);
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
            tracing::debug!(gateway = %self.setup.link.gateway(), reason = ended.reason, "connection ended");
            ctx.stop();
        }
    }
}

impl Handler<Stop> for Session {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        self.setup.link.drain();
        self.pump(ctx);
    }
}
