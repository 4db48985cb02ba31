//! How QUIC behaves on both hops: timeouts and bounds.

use std::sync::Arc;
use std::time::Duration;

use quinn::{AckFrequencyConfig, IdleTimeout, TransportConfig, VarInt};

use crate::wire::{MAX_BATCH_BODY, MAX_BATCH_HEADER};

/// A peer that says nothing for so long is gone. Agents behind a radio link need a few lost keep-alives.
const IDLE_TIMEOUT_MS: u32 = 15_000;
/// Three of them fit into the idle timeout, and most NATs keep a UDP mapping for 30 s.
const KEEP_ALIVE: Duration = Duration::from_secs(4);
/// The most that a peer may have sent on one connection and we have not read: two of the largest batches,
/// which fills a 100 ms path at 640 Mbit/s.
const CONNECTION_WINDOW: usize = 8 << 20;
/// One whole batch, so that a lost packet of one stream never stops the reading of another.
const STREAM_WINDOW: usize = MAX_BATCH_BODY + MAX_BATCH_HEADER;
/// Bytes that we hold until the peer has acknowledged them; the rest waits in the writer, who feels it.
const SEND_WINDOW: u64 = CONNECTION_WINDOW as u64;
/// The peer may let this many packets arrive before it acknowledges; its timer (25 ms) bounds the wait. It
/// is under the initial congestion window of ten packets, so a young connection does not stall on it.
const ACK_EVERY: u32 = 8;

/// Transport of a dialler: it opens every stream, and takes none.
pub(super) fn for_dialler() -> Arc<TransportConfig> {
    Arc::new(base(0, 0))
}

/// Transport of a server: one control stream, and so many batches at a time.
pub(super) fn for_server(max_uni_streams: u32) -> Arc<TransportConfig> {
    Arc::new(base(1, max_uni_streams))
}

fn base(bidi: u32, uni: u32) -> TransportConfig {
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(ACK_EVERY));
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(bidi))
        .max_concurrent_uni_streams(VarInt::from_u32(uni))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .receive_window(window(CONNECTION_WINDOW))
        .stream_receive_window(window(STREAM_WINDOW))
        .send_window(SEND_WINDOW)
        // streams of one priority go out one after the other: batches finish in order, and the receiver
        // holds one half-received batch instead of sixteen
        .send_fairness(false)
        .ack_frequency_config(Some(acks))
        .datagram_receive_buffer_size(None);
    // MTU discovery up to an Ethernet frame and segmentation offload are quinn's defaults. A larger MTU
    // would need receive buffers of 64 KiB a datagram, too much for a small agent.
    transport
}

fn window(bytes: usize) -> VarInt {
    VarInt::from_u32(u32::try_from(bytes).unwrap_or(u32::MAX))
}
