//! What travels between processes, as bytes and as types. Pure: nothing here opens a socket.
//!
//! A **control stream** (one bidirectional QUIC stream a session) carries frames in both directions:
//!
//! ```text
//! ┌──────────────┬───────────────────────────────┐
//! │ length u32 BE│ one message, MessagePack map   │   at most MAX_CONTROL_FRAME bytes
//! └──────────────┴───────────────────────────────┘
//! ```
//!
//! A **batch stream** (one unidirectional QUIC stream a batch) carries one header and raw bytes that never
//! pass through serde, then ends:
//!
//! ```text
//! ┌──────────────┬──────────────────────┬──────────────────────────┐
//! │ length u32 BE│ header, MessagePack  │ body, header.body_len B  │
//! └──────────────┴──────────────────────┴──────────────────────────┘
//! ```
//!
//! Messages are maps with named fields, so that version N reads what N-1 wrote and skips what N+1 added.

pub mod batch;
pub mod control;
pub mod frame;
pub mod history;
pub mod rows;
pub mod trail;

pub use batch::{
    BatchContent, BatchHeader, Codec, CommitHeader, DeadLetter, Reason, SchemaRef, SchemaUse, Segment,
    SegmentOrigin,
};
pub use control::{
    Ack, Bye, ByeCode, CheckReport, Drain, FromAggregator, Hello, LaneOpened, LaneReport, Limits, NamedText,
    NodeReport, OpenLane, Refuse, RefuseCode, RefusedPeer, SchemaInfo, SessionKey, ToAgent, ToAggregator,
    ToGateway, Welcome,
};
pub use frame::WireError;
pub use history::{History, Tenure};
pub use trail::{Attempt, Attempts, Context, Contexts};

/// ALPN of both hops.
pub const ALPN: &[u8] = b"tributary/1";
/// The protocol version that this build speaks, and the oldest that it still understands.
pub const VERSION: u16 = 2;
pub const MIN_VERSION: u16 = 1;
/// The first version whose aggregators answer [`ToAggregator::GetSchemaById`].
pub const SCHEMA_BY_ID_SINCE: u16 = 2;
/// The first version whose agents are told the schemas of their streams.
pub const SCHEMAS_TO_AGENTS: u16 = 2;

/// A control frame may carry a schema text, so it is larger than a batch header.
pub const MAX_CONTROL_FRAME: usize = 2 << 20;
/// A header lists segments and counts; the bytes are in the body.
pub const MAX_BATCH_HEADER: usize = 256 << 10;
/// The largest batch body on the wire, compressed.
pub const MAX_BATCH_BODY: usize = 4 << 20;
/// The largest batch once its rows are inflated. Checked against the declared size before any allocation.
pub const MAX_INFLATED_BATCH: usize = 16 << 20;
/// The most events in one batch.
pub const MAX_BATCH_ROWS: u32 = 16_384;
/// The largest single event, in bytes of payload.
pub const MAX_EVENT_BYTES: usize = 1 << 20;
/// Trace ids that one message names as promoted: more than one heartbeat's batches of a busy agent have errors.
pub const MAX_PROMOTED: usize = 64;
/// Batches that one session may have sent and not yet seen acknowledged.
pub const DEFAULT_MAX_IN_FLIGHT: u32 = 16;
/// What a node says of its configuration, in bytes of JSON. A longer one is not told.
pub const MAX_CONFIGURATION: usize = 16 << 10;
/// Lanes that one session may have open.
pub const MAX_SESSION_LANES: u32 = 1_024;
