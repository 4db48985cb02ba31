//! The named invariants of the books, as predicates: tests call them after every step, the log when it opens.

use tributary_shared::ids::{Seq, SeqRange};

use super::letters::lines_add_up;
use super::messages::{CommitError, DroppedRange, LaneRow};

fn violated(name: &str, lane: &LaneRow, what: &str) -> CommitError {
    CommitError::Damaged {
        what: format!(
            "{name} does not hold for lane {} ({}): {what}",
            lane.lane_no, lane.key
        ),
    }
}

/// `conservation`: everything up to the mark is valid, dead or dropped.
///
/// # Errors
/// [`CommitError::Damaged`] naming the lane.
pub fn conservation(lane: &LaneRow) -> Result<(), CommitError> {
    let sum = lane.valid + lane.dead + lane.dropped;
    if sum == lane.mark {
        return Ok(());
    }
    Err(violated(
        "conservation",
        lane,
        &format!("the mark is {}, the verdicts add up to {sum}", lane.mark),
    ))
}

/// `conservation` of the dead letters: each dead event has a letter that can be replayed, or a line that says why not.
///
/// # Errors
/// [`CommitError::Damaged`] naming the lane.
pub fn letters_add_up(lane: &LaneRow, given_up: &[DroppedRange]) -> Result<(), CommitError> {
    if lines_add_up(lane.mark, lane.dead, lane.open, given_up) {
        return Ok(());
    }
    let what = format!(
        "{} are dead, {} letters can be replayed, the lines of the others are {given_up:?}",
        lane.dead, lane.open
    );
    Err(violated("conservation", lane, &what))
}

/// Retention deletes committed entries only.
///
/// # Errors
/// [`CommitError::Damaged`] naming the lane.
pub fn floor_within_mark(lane: &LaneRow) -> Result<(), CommitError> {
    if lane.floor_seq <= lane.mark {
        return Ok(());
    }
    let what = format!(
        "the mark is {}, entries are deleted up to {}",
        lane.mark, lane.floor_seq
    );
    Err(violated("contiguous-lanes", lane, &what))
}

/// `contiguous-lanes`, seen from the log's end: the newest entry of a lane ends at its mark. Without entries,
/// all of them are deleted.
///
/// # Errors
/// [`CommitError::Damaged`] naming the lane.
pub fn log_ends_at_mark(lane: &LaneRow, last_seq: Option<Seq>) -> Result<(), CommitError> {
    if last_seq.unwrap_or(lane.floor_seq) == lane.mark {
        return Ok(());
    }
    let what = format!("the mark is {}, the newest entry ends at {last_seq:?}", lane.mark);
    Err(violated("contiguous-lanes", lane, &what))
}

/// `contiguous-lanes`: the entries of a lane, in log order, continue each other from behind the last deleted one
/// to the mark.
///
/// # Errors
/// [`CommitError::Damaged`] naming the lane and the first seq that is missing or doubled.
pub fn contiguous_lanes(
    lane: &LaneRow,
    entries: impl IntoIterator<Item = SeqRange>,
) -> Result<(), CommitError> {
    let mut mark = lane.floor_seq;
    for range in entries {
        if range.first != mark + 1 {
            let what = format!("an entry starts at seq {}, expected {}", range.first, mark + 1);
            return Err(violated("contiguous-lanes", lane, &what));
        }
        mark = range.last;
    }
    log_ends_at_mark(lane, Some(mark))
}

/// `conservation` of the drops: the ledger's ranges are disjoint, in order, within the mark, and add up.
///
/// # Errors
/// [`CommitError::Damaged`] naming the lane.
pub fn ledger_adds_up(lane: &LaneRow, dropped: &[DroppedRange]) -> Result<(), CommitError> {
    let counts_fit = dropped
        .iter()
        .all(|drop| drop.range.count() == drop.count && drop.range.last <= lane.mark);
    let disjoint = dropped
        .windows(2)
        .all(|pair| pair[0].range.last < pair[1].range.first);
    let sum: u64 = dropped.iter().map(|drop| drop.count).sum();
    if counts_fit && disjoint && sum == lane.dropped {
        return Ok(());
    }
    let what = format!(
        "{} were dropped, the ledger's ranges account for {sum}: {dropped:?}",
        lane.dropped
    );
    Err(violated("conservation", lane, &what))
}
