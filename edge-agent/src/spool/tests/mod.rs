//! Drives the spool's actor round by round: no thread, no clock, and a disk that can be copied at any time,
//! which is what a crash leaves.

mod contexts;
#[cfg(target_os = "linux")]
mod disk;
mod epochs;
mod faults;
mod full;
mod model;
mod policies;
mod salvage;
#[cfg(target_os = "linux")]
mod tailed;
mod threads;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::{Semaphore, oneshot};
use tributary_shared::ids::{AgentId, Seq, SeqRange, StreamName};
use tributary_shared::time::Millis;
use tributary_shared::wire::History;
use tributary_shared::wire::rows::{Rows, inflate, push_row};

use super::actor::Actor;
use super::handle::InFlight;
use super::host::Host;
use super::messages::*;
use super::policy::{Budget, StreamPolicy, WhenFull};
use super::queue::{Append, Batch, Control, Queued, Read, Reply};
use super::{MAX_APPEND_BYTES, SpoolConfig, open};

const NOW: Millis = 1_790_000_000_000;

/// A stream that always waits: its events fill a spool so that little room is left for the others.
const BALLAST: &str = "ballast";

fn stream(name: &str) -> StreamName {
    StreamName::new(name).expect("valid name")
}

fn agent() -> AgentId {
    AgentId::new("a1").expect("valid id")
}

fn events(name: &str, payloads: &[Vec<u8>]) -> NewEvents {
    let mut rows = Vec::new();
    payloads.iter().for_each(|payload| push_row(&mut rows, payload));
    let count = u32::try_from(payloads.len()).expect("few");
    NewEvents {
        stream: stream(name),
        origin: None,
        traceparent: None,
        collected_at: NOW,
        rows,
        count,
        position: None,
    }
}

/// Notes how many faults of each kind a test has injected into the spool's files or system calls.
fn injected<const N: usize>(test: &str, kinds: [(&str, usize); N]) {
    let kinds = kinds.map(|(kind, times)| (format!("spool: {kind}"), times as u64));
    tributary_faults::injected(tributary_faults::Layer::Stores, test, kinds);
}

/// Straight to the terminal: what could not be injected is to be seen of a test that passes, too.
fn say(text: &str) {
    // nobody reads it, nobody misses it
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("\n{text}\n").as_bytes());
}

/// Bytes that do not compress, different for each `n`.
fn noise(n: u64, len: usize) -> Vec<u8> {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |state: &mut u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        (*state >> 32) as u8
    };
    (0..len).map(|_| step(&mut state)).collect()
}

type Answer<T> = oneshot::Receiver<Result<T, SpoolError>>;

/// A payload, or why there is none.
type Content = Result<Vec<u8>, Arc<str>>;

/// What a round's waiter got. Every command is answered within its round.
fn got<T>(mut answer: Answer<T>) -> Result<T, SpoolError> {
    answer.try_recv().expect("answered within the round")
}

struct Harness {
    actor: Actor,
    in_flight: InFlight,
    status: tokio::sync::watch::Receiver<SpoolStatus>,
    config: SpoolConfig,
    at: Instant,
    now: Millis,
    _dir: TempDir,
}

impl Harness {
    fn new(limit: u64, when_full: WhenFull) -> Self {
        Self::with_streams(limit, when_full.into(), [])
    }

    /// With policies for some streams.
    fn with_streams<const N: usize>(
        limit: u64,
        default_policy: StreamPolicy,
        streams: [(&str, StreamPolicy); N],
    ) -> Self {
        let dir = TempDir::new().expect("tempdir");
        let mut config = SpoolConfig {
            limit,
            default_policy,
            ..SpoolConfig::new(dir.path())
        };
        config.streams.insert(stream(BALLAST), WhenFull::Block.into());
        config
            .streams
            .extend(streams.map(|(name, policy)| (stream(name), policy)));
        Self::open(dir, config).expect("opens")
    }

    fn open(dir: TempDir, mut config: SpoolConfig) -> Result<Self, open::OpenError> {
        dir.path().clone_into(&mut config.dir);
        Self::open_at(dir, config)
    }

    /// In the configured directory.
    fn open_at(dir: TempDir, config: SpoolConfig) -> Result<Self, open::OpenError> {
        // files are copied here to stand for crashes
        Self::open_on(|_| Host::default(), dir, config)
    }

    fn open_on(host: fn(&Path) -> Host, dir: TempDir, config: SpoolConfig) -> Result<Self, open::OpenError> {
        let limit = config.limit;
        let place = open::Place {
            dir: config.dir.clone(),
            agent: agent(),
            budget: Budget::new(limit),
            host,
        };
        let (in_flight, at) = (InFlight::default(), Instant::now());
        let (actor, status) = Actor::start(place, config.clone(), Arc::clone(&in_flight), at, NOW)?;
        Ok(Self {
            actor,
            in_flight,
            status,
            config,
            at,
            now: NOW,
            _dir: dir,
        })
    }

    /// A copy of the files as they are now: what is left after `kill -9`, or in a disk image.
    fn image(&self) -> TempDir {
        let dir = TempDir::new().expect("tempdir");
        for entry in std::fs::read_dir(self.path()).expect("dir") {
            let entry = entry.expect("entry");
            let name = entry.file_name().into_string().expect("text");
            // nobody else has the copy open: it gets an index of its own
            if !name.ends_with("-shm") && name != "spool.lock" {
                std::fs::copy(entry.path(), dir.path().join(name)).expect("copy");
            }
        }
        dir
    }

    /// Goes on from an image, as a new process.
    fn restore(&mut self, image: TempDir) {
        *self = Self::open(image, self.config.clone()).expect("opens");
    }

    /// Goes on from an image on two other machines, one after the other: the first one's id is not known yet.
    fn restore_elsewhere(&mut self, image: TempDir) {
        let one = |_: &Path| Host {
            machine: Some("one".to_owned()),
            inode: None,
        };
        let two = |_: &Path| Host {
            machine: Some("two".to_owned()),
            inode: None,
        };
        for (host, image) in [(one as fn(&Path) -> Host, Some(image)), (two, None)] {
            let image = image.unwrap_or_else(|| self.image());
            let mut config = self.config.clone();
            image.path().clone_into(&mut config.dir);
            *self = Self::open_on(host, image, config).expect("opens");
        }
    }

    fn crash(&mut self) {
        self.restore(self.image());
    }

    fn path(&self) -> &Path {
        &self.config.dir
    }

    fn disk_bytes(&self) -> u64 {
        let entries = std::fs::read_dir(self.path()).expect("dir");
        let sizes = entries.map(|entry| entry.expect("entry").metadata().expect("metadata").len());
        sizes.sum()
    }

    /// Both clocks go on, and the thread wakes up.
    fn pass(&mut self, time: Duration) {
        self.at += time;
        self.now += Millis::try_from(time.as_millis()).expect("short");
        self.round(Vec::new(), Vec::new());
    }

    fn round(&mut self, appends: Vec<Append>, controls: Vec<Control>) {
        let room = Arc::new(Semaphore::new(MAX_APPEND_BYTES));
        let permit = || Arc::clone(&room).try_acquire_owned().expect("room");
        let batch = Batch {
            appends: appends
                .into_iter()
                .map(|command| Queued {
                    command,
                    permit: permit(),
                })
                .collect(),
            controls: controls
                .into_iter()
                .map(|command| Queued {
                    command,
                    permit: permit(),
                })
                .collect(),
            closed: false,
        };
        self.actor.round(batch, self.at, self.now);
    }

    /// One group commit of all these appends.
    fn append_group(&mut self, group: Vec<NewEvents>) -> Vec<Result<Accepted, SpoolError>> {
        let (appends, answers): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|events| {
                let (reply, answer) = oneshot::channel();
                (Append::Events { events, reply }, answer)
            })
            .unzip();
        self.round(appends, Vec::new());
        answers.into_iter().map(got).collect()
    }

    fn append(&mut self, events: NewEvents) -> Result<Accepted, SpoolError> {
        self.append_group(vec![events]).remove(0)
    }

    fn append_dropped(&mut self, name: &str, count: u32, reason: &str) -> Result<Accepted, SpoolError> {
        let (reply, answer) = oneshot::channel();
        let dropped = NewDropped {
            stream: stream(name),
            count,
            reason: reason.into(),
            position: None,
        };
        self.round(vec![Append::Dropped { dropped, reply }], Vec::new());
        got(answer)
    }

    fn control<T>(&mut self, build: impl FnOnce(Reply<T>) -> Control) -> Result<T, SpoolError> {
        let (reply, answer) = oneshot::channel();
        self.round(Vec::new(), vec![build(reply)]);
        got(answer)
    }

    fn mark(&mut self, lane: LaneId, mark: Seq) -> Result<(), SpoolError> {
        self.control(|reply| Control::CommitMark { lane, mark, reply })
    }

    fn lane_opened(&mut self, lane: LaneId, mark: Seq) -> Result<LaneInfo, SpoolError> {
        self.lane_opened_by(lane, mark, None)
    }

    /// By an aggregator that knows who numbered what it has.
    fn lane_opened_by(
        &mut self,
        lane: LaneId,
        mark: Seq,
        history: Option<History>,
    ) -> Result<LaneInfo, SpoolError> {
        self.control(|reply| Control::LaneOpened {
            lane,
            mark,
            history,
            reply,
        })
    }

    fn position(&mut self, key: &str) -> Option<Vec<u8>> {
        self.control(|reply| Control::GetPosition {
            key: key.to_owned(),
            reply,
        })
        .expect("position")
    }

    fn read(&mut self, lane: LaneId, from: Seq, max_rows: u32, max_bytes: usize) -> Vec<Block> {
        let read = Read {
            lane,
            from,
            max_rows,
            max_bytes,
        };
        self.control(|reply| Control::Read { read, reply }).expect("read")
    }

    fn status(&self) -> SpoolStatus {
        self.status.borrow().clone()
    }

    fn lanes(&self, name: &str) -> Vec<LaneInfo> {
        self.status()
            .lanes
            .iter()
            .filter(|lane| lane.stream.as_str() == name)
            .cloned()
            .collect()
    }

    /// The stream's only lane.
    fn lane(&self, name: &str) -> LaneInfo {
        let lanes = self.lanes(name);
        assert_eq!(lanes.len(), 1, "{lanes:?}");
        lanes[0].clone()
    }

    /// Everything of the lane above its mark: a payload, or why there is none.
    fn contents(&mut self, info: &LaneInfo) -> Vec<(Seq, Content)> {
        let mut out = Vec::new();
        let mut at = info.committed_seq + 1;
        while at < info.next_seq {
            let blocks = self.read(info.lane, at, 5_000, 1 << 20);
            assert!(!blocks.is_empty(), "seq {at} of {info:?} can be read");
            for block in blocks {
                let range = block.range();
                assert!(range.contains(at), "{range:?} holds {at}");
                match block {
                    Block::Rows(rows) => {
                        let raw = inflate(&rows.segment(), &rows.body, 16 << 20).expect("inflates");
                        let payloads: Vec<_> =
                            Rows::new(&raw).map(|row| row.expect("row").to_vec()).collect();
                        assert_eq!(payloads.len() as u64, range.count());
                        out.extend(
                            (range.first..)
                                .zip(payloads.into_iter().map(Ok))
                                .filter(|(seq, _)| *seq >= at),
                        );
                    }
                    Block::Dropped { range, reason } => {
                        out.extend((range.first..=range.last).map(|seq| (seq, Err(Arc::clone(&reason)))));
                    }
                }
                at = range.last + 1;
            }
        }
        out
    }
}
