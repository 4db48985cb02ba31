//! Frames and batches over QUIC streams: the only place that knows both `quinn` and the wire format.
//!
//! A session has one bidirectional control stream, opened by the dialler, and one unidirectional stream for
//! each batch.

use bytes::{Bytes, BytesMut};
use quinn::{Connection, ReadExactError, RecvStream, SendStream};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::wire::frame::{self, FrameReader, PREFIX};
use crate::wire::{MAX_BATCH_HEADER, MAX_CONTROL_FRAME, WireError};

/// Control frames that wait for the writer. Control messages are few and small; a peer that lets so many pile
/// up does not read, and its session is closed.
pub const CONTROL_QUEUE: usize = 1_024;
/// Bytes that one read of a control stream asks for.
const READ_CHUNK: usize = 16 << 10;

/// Trouble on a session's streams.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error("the connection is gone: {0}")]
    Connection(#[from] quinn::ConnectionError),
    #[error("the stream ended early: {0}")]
    Stream(String),
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl From<quinn::WriteError> for TransportError {
    fn from(error: quinn::WriteError) -> Self {
        Self::Stream(error.to_string())
    }
}

impl From<quinn::ReadError> for TransportError {
    fn from(error: quinn::ReadError) -> Self {
        Self::Stream(error.to_string())
    }
}

impl From<ReadExactError> for TransportError {
    fn from(error: ReadExactError) -> Self {
        Self::Stream(error.to_string())
    }
}

/// Writes queued control frames until the queue is dropped, then finishes the stream.
///
/// # Errors
/// When the peer is gone.
pub async fn write_control(
    mut stream: SendStream,
    mut queue: mpsc::Receiver<Bytes>,
) -> Result<(), TransportError> {
    while let Some(frame) = queue.recv().await {
        stream.write_chunk(frame).await?;
    }
    // an error here means that the peer closed first, and then nobody waits for our end
    let _ = stream.finish();
    let _ = stream.stopped().await;
    Ok(())
}

/// The reading half of a control stream.
#[derive(Debug)]
pub struct ControlReader {
    stream: RecvStream,
    frames: FrameReader,
}

impl ControlReader {
    #[must_use]
    pub fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            frames: FrameReader::new(MAX_CONTROL_FRAME),
        }
    }

    /// The next message; `None` when the peer finished the stream.
    ///
    /// # Errors
    /// When the peer is gone or sent something that is not a message.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, TransportError> {
        loop {
            if let Some(payload) = self.frames.next_frame()? {
                return Ok(Some(frame::decode("control message", &payload)?));
            }
            match self.stream.read_chunk(READ_CHUNK, true).await? {
                Some(chunk) => self.frames.extend(&chunk.bytes),
                None => return Ok(None),
            }
        }
    }
}

/// Sends one batch on a stream of its own. Returns once the transport has taken all of it.
///
/// # Errors
/// When the connection is gone.
pub async fn send_batch(
    connection: &Connection,
    header: Bytes,
    body: &mut [Bytes],
) -> Result<(), TransportError> {
    send_batch_ranked(connection, header, body, 0).await
}

/// As [`send_batch`]; of the streams that wait to be written, those of a higher priority go first.
///
/// # Errors
/// When the connection is gone.
pub async fn send_batch_ranked(
    connection: &Connection,
    header: Bytes,
    body: &mut [Bytes],
    priority: i32,
) -> Result<(), TransportError> {
    let mut stream = connection.open_uni().await?;
    // an error here means that the peer has stopped the stream already: the write tells
    let _ = stream.set_priority(priority);
    stream.write_chunk(header).await?;
    stream.write_all_chunks(body).await?;
    stream
        .finish()
        .map_err(|error| TransportError::Stream(error.to_string()))
}

/// Reads a batch's header; the body stays in the stream until the header was judged.
///
/// # Errors
/// When the stream ends early or the header is not one.
pub async fn read_batch_header<T: DeserializeOwned>(stream: &mut RecvStream) -> Result<T, TransportError> {
    let mut prefix = [0; PREFIX];
    stream.read_exact(&mut prefix).await?;
    let len = u32::from_be_bytes(prefix) as usize;
    if len > MAX_BATCH_HEADER {
        return Err(WireError::TooLarge {
            what: "batch header",
            len,
            limit: MAX_BATCH_HEADER,
        }
        .into());
    }
    let mut payload = vec![0; len];
    stream.read_exact(&mut payload).await?;
    Ok(frame::decode("batch header", &payload)?)
}

/// Reads a batch's body of the length that its header declares, which the caller has checked, and verifies
/// its checksum.
///
/// # Errors
/// When the stream ends early, goes on after the body, or the checksum differs.
pub async fn read_batch_body(stream: &mut RecvStream, len: usize, crc: u32) -> Result<Bytes, TransportError> {
    let mut body = BytesMut::with_capacity(len);
    while let Some(chunk) = stream.read_chunk(len.max(1), true).await? {
        if body.len() + chunk.bytes.len() > len {
            return Err(WireError::Inconsistent(format!("the body goes on after its {len} bytes")).into());
        }
        body.extend_from_slice(&chunk.bytes);
    }
    if body.len() != len {
        let message = format!("the body has {} bytes, its header says {len}", body.len());
        return Err(WireError::Inconsistent(message).into());
    }
    let actual = frame::checksum(&body);
    if actual != crc {
        return Err(WireError::Checksum {
            expected: crc,
            actual,
        }
        .into());
    }
    Ok(body.freeze())
}
