//! Committed entries on their way to the window engine.

use std::sync::Arc;

use super::group::{Group, GroupEntry};
use super::handle::Feed;
use super::letters::{PreparedReplay, Replay};
use super::messages::{Committed, EntryHeader, Prepared};

/// Sends an entry, waiting while the engine lags. An engine that is gone will attach again and read what it
/// missed from the log, so nothing is lost with its feed.
pub(super) fn send(feed: &mut Option<Feed>, entry: Committed) {
    let Some(open) = feed else { return };
    if open.blocking_send(Arc::new(entry)).is_err() {
        tracing::info!("the window engine has left the commit log");
        *feed = None;
    }
}

/// The group's entries as the engine takes them, in log order.
pub(super) fn entries(group: Group) -> Vec<Committed> {
    let committed_at = group.committed_at;
    let batches = group.entries.into_iter().map(|GroupEntry { pos, batch }| {
        let Prepared {
            key, header, records, ..
        } = *batch;
        Committed {
            pos,
            key,
            header: EntryHeader::Batch(header),
            records,
            committed_at,
        }
    });
    let replays = group.replays.into_iter().map(|Replay { pos, batch }| {
        let PreparedReplay {
            key, header, records, ..
        } = *batch;
        Committed {
            pos,
            key,
            header: EntryHeader::Replay(header),
            records: Some(records),
            committed_at,
        }
    });
    let mut entries: Vec<Committed> = batches.chain(replays).collect();
    entries.sort_unstable_by_key(|entry| entry.pos);
    entries
}
