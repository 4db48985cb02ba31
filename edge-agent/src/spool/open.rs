//! Opens the database: lock, pragmas, format, the check of every lane, and quarantine when it is damaged.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::FlockOperation;
use tributary_shared::ids::{AgentId, Seq};
use tributary_shared::time::{Millis, to_rfc3339};

use super::age::Step;
use super::host::Host;
use super::lane::Lanes;
use super::messages::LaneId;
use super::policy::{Budget, Usage};
use super::salvage;
use super::store::{Store, StoreError, TABLES, Trouble};
use super::store_contexts::TABLES_OF_FORMAT_4;
use super::store_host::{SalvageRow, TABLES_OF_FORMAT_2};
use super::store_past::TABLES_OF_FORMAT_3;
use super::transaction::list_drops;

/// The newest format, which this build writes. Format 1 had none of [`TABLES_OF_FORMAT_2`], format 2 none of
/// [`TABLES_OF_FORMAT_3`], format 3 none of [`TABLES_OF_FORMAT_4`]; they are brought up to date when they are opened.
pub const FORMAT_VERSION: i64 = 4;
/// `TRBS`: tells a spool from any other SQLite file.
const APPLICATION_ID: i64 = 0x5452_4253;
/// Measured with blocks of tens of kilobytes and with single events: 4 KiB pages cost a seventh more CPU (long
/// overflow chains), 16 KiB pages write a fifth more bytes, and twice as many for single events.
pub(super) const PAGE_SIZE: u32 = 8 << 10;
/// The page cache, in KiB. The working set is the right edge of three trees; bodies are written once.
const CACHE_KIB: i32 = 1_024;
/// How long to wait for a reader or writer from outside (`sqlite3 spool.db`) before a statement fails.
const BUSY_MILLIS: u32 = 2_000;

/// Why there is no spool.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("another agent uses the spool in {0}: stop it, or give this one a dir of its own")]
    Locked(PathBuf),
    #[error(
        "the spool in {dir} has format {found}, and this program knows formats up to {FORMAT_VERSION}: upgrade it"
    )]
    NewerFormat { dir: PathBuf, found: i64 },
    #[error(
        "the spool in {dir} belongs to agent {found}: restore that id, or give this agent a dir of its own"
    )]
    ForeignAgent { dir: PathBuf, found: String },
    #[error("cannot use {path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("cannot use the spool's database: {0}")]
    Database(#[from] StoreFailure),
}

/// A statement on the spool's database that failed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StoreFailure(StoreError);

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        Self::Database(StoreFailure(error))
    }
}

impl OpenError {
    /// Will it stay as it is until a person acts? Else the disk may come back.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Locked(_) | Self::NewerFormat { .. } | Self::ForeignAgent { .. } => true,
            Self::Io { .. } | Self::Database(_) => false,
        }
    }

    pub(super) fn trouble(&self) -> Trouble {
        match self {
            Self::Io { source, .. } => Trouble::of_io(source),
            Self::Database(StoreFailure(error)) => error.trouble(),
            Self::Locked(_) | Self::NewerFormat { .. } | Self::ForeignAgent { .. } => Trouble::Other,
        }
    }
}

/// Does a process open the database for the first time?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// Seqs that are given out from now on were not sent before the aggregator is heard.
    InProcess,
    No,
}

/// What opening gave.
#[derive(Debug)]
pub(super) struct Opened {
    pub database: Database,
    /// Where a damaged database went.
    pub aside: Option<PathBuf>,
}

/// An open database and what it holds.
#[derive(Debug)]
pub(super) struct Database {
    pub store: Store,
    pub lanes: Lanes,
    /// As they were when it was opened.
    pub clock_steps: Vec<Step>,
    /// The latest salvage.
    pub salvage: Option<SalvageRow>,
    /// Lanes that are being salvaged: the shipper does not see them yet.
    pub hidden: Vec<LaneId>,
    wal: PathBuf,
}

/// Whose spool it is and where.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub dir: PathBuf,
    pub agent: AgentId,
    pub budget: Budget,
    /// [`Host::of`], unless a test decides what is a copy.
    pub host: fn(&Path) -> Host,
}

/// Takes the directory for this process, until the file is dropped.
pub(super) fn lock(dir: &Path) -> Result<File, OpenError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    fs::create_dir_all(dir).map_err(io(dir))?;
    if let Some(parent) = dir.parent().filter(|parent| parent.is_dir()) {
        // the new directory's own entry must survive a power cut as well
        File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(io(parent))?;
    }
    let path = dir.join("spool.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io(&path))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked(dir.to_owned())),
        Err(errno) => Err(io(&path)(errno.into())),
    }
}

impl Place {
    fn file(&self) -> PathBuf {
        self.dir.join("spool.db")
    }

    fn wal(&self) -> PathBuf {
        self.dir.join("spool.db-wal")
    }

    /// Opens the database, and makes an empty one where there is none.
    pub(super) fn open(&self, now: Millis, first: First) -> Result<Database, OpenError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let store = Store {
            conn: Connection::open_with_flags(self.file(), flags).map_err(StoreError::from)?,
        };
        self.set_up(&store.conn)?;
        let objects: i64 = store
            .conn
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(StoreError::from)?;
        if objects == 0 {
            self.create(&store, now)?;
        }
        let found = self.check_meta(&store.conn)?;
        if found < FORMAT_VERSION {
            migrate(&store, found)?;
        }
        if first == First::InProcess {
            store.transaction(|| {
                store.note_process_start()?;
                self.note_host(&store)
            })?;
        }
        let (lanes, clock_steps) = (load(&store)?, store.clock_steps()?);
        let (salvage, hidden) = (store.salvage()?, store.salvaged_lanes()?);
        Ok(Database {
            store,
            salvage,
            hidden,
            lanes,
            clock_steps,
            wal: self.wal(),
        })
    }

    /// A copy begins new epochs; see [`super::host`].
    fn note_host(&self, store: &Store) -> Result<(), StoreError> {
        let (then, now) = (store.host()?, (self.host)(&self.file()));
        if then.as_ref() == Some(&now) {
            return Ok(());
        }
        if then.is_some_and(|then| then.differs(&now)) {
            let lanes = store.retire_lanes()?;
            tracing::warn!(lanes, "spool was copied or moved here, new epochs begun");
        }
        store.put_host(&now)
    }

    fn set_up(&self, conn: &Connection) -> Result<(), StoreError> {
        conn.set_prepared_statement_cache_capacity(64);
        conn.execute_batch(&format!(
            "PRAGMA busy_timeout = {BUSY_MILLIS};
             PRAGMA page_size = {PAGE_SIZE};
             PRAGMA cache_size = -{CACHE_KIB};
             PRAGMA cell_size_check = ON;
             PRAGMA trusted_schema = OFF;
             PRAGMA temp_store = MEMORY;
             -- checkpoints run between group commits, after the waiters were answered
             PRAGMA wal_autocheckpoint = 0;
             -- the file keeps this size: overwriting it needs no room on a disk that others have filled
             PRAGMA journal_size_limit = {};",
            self.budget.checkpoint_at()
        ))?;
        let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(std::io::Error::other(format!("no WAL on this file system: mode is {mode}")).into());
        }
        conn.execute_batch("PRAGMA synchronous = FULL")?;
        Ok(())
    }

    fn create(&self, store: &Store, now: Millis) -> Result<(), StoreError> {
        let spool_id = format!("{:016x}", rand::random::<u64>());
        store.transaction(|| {
            store.conn.execute_batch(TABLES)?;
            store.conn.execute_batch(TABLES_OF_FORMAT_2)?;
            store.conn.execute_batch(TABLES_OF_FORMAT_3)?;
            store.conn.execute_batch(TABLES_OF_FORMAT_4)?;
            store
                .conn
                .execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID}"))?;
            let sql = "INSERT INTO meta(format_version, spool_id, agent, created_at) VALUES (?1, ?2, ?3, ?4)";
            store.conn.execute(
                sql,
                rusqlite::params![FORMAT_VERSION, spool_id, self.agent.as_str(), now],
            )?;
            Ok(())
        })
    }

    /// Returns the format.
    fn check_meta(&self, conn: &Connection) -> Result<i64, OpenError> {
        let application: i64 = conn
            .query_row("PRAGMA application_id", [], |row| row.get(0))
            .map_err(StoreError::from)?;
        if application != APPLICATION_ID {
            return Err(StoreError::Damaged("the file is not a spool".to_owned()).into());
        }
        // of a newer format only these two columns are known to be there
        let (found, agent): (i64, String) = conn
            .query_row("SELECT format_version, agent FROM meta", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .map_err(StoreError::from)?;
        let dir = self.dir.clone();
        if found > FORMAT_VERSION {
            return Err(OpenError::NewerFormat { dir, found });
        }
        if agent != self.agent.as_str() {
            return Err(OpenError::ForeignAgent { dir, found: agent });
        }
        Ok(found)
    }

    /// Opens the database; a damaged one is moved aside and a fresh one begun, whose lanes have new epochs.
    pub(super) fn open_or_quarantine(&self, now: Millis, first: First) -> Result<Opened, OpenError> {
        match self.open(now, first) {
            Ok(database) => Ok(Opened {
                database,
                aside: None,
            }),
            Err(OpenError::Database(StoreFailure(error))) if error.trouble() == Trouble::Damage => {
                self.quarantine_and_salvage(now, &error, first)
            }
            Err(error) => Err(error),
        }
    }

    /// Moves the database aside and begins a fresh one, with the lanes of the damaged one to be filled.
    pub(super) fn quarantine_and_salvage(
        &self,
        now: Millis,
        why: &StoreError,
        first: First,
    ) -> Result<Opened, OpenError> {
        let aside = self.quarantine(now, why)?;
        let mut database = self.open(now, first)?;
        salvage::begin(&mut database, &self.file(), &aside)?;
        drop(database);
        // again: with the lanes of the damaged one
        let database = self.open(now, First::No)?;
        let aside = Some(aside);
        Ok(Opened { database, aside })
    }

    /// Moves the database aside, under a name with the time. The caller has closed it.
    fn quarantine(&self, now: Millis, why: &StoreError) -> Result<PathBuf, OpenError> {
        let stamp: String = to_rfc3339(now)
            .chars()
            .filter(|c| !matches!(c, '-' | ':' | '.'))
            .collect();
        let aside = self.dir.join(format!("spool.db.damaged-{stamp}"));
        let io = |source| OpenError::Io {
            path: self.file(),
            source,
        };
        // the WAL first: alone, it could be applied to the fresh database of the same name
        let wal_aside = self.dir.join(format!("spool.db.damaged-{stamp}-wal"));
        for (from, to) in [(self.wal(), wal_aside), (self.file(), aside.clone())] {
            match fs::rename(&from, &to) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
                _ => {}
            }
        }
        match fs::remove_file(self.dir.join("spool.db-shm")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(io)?;
        tracing::error!(error = %why, moved_to = %aside.display(), "spool damaged, moved aside and begun anew");
        Ok(aside)
    }
}

impl Database {
    /// Sizes as the running transaction sees them.
    pub(super) fn usage(&self) -> Result<Usage, StoreError> {
        Ok(Usage {
            pages: self.store.pages_in_use()?,
            wal: self.wal_bytes(),
        })
    }

    /// 0 when there is no WAL yet.
    pub(super) fn wal_bytes(&self) -> u64 {
        fs::metadata(&self.wal).map_or(0, |meta| meta.len())
    }

    /// Writes the WAL's pages to the database. With `empty`, waits for readers and empties the file too.
    pub(super) fn checkpoint(&self, empty: bool) -> Result<(), StoreError> {
        let sql = if empty {
            "PRAGMA wal_checkpoint(TRUNCATE)"
        } else {
            "PRAGMA wal_checkpoint(PASSIVE)"
        };
        self.store.conn.prepare_cached(sql)?.query_row([], |_| Ok(()))?;
        Ok(())
    }

    /// A commit of one page, written and synced: only that shows that events can be taken. An empty WAL can be
    /// checkpointed on a disk that syncs nothing.
    pub(super) fn prove_writable(&self) -> Result<(), StoreError> {
        let conn = &self.store.conn;
        let opened: i32 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
        conn.pragma_update(None, "user_version", opened.wrapping_add(1))?;
        Ok(())
    }
}

/// Brings a database of an older format up to date.
fn migrate(store: &Store, found: i64) -> Result<(), StoreError> {
    store.transaction(|| {
        if found < 2 {
            store.conn.execute_batch(TABLES_OF_FORMAT_2)?;
        }
        if found < 3 {
            store.conn.execute_batch(TABLES_OF_FORMAT_3)?;
        }
        store.conn.execute_batch(TABLES_OF_FORMAT_4)?;
        store
            .conn
            .execute("UPDATE meta SET format_version = ?1", [FORMAT_VERSION])?;
        Ok(())
    })?;
    tracing::info!(format = FORMAT_VERSION, "spool brought up to date");
    Ok(())
}

/// Reads the lanes and proves that each one's blocks and drops cover `(committed_seq, next_seq)` without gaps.
pub(super) fn load(store: &Store) -> Result<Lanes, StoreError> {
    let mut lanes = Lanes::default();
    lanes.retired = store.retired()?;
    store.lanes()?.into_iter().for_each(|lane| lanes.insert(lane));
    // the seq that each lane's next extent must begin with
    let mut expected: HashMap<LaneId, Seq> = HashMap::new();
    store.each_extent(|id, range, bytes| {
        let damaged = || StoreError::Damaged(format!("lane {} has seqs {range:?} out of place", id.0));
        let lane = lanes.get_mut(id).ok_or_else(damaged)?;
        // the mark may lie within the first block
        let first = lane.committed_seq + 1;
        let in_place = match expected.insert(id, range.last + 1) {
            Some(next) => range.first == next,
            None => range.contains(first),
        };
        if !in_place || range.last >= lane.next_seq {
            return Err(damaged());
        }
        match bytes {
            Some(bytes) => lane.held_bytes += bytes,
            None => lane.dropped_events += range.last + 1 - range.first.max(first),
        }
        Ok(())
    })?;
    for lane in lanes.iter() {
        let covered = expected.get(&lane.id).copied().unwrap_or(lane.committed_seq + 1);
        if covered != lane.next_seq {
            let message = format!(
                "lane {} ends at {covered} and not at {}",
                lane.id.0, lane.next_seq
            );
            return Err(StoreError::Damaged(message));
        }
    }
    let dropped: Vec<_> = lanes
        .iter()
        .filter(|lane| lane.dropped_events > 0)
        .map(|lane| lane.id)
        .collect();
    list_drops(store, &mut lanes, dropped)?;
    Ok(lanes)
}
