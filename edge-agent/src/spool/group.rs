//! Merges the appends of one group commit into blocks: pure, and the only place where rows are compressed.
//!
//! Requests with the same stream and origin become one [`Unit`]. A unit is taken in or refused as a whole, so
//! that each of its requests is; requests never share a unit beyond the size of one block, and a request
//! larger than a block is a unit of several blocks.

use std::collections::HashMap;
use std::sync::Arc;

use tributary_shared::ids::StreamName;
use tributary_shared::time::Millis;
use tributary_shared::wire::frame::checksum;
use tributary_shared::wire::{Codec, MAX_EVENT_BYTES, WireError, rows};

use super::messages::{Accepted, InputPosition, NewDropped, NewEvents, RowsBlock, SpoolError};
use super::queue::{Append, Queued, Reply};

/// The most events of a block: a quarter of what a batch may carry, so that batches fill up well.
pub const MAX_BLOCK_ROWS: u32 = 4_096;
/// The most raw bytes of a block, unless a single event is larger. Compression gains nothing beyond.
pub const MAX_BLOCK_BYTES: usize = 1 << 20;
/// Requests further apart than this do not share a block: they share its `collected_at`, which may be the
/// event time of their events.
const MAX_MERGE_MILLIS: Millis = 100;

/// Who waits for an answer, and the share of the queue that it occupies.
pub(super) type Waiter<T> = Queued<Reply<T>>;

/// Events of one stream and origin that are taken in together.
#[derive(Debug)]
pub(super) struct Unit {
    pub stream: StreamName,
    pub origin: Option<Arc<str>>,
    pub collected_at: Millis,
    pub requests: Vec<Request>,
    raw: Vec<u8>,
    count: u32,
}

/// One append within a unit.
#[derive(Debug)]
pub(super) struct Request {
    pub count: u32,
    pub traceparent: Option<Arc<str>>,
    pub position: Option<InputPosition>,
    pub waiter: Waiter<Accepted>,
}

/// A block that is ready to be stored.
#[derive(Debug)]
pub(super) struct Packed {
    pub count: u32,
    pub raw_len: u32,
    pub codec: Codec,
    pub body: Vec<u8>,
    pub crc: u32,
}

/// What a group commit does with appends, in this order.
#[derive(Debug)]
pub(super) enum Step {
    Rows(Unit),
    Dropped {
        dropped: NewDropped,
        waiter: Waiter<Accepted>,
    },
    Position {
        position: InputPosition,
        waiter: Waiter<()>,
    },
}

/// Turns a group's appends into steps. Requests that do not add up are answered here.
pub(super) fn plan(appends: Vec<Queued<Append>>) -> Vec<Step> {
    let mut plan = Plan::default();
    for Queued { command, permit } in appends {
        match command {
            Append::Events { events, reply } => plan.events(
                events,
                Queued {
                    command: reply,
                    permit,
                },
            ),
            Append::Dropped { dropped, reply } => plan.dropped(
                dropped,
                Queued {
                    command: reply,
                    permit,
                },
            ),
            Append::Position { position, reply } => {
                plan.steps.push(Step::Position {
                    position,
                    waiter: Queued {
                        command: reply,
                        permit,
                    },
                });
            }
        }
    }
    plan.steps
}

#[derive(Debug, Default)]
struct Plan {
    steps: Vec<Step>,
    /// Steps that may still grow.
    open: HashMap<(StreamName, Option<Arc<str>>), usize>,
}

impl Plan {
    fn events(&mut self, events: NewEvents, waiter: Waiter<Accepted>) {
        if let Err(error) = check(&events) {
            // a waiter that has gone away needs no answer
            let _ = waiter.command.send(Err(error));
            return;
        }
        let NewEvents {
            stream,
            origin,
            traceparent,
            collected_at,
            rows,
            count,
            position,
        } = events;
        let request = Request {
            count,
            traceparent,
            position,
            waiter,
        };
        let key = (stream.clone(), origin.clone());
        if let Some(Step::Rows(unit)) = self.open.get(&key).and_then(|&at| self.steps.get_mut(at))
            && unit.has_room(collected_at, count, rows.len())
        {
            unit.raw.extend_from_slice(&rows);
            unit.count += count;
            unit.requests.push(request);
            return;
        }
        self.open.insert(key, self.steps.len());
        self.steps.push(Step::Rows(Unit {
            stream,
            origin,
            collected_at,
            requests: vec![request],
            raw: rows,
            count,
        }));
    }

    fn dropped(&mut self, dropped: NewDropped, waiter: Waiter<Accepted>) {
        if dropped.count == 0 {
            let _ = waiter.command.send(Err(SpoolError::Invalid("no events")));
            return;
        }
        // what comes after it gets later seqs
        self.open.retain(|(stream, _), _| *stream != dropped.stream);
        self.steps.push(Step::Dropped { dropped, waiter });
    }
}

fn check(events: &NewEvents) -> Result<(), SpoolError> {
    let mut count = 0u32;
    for row in rows::Rows::new(&events.rows) {
        let row = row.map_err(|_: WireError| SpoolError::Invalid("a row's length runs past the end"))?;
        if row.len() > MAX_EVENT_BYTES {
            return Err(SpoolError::TooLarge {
                len: row.len() as u64,
                limit: MAX_EVENT_BYTES as u64,
            });
        }
        count += 1;
    }
    match count {
        0 => Err(SpoolError::Invalid("no events")),
        n if n != events.count => Err(SpoolError::Invalid("the count is not the number of rows")),
        _ => Ok(()),
    }
}

impl Unit {
    fn has_room(&self, collected_at: Millis, count: u32, len: usize) -> bool {
        self.count.saturating_add(count) <= MAX_BLOCK_ROWS
            && self.raw.len() + len <= MAX_BLOCK_BYTES
            && collected_at.abs_diff(self.collected_at) <= MAX_MERGE_MILLIS.unsigned_abs()
    }

    /// The rows, and how many they are; leaves the unit without them.
    pub(super) fn take_rows(&mut self) -> (u32, Vec<u8>) {
        (self.count, std::mem::take(&mut self.raw))
    }

    /// Requests that brought a trace context.
    pub(super) fn traced(&self) -> usize {
        let traced = |request: &&Request| request.traceparent.is_some();
        self.requests.iter().filter(traced).count()
    }

    /// How many events each request has.
    pub(super) fn counts(&self) -> Vec<u32> {
        self.requests.iter().map(|request| request.count).collect()
    }
}

/// Compresses rows into blocks.
///
/// # Errors
/// When zstd fails to allocate.
pub(super) fn pack_rows(count: u32, raw: &[u8]) -> std::io::Result<Vec<Packed>> {
    if count <= MAX_BLOCK_ROWS && raw.len() <= MAX_BLOCK_BYTES {
        return Ok(vec![pack(count, raw)?]);
    }
    let mut blocks = Vec::new();
    let (mut start, mut at, mut count) = (0, 0, 0);
    for row in rows::Rows::new(raw).map_while(Result::ok) {
        // the rows were checked when the unit was built, so a row ends where its bytes end
        let end = row.as_ptr() as usize - raw.as_ptr() as usize + row.len();
        if count == MAX_BLOCK_ROWS || (count > 0 && end - start > MAX_BLOCK_BYTES) {
            blocks.push(pack(count, &raw[start..at])?);
            (start, count) = (at, 0);
        }
        (at, count) = (end, count + 1);
    }
    blocks.push(pack(count, &raw[start..])?);
    Ok(blocks)
}

fn pack(count: u32, raw: &[u8]) -> std::io::Result<Packed> {
    let (codec, body) = rows::compress(raw)?;
    // a unit is at most MAX_APPEND_BYTES
    let raw_len = u32::try_from(raw.len()).unwrap_or(u32::MAX);
    let crc = checksum(&body);
    Ok(Packed {
        count,
        raw_len,
        codec,
        body,
        crc,
    })
}

/// Cuts the first `skip` events off a block.
///
/// # Errors
/// When the body is damaged, or zstd fails to allocate.
pub(super) fn without_first(block: &RowsBlock, skip: u64) -> std::io::Result<Packed> {
    let segment = block.segment();
    let raw = rows::inflate(&segment, &block.body, block.raw_len as usize).map_err(std::io::Error::other)?;
    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
    let mut rest = Vec::with_capacity(raw.len());
    let mut count = 0;
    for row in rows::Rows::new(&raw).skip(skip) {
        rows::push_row(&mut rest, row.map_err(std::io::Error::other)?);
        count += 1;
    }
    pack(count, &rest)
}
