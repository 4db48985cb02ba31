//! Accepts agents: handshake, role check, one session actor each.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use tokio::sync::{Mutex, Semaphore, mpsc, watch};
use tributary_shared::actors::Supervised;
use tributary_shared::identity::{Identity, Peer, explain};
use tributary_shared::ids::{AgentId, GatewayId};
use tributary_shared::metrics::{self, MetricName};
use tributary_shared::protocol::{GatewayLink, HELLO_TIMEOUT, Ramp};
use tributary_shared::refusals::Refusals;
use tributary_shared::time::Monotonic;
use tributary_shared::transport::{CONTROL_QUEUE, ControlReader, TransportError, write_control};
use tributary_shared::wire::{Bye, ByeCode, Limits, MAX_CONTROL_FRAME, ToAgent, ToGateway, frame};

use crate::config::LimitsConfig;
use crate::news::SchemaNews;
use crate::pool::DecodePool;
use crate::rate::TokenBucket;
use crate::schemas::SchemaBook;
use crate::session::{BatchContext, Ended, FromAgent, Session, SessionSetup, Stop, accept_batches};
use crate::upstream::{Link, SessionId, Upstream};

/// A draining gateway asks its agents to wait about so long before they look for another.
const DRAIN_RETRY_MS: u32 = 200;
/// An agent that is turned away gets so long to take the answer in.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long a stopping gateway waits for its sessions to end.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// What all sessions share.
#[derive(Debug)]
pub struct Shared {
    pub gateway: GatewayId,
    pub identity: Arc<Identity>,
    pub upstream: Supervised<Upstream>,
    pub link: Link,
    pub schemas: SchemaBook,
    pub news: SchemaNews,
    pub pool: DecodePool,
    pub budget: Arc<Semaphore>,
    pub limits: LimitsConfig,
    /// How fast sessions begin, all agents together.
    pub ramp: std::sync::Mutex<Ramp>,
    pub clock: Monotonic,
    /// Peers that were turned away.
    pub refusals: Refusals,
}

impl Shared {
    /// Whether a session may begin now; else the milliseconds after which its agent should come back.
    fn admit(&self) -> Result<(), u32> {
        let mut ramp = self.ramp.lock().unwrap_or_else(PoisonError::into_inner);
        ramp.admit(self.clock.tick())
    }
}

type Sessions = Arc<Mutex<HashMap<SessionId, Addr<Session>>>>;

/// Serves agents until `shutdown` turns true; then drains.
pub async fn listen(endpoint: quinn::Endpoint, shared: Arc<Shared>, mut shutdown: watch::Receiver<bool>) {
    let sessions: Sessions = Arc::default();
    let numbers = AtomicU64::new(0);
    let places = Arc::new(Semaphore::new(shared.limits.max_sessions));
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            _ = shutdown.wait_for(|stop| *stop) => break,
        };
        let Some(incoming) = incoming else { break };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            metrics::counter(MetricName::GatewayRefused, &[("reason", "sessions")]).inc();
            tracing::warn!(
                limit = shared.limits.max_sessions,
                "refused a connection: every session is taken"
            );
            incoming.refuse();
            continue;
        };
        let id = numbers.fetch_add(1, Ordering::Relaxed);
        let (shared, sessions) = (Arc::clone(&shared), Arc::clone(&sessions));
        actix::spawn(async move {
            serve(incoming, id, &shared, &sessions).await;
            drop(place);
        });
    }
    drain(&endpoint, &sessions).await;
}

async fn drain(endpoint: &quinn::Endpoint, sessions: &Sessions) {
    endpoint.set_server_config(None);
    let open: Vec<_> = sessions.lock().await.values().cloned().collect();
    tracing::info!(sessions = open.len(), "draining");
    for session in open {
        let _ = session.try_send(Stop {
            retry_after_ms: DRAIN_RETRY_MS,
        });
    }
    let ended = async {
        while !sessions.lock().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(DRAIN_DEADLINE, ended).await.is_err() {
        tracing::warn!("sessions are still open after the drain deadline: they are cut");
    }
}

async fn serve(incoming: quinn::Incoming, id: SessionId, shared: &Arc<Shared>, sessions: &Sessions) {
    let remote = incoming.remote_address();
    let connection = match incoming.await {
        Ok(connection) => connection,
        Err(error) => {
            metrics::counter(MetricName::GatewayRefused, &[("reason", "handshake")]).inc();
            let reason = explain(&error, shared.identity.paths());
            shared.refusals.count(&remote.ip().to_string(), &reason);
            tracing::warn!(%remote, reason, "refused a connection");
            return;
        }
    };
    match Peer::of(&connection).and_then(Peer::agent) {
        Ok(agent) => session(connection, agent, id, shared, sessions).await,
        Err(error) => {
            metrics::counter(MetricName::GatewayRefused, &[("reason", "role")]).inc();
            shared
                .refusals
                .count(&remote.ip().to_string(), &error.to_string());
            tracing::warn!(%remote, %error, "refused a connection");
            connection.close(quinn::VarInt::from_u32(1), b"wrong role");
        }
    }
}

async fn session(
    connection: quinn::Connection,
    agent: AgentId,
    id: SessionId,
    shared: &Arc<Shared>,
    sessions: &Sessions,
) {
    let hello = Duration::from_millis(HELLO_TIMEOUT);
    let Ok(Ok((send, receive))) = tokio::time::timeout(hello, connection.accept_bi()).await else {
        metrics::counter(MetricName::GatewayRefused, &[("reason", "half_open")]).inc();
        connection.close(quinn::VarInt::from_u32(1), b"no control stream in time");
        return;
    };
    if let Err(retry_after_ms) = shared.admit() {
        metrics::counter(MetricName::GatewayRefused, &[("reason", "ramp")]).inc();
        tracing::debug!(%agent, retry_after_ms, "asked an agent to come back later");
        turn_away(&connection, send, retry_after_ms).await;
        return;
    }
    let Some(upstream) = shared.upstream.addr() else {
        connection.close(quinn::VarInt::from_u32(2), b"not ready");
        return;
    };
    let (control, frames) = mpsc::channel::<Bytes>(CONTROL_QUEUE);
    let clock = Monotonic::start();
    let limits = Limits::default();
    let link = GatewayLink::new(agent, shared.gateway.clone(), limits, clock.tick());
    let rate = shared
        .limits
        .events_per_s
        .map(|rate| TokenBucket::new(rate, clock.tick()));
    let setup = SessionSetup {
        id,
        link,
        clock,
        connection: connection.clone(),
        control,
        upstream: upstream.clone(),
        rate,
        schemas: shared.schemas.clone(),
        news: shared.news.clone(),
    };
    let addr = Session::new(setup).start();
    sessions.lock().await.insert(id, addr.clone());
    actix::spawn(write_control(send, frames));
    let batches = BatchContext {
        id,
        gateway: shared.gateway.clone(),
        session: addr.clone(),
        upstream,
        link: shared.link.clone(),
        schemas: shared.schemas.clone(),
        pool: shared.pool.clone(),
        budget: Arc::clone(&shared.budget),
        max_in_flight: limits.max_in_flight as usize,
    };
    actix::spawn(accept_batches(connection.clone(), batches));
    let ended = read_control(ControlReader::new(receive), &addr).await;
    if addr.send(ended).await.is_err() {
        // the actor is gone (it panicked, say) and cannot close what it owned
        connection.close(quinn::VarInt::from_u32(1), b"session lost");
    }
    connection.closed().await;
    sessions.lock().await.remove(&id);
}

/// Too many sessions begin at once: says when to come back, whatever the hello is.
async fn turn_away(connection: &quinn::Connection, mut send: quinn::SendStream, retry_after_ms: u32) {
    let bye = Bye {
        code: ByeCode::Busy,
        message: "too many agents connect at once".to_owned(),
        retry_after_ms,
    };
    if let Ok(frame) = frame::encode("control message", &ToAgent::Bye(bye), MAX_CONTROL_FRAME) {
        let said = async {
            send.write_chunk(frame).await.ok()?;
            send.finish().ok()?;
            send.stopped().await.ok()
        };
        // an agent that does not listen is closed without its answer
        let _ = tokio::time::timeout(LAST_WORDS, said).await;
    }
    connection.close(quinn::VarInt::from_u32(0), b"busy");
}

async fn read_control(mut reader: ControlReader, addr: &Addr<Session>) -> Ended {
    loop {
        match reader.next::<ToGateway>().await {
            Ok(Some(message)) => {
                if addr.send(FromAgent(message)).await.is_err() {
                    return Ended {
                        reason: "the session stopped".to_owned(),
                        protocol_error: false,
                    };
                }
            }
            Ok(None) => {
                return Ended {
                    reason: "the agent ended it".to_owned(),
                    protocol_error: false,
                };
            }
            Err(error) => {
                let protocol_error = matches!(error, TransportError::Wire(_));
                return Ended {
                    reason: error.to_string(),
                    protocol_error,
                };
            }
        }
    }
}
