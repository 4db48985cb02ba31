//! The way of one batch from its stream to the session: header, whose lane, body, check and decode.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use quinn::RecvStream;
use tokio::sync::Semaphore;
use tributary_shared::transport::{TransportError, read_batch_body, read_batch_header};
use tributary_shared::wire::{CommitHeader, MAX_INFLATED_BATCH, WireError};

use super::messages::{Arrived, Ended, KeyOf};
use super::{MAX_IN_FLIGHT, Session};
use crate::commit::{CommitRequest, prepare};

/// A gateway that opens a batch stream must finish it within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest body: columns and dead letters of the largest batch, with room for offsets and names.
const MAX_COMMIT_BODY: usize = 2 * MAX_INFLATED_BATCH;

/// Accepts batch streams until the connection ends.
pub(super) async fn accept_batches(connection: quinn::Connection, session: Addr<Session>) {
    let slots = Arc::new(Semaphore::new(MAX_IN_FLIGHT as usize));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let stream = match connection.accept_uni().await {
            Ok(stream) => stream,
            Err(error) => {
                let ended = Ended {
                    reason: error.to_string(),
                    protocol_error: false,
                };
                let _ = session.send(ended).await;
                return;
            }
        };
        let session = session.clone();
        actix::spawn(async move {
            let received = tokio::time::timeout(BODY_TIMEOUT, one_batch(stream, &session)).await;
            if let Ok(Err(TransportError::Wire(error))) = received {
                let _ = session
                    .send(Ended {
                        reason: error.to_string(),
                        protocol_error: true,
                    })
                    .await;
            }
            drop(slot);
        });
    }
}

/// An error here is one that leaves no lane to blame; a damaged body blames its lane.
async fn one_batch(mut stream: RecvStream, session: &Addr<Session>) -> Result<(), TransportError> {
    let header: CommitHeader = read_batch_header(&mut stream).await?;
    let len = header.body_len();
    if len > MAX_COMMIT_BODY {
        return Err(WireError::TooLarge {
            what: "batch body",
            len,
            limit: MAX_COMMIT_BODY,
        }
        .into());
    }
    let body = read_batch_body(&mut stream, len, header.body_crc).await;
    let Ok(Some(key)) = session.send(KeyOf(header.lane)).await else {
        return Err(WireError::Inconsistent("a batch of a lane that was not opened".to_owned()).into());
    };
    let batch = match body {
        Ok(body) => {
            let request = CommitRequest {
                key,
                header: header.clone(),
                body,
            };
            let decoded = tokio::task::spawn_blocking(move || prepare(request)).await;
            decoded.unwrap_or_else(|_| Err(WireError::Inconsistent("the batch broke the decoder".to_owned())))
        }
        Err(TransportError::Wire(error)) => Err(error),
        Err(error) => return Err(error),
    };
    // a session that ended needs no batch
    let _ = session
        .send(Arrived {
            header,
            batch: batch.map(Box::new),
        })
        .await;
    Ok(())
}
