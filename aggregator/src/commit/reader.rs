//! Read-only connections to log.db, for replay and for the HTTP API. Every call blocks on the disk (use
//! `actix_web::web::block` or a thread), reads in one short transaction, and so never holds the WAL back.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::watch;
use tributary_shared::ids::{LaneKey, LaneNo, Seq, SeqRange, StreamName};
use tributary_shared::time::Millis;
use tributary_shared::wire::BatchContent;

use super::health::LogHealth;
use super::letters::{self, DeadLetterFilter, LetterCount, LetterToReplay, ScanFrom, StoredDeadLetter};
use super::messages::{
    CommitError, DroppedRange, EntryAt, ExpiredVerdict, Fate, Hop, LaneRow, Ledger, LedgerLane, LedgerTotals,
    LineageStats, LogEntry, LogPos, LogStats, StreamRow,
};
use super::store::log_path;
use super::times::TimeRange;
use super::{invariants, lineage, queries, times};

/// Connections, and so readers at one time; more wait. API calls are short, and replay takes one.
const READERS: usize = 4;

/// A handle on the committed log; clones share the connections.
#[derive(Debug, Clone)]
pub struct LogReader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    health: watch::Receiver<LogHealth>,
    connections: [Mutex<Connection>; READERS],
}

impl LogReader {
    /// Opens the log of a directory; it must exist.
    ///
    /// # Errors
    /// Those of SQLite.
    pub(super) fn open(dir: &Path, health: watch::Receiver<LogHealth>) -> Result<Self, CommitError> {
        let path = log_path(dir);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || Connection::open_with_flags(&path, flags).map(Mutex::new);
        let connections = [open()?, open()?, open()?, open()?];
        Ok(Self {
            shared: Arc::new(Shared {
                path,
                health,
                connections,
            }),
        })
    }

    /// Whether the log can store just now.
    #[must_use]
    pub fn health(&self) -> LogHealth {
        self.shared.health.borrow().clone()
    }

    /// The same, as it changes.
    #[must_use]
    pub fn health_changes(&self) -> watch::Receiver<LogHealth> {
        self.shared.health.clone()
    }

    /// The position up to which retention has deleted entries; 0 when none.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn floor(&self) -> Result<LogPos, CommitError> {
        self.with(queries::floor)
    }

    /// The hour in which retention deleted the entry at a position; `None` where it is there, or an earlier version did
    /// that.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn deleted_at(&self, pos: LogPos) -> Result<Option<Millis>, CommitError> {
        self.with(|db| lineage::entry_deleted_at(db, pos))
    }

    /// The directory that the log lies in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        // the path was made by joining a directory and a file name
        self.shared.path.parent().unwrap_or(Path::new("."))
    }

    /// Runs `read` in one transaction: all it sees is of one moment.
    pub(crate) fn with<T, E: From<rusqlite::Error>>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let free = self
            .shared
            .connections
            .iter()
            .find_map(|connection| connection.try_lock().ok());
        let db = free.unwrap_or_else(|| {
            self.shared.connections[0]
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        });
        let transaction = db.unchecked_transaction()?;
        read(&transaction)
    }

    /// A name that tells this log from any other, for who keeps state derived from it.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn log_id(&self) -> Result<String, CommitError> {
        self.with(|db| {
            queries::meta(db, "log_id")?.ok_or_else(|| CommitError::Damaged {
                what: "log.db has no id".to_owned(),
            })
        })
    }

    /// Replay: entries after a position, in order, at most `limit`, and no further one once `max_bytes` of
    /// columns are reached. Empty at the end of the log.
    ///
    /// # Errors
    /// [`CommitError::Damaged`] at an entry that is not what was committed.
    pub fn scan(&self, after: LogPos, limit: usize, max_bytes: usize) -> Result<Vec<LogEntry>, CommitError> {
        self.with(|db| queries::entries(db, after, limit, max_bytes))
    }

    /// Entries of one stream that have valid rows, after a position, in order; no further one once `max_bytes` of
    /// columns are reached.
    ///
    /// # Errors
    /// As [`Self::scan`].
    pub fn scan_stream(
        &self,
        stream: &StreamName,
        after: LogPos,
        max_bytes: usize,
    ) -> Result<Vec<LogEntry>, CommitError> {
        self.with(|db| queries::stream_entries(db, stream, after, max_bytes))
    }

    /// Positions of a stream's newest entries that hold events, newest first: at most `limit`, and no further one
    /// once `max_bytes` of columns are reached.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn newest_of(
        &self,
        stream: &StreamName,
        limit: u32,
        max_bytes: usize,
    ) -> Result<Vec<LogPos>, CommitError> {
        self.with(|db| queries::newest_of(db, stream, limit, max_bytes))
    }

    /// The kept entries of a stream with events of these times, `from <= time < to`, after a position, in log order: at
    /// most `limit`. Each has an event at its earliest and at its latest time; the ones between may lie outside of the range.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn entries_between(
        &self,
        stream: &StreamName,
        range: TimeRange,
        after: LogPos,
        limit: usize,
    ) -> Result<Vec<EntryAt>, CommitError> {
        self.with(|db| times::entries_between(db, stream, range, after, limit))
    }

    /// One entry with its columns.
    ///
    /// # Errors
    /// As [`Self::scan`].
    pub fn entry(&self, pos: LogPos) -> Result<Option<LogEntry>, CommitError> {
        self.with(|db| queries::entry_at(db, pos))
    }

    /// When these entries were committed, in the same order; `None` for what is not in the log, or no more.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn commit_times(&self, positions: &[LogPos]) -> Result<Vec<Option<Millis>>, CommitError> {
        self.with(|db| queries::commit_times(db, positions))
    }

    /// All lanes, by number.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn lanes(&self) -> Result<Vec<LaneRow>, CommitError> {
        self.with(queries::lanes)
    }

    /// # Errors
    /// Those of SQLite.
    pub fn lane(&self, no: LaneNo) -> Result<Option<LaneRow>, CommitError> {
        self.with(|db| queries::lane_by_no(db, no))
    }

    /// # Errors
    /// Those of SQLite.
    pub fn lane_by_key(&self, key: &LaneKey) -> Result<Option<LaneRow>, CommitError> {
        self.with(|db| queries::lane_by_key(db, key))
    }

    /// The ledger of this moment.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn ledger(&self) -> Result<Ledger, CommitError> {
        self.with(ledger)
    }

    /// What became of one event.
    ///
    /// # Errors
    /// [`CommitError::Damaged`] when the log does not hold what the lane's mark promises.
    pub fn find(&self, lane: LaneNo, seq: Seq) -> Result<Fate, CommitError> {
        self.with(|db| {
            let Some(row) = queries::lane_by_no(db, lane)? else {
                return Ok(Fate::UnknownLane);
            };
            if seq == 0 || seq > row.mark {
                return Ok(Fate::NotCommitted { mark: row.mark });
            }
            if seq <= row.floor_seq {
                return expired(db, &row, seq);
            }
            let hop = queries::hop_of(db, lane, seq)?.ok_or_else(|| missing(&row, seq, "log entry"))?;
            fate(db, &row, hop, seq)
        })
    }

    /// Dead letters, newest first.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<Vec<StoredDeadLetter>, CommitError> {
        self.with(|db| letters::list(db, filter))
    }

    /// The next letters of a walk, oldest first: at most `limit`, and no further one once `max_bytes` of payload are
    /// reached. Empty at its end.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn dead_letter_chunk(
        &self,
        filter: &DeadLetterFilter,
        from: ScanFrom,
        limit: u32,
        max_bytes: usize,
    ) -> Result<Vec<LetterToReplay>, CommitError> {
        self.with(|db| letters::chunk(db, filter, from, limit, max_bytes))
    }

    /// Those of these letters that are there: of as many ids, from the first on, as `max_bytes` of payload allow, at
    /// least one. Returns also how many ids that are.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn dead_letters_of(
        &self,
        ids: &[i64],
        max_bytes: usize,
    ) -> Result<(Vec<LetterToReplay>, usize), CommitError> {
        self.with(|db| letters::of_ids(db, ids, max_bytes))
    }

    /// The streams that these letters are of.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn dead_letter_streams(&self, ids: &[i64]) -> Result<Vec<StreamName>, CommitError> {
        self.with(|db| letters::streams_of(db, ids))
    }

    /// The newest letter's id; 0 when there is none.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn newest_dead_letter(&self) -> Result<i64, CommitError> {
        self.with(letters::newest_id)
    }

    /// How many letters there are, by stream, state and rule.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn dead_letter_counts(&self) -> Result<Vec<LetterCount>, CommitError> {
        self.with(letters::counts)
    }

    /// # Errors
    /// Those of SQLite.
    pub fn dead_letter(&self, id: i64) -> Result<Option<StoredDeadLetter>, CommitError> {
        self.with(|db| letters::by_id(db, id))
    }

    /// All streams that were ever seen, by name.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn streams(&self) -> Result<Vec<StreamRow>, CommitError> {
        self.with(|db| Ok(to_streams(queries::lanes(db)?)))
    }

    /// # Errors
    /// Those of SQLite, or of the file system.
    pub fn stats(&self) -> Result<LogStats, CommitError> {
        let mut wal = self.shared.path.clone().into_os_string();
        wal.push("-wal");
        let wal_bytes = std::fs::metadata(&wal).map_or(0, |file| file.len());
        let bytes = std::fs::metadata(&self.shared.path)?.len() + wal_bytes;
        self.with(|db| {
            let dead_letters =
                db.query_row("SELECT coalesce(sum(dead), 0) FROM lanes", [], |row| row.get(0))?;
            Ok(LogStats {
                newest: queries::newest(db)?,
                floor: queries::floor(db)?,
                dead_letters,
                bytes,
            })
        })
    }

    /// How large the record of where events came from is.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn lineage(&self) -> Result<LineageStats, CommitError> {
        self.with(lineage::stats)
    }

    /// Checks every named invariant over the whole log; reads all of the index, none of the columns.
    ///
    /// # Errors
    /// [`CommitError::Damaged`] naming the first violation.
    pub fn verify(&self) -> Result<(), CommitError> {
        self.with(|db| {
            let ledger = ledger(db)?;
            for line in &ledger.lanes {
                let LedgerLane {
                    lane,
                    dropped,
                    given_up,
                } = line;
                invariants::conservation(lane)?;
                invariants::floor_within_mark(lane)?;
                invariants::contiguous_lanes(lane, queries::ranges(db, lane.lane_no)?)?;
                invariants::ledger_adds_up(lane, dropped)?;
                invariants::letters_add_up(lane, given_up)?;
            }
            Ok(())
        })
    }
}

/// What the books still say of an event whose entry is deleted.
fn expired(db: &Connection, lane: &LaneRow, seq: Seq) -> Result<Fate, CommitError> {
    let verdict = if let Some(run) = queries::dropped_at(db, lane.lane_no, seq)? {
        let DroppedRange { range, reason, .. } = run;
        ExpiredVerdict::Dropped { reason, range }
    } else if let Some(letter) = letters::by_seq(db, lane.lane_no, seq)? {
        ExpiredVerdict::Dead(Box::new(letter))
    } else {
        ExpiredVerdict::Counted
    };
    let (hop, gone) = lineage::of_expired(db, lane.lane_no, seq)?;
    Ok(Fate::Expired {
        floor_seq: lane.floor_seq,
        verdict,
        hop,
        gone,
    })
}

fn missing(lane: &LaneRow, seq: Seq, what: &str) -> CommitError {
    CommitError::Damaged {
        what: format!(
            "no {what} for {}/{seq}, though the mark is {}",
            lane.key, lane.mark
        ),
    }
}

fn fate(db: &Connection, lane: &LaneRow, hop: Hop, seq: Seq) -> Result<Fate, CommitError> {
    if let BatchContent::Dropped { reason } = &hop.header.content {
        let reason = reason.clone();
        let range = hop.header.range();
        return Ok(Fate::Dropped { hop, reason, range });
    }
    let dead_before = hop.header.dead_seqs.partition_point(|dead| *dead < seq);
    if hop.header.dead_seqs.get(dead_before) == Some(&seq) {
        let letter = letters::by_seq(db, lane.lane_no, seq)?.map(Box::new);
        return Ok(Fate::Dead { hop, letter });
    }
    // at most MAX_BATCH_ROWS, so it fits
    let row = SeqRange {
        first: hop.header.first_seq,
        last: seq,
    }
    .count() as usize
        - 1
        - dead_before;
    Ok(Fate::Valid { hop, row })
}

fn add(totals: &mut LedgerTotals, lane: &LaneRow) {
    totals.produced += lane.mark;
    totals.valid += lane.valid;
    totals.dead += lane.dead;
    totals.dropped += lane.dropped;
    totals.open += lane.open;
}

fn ledger(db: &Connection) -> Result<Ledger, CommitError> {
    let lanes = queries::lanes(db)?;
    let mut totals = LedgerTotals::default();
    let (mut dropped, mut given_up) = (
        ByLane::new(queries::dropped(db)?),
        ByLane::new(letters::lines_of(db)?),
    );
    let mut books = Vec::with_capacity(lanes.len());
    for lane in lanes {
        add(&mut totals, &lane);
        let (dropped, given_up) = (dropped.of(lane.lane_no), given_up.of(lane.lane_no));
        books.push(LedgerLane {
            lane,
            dropped,
            given_up,
        });
    }
    Ok(Ledger { lanes: books, totals })
}

/// Ranges in the order of their lanes, handed out lane by lane.
struct ByLane(std::iter::Peekable<std::vec::IntoIter<(LaneNo, DroppedRange)>>);

impl ByLane {
    fn new(ranges: Vec<(LaneNo, DroppedRange)>) -> Self {
        Self(ranges.into_iter().peekable())
    }

    fn of(&mut self, lane: LaneNo) -> Vec<DroppedRange> {
        let mut own = Vec::new();
        while let Some((_, range)) = self.0.next_if(|(no, _)| *no <= lane) {
            own.push(range);
        }
        own
    }
}

fn to_streams(mut lanes: Vec<LaneRow>) -> Vec<StreamRow> {
    lanes.sort_by(|a, b| (&a.key.stream, &a.key.agent).cmp(&(&b.key.stream, &b.key.agent)));
    let one_stream = |a: &LaneRow, b: &LaneRow| a.key.stream == b.key.stream;
    let one_agent = |a: &LaneRow, b: &LaneRow| a.key.agent == b.key.agent;
    let sum = |lanes: &[LaneRow]| {
        let mut totals = LedgerTotals::default();
        lanes.iter().for_each(|lane| add(&mut totals, lane));
        StreamRow {
            stream: lanes[0].key.stream.clone(),
            lanes: lanes.len() as u64,
            agents: lanes.chunk_by(one_agent).count() as u64,
            totals,
            last_committed_at: lanes.iter().filter_map(|lane| lane.last_committed_at).max(),
        }
    };
    lanes.chunk_by(one_stream).map(sum).collect()
}
