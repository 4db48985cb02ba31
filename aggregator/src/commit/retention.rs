//! How long the log keeps its entries: what may go now. Pure.
//!
//! Entries go from the oldest on, whole. Their hop records stay behind for a time of their own, as dead letters do; lanes,
//! marks, counts, the ledger and windows stay for ever. Nothing goes before the stored snapshot of every view has it,
//! however old or large the log is.

use tributary_shared::time::Millis;

use super::messages::LogPos;

/// Entries that one transaction deletes at most, and about how many bytes: commits wait for it, so it takes some
/// milliseconds.
pub(super) const CHUNK_ENTRIES: usize = 64;
const CHUNK_BYTES: u64 = 8 << 20;
/// Hop records that one transaction deletes at most.
pub(super) const CHUNK_HOPS: usize = 256;
/// Dead letters that one transaction deletes at most.
pub(super) const CHUNK_LETTERS: usize = 256;

/// What to keep. What is older, or too much, goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Entries that were committed longer ago may go, in ms.
    pub keep_for: Millis,
    /// The oldest entries may go while log.db uses more bytes. Free space within the file does not count: it is
    /// used again, the file does not shrink.
    pub keep_bytes: u64,
    /// Dead letters that were committed longer ago go, once their entries are gone, in ms.
    pub keep_dead_letters_for: Millis,
    /// The oldest dead letters go while their payloads have more bytes, also before their entries.
    pub keep_dead_letters_bytes: u64,
    /// Hop records of entries that were committed longer ago go, once their entries are gone, in ms.
    pub keep_lineage_for: Millis,
    /// The oldest hop records without an entry go while all of them take more bytes.
    pub keep_lineage_bytes: u64,
}

impl Retention {
    /// Nothing is ever deleted.
    pub const EVERYTHING: Self = Self {
        keep_for: Millis::MAX,
        keep_bytes: u64::MAX,
        keep_dead_letters_for: Millis::MAX,
        keep_dead_letters_bytes: u64::MAX,
        keep_lineage_for: Millis::MAX,
        keep_lineage_bytes: u64::MAX,
    };
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            // a view that somebody thinks of on Monday counts the week before
            keep_for: 7 * 86_400_000,
            keep_bytes: 10 << 30,
            // a person must find the time to repair and replay them
            keep_dead_letters_for: 30 * 86_400_000,
            // some millions of ordinary events; who rejects more has a schema to repair
            keep_dead_letters_bytes: 2 << 30,
            // who asks where a number of the last quarter came from gets an answer
            keep_lineage_for: 90 * 86_400_000,
            // about two million batches
            keep_lineage_bytes: 1 << 30,
        }
    }
}

/// One of the oldest entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Oldest {
    pub pos: LogPos,
    pub committed_at: Millis,
    /// What deleting it frees, about.
    pub bytes: u64,
}

/// The log at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub now: Millis,
    /// Bytes of log.db that are in use.
    pub used: u64,
    /// Every view's stored snapshot has the entries up to here.
    pub covered: LogPos,
}

/// The position up to which entries go in the next transaction, given the oldest ones in order. `None`: nothing is
/// to go now.
#[must_use]
pub(super) fn next_chunk(keep: &Retention, size: Size, oldest: &[Oldest]) -> Option<LogPos> {
    let (mut used, mut freed, mut last) = (size.used, 0, None);
    for entry in oldest.iter().take(CHUNK_ENTRIES) {
        let expired = is_older(entry.committed_at, keep.keep_for, size.now);
        let room = freed < CHUNK_BYTES;
        if entry.pos > size.covered || !room || !(expired || used > keep.keep_bytes) {
            break;
        }
        last = Some(entry.pos);
        used = used.saturating_sub(entry.bytes);
        freed += entry.bytes;
    }
    last
}

/// One of the oldest dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OldLetter {
    pub id: i64,
    /// Its log entry.
    pub pos: LogPos,
    pub at: Millis,
    /// Of its payload.
    pub bytes: u64,
}

/// The letter up to which letters go in the next transaction, given the oldest ones in order and the bytes of all. Those
/// that are only old wait for their entries: an event's path leads to them.
#[must_use]
pub(super) fn next_letters(
    keep: &Retention,
    now: Millis,
    floor: LogPos,
    held: u64,
    oldest: &[OldLetter],
) -> Option<i64> {
    let (mut held, mut last) = (held, None);
    for letter in oldest.iter().take(CHUNK_LETTERS) {
        let expired = letter.pos <= floor && is_older(letter.at, keep.keep_dead_letters_for, now);
        if !expired && held <= keep.keep_dead_letters_bytes {
            break;
        }
        held = held.saturating_sub(letter.bytes);
        last = Some(letter.id);
    }
    last
}

/// One of the oldest hop records whose entries are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OldHop {
    pub pos: LogPos,
    pub committed_at: Millis,
    /// What deleting it frees, about.
    pub bytes: u64,
}

/// The position up to which hop records go in the next transaction, given the oldest ones in order and the bytes of all.
#[must_use]
pub(super) fn next_hops(keep: &Retention, now: Millis, held: u64, oldest: &[OldHop]) -> Option<LogPos> {
    let (mut held, mut last) = (held, None);
    for hop in oldest.iter().take(CHUNK_HOPS) {
        if !is_older(hop.committed_at, keep.keep_lineage_for, now) && held <= keep.keep_lineage_bytes {
            break;
        }
        held = held.saturating_sub(hop.bytes);
        last = Some(hop.pos);
    }
    last
}

/// Whether something of this time is kept no longer. A time in the future is not old.
#[must_use]
pub(super) fn is_older(at: Millis, keep_for: Millis, now: Millis) -> bool {
    now.saturating_sub(at) > keep_for
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEEP: Retention = Retention {
        keep_for: 1_000,
        keep_bytes: 10_000,
        keep_dead_letters_for: 5_000,
        keep_dead_letters_bytes: 1_000,
        keep_lineage_for: 2_000,
        keep_lineage_bytes: 1_000,
    };

    /// Entry `n` was committed at `100 * n` and has 500 bytes.
    fn entries(count: u64) -> Vec<Oldest> {
        let entry = |n: u64| Oldest {
            pos: LogPos(n),
            committed_at: 100 * n as Millis,
            bytes: 500,
        };
        (1..=count).map(entry).collect()
    }

    #[test]
    fn letters_go_by_age_after_their_entries_and_by_bytes_before() {
        let letter = |id: i64| OldLetter {
            id,
            pos: LogPos(id.unsigned_abs()),
            at: 100 * id,
            bytes: 400,
        };
        let oldest: Vec<OldLetter> = (1..=5).map(letter).collect();
        let next = |now, floor, held| next_letters(&KEEP, now, LogPos(floor), held, &oldest);
        assert_eq!(next(5_350, 9, 1_000), Some(3), "older than 5 s");
        assert_eq!(next(5_350, 2, 1_000), Some(2), "the third one's entry is there");
        assert_eq!(
            next(0, 0, 2_000),
            Some(3),
            "down to 1,000 bytes, whatever their age"
        );
        assert_eq!(next(0, 9, 1_000), None);
    }

    #[test]
    fn hop_records_go_by_age_and_by_bytes() {
        let hop = |n: u64| OldHop {
            pos: LogPos(n),
            committed_at: 100 * n as Millis,
            bytes: 300,
        };
        let oldest: Vec<OldHop> = (1..=5).map(hop).collect();
        let next = |now, held| next_hops(&KEEP, now, held, &oldest);
        assert_eq!(next(0, 1_000), None);
        assert_eq!(next(2_301, 1_000), Some(LogPos(3)), "older than 2 s");
        assert_eq!(
            next(0, 1_500),
            Some(LogPos(2)),
            "down to 1,000 bytes, whatever their age"
        );
        let many: Vec<OldHop> = (1..=1_000).map(hop).collect();
        let chunk = next_hops(&KEEP, Millis::MAX, u64::MAX, &many);
        assert_eq!(
            chunk,
            Some(LogPos(CHUNK_HOPS as u64)),
            "a transaction stays small"
        );
    }

    fn size(now: Millis, used: u64, covered: u64) -> Size {
        let covered = LogPos(covered);
        Size { now, used, covered }
    }

    #[test]
    fn entries_go_by_age() {
        let log = entries(20);
        assert_eq!(
            next_chunk(&KEEP, size(1_100, 0, 99), &log),
            None,
            "exactly as old is kept"
        );
        assert_eq!(next_chunk(&KEEP, size(1_101, 0, 99), &log), Some(LogPos(1)));
        assert_eq!(next_chunk(&KEEP, size(1_501, 0, 99), &log), Some(LogPos(5)));
        assert_eq!(
            next_chunk(&KEEP, size(-5_000, 0, 99), &log),
            None,
            "a clock that fell back"
        );
        assert_eq!(next_chunk(&KEEP, size(1_501, 0, 99), &[]), None);
    }

    #[test]
    fn entries_go_by_bytes_until_the_rest_fits() {
        let log = entries(20);
        assert_eq!(next_chunk(&KEEP, size(0, 10_000, 99), &log), None);
        assert_eq!(next_chunk(&KEEP, size(0, 10_001, 99), &log), Some(LogPos(1)));
        assert_eq!(next_chunk(&KEEP, size(0, 11_001, 99), &log), Some(LogPos(3)));
    }

    #[test]
    fn nothing_goes_that_the_snapshots_have_not_covered() {
        let log = entries(20);
        assert_eq!(next_chunk(&KEEP, size(99_999, u64::MAX, 0), &log), None);
        assert_eq!(
            next_chunk(&KEEP, size(99_999, u64::MAX, 7), &log),
            Some(LogPos(7))
        );
    }

    #[test]
    fn a_transaction_stays_small_and_gets_on() {
        let many = entries(1_000);
        let chunk = next_chunk(&KEEP, size(Millis::MAX, u64::MAX, 2_000), &many);
        assert_eq!(chunk, Some(LogPos(CHUNK_ENTRIES as u64)));
        let large: Vec<Oldest> = many.iter().map(|e| Oldest { bytes: 3 << 20, ..*e }).collect();
        let chunk = next_chunk(&KEEP, size(Millis::MAX, u64::MAX, 2_000), &large);
        assert_eq!(chunk, Some(LogPos(3)));
        let huge: Vec<Oldest> = many.iter().map(|e| Oldest { bytes: 1 << 40, ..*e }).collect();
        assert_eq!(
            next_chunk(&KEEP, size(Millis::MAX, u64::MAX, 2_000), &huge),
            Some(LogPos(1))
        );
    }

    #[test]
    fn everything_is_kept_when_that_is_asked_for() {
        let all = next_chunk(
            &Retention::EVERYTHING,
            size(Millis::MAX, u64::MAX, 99),
            &entries(9),
        );
        assert_eq!(all, None);
    }

    proptest! {
        #[test]
        fn what_goes_is_covered_and_was_too_old_or_too_much(
            now in 0i64..5_000, used in 0u64..40_000, covered in 0u64..90, count in 0u64..90,
        ) {
            let log = entries(count);
            let size = size(now, used, covered);
            let gone = next_chunk(&KEEP, size, &log).map_or(0, |pos| pos.0);
            prop_assert!(gone <= covered.min(count));
            for entry in &log[..gone as usize] {
                let before = 500 * (entry.pos.0 - 1);
                prop_assert!(entry.committed_at < now - 1_000 || used.saturating_sub(before) > 10_000);
            }
            // and nothing stays that should have gone with it
            if let Some(next) = log.get(gone as usize)
                && gone < covered && gone < CHUNK_ENTRIES as u64
            {
                prop_assert!(next.committed_at >= now - 1_000 && used.saturating_sub(500 * gone) <= 10_000);
            }
        }
    }
}
