//! Reads a lane in order: blocks and drop records, one after the other, without gaps.

use tributary_shared::ids::{Seq, SeqRange};
use tributary_shared::wire::Context;

use super::lane::Lane;
use super::messages::Block;
use super::queue::Read;
use super::store::{Store, StoreError};

/// What a read found.
#[derive(Debug)]
pub(super) enum Found {
    Blocks(Vec<Block>),
    /// The block that begins with this seq does not match its checksum, and nothing before it was asked for.
    DamagedBlock {
        first: Seq,
    },
}

/// Reads from `read.from` on, within its limits; at least one block if there is one.
pub(super) fn read(store: &Store, lane: &Lane, read: Read) -> Result<Found, StoreError> {
    let mut found = find(store, lane, read)?;
    if let Found::Blocks(blocks) = &mut found {
        add_contexts(store, lane, blocks)?;
    }
    Ok(found)
}

fn find(store: &Store, lane: &Lane, read: Read) -> Result<Found, StoreError> {
    let mut blocks = Vec::new();
    let (mut rows, mut bytes) = (0u64, 0u64);
    let mut at = read.from.max(lane.committed_seq + 1);
    while at < lane.next_seq {
        let extent = store.block_at(lane.id, at)?;
        if let Some(extent) = extent.filter(|extent| extent.range.contains(at)) {
            rows += extent.range.count();
            bytes += extent.bytes;
            let over = rows > u64::from(read.max_rows) || bytes > read.max_bytes as u64;
            if over && !blocks.is_empty() {
                break;
            }
            let Some(block) = store.block(lane.id, extent.range.first)? else {
                // what is whole goes out first
                let first = extent.range.first;
                return Ok(if blocks.is_empty() {
                    Found::DamagedBlock { first }
                } else {
                    Found::Blocks(blocks)
                });
            };
            at = extent.range.last + 1;
            blocks.push(Block::Rows(block));
            continue;
        }
        let Some(drop) = store
            .drops(lane.id, at, 1)?
            .pop()
            .filter(|drop| drop.range.contains(at))
        else {
            return Err(StoreError::Damaged(format!(
                "lane {} has nothing for seq {at}",
                lane.id.0
            )));
        };
        let last = drop.range.last.min(at + u64::from(u32::MAX) - 1);
        blocks.push(Block::Dropped {
            range: SeqRange { first: at, last },
            reason: drop.reason,
        });
        at = last + 1;
    }
    Ok(Found::Blocks(blocks))
}

/// Gives each block its part of the contexts that its requests brought.
fn add_contexts(store: &Store, lane: &Lane, blocks: &mut [Block]) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else {
        return Ok(());
    };
    let within = SeqRange {
        first: first.range().first,
        last: last.range().last,
    };
    let contexts = store.contexts(lane.id, within)?;
    let mut rest = &contexts[..];
    for block in blocks {
        let SeqRange { first, last } = block.range();
        rest = &rest[rest.partition_point(|context| context.last_seq < first)..];
        if let Block::Rows(rows) = block {
            let of_block = rest.iter().take_while(|context| context.first_seq <= last);
            let cut = |context: &Context| Context {
                first_seq: context.first_seq.max(first),
                last_seq: context.last_seq.min(last),
                traceparent: context.traceparent.clone(),
            };
            rows.contexts = of_block.map(cut).collect();
        }
    }
    Ok(())
}
