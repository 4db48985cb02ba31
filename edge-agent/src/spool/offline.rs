//! A spool without its agent: what an operator looks at, checks, copies out and gives up. IO, and little else.
//!
//! The agent must not run: its lock is taken first. Nothing is created or repaired here, and reading leaves the files
//! as they are. Blocks are read one at a time, whatever the spool holds.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tributary_shared::ids::{AgentId, Epoch, Seq, SeqRange, StreamName};
use tributary_shared::time::Millis;
use tributary_shared::wire::rows::{Rows, inflate};

use super::lane::Lane;
use super::messages::{DropRecord, LaneId, RowsBlock};
use super::open::{self, FORMAT_VERSION, OpenError};
use super::store::{Store, StoreError};

/// Reason of what [`Offline::drop_events`] gives up.
pub const DROPPED_BY_OPERATOR: &str = "operator";
/// Findings of a check that are told; the rest are counted.
const MAX_FINDINGS: usize = 100;
/// Drop records that are read at a time.
const DROPS_AT_ONCE: usize = 1_000;

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    #[error("there is no spool in {0}: --dir is the dir of the agent's configuration")]
    Missing(PathBuf),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the spool cannot be read: {0}; `tributary spool fsck` says more")]
    Database(String),
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
    #[error("there is no lane of stream {stream}{} in this spool", epoch.map_or(String::new(), |epoch| format!(" and epoch {epoch}")))]
    NoLane {
        stream: StreamName,
        epoch: Option<Epoch>,
    },
}

impl From<StoreError> for OfflineError {
    fn from(error: StoreError) -> Self {
        Self::Database(error.to_string())
    }
}

impl From<rusqlite::Error> for OfflineError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.to_string())
    }
}

/// What a command may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// One lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStat {
    pub stream: StreamName,
    pub epoch: Epoch,
    /// New events of the stream go here.
    pub active: bool,
    pub committed_seq: Seq,
    pub next_seq: Seq,
    /// On disk above the mark, and the bytes of their blocks.
    pub held_events: u64,
    pub held_bytes: u64,
    /// Given up above the mark: the ledger will name them.
    pub dropped: Vec<DropRecord>,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    pub lanes: u64,
    pub blocks: u64,
    /// In blocks that are whole.
    pub events: u64,
    /// How many things are wrong, and the first of them in words.
    pub wrong: u64,
    pub told: Vec<String>,
}

impl Findings {
    fn add(&mut self, what: String) {
        self.wrong += 1;
        if self.told.len() < MAX_FINDINGS {
            self.told.push(what);
        }
    }
}

/// One event of the spool, with its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    pub agent: &'a AgentId,
    pub stream: &'a StreamName,
    pub epoch: Epoch,
    pub seq: Seq,
    pub collected_at: Millis,
    pub payload: &'a [u8],
}

/// Events that were given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    pub stream: StreamName,
    pub epoch: Epoch,
    pub range: SeqRange,
    pub events: u64,
}

/// A spool that no agent has.
#[derive(Debug)]
pub struct Offline {
    store: Store,
    agent: AgentId,
    file: PathBuf,
    _lock: File,
}

impl Offline {
    /// Opens the spool of an agent's directory, or a spool's own directory.
    ///
    /// # Errors
    /// [`OfflineError::Missing`]; [`OfflineError::Open`] when an agent has it or it is of a newer format;
    /// [`OfflineError::Database`] when it cannot be read at all.
    pub fn open(dir: &Path, access: Access) -> Result<Self, OfflineError> {
        let own = dir.join("spool");
        let dir = [own.as_path(), dir]
            .into_iter()
            .find(|dir| dir.join("spool.db").is_file())
            .ok_or_else(|| OfflineError::Missing(dir.to_owned()))?;
        let lock = open::lock(dir)?;
        let file = dir.join("spool.db");
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&file, flags)?;
        conn.execute_batch(
            "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA synchronous = FULL",
        )?;
        if access == Access::Read {
            // what is there stays as it is, the WAL included
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            conn.execute_batch("PRAGMA query_only = ON")?;
        }
        let (format, agent): (i64, String) =
            conn.query_row("SELECT format_version, agent FROM meta", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        if format > FORMAT_VERSION {
            let dir = dir.to_owned();
            return Err(OpenError::NewerFormat { dir, found: format }.into());
        }
        let agent = AgentId::new(&agent).map_err(|error| OfflineError::Database(error.to_string()))?;
        Ok(Self {
            store: Store { conn },
            agent,
            file,
            _lock: lock,
        })
    }

    #[must_use]
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// Bytes of the database and its WAL.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        size(&self.file) + size(&self.file.with_extension("db-wal"))
    }

    /// Every lane.
    ///
    /// # Errors
    /// [`OfflineError::Database`].
    pub fn lanes(&self) -> Result<Vec<LaneStat>, OfflineError> {
        let lanes = self.store.lanes()?;
        let marks: HashMap<LaneId, Seq> = lanes.iter().map(|lane| (lane.id, lane.committed_seq)).collect();
        let mut held: HashMap<LaneId, (u64, u64)> = HashMap::new();
        self.store.each_extent(|id, range, bytes| {
            let mark = marks.get(&id).copied().unwrap_or(0);
            if let Some(bytes) = bytes {
                let (events, all) = held.entry(id).or_default();
                *events += range.last.saturating_sub(mark.max(range.first - 1));
                *all += bytes;
            }
            Ok(())
        })?;
        let stat = |lane: &Lane| -> Result<LaneStat, OfflineError> {
            let (held_events, held_bytes) = held.get(&lane.id).copied().unwrap_or_default();
            Ok(LaneStat {
                stream: lane.stream.clone(),
                epoch: lane.epoch,
                active: lane.active,
                committed_seq: lane.committed_seq,
                next_seq: lane.next_seq,
                held_events,
                held_bytes,
                dropped: self.drops(lane)?,
            })
        };
        lanes.iter().map(stat).collect()
    }

    fn drops(&self, lane: &Lane) -> Result<Vec<DropRecord>, OfflineError> {
        let (mut all, mut from) = (Vec::new(), lane.committed_seq + 1);
        loop {
            let some = self.store.drops(lane.id, from, DROPS_AT_ONCE)?;
            let Some(last) = some.last() else { return Ok(all) };
            from = last.range.last + 1;
            all.extend(some);
        }
    }

    /// Looks at everything: SQLite's own structures, every lane's seqs, every block's checksum and rows.
    ///
    /// # Errors
    /// [`OfflineError::Database`] when it cannot be read to the end.
    pub fn check(&self) -> Result<Findings, OfflineError> {
        let mut findings = Findings::default();
        let mut statement = self.store.conn.prepare("PRAGMA integrity_check(100)")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let said: String = row.get(0)?;
            if said != "ok" {
                findings.add(format!("SQLite: {said}"));
            }
        }
        self.check_lanes(&mut findings)?;
        Ok(findings)
    }

    fn check_lanes(&self, findings: &mut Findings) -> Result<(), OfflineError> {
        let lanes: HashMap<LaneId, Lane> = self
            .store
            .lanes()?
            .into_iter()
            .map(|lane| (lane.id, lane))
            .collect();
        findings.lanes = lanes.len() as u64;
        // the seq that each lane's next extent must begin with
        let mut expected: HashMap<LaneId, Seq> = HashMap::new();
        self.store.each_extent(|id, range, bytes| {
            let name = match lanes.get(&id) {
                Some(lane) => {
                    let first = lane.committed_seq + 1;
                    let in_place = match expected.insert(id, range.last + 1) {
                        Some(next) => range.first == next,
                        // the mark may lie within the first block
                        None => range.contains(first),
                    };
                    if !in_place || range.last >= lane.next_seq {
                        findings.add(format!("{}: seqs {} are out of place", name(lane), told(range)));
                    }
                    name(lane)
                }
                None => {
                    findings.add(format!("seqs {} are of no lane", told(range)));
                    format!("lane {}", id.0)
                }
            };
            if bytes.is_some() {
                findings.blocks += 1;
                match self.store.block(id, range.first).map(|block| block.map(whole)) {
                    Ok(Some(Ok(events))) => findings.events += events,
                    Ok(Some(Err(what))) => findings.add(format!("{name}: block {}: {what}", told(range))),
                    Ok(None) => findings.add(format!("{name}: block {} fails its checksum", told(range))),
                    Err(error) => findings.add(format!("{name}: block {}: {error}", told(range))),
                }
            }
            Ok(())
        })?;
        for lane in lanes.values() {
            let covered = expected.get(&lane.id).copied().unwrap_or(lane.committed_seq + 1);
            if covered != lane.next_seq {
                let next = lane.next_seq;
                findings.add(format!(
                    "{}: ends before seq {covered} and should before {next}",
                    name(lane)
                ));
            }
        }
        Ok(())
    }

    /// Gives every held event, or those of one stream, lane by lane in the order of their seqs. Returns the blocks
    /// that cannot be read, whose events were left out, in words.
    ///
    /// # Errors
    /// [`OfflineError::Database`]; [`OfflineError::Output`] when `emit` fails.
    pub fn export(
        &self,
        stream: Option<&StreamName>,
        mut emit: impl FnMut(Event<'_>) -> std::io::Result<()>,
    ) -> Result<Vec<String>, OfflineError> {
        let mut damaged = Vec::new();
        for lane in self.store.lanes()? {
            if stream.is_some_and(|stream| *stream != lane.stream) {
                continue;
            }
            let mut at = lane.committed_seq + 1;
            while let Some(extent) = self.store.block_at(lane.id, at)? {
                at = extent.range.last + 1;
                let block = self.store.block(lane.id, extent.range.first)?;
                let read = block
                    .ok_or_else(|| "it fails its checksum".to_owned())
                    .and_then(|block| Ok((rows_of(&block)?, block)));
                match read {
                    Ok((raw, block)) => self.emit_block(&lane, &block, &raw, &mut emit)?,
                    Err(what) => {
                        damaged.push(format!("{}: block {}: {what}", name(&lane), told(extent.range)))
                    }
                }
            }
        }
        Ok(damaged)
    }

    fn emit_block(
        &self,
        lane: &Lane,
        block: &RowsBlock,
        raw: &[u8],
        emit: &mut impl FnMut(Event<'_>) -> std::io::Result<()>,
    ) -> Result<(), OfflineError> {
        for (seq, row) in (block.range.first..).zip(Rows::new(raw).map_while(Result::ok)) {
            // what the mark covers is the aggregator's
            if seq > lane.committed_seq {
                emit(Event {
                    agent: &self.agent,
                    stream: &lane.stream,
                    epoch: lane.epoch,
                    seq,
                    collected_at: block.collected_at,
                    payload: row,
                })?;
            }
        }
        Ok(())
    }

    /// What [`Self::drop_events`] would give up.
    ///
    /// # Errors
    /// [`OfflineError::NoLane`] when there is none to choose from; [`OfflineError::Database`].
    pub fn would_drop(
        &self,
        stream: &StreamName,
        epoch: Option<Epoch>,
        to: Option<Seq>,
    ) -> Result<Vec<Dropped>, OfflineError> {
        let chosen = self.chosen(stream, epoch)?;
        let mut all = Vec::new();
        for lane in chosen {
            let mut of_lane: Option<Dropped> = None;
            for range in self.blocks_to_drop(&lane, to)? {
                let dropped = of_lane.get_or_insert_with(|| Dropped {
                    stream: lane.stream.clone(),
                    epoch: lane.epoch,
                    range,
                    events: 0,
                });
                dropped.range.last = range.last;
                dropped.events += range.count();
            }
            all.extend(of_lane);
        }
        Ok(all)
    }

    /// Gives up a stream's held events, of one epoch or of all, up to a seq or all: their blocks are deleted, and drop
    /// records for the ledger take their place, in one transaction. A block is given up whole or not at all: one
    /// that goes on beyond `to` stays. Returns what was given up.
    ///
    /// # Errors
    /// As [`Self::would_drop`]; nothing was given up then.
    pub fn drop_events(
        &self,
        stream: &StreamName,
        epoch: Option<Epoch>,
        to: Option<Seq>,
    ) -> Result<Vec<Dropped>, OfflineError> {
        let dropped = self.would_drop(stream, epoch, to)?;
        let chosen = self.chosen(stream, epoch)?;
        self.store.transaction(|| {
            for lane in &chosen {
                for range in self.blocks_to_drop(lane, to)? {
                    if let Some(extent) = self.store.block_at(lane.id, range.first)? {
                        self.store.delete_block(lane.id, extent.range.first)?;
                        self.store.insert_drop(lane.id, range, DROPPED_BY_OPERATOR)?;
                    }
                }
            }
            Ok(())
        })?;
        Ok(dropped)
    }

    fn chosen(&self, stream: &StreamName, epoch: Option<Epoch>) -> Result<Vec<Lane>, OfflineError> {
        let mut lanes = self.store.lanes()?;
        lanes.retain(|lane| lane.stream == *stream && epoch.is_none_or(|epoch| epoch == lane.epoch));
        if lanes.is_empty() {
            let stream = stream.clone();
            return Err(OfflineError::NoLane { stream, epoch });
        }
        Ok(lanes)
    }

    /// The seqs above the mark of each block that ends at `to` at the latest.
    fn blocks_to_drop(&self, lane: &Lane, to: Option<Seq>) -> Result<Vec<SeqRange>, StoreError> {
        let (mut ranges, mut at) = (Vec::new(), lane.committed_seq + 1);
        while let Some(extent) = self.store.block_at(lane.id, at)? {
            at = extent.range.last + 1;
            if to.is_some_and(|to| extent.range.last > to) {
                break;
            }
            ranges.push(SeqRange {
                first: extent.range.first.max(lane.committed_seq + 1),
                last: extent.range.last,
            });
        }
        Ok(ranges)
    }
}

fn name(lane: &Lane) -> String {
    format!("{}/{}", lane.stream, lane.epoch)
}

fn told(range: SeqRange) -> String {
    format!("{}..{}", range.first, range.last)
}

/// A block's rows, inflated: as many as it has seqs.
fn rows_of(block: &RowsBlock) -> Result<Vec<u8>, String> {
    let raw =
        inflate(&block.segment(), &block.body, block.raw_len as usize).map_err(|error| error.to_string())?;
    let mut count = 0;
    for row in Rows::new(&raw) {
        row.map_err(|error| error.to_string())?;
        count += 1;
    }
    if count == block.range.count() {
        Ok(raw)
    } else {
        Err(format!("it holds {count} rows for {} seqs", block.range.count()))
    }
}

/// How many events a whole block has.
fn whole(block: RowsBlock) -> Result<u64, String> {
    rows_of(&block).map(|_| block.range.count())
}
