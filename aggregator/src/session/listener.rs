//! Accepts gateways: handshake, role check, one session actor each.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use tokio::sync::{Mutex, mpsc, watch};
use tributary_shared::identity::{Identity, Peer, explain};
use tributary_shared::ids::GatewayId;
use tributary_shared::metrics::{self, MetricName};
use tributary_shared::protocol::{AggregatorLink, HELLO_TIMEOUT};
use tributary_shared::refusals::Refusals;
use tributary_shared::time::Monotonic;
use tributary_shared::transport::{CONTROL_QUEUE, ControlReader, write_control};
use tributary_shared::wire::{Limits, ToAggregator};

use super::messages::{Ended, FromGateway};
use super::receive::accept_batches;
use super::{MAX_IN_FLIGHT, SchemaChanged, Session, SessionSetup, Stop};
use crate::agents::AgentDirectory;
use crate::audit::KnownGateways;
use crate::commit::CommitHandle;
use crate::metadata::Metadata;
use crate::registry::Registry;

/// What all sessions share.
#[derive(Debug)]
pub struct Shared {
    pub commit: CommitHandle,
    pub registry: Registry,
    pub agents: Arc<AgentDirectory>,
    pub sightings: super::Sightings,
    /// Those that the audit knows.
    pub gateways: KnownGateways,
    /// Who was turned away, on its way into the audit.
    pub refusals: Refusals,
    /// Which nodes and routes were seen.
    pub metadata: Metadata,
    /// Our own name, as gateways see it.
    pub name: String,
}

type Sessions = Arc<Mutex<HashMap<u64, Addr<Session>>>>;

/// Serves gateways until `shutdown` turns true; then tells each of them and waits up to `drain` for the last
/// words.
pub async fn listen(
    endpoint: quinn::Endpoint,
    identity: Arc<Identity>,
    shared: Arc<Shared>,
    mut shutdown: watch::Receiver<bool>,
    drain: Duration,
) {
    let sessions: Sessions = Arc::default();
    let numbers = Arc::new(AtomicU64::new(0));
    let mut changes = shared.registry.changes();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { break };
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                actix::spawn(serve(incoming, number, Arc::clone(&identity), Arc::clone(&shared), Arc::clone(&sessions)));
            }
            change = changes.recv() => {
                // after a lag the refusal of the next stale batch brings the schema along
                if let Ok(change) = change {
                    for session in sessions.lock().await.values() {
                        let _ = session.try_send(SchemaChanged(change.stream.clone()));
                    }
                }
            }
            _ = shutdown.wait_for(|stop| *stop) => break,
        }
    }
    for session in sessions.lock().await.values() {
        let _ = session.try_send(Stop);
    }
    endpoint.set_server_config(None);
    if tokio::time::timeout(drain, endpoint.wait_idle()).await.is_err() {
        tracing::warn!("gateways are still connected after the drain deadline: they are cut");
    }
}

async fn serve(
    incoming: quinn::Incoming,
    number: u64,
    identity: Arc<Identity>,
    shared: Arc<Shared>,
    sessions: Sessions,
) {
    let remote = incoming.remote_address();
    let connection = match incoming.await {
        Ok(connection) => connection,
        Err(error) => {
            metrics::counter(MetricName::AggregatorRefused, &[("reason", "handshake")]).inc();
            let reason = explain(&error, identity.paths());
            shared.refusals.count(&remote.ip().to_string(), &reason);
            tracing::warn!(%remote, reason, "refused a connection");
            return;
        }
    };
    let gateway = match Peer::of(&connection).and_then(Peer::gateway) {
        Ok(gateway) => gateway,
        Err(error) => {
            metrics::counter(MetricName::AggregatorRefused, &[("reason", "role")]).inc();
            shared
                .refusals
                .count(&remote.ip().to_string(), &error.to_string());
            tracing::warn!(%remote, %error, "refused a connection");
            connection.close(quinn::VarInt::from_u32(1), b"wrong role");
            return;
        }
    };
    let from = remote.ip().to_string();
    if let Err(error) = shared.gateways.seen(&gateway, &from, &shared.commit).await {
        tracing::warn!(%gateway, %error, "a new gateway cannot be recorded, and is turned away until it can");
        connection.close(quinn::VarInt::from_u32(1), b"the log cannot store just now");
        return;
    }
    session(connection, gateway, number, &shared, &sessions).await;
}

async fn session(
    connection: quinn::Connection,
    gateway: GatewayId,
    number: u64,
    shared: &Arc<Shared>,
    sessions: &Sessions,
) {
    let hello = Duration::from_millis(HELLO_TIMEOUT);
    let Ok(Ok((send, receive))) = tokio::time::timeout(hello, connection.accept_bi()).await else {
        connection.close(quinn::VarInt::from_u32(1), b"no control stream in time");
        return;
    };
    let (control, frames) = mpsc::channel::<Bytes>(CONTROL_QUEUE);
    let clock = Monotonic::start();
    let limits = Limits {
        max_in_flight: MAX_IN_FLIGHT,
        ..Limits::default()
    };
    let link = AggregatorLink::new(gateway, shared.name.clone(), limits, clock.tick());
    let setup = SessionSetup {
        link,
        clock,
        connection: connection.clone(),
        control,
        shared: Arc::clone(shared),
    };
    let addr = Session::new(setup).start();
    sessions.lock().await.insert(number, addr.clone());
    actix::spawn(write_control(send, frames));
    actix::spawn(accept_batches(connection.clone(), addr.clone()));
    let ended = read_control(ControlReader::new(receive), &addr).await;
    if addr.send(ended).await.is_err() {
        // the actor is gone (it panicked, say) and cannot close what it owned
        connection.close(quinn::VarInt::from_u32(1), b"session lost");
    }
    connection.closed().await;
    sessions.lock().await.remove(&number);
}

async fn read_control(mut reader: ControlReader, addr: &Addr<Session>) -> Ended {
    loop {
        match reader.next::<ToAggregator>().await {
            Ok(Some(message)) => {
                if addr.send(FromGateway(message)).await.is_err() {
                    return Ended {
                        reason: "the session stopped".to_owned(),
                        protocol_error: false,
                    };
                }
            }
            Ok(None) => {
                return Ended {
                    reason: "the gateway ended it".to_owned(),
                    protocol_error: false,
                };
            }
            Err(error) => {
                let protocol_error = matches!(error, tributary_shared::transport::TransportError::Wire(_));
                return Ended {
                    reason: error.to_string(),
                    protocol_error,
                };
            }
        }
    }
}
