//! A model of a directory under a log writer and a rotator, followed by the real [`Follow`] and
//! [`LineSplitter`] with crashes in between. Whatever happens, each finished line is taken exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::follow::{Follow, ROTATED_GRACE};
use super::lines::{LineSplitter, Piece};
use super::messages::{FINGERPRINT_BYTES, FileId, FilePosition, ReadFrom, Sighting, Start, Step};

const MAX_LINE: usize = 60;
const LIVE: &str = "/logs/app.log";

#[derive(Debug, Clone)]
enum Action {
    /// Appends a line; `finished` says whether its newline is already there.
    Write { filler: usize, finished: bool },
    /// Renames the live file, to a name that the globs match or not, and begins a new one.
    Rotate { matched: bool },
    /// Empties the live file, once everything in it was taken.
    Truncate,
    /// Deletes the oldest rotated file, once everything in it was taken.
    Delete,
    /// The agent looks and reads; `commit` of its blocks reach the disk.
    Look { millis: u64, commit: usize },
    /// The agent dies and starts again from the positions on disk.
    Crash,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (0usize..90, prop::bool::weighted(0.8)).prop_map(|(filler, finished)| Action::Write { filler, finished }),
        1 => any::<bool>().prop_map(|matched| Action::Rotate { matched }),
        1 => Just(Action::Truncate),
        1 => Just(Action::Delete),
        4 => (0u64..4_000, 0usize..6).prop_map(|(millis, commit)| Action::Look { millis, commit }),
        1 => Just(Action::Crash),
    ]
}

enum Pending {
    Block {
        lines: Vec<String>,
        position: FilePosition,
    },
    Forget(FileId),
}

struct Model {
    disk: BTreeMap<FileId, Vec<u8>>,
    names: BTreeMap<PathBuf, FileId>,
    rotations: usize,
    /// Has the agent's disk a position of the live file?
    live_is_known: bool,
    lines: usize,
    /// What must have been taken in the end, and the text of the live file's unfinished line.
    expected: Vec<String>,
    unfinished: String,
    // the agent's memory
    follow: Follow,
    open: BTreeMap<FileId, (LineSplitter, u64, u64)>,
    pending: Vec<Pending>,
    now: Duration,
    // the agent's disk
    taken: Vec<String>,
    positions: BTreeMap<FileId, FilePosition>,
}

impl Model {
    fn new() -> Self {
        let mut model = Self {
            disk: BTreeMap::new(),
            names: BTreeMap::new(),
            rotations: 0,
            live_is_known: false,
            lines: 0,
            expected: Vec::new(),
            unfinished: String::new(),
            follow: Follow::new(Vec::new(), ReadFrom::Beginning),
            open: BTreeMap::new(),
            pending: Vec::new(),
            now: Duration::ZERO,
            taken: Vec::new(),
            positions: BTreeMap::new(),
        };
        model.create();
        model
    }

    /// A new live file, on the lowest free inode: as on a real disk, an inode that is open is not free.
    fn create(&mut self) {
        let used: BTreeSet<u64> = self
            .disk
            .keys()
            .chain(self.open.keys())
            .map(|id| id.ino)
            .collect();
        let ino = (1..).find(|ino| !used.contains(ino)).expect("a free inode");
        self.disk.insert(FileId { dev: 1, ino }, Vec::new());
        self.names.insert(LIVE.into(), FileId { dev: 1, ino });
        self.live_is_known = false;
    }

    fn live(&self) -> FileId {
        self.names[Path::new(LIVE)]
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Write { filler, finished } => self.write(*filler, *finished),
            Action::Rotate { matched } => {
                if !self.live_is_known && (!matched || !self.unfinished.is_empty()) {
                    // a file that was never seen under its first name: nobody could know that it is rotated
                    self.settle();
                }
                if !self.unfinished.is_empty() && !self.is_known_by_its_content() {
                    // a crash makes such a file a new one, whose unfinished line waits: not a rotated one's last
                    self.write(0, true);
                }
                self.rotations += 1;
                let id = self.names.remove(Path::new(LIVE)).expect("a live file");
                let folder = if *matched { "/logs/app.log" } else { "/logs/old" };
                self.names
                    .insert(format!("{folder}.{}", self.rotations).into(), id);
                // nobody will finish this line any more
                let rest = std::mem::take(&mut self.unfinished);
                self.expect(rest);
                self.create();
            }
            Action::Truncate => {
                self.settle();
                self.unfinished.clear();
                let id = self.live();
                self.disk.insert(id, Vec::new());
                // a truncation that is never seen empty and regrows is found by its first bytes
            }
            Action::Delete => {
                let rotated = self.names.keys().find(|name| *name != Path::new(LIVE)).cloned();
                if let Some(name) = rotated {
                    self.settle();
                    let id = self.names.remove(&name).expect("just found");
                    self.disk.remove(&id);
                }
            }
            Action::Look { millis, commit } => {
                self.now += Duration::from_millis(*millis);
                self.look();
                self.commit(*commit);
            }
            Action::Crash => {
                self.pending.clear();
                self.open.clear();
                self.now = Duration::ZERO;
                self.follow = Follow::new(self.positions.values().cloned().collect(), ReadFrom::Beginning);
            }
        }
    }

    /// Does the agent's disk know something of the live file's present content?
    fn is_known_by_its_content(&self) -> bool {
        let (id, bytes) = (self.live(), &self.disk[&self.live()]);
        let head = &bytes[..bytes.len().min(FINGERPRINT_BYTES)];
        let fits =
            |p: &FilePosition| p.offset > 0 && p.offset <= bytes.len() as u64 && p.fingerprint.fits(head);
        self.positions.get(&id).is_some_and(fits)
    }

    fn write(&mut self, filler: usize, finished: bool) {
        if self.unfinished.is_empty() {
            self.lines += 1;
            self.unfinished = format!("{}:", self.lines);
            let id = self.live();
            self.disk
                .get_mut(&id)
                .expect("live")
                .extend(self.unfinished.bytes());
        }
        let mut text = "x".repeat(filler);
        self.unfinished.push_str(&text);
        if finished {
            text.push('\n');
            let line = std::mem::take(&mut self.unfinished);
            self.expect(line);
        }
        let id = self.live();
        self.disk.get_mut(&id).expect("live").extend(text.bytes());
    }

    fn expect(&mut self, line: String) {
        if line.len() > MAX_LINE {
            self.expected.push(format!("too long {}", line.len()));
        } else if !line.is_empty() {
            self.expected.push(line);
        }
    }

    fn sighting(&self, path: &Path, id: FileId, by_glob: bool) -> Option<Sighting> {
        let bytes = self.disk.get(&id)?;
        let head = bytes[..bytes.len().min(FINGERPRINT_BYTES)].to_vec();
        Some(Sighting {
            path: path.to_owned(),
            id,
            size: bytes.len() as u64,
            head: Some(head),
            by_glob,
        })
    }

    fn look(&mut self) {
        let matched = |path: &Path| path.starts_with("/logs") && path.to_string_lossy().starts_with(LIVE);
        let mut seen: Vec<Sighting> = self
            .names
            .iter()
            .filter_map(|(path, id)| self.sighting(path, *id, matched(path)))
            .collect();
        // what is followed but has no name any more is seen through its descriptor; a deleted file's content
        // is not modelled, because it is deleted only once it was read
        seen.retain(|s| {
            s.by_glob || self.open.contains_key(&s.id) || self.follow.closed().any(|(id, _)| id == s.id)
        });
        for step in self.follow.look(seen, self.now) {
            self.carry_out(step);
        }
        loop {
            let unread: Vec<FileId> = self.follow.unread().collect();
            if unread.is_empty() {
                break;
            }
            unread.into_iter().for_each(|id| self.read(id, false));
        }
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Read { id, start, .. } => {
                let Start::At(offset) = start else {
                    unreachable!("the model reads from the beginning")
                };
                self.open
                    .insert(id, (LineSplitter::new(MAX_LINE), offset, offset));
                let head = &self.disk[&id][..self.disk[&id].len().min(FINGERPRINT_BYTES)];
                let position = self.follow.position(id, head, offset).expect("followed");
                self.pending.push(Pending::Block {
                    lines: Vec::new(),
                    position,
                });
            }
            Step::TakeRest { id } => self.read(id, true),
            Step::Close { id } => drop(self.open.remove(&id)),
            Step::Forget { id, .. } => {
                self.open.remove(&id);
                self.pending.push(Pending::Forget(id));
            }
        }
    }

    /// Reads a little of one file, as one block.
    fn read(&mut self, id: FileId, take_rest: bool) {
        let bytes = &self.disk[&id];
        let (splitter, offset, next) = self.open.get_mut(&id).expect("unread files are open");
        let from = usize::try_from(*next).expect("small");
        let chunk = &bytes[from..bytes.len().min(from + MAX_LINE + 20)];
        let mut lines = Vec::new();
        let mut push = |piece: Piece<'_>| match piece {
            Piece::Line(line) => lines.push(String::from_utf8(line.to_vec()).expect("ASCII")),
            Piece::TooLong(len) => lines.push(format!("too long {len}")),
            Piece::Blank => {}
        };
        let mut end = *offset;
        let base = *next;
        let used = splitter.split(chunk, |piece, at| {
            end = base + at as u64;
            push(piece);
            ControlFlow::Continue(())
        });
        *next += used as u64;
        if take_rest {
            splitter.finish(&chunk[used..]).map(&mut push);
            *next = base + chunk.len() as u64;
            end = *next;
        }
        *offset = end;
        let head = &bytes[..bytes.len().min(FINGERPRINT_BYTES)];
        self.follow.advanced(id, head, end, base + chunk.len() as u64);
        if !lines.is_empty() {
            let position = self.follow.position(id, head, end).expect("followed");
            self.pending.push(Pending::Block { lines, position });
        }
    }

    fn commit(&mut self, count: usize) {
        let live = self.live();
        for pending in self.pending.drain(..count.min(self.pending.len())) {
            match pending {
                Pending::Block { lines, position } => {
                    self.taken.extend(lines);
                    self.live_is_known |= position.id == live;
                    self.positions.insert(position.id, position);
                }
                Pending::Forget(id) => drop(self.positions.remove(&id)),
            }
        }
    }

    /// Lets the agent finish what it can see.
    fn settle(&mut self) {
        for _ in 0..4 {
            self.now += ROTATED_GRACE;
            self.look();
            self.commit(usize::MAX);
        }
    }
}

fn ran(actions: &[Action]) -> Model {
    let mut model = Model::new();
    actions.iter().for_each(|action| model.act(action));
    model.settle();
    model
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

#[test]
fn every_line_is_taken_exactly_once() {
    let config = ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let crashes = std::cell::Cell::new(0);
    let outcome = TestRunner::new(config).run(&prop::collection::vec(action(), 1..60), |actions| {
        let crashed = actions.iter().filter(|action| matches!(action, Action::Crash));
        crashes.set(crashes.get() + crashed.count() as u64);
        let model = ran(&actions);
        prop_assert_eq!(sorted(model.taken), sorted(model.expected));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    tributary_faults::injected(
        tributary_faults::Layer::Stores,
        "every_line_is_taken_exactly_once",
        [(
            "tailed files: the reader dies between reading and the commit",
            crashes.get(),
        )],
    );
}

#[test]
fn rotation_during_downtime_is_caught_up_with() {
    let line = Action::Write {
        filler: 5,
        finished: true,
    };
    let look = Action::Look {
        millis: 10,
        commit: 9,
    };
    let actions = [
        line.clone(),
        look,
        line.clone(),
        Action::Crash,
        Action::Rotate { matched: false },
        line,
    ];
    let model = ran(&actions);
    assert_eq!(model.taken, ["1:xxxxx", "2:xxxxx", "3:xxxxx"]);
    assert_eq!(
        model.positions.len(),
        1,
        "the rotated file is forgotten once it is read"
    );
}

#[test]
fn a_reused_inode_is_another_file() {
    let line = Action::Write {
        filler: 5,
        finished: true,
    };
    let look = Action::Look {
        millis: 10,
        commit: 9,
    };
    let rotate = Action::Rotate { matched: true };
    // the agent is down while the read file is deleted and its inode goes to a longer one
    let mut model = ran(&[line.clone(), look]);
    model.act(&Action::Crash);
    let id = model.live();
    model.names.clear();
    model.disk.clear();
    model.create();
    assert_eq!(model.live(), id, "the inode is used again");
    for action in [line.clone(), line, rotate] {
        model.act(&action);
    }
    model.settle();
    assert_eq!(model.taken, ["1:xxxxx", "2:xxxxx", "3:xxxxx"]);
}
