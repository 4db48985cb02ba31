//! Accepts connections and serves them, within bounds.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::messages::IntakeContext;
use super::routes::Routes;
use crate::stop::stopped;

/// Connections that are served at once. More wait in the system's queue. Producers are on this host; with
/// [`BUFFER`] this bounds the memory of all connections to 8 MiB.
const MAX_CONNECTIONS: usize = 128;
/// Bytes that one connection may buffer, its headers included.
const BUFFER: usize = 64 << 10;
/// A client must send its headers within so long. Counts for idle connections too: they are closed then.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests that are being answered when the agent stops may take so long to end.
const DRAIN: Duration = Duration::from_secs(5);
/// How long to wait when the system has no socket to give.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves the intake on `listener` until `stop` turns true or its sender is gone; then answers what is being
/// asked, for some seconds at most, and returns.
pub async fn serve(listener: TcpListener, context: IntakeContext, mut stop: watch::Receiver<bool>) {
    let routes = Routes::new(context);
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            () = stopped(&mut stop) => break,
        };
        // tasks that have ended are let go of as new ones come
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, permit)) => {
                let connection = serve_connection(stream, routes.clone(), stop.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN, all).await.is_err() {
        tracing::warn!(open = connections.len(), "intake connections were cut off");
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // answers are small and awaited
    stream.set_nodelay(true)?;
    Ok((stream, permit))
}

async fn serve_connection(stream: TcpStream, routes: Routes, mut stop: watch::Receiver<bool>) {
    let service = service_fn(move |request| {
        let routes = routes.clone();
        async move { Ok::<_, Infallible>(routes.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // a client that leaves, sends nonsense or says nothing: its affair
        tracing::debug!(%error, "intake connection ended with an error");
    }
}
