//! Chunk by chunk: read, judge (on the blocking pool), commit.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tributary_schema::decode::Decoder;

use super::fix::Fix;
use super::judge::{CHUNK_BYTES, Judge};
use super::messages::{
    DiscardOrder, DiscardReport, MAX_SAMPLES, MAX_TOLD, ReplayError, ReplayOrder, ReplayReport, Selection,
    note_unknown,
};
use super::schemas::Schemas;
use crate::commit::{
    Act, CommitHandle, DeadLetterFilter, DiscardRequest, LetterState, LetterToReplay, LogReader,
    PreparedReplay, ScanFrom, SettleAnswer,
};
use crate::registry::Registry;

/// Letters of one chunk: one entry of the log for each of their lanes.
pub const CHUNK_LETTERS: u32 = 1_000;
/// Replays and discards that run at one time; more wait. Each holds a chunk in memory.
const AT_ONCE: usize = 2;

/// Replays and discards dead letters. Clones share their bound.
#[derive(Debug, Clone)]
pub struct Replayer {
    log: LogReader,
    commit: CommitHandle,
    registry: Registry,
    slots: Arc<Semaphore>,
}

impl Replayer {
    #[must_use]
    pub fn new(log: LogReader, commit: CommitHandle, registry: Registry) -> Self {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        Self {
            log,
            commit,
            registry,
            slots,
        }
    }

    /// Replays letters. What the report counts as replayed is durable.
    ///
    /// # Errors
    /// [`ReplayError`]; what was replayed before stays so, and is found as such by the next try. The report says how far
    /// it came.
    pub async fn replay(&self, order: ReplayOrder) -> Result<ReplayReport, (ReplayError, Box<ReplayReport>)> {
        let mut report = ReplayReport {
            dry_run: order.dry_run,
            ..ReplayReport::default()
        };
        match self.replay_into(order, &mut report).await {
            Ok(()) => Ok(report),
            Err(error) => Err((error, Box::new(report))),
        }
    }

    async fn replay_into(&self, order: ReplayOrder, report: &mut ReplayReport) -> Result<(), ReplayError> {
        let _slot = self.slots.acquire().await.map_err(|_| ReplayError::Stopping)?;
        let dry_run = order.dry_run;
        let (log, registry) = (self.log.clone(), self.registry.clone());
        let mut work = blocking(move || Work::begin(log, registry, order)).await?;
        loop {
            let chunk;
            (work, chunk) = blocking(move || work.step()).await?;
            let Some(Chunk {
                batches,
                counted,
                next,
            }) = chunk
            else {
                return Ok(());
            };
            merge(report, counted);
            if dry_run {
                report.replayed += batches.iter().map(|(letters, _)| *letters).sum::<u64>();
            } else {
                let commits = batches.into_iter().map(|(_, batch)| self.commit.replay(batch));
                let mut failed = None;
                for answer in join_all(commits).await {
                    match answer {
                        Ok(answer) => report.settled(answer),
                        Err(error) => failed = Some(error),
                    }
                }
                if let Some(error) = failed {
                    return Err(error.into());
                }
            }
            report.next = next;
            if next.is_some() {
                return Ok(());
            }
        }
    }

    /// Gives letters up. What the report counts as discarded is durable.
    ///
    /// # Errors
    /// As [`Self::replay`].
    pub async fn discard(
        &self,
        order: DiscardOrder,
    ) -> Result<DiscardReport, (ReplayError, Box<DiscardReport>)> {
        let mut report = DiscardReport {
            dry_run: order.dry_run,
            ..DiscardReport::default()
        };
        match self.discard_into(order, &mut report).await {
            Ok(()) => Ok(report),
            Err(error) => Err((error, Box::new(report))),
        }
    }

    async fn discard_into(&self, order: DiscardOrder, report: &mut DiscardReport) -> Result<(), ReplayError> {
        let _slot = self.slots.acquire().await.map_err(|_| ReplayError::Stopping)?;
        let DiscardOrder {
            selection,
            by,
            reason,
            dry_run,
            after,
            limit,
        } = order;
        let log = self.log.clone();
        let mut walk = blocking(move || Walk::begin(log, selection, after, limit)).await?;
        loop {
            let read;
            (walk, read) = blocking(move || {
                let read = walk.next()?;
                Ok((walk, read))
            })
            .await?;
            let Some(Read {
                letters,
                unknown,
                upto,
            }) = read
            else {
                report.next = walk.resume();
                return Ok(());
            };
            report.matched += letters.len() as u64;
            note_unknown(&mut report.unknown, &mut report.unknown_ids, unknown);
            walk.done(letters.len(), upto);
            if dry_run {
                report.settled(would_discard(&letters));
                continue;
            }
            let ids: Vec<i64> = letters.iter().map(|letter| letter.id).collect();
            if !ids.is_empty() {
                let (by, reason) = (by.clone(), reason.clone());
                report.settled(self.commit.discard(DiscardRequest { ids, by, reason }).await?);
            }
        }
    }
}

fn would_discard(letters: &[LetterToReplay]) -> SettleAnswer {
    let count = |state| letters.iter().filter(|letter| letter.state == state).count() as u64;
    SettleAnswer {
        settled: count(LetterState::Open),
        replayed: count(LetterState::Replayed),
        discarded: count(LetterState::Discarded),
        unknown: 0,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReplayError> + Send + 'static,
) -> Result<T, ReplayError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(ReplayError::Stopping))
}

/// Adds what a chunk counted.
fn merge(report: &mut ReplayReport, chunk: ReplayReport) {
    report.matched += chunk.matched;
    report.still_invalid += chunk.still_invalid;
    report.already_replayed += chunk.already_replayed;
    report.discarded += chunk.discarded;
    report.unknown += chunk.unknown;
    let room = |told: usize, most: usize| most.saturating_sub(told);
    let more_ids = room(report.unknown_ids.len(), MAX_TOLD);
    report
        .unknown_ids
        .extend(chunk.unknown_ids.into_iter().take(more_ids));
    let more_letters = room(report.invalid.len(), MAX_TOLD);
    report
        .invalid
        .extend(chunk.invalid.into_iter().take(more_letters));
    let more_samples = room(report.samples.len(), MAX_SAMPLES);
    report
        .samples
        .extend(chunk.samples.into_iter().take(more_samples));
}

/// Letters that were read, and ids that no letter has.
struct Read {
    letters: Vec<LetterToReplay>,
    unknown: Vec<i64>,
    /// The last id that this covers.
    upto: i64,
}

/// A walk over the letters of a selection, in the order of their ids.
#[derive(Debug)]
struct Walk {
    log: LogReader,
    from: From,
    /// Letters that may still be looked at.
    left: u64,
}

#[derive(Debug)]
enum From {
    /// Ascending; the first ones are done.
    Ids { ids: Vec<i64>, done: usize },
    /// The newest id is that of the beginning: letters that come meanwhile are not for this walk.
    Matching {
        filter: Box<DeadLetterFilter>,
        scan: ScanFrom,
        ended: bool,
    },
}

impl Walk {
    fn begin(
        log: LogReader,
        selection: Selection,
        after: i64,
        limit: Option<u64>,
    ) -> Result<Self, ReplayError> {
        let from = match selection {
            Selection::Ids(mut ids) => {
                ids.sort_unstable();
                ids.dedup();
                ids.retain(|id| *id > after);
                From::Ids { ids, done: 0 }
            }
            Selection::Matching(filter) => {
                let upto = log.newest_dead_letter()?;
                let scan = ScanFrom { after, upto };
                From::Matching {
                    filter,
                    scan,
                    ended: false,
                }
            }
        };
        let left = limit.unwrap_or(u64::MAX);
        Ok(Self { log, from, left })
    }

    /// The next letters; `None` at the end of the selection, or of what may be looked at.
    fn next(&mut self) -> Result<Option<Read>, ReplayError> {
        let limit = u32::try_from(self.left).unwrap_or(u32::MAX).min(CHUNK_LETTERS);
        if limit == 0 {
            return Ok(None);
        }
        match &mut self.from {
            From::Ids { ids, done } => {
                let wanted: Vec<i64> = ids[*done..].iter().copied().take(limit as usize).collect();
                if wanted.is_empty() {
                    return Ok(None);
                }
                let (letters, covered) = self.log.dead_letters_of(&wanted, CHUNK_BYTES)?;
                let there: Vec<i64> = letters.iter().map(|letter| letter.id).collect();
                let covered = &wanted[..covered];
                let missing = covered
                    .iter()
                    .copied()
                    .filter(|id| there.binary_search(id).is_err());
                let unknown = missing.collect();
                let upto = covered.last().copied().unwrap_or(0);
                Ok(Some(Read {
                    letters,
                    unknown,
                    upto,
                }))
            }
            From::Matching { filter, scan, ended } => {
                let letters = self.log.dead_letter_chunk(filter, *scan, limit, CHUNK_BYTES)?;
                let Some(upto) = letters.last().map(|letter| letter.id) else {
                    *ended = true;
                    return Ok(None);
                };
                let unknown = Vec::new();
                Ok(Some(Read {
                    letters,
                    unknown,
                    upto,
                }))
            }
        }
    }

    /// So many letters, up to this id, are done.
    fn done(&mut self, count: usize, last: i64) {
        self.left = self.left.saturating_sub(count as u64);
        match &mut self.from {
            From::Ids { ids, done } => *done = ids.partition_point(|id| *id <= last),
            From::Matching { scan, .. } => scan.after = last,
        }
    }

    /// Where to go on, when there is more than may be looked at.
    fn resume(&self) -> Option<i64> {
        match &self.from {
            From::Ids { ids, done } => {
                (*done < ids.len()).then(|| done.checked_sub(1).map_or(0, |at| ids[at]))
            }
            From::Matching { scan, ended, .. } => (!ended && scan.after < scan.upto).then_some(scan.after),
        }
    }
}

/// A replay at work; travels between the blocking pool and the task that commits.
#[derive(Debug)]
struct Work {
    walk: Walk,
    schemas: Schemas,
    judge: Judge,
}

/// One step's result. `batches` come with how many letters they hold.
struct Chunk {
    batches: Vec<(u64, PreparedReplay)>,
    counted: ReplayReport,
    /// Not to be gone on with by this request.
    next: Option<i64>,
}

impl Work {
    fn begin(log: LogReader, registry: Registry, order: ReplayOrder) -> Result<Self, ReplayError> {
        let ReplayOrder {
            selection,
            schema,
            fix,
            dry_run,
            by,
            after,
            limit,
        } = order;
        if let (Selection::Ids(ids), Some(_)) = (&selection, schema) {
            let streams = log.dead_letter_streams(ids)?;
            if streams.len() > 1 {
                let names: Vec<&str> = streams.iter().map(|stream| stream.as_str()).collect();
                let streams = names.join(", ");
                return Err(ReplayError::SeveralStreams { streams });
            }
        }
        let mut schemas = Schemas::new(registry, schema);
        if let Selection::Matching(filter) = &selection
            && let Some(stream) = &filter.stream
        {
            // a version that is not there is told also when no letter matches
            schemas.of(stream)?;
        }
        let judge = Judge {
            decoder: Decoder::new(),
            act: Act {
                by,
                fix: fix.as_ref().map(Fix::to_json),
            },
            fixer: fix.as_ref().map(Fix::fixer).transpose()?,
            dry_run,
        };
        let walk = Walk::begin(log, selection, after, limit)?;
        Ok(Self { walk, schemas, judge })
    }

    fn step(mut self) -> Result<(Self, Option<Chunk>), ReplayError> {
        let Some(Read {
            letters,
            mut unknown,
            upto,
        }) = self.walk.next()?
        else {
            let next = self.walk.resume();
            // the end of the selection is no chunk; the end of what may be looked at says where to go on
            let chunk = next.map(|_| Chunk {
                batches: Vec::new(),
                counted: ReplayReport::default(),
                next,
            });
            return Ok((self, chunk));
        };
        let mut counted = ReplayReport::default();
        let ids: Vec<i64> = letters.iter().map(|letter| letter.id).collect();
        let schemas = &mut self.schemas;
        let judged = self
            .judge
            .chunk(letters, |letter| schemas.judge_of(letter), &mut counted)?;
        // what a fix made too large for this chunk is read again for the next one
        let last = match ids.get(judged.taken) {
            Some(_) => judged.taken.checked_sub(1).map_or(0, |last| ids[last]),
            None => upto,
        };
        unknown.retain(|id| *id <= last);
        note_unknown(&mut counted.unknown, &mut counted.unknown_ids, unknown);
        self.walk.done(judged.taken, last);
        let batches = judged.requests.into_iter().map(|request| {
            let letters = request.letters.len() as u64;
            Ok((letters, request.prepare()?))
        });
        let batches = batches.collect::<Result<Vec<_>, ReplayError>>()?;
        let chunk = Chunk {
            batches,
            counted,
            next: None,
        };
        Ok((self, Some(chunk)))
    }
}
