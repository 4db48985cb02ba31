//! When a stream goes on in a new epoch because of what its session finds.

use tributary_shared::ids::Seq;
use tributary_shared::time::Millis;
use tributary_shared::wire::History;

use super::config::BacklogRule;
use crate::spool::{Block, ForkReason, LaneId, LaneInfo, SpoolError, SpoolHandle};

/// Epochs that one stream may have at a time. A link that breaks again and again must not use up the session's
/// lanes; beyond that, live data waits behind the newest backlog.
const MAX_EPOCHS: usize = 8;

/// What became of a lane whose mark the aggregator told.
#[derive(Debug)]
pub(super) struct OpenedLane {
    /// The lane to ship: the same, or a new one in its place.
    pub info: LaneInfo,
    /// Live data has moved to a new epoch beside it.
    pub forked: bool,
}

/// Lets the spool judge the mark, and moves live data out of the way of a backlog (`fresh first`).
///
/// # Errors
/// Those of the spool.
pub(super) async fn open_lane(
    spool: &SpoolHandle,
    lane: LaneId,
    (mark, history): (Seq, Option<History>),
    rule: BacklogRule,
    now: Millis,
) -> Result<OpenedLane, SpoolError> {
    let info = spool.lane_opened(lane, mark, history).await?;
    let epochs = epochs_of(spool, &info);
    let backlog = info.lane == lane && info.active && info.held_events > 0;
    if !backlog || !(rule.much(info.held_events, info.held_bytes) || is_old(spool, &info, rule, now).await?) {
        return Ok(OpenedLane { info, forked: false });
    }
    if epochs >= MAX_EPOCHS {
        tracing::warn!(stream = %info.stream, epochs, "too many backlogs of one stream, live data waits behind the newest");
        return Ok(OpenedLane { info, forked: false });
    }
    spool.fork_epoch(lane, ForkReason::Backlog).await?;
    Ok(OpenedLane { info, forked: true })
}

fn epochs_of(spool: &SpoolHandle, info: &LaneInfo) -> usize {
    let status = spool.watch();
    let status = status.borrow();
    status
        .lanes
        .iter()
        .filter(|lane| lane.stream == info.stream)
        .count()
}

async fn is_old(
    spool: &SpoolHandle,
    info: &LaneInfo,
    rule: BacklogRule,
    now: Millis,
) -> Result<bool, SpoolError> {
    let oldest = spool.read(info.lane, info.committed_seq + 1, 1, 1).await?;
    Ok(oldest
        .iter()
        .any(|block| matches!(block, Block::Rows(rows) if rule.old(rows.collected_at, now))))
}

/// Another process lives with this identity, and perhaps with a copy of this spool: what is taken in from now
/// on goes to epochs of which it has none. Returns the lanes that are this process's own.
pub(super) async fn leave_shared_epochs(
    spool: &SpoolHandle,
    own: &[LaneId],
) -> Result<Vec<LaneId>, SpoolError> {
    let lanes = spool.watch().borrow().lanes.clone();
    let mut begun = Vec::new();
    for lane in lanes
        .iter()
        .filter(|lane| lane.active && !own.contains(&lane.lane))
    {
        match spool.fork_epoch(lane.lane, ForkReason::Backlog).await {
            Ok(info) => begun.push(info.lane),
            // drained and gone meanwhile
            Err(SpoolError::UnknownLane) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(begun)
}
