//! Reads files on a thread of its own and hands out blocks of lines, in order for each file. The channel to
//! the [pump](super::pump) is short: when the spool does not take blocks, nothing is read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tributary_shared::ids::StreamName;
use tributary_shared::time::now_millis;
use tributary_shared::wire::rows::push_row;

use super::follow::Follow;
use super::lines::{LineSplitter, Piece};
use super::messages::{Elapsed, FileId, FilePosition, FilesConfig, Item, Start, Step};
use super::scan::{Scanner, file_id, read_head};
use super::wake::{Wake, Woken};
use crate::check::{Checks, Tally};

/// How often names and sizes are looked at when nothing says that they changed.
const POLL: Duration = Duration::from_secs(1);
/// After a file was read to its end, lines that follow are gathered for so long: a writer of single lines
/// then costs a hundred small commits a second and not as many as there are lines. Well below the latency
/// that is promised.
const GATHER: Duration = Duration::from_millis(10);
/// The same for names that come and go, which cost a walk through the directories.
const GATHER_NAMES: Duration = Duration::from_millis(50);
/// Bytes that one read asks for; more when a line may be longer.
const READ_BYTES: usize = 256 << 10;
/// A block is closed when it has so many lines ..
const BLOCK_LINES: u32 = 4_096;
/// .. or so many bytes: large enough that a commit pays off, and few enough that three of them (one being
/// read, one waiting, one at the spool) do not show in the agent's memory.
const BLOCK_BYTES: usize = 512 << 10;
/// Room for the line with which a block exceeds [`BLOCK_BYTES`]; a longer one makes it grow.
const LAST_LINE: usize = 4 << 10;

/// The pump does not take blocks any more: the agent ends.
#[derive(Debug)]
struct Closed;

#[derive(Debug)]
struct OpenFile {
    file: File,
    path: PathBuf,
    splitter: LineSplitter,
    /// End of the last whole line that was handed out.
    offset: u64,
    /// Where the next read begins: `offset`, or further on within an over-long line.
    next: u64,
    head: Vec<u8>,
}

/// One `[[files]]` entry at work.
#[derive(Debug)]
pub(super) struct Reader {
    config: FilesConfig,
    follow: Follow,
    scanner: Scanner,
    open: BTreeMap<FileId, OpenFile>,
    buffer: Vec<u8>,
    out: mpsc::Sender<Item>,
    wake: Wake,
    started: Instant,
    /// Files that could not be opened, to say so once.
    failing: BTreeSet<FileId>,
    checks: Checks,
}

impl Reader {
    pub(super) fn new(
        config: FilesConfig,
        known: Vec<FilePosition>,
        out: mpsc::Sender<Item>,
        wake: Wake,
        checks: Checks,
    ) -> Self {
        // the splitter needs room for the longest line with its line end
        let buffer = vec![0; READ_BYTES.max(config.max_line + 2)];
        Self {
            follow: Follow::new(known, config.read_from),
            scanner: Scanner::new(config.paths.clone()),
            config,
            open: BTreeMap::new(),
            buffer,
            out,
            wake,
            started: Instant::now(),
            failing: BTreeSet::new(),
            checks,
        }
    }

    /// Reads until the pump is gone. Blocks: give it a thread.
    pub(super) fn run(mut self) {
        // the pump being gone is the one way to end, and no news to whoever ended it
        let _: Result<(), Closed> = self.follow_files();
    }

    fn follow_files(&mut self) -> Result<(), Closed> {
        let mut woken = Woken::Names;
        let mut next_look = Instant::now();
        while !self.out.is_closed() {
            let now = Instant::now();
            if woken == Woken::Names || now >= next_look {
                next_look = now + POLL;
                self.look()?;
            } else {
                self.glance()?;
            }
            let ended = self.read_until(next_look)?;
            woken = if ended {
                self.rest(next_look)
            } else {
                Woken::Timeout
            };
        }
        Ok(())
    }

    /// Waits for news, but gathers it for a moment first.
    fn rest(&self, next_look: Instant) -> Woken {
        let read = Instant::now();
        let woken = self.wake.wait(next_look.saturating_duration_since(read));
        let gather = match woken {
            Woken::Timeout => Duration::ZERO,
            Woken::Written => GATHER,
            Woken::Names => GATHER_NAMES,
        };
        std::thread::sleep(gather.saturating_sub(read.elapsed()));
        woken
    }

    fn elapsed(&self) -> Elapsed {
        self.started.elapsed()
    }

    /// A whole look at the file system.
    fn look(&mut self) -> Result<(), Closed> {
        let open = self
            .open
            .iter()
            .map(|(id, o)| (*id, (o.path.as_path(), &o.file)))
            .collect();
        let closed = self
            .follow
            .closed()
            .map(|(id, path)| (id, path.clone()))
            .collect();
        let seen = self.scanner.look(&open, closed);
        let folders = self.config.paths.iter().map(|pattern| literal_folder(pattern));
        let found = seen
            .iter()
            .filter(|s| s.by_glob)
            .filter_map(|s| s.path.parent().map(Path::to_path_buf));
        let folders = folders.chain(found).filter(|folder| folder.is_dir()).collect();
        self.wake.watch(folders);
        let now = self.elapsed();
        let steps = self.follow.look(seen, now);
        steps.into_iter().try_for_each(|step| self.carry_out(step))
    }

    /// A quick look at the open files only.
    fn glance(&mut self) -> Result<(), Closed> {
        let now = self.elapsed();
        let mut steps = Vec::new();
        for (id, open) in &mut self.open {
            match open
                .file
                .metadata()
                .and_then(|meta| Ok((meta.len(), read_head(&open.file)?)))
            {
                Ok((size, head)) => {
                    steps.extend(self.follow.glance(*id, size, &head, now));
                    open.head = head;
                }
                Err(error) => tracing::warn!(path = %open.path.display(), %error, "open file cannot be read"),
            }
        }
        steps.into_iter().try_for_each(|step| self.carry_out(step))
    }

    fn carry_out(&mut self, step: Step) -> Result<(), Closed> {
        match step {
            Step::Read { id, path, start } => self.begin(id, path, start),
            Step::TakeRest { id } => self.read_block(id, true),
            Step::Close { id } => {
                self.open.remove(&id);
                Ok(())
            }
            Step::Forget { id, path, unread } => {
                self.open.remove(&id);
                let path = path.display();
                if unread > 0 {
                    tracing::error!(%path, unread, "file vanished before it was read to its end");
                } else {
                    tracing::info!(%path, "file is gone and was read to its end");
                }
                self.send(Item::Forget { id })
            }
        }
    }

    fn begin(&mut self, id: FileId, path: PathBuf, start: Start) -> Result<(), Closed> {
        match self.open_at(id, &path, start) {
            Ok(()) => {
                self.failing.remove(&id);
                let open = &self.open[&id];
                let position = self.follow.position(id, &open.head, open.offset);
                tracing::info!(path = %path.display(), offset = open.offset, "reading file");
                position.map_or(Ok(()), |position| self.send(Item::Position { position }))
            }
            Err(error) => {
                if self.failing.insert(id) {
                    tracing::error!(path = %path.display(), %error, "file cannot be opened: check its permissions");
                }
                self.open.remove(&id);
                self.follow.failed(id);
                Ok(())
            }
        }
    }

    fn open_at(&mut self, id: FileId, path: &Path, start: Start) -> io::Result<()> {
        let file = match self.open.remove(&id) {
            Some(open) => open.file,
            None => File::open(path)?,
        };
        let meta = file.metadata()?;
        if file_id(&meta) != id {
            return Err(io::Error::other("the name changed hands while it was opened"));
        }
        let head = read_head(&file)?;
        let offset = match start {
            Start::At(offset) => offset,
            Start::LastLine => last_line(&file, meta.len(), &mut self.buffer)?,
        };
        if start == Start::LastLine {
            self.follow.advanced(id, &head, offset, offset);
        }
        let splitter = LineSplitter::new(self.config.max_line);
        let open = OpenFile {
            file,
            path: path.to_owned(),
            splitter,
            offset,
            next: offset,
            head,
        };
        self.open.insert(id, open);
        Ok(())
    }

    /// Reads what there is, a block of each file in turn, but not past the time for a look: a long backlog
    /// must not hide new files. Says whether everything was read.
    fn read_until(&mut self, next_look: Instant) -> Result<bool, Closed> {
        loop {
            let unread: Vec<FileId> = self.follow.unread().collect();
            if unread.is_empty() {
                return Ok(true);
            }
            for id in unread {
                self.read_block(id, false)?;
            }
            if Instant::now() >= next_look {
                return Ok(false);
            }
        }
    }

    /// Reads one block of a file and sends it. With `take_rest`, what is behind the last newline is a line.
    fn read_block(&mut self, id: FileId, take_rest: bool) -> Result<(), Closed> {
        let Some(open) = self.open.get_mut(&id) else {
            return Ok(());
        };
        let first = open.offset;
        let block = match open.read_lines(&mut self.buffer, take_rest) {
            Ok(block) => block,
            Err(error) => {
                tracing::error!(path = %open.path.display(), %error, "file cannot be read");
                self.open.remove(&id);
                self.follow.failed(id);
                return Ok(());
            }
        };
        let position = |offset| self.follow.position(id, &open.head, offset);
        let mut items = Vec::with_capacity(2);
        if block.count > 0
            && let Some(position) = position(block.end)
        {
            let origin = Arc::from(format!("file:{}@{first}", open.path.display()));
            let tally = tally(&self.checks, &self.config.stream, &block.rows);
            let (rows, count) = (block.rows, block.count);
            items.push(Item::Lines {
                rows,
                count,
                origin,
                collected_at: now_millis(),
                position,
                tally,
            });
        }
        if let Some(len) = block.too_long
            && let Some(position) = position(open.offset)
        {
            let (path, max_line) = (open.path.display(), self.config.max_line);
            tracing::warn!(%path, offset = block.end, len, max_line, "line is too long and was dropped");
            items.push(Item::TooLong { position });
        }
        self.follow.advanced(id, &open.head, open.offset, block.read_to);
        items.into_iter().try_for_each(|item| self.send(item))
    }

    fn send(&self, item: Item) -> Result<(), Closed> {
        self.out.blocking_send(item).map_err(|_| Closed)
    }
}

/// What one turn read of a file.
#[derive(Debug, Default)]
struct Lines {
    rows: Vec<u8>,
    count: u32,
    /// End of the last line in `rows`.
    end: u64,
    /// The line behind them, if it was over-long: its length.
    too_long: Option<u64>,
    read_to: u64,
}

impl Lines {
    fn take(&mut self, piece: Piece<'_>, end: u64) -> ControlFlow<()> {
        match piece {
            Piece::Blank => {}
            Piece::Line(line) => {
                push_row(&mut self.rows, line);
                (self.count, self.end) = (self.count + 1, end);
                if self.count >= BLOCK_LINES || self.rows.len() >= BLOCK_BYTES {
                    return ControlFlow::Break(());
                }
            }
            Piece::TooLong(len) => {
                self.too_long = Some(len);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

impl OpenFile {
    fn read_lines(&mut self, buffer: &mut [u8], take_rest: bool) -> io::Result<Lines> {
        let mut block = Lines {
            end: self.offset,
            ..Lines::default()
        };
        loop {
            let len = self.file.read_at(buffer, self.next)?;
            let chunk = &buffer[..len];
            if block.rows.capacity() == 0 {
                // a full buffer means that there is more: room for a whole block and its last line, at once
                let room = if len == buffer.len() {
                    BLOCK_BYTES + LAST_LINE
                } else {
                    len + len / 64 + 8
                };
                block.rows.reserve_exact(room);
            }
            let base = self.next;
            let (mut flow, mut done) = (ControlFlow::Continue(()), None);
            let used = self.splitter.split(chunk, |piece, at| {
                done = Some(base + at as u64);
                flow = block.take(piece, base + at as u64);
                flow
            });
            self.offset = done.unwrap_or(self.offset);
            self.next = base + used as u64;
            block.read_to = base + len as u64;
            if flow.is_break() {
                block.read_to = self.next;
                break;
            }
            if len < buffer.len() {
                if take_rest {
                    self.take_rest(&chunk[used..], &mut block);
                }
                break;
            }
        }
        if self.head.len() < super::messages::FINGERPRINT_BYTES {
            self.head = read_head(&self.file)?;
        }
        Ok(block)
    }

    fn take_rest(&mut self, rest: &[u8], block: &mut Lines) {
        let end = block.read_to;
        if let Some(piece) = self.splitter.finish(rest) {
            // whether the block is full does not matter: this is its last line
            let _ = block.take(piece, end);
        }
        (self.offset, self.next) = (end, end);
    }
}

/// There is nobody to answer: invalid lines are counted and travel on.
fn tally(checks: &Checks, stream: &StreamName, rows: &[u8]) -> Tally {
    let Some(mut check) = checks.begin(stream) else {
        return Tally::default();
    };
    check.count_rows(rows);
    check.into_tally()
}

/// The directory in which a pattern's first wildcard stands.
fn literal_folder(pattern: &str) -> PathBuf {
    let wild = pattern.find(['*', '?', '[']).unwrap_or(pattern.len());
    let folder = pattern[..wild].rfind('/').map_or("", |slash| &pattern[..slash]);
    PathBuf::from(if folder.is_empty() { "/" } else { folder })
}

/// The beginning of the file's unfinished last line; its end if it has none, or one that is longer than the
/// buffer.
fn last_line(file: &File, size: u64, buffer: &mut [u8]) -> io::Result<u64> {
    let from = size.saturating_sub(buffer.len() as u64);
    let len = usize::try_from(size - from).unwrap_or(buffer.len());
    file.read_exact_at(&mut buffer[..len], from)?;
    Ok(match memchr::memrchr(b'\n', &buffer[..len]) {
        Some(newline) => from + newline as u64 + 1,
        None if from == 0 => 0,
        None => size,
    })
}
