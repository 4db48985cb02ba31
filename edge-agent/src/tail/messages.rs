//! The types that tailing passes around.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tributary_shared::ids::StreamName;
use tributary_shared::time::Millis;

use crate::check::Tally;

/// How much of a file's beginning makes its fingerprint, in bytes. Longer than the prefix (time, level) that
/// log lines of different files may share; short enough to be checked at every look.
pub const FINGERPRINT_BYTES: usize = 256;

/// One `[[files]]` entry of the configuration: files whose lines are the events of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesConfig {
    pub stream: StreamName,
    /// Globs: `*`, `?`, `[..]` within a name, `**` for any directories.
    pub paths: Vec<String>,
    /// The longest line in bytes, its line end not counted. Longer ones are dropped, with a line in the ledger.
    pub max_line: usize,
    pub read_from: ReadFrom,
}

/// Where files that exist at the entry's very first start are begun. Files that appear later are always read
/// from their beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    Beginning,
    End,
}

impl std::str::FromStr for ReadFrom {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "beginning" => Ok(Self::Beginning),
            "end" => Ok(Self::End),
            _ => Err("expected \"beginning\" or \"end\""),
        }
    }
}

/// What the file system calls a file. Unique among files that exist; used again after one is deleted, which
/// is what the [`Fingerprint`] is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileId {
    pub dev: u64,
    pub ino: u64,
}

/// CRC-32 of the first `len` bytes of a file, taken of bytes that were already read as whole lines, so it
/// stays the same while the file grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fingerprint {
    pub len: u16,
    pub crc: u32,
}

impl Fingerprint {
    /// Of a file that begins with `head` and was read up to `offset`.
    #[must_use]
    pub fn of(head: &[u8], offset: u64) -> Self {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let len = head.len().min(offset).min(FINGERPRINT_BYTES);
        Self {
            len: len as u16,
            crc: crc32fast::hash(&head[..len]),
        }
    }

    /// Can a file that begins with `head` be the one that this was taken of?
    #[must_use]
    pub fn fits(self, head: &[u8]) -> bool {
        head.get(..usize::from(self.len))
            .is_some_and(|known| crc32fast::hash(known) == self.crc)
    }
}

/// How far one file has been spooled. Kept by the spool in the transaction that takes the lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePosition {
    pub path: PathBuf,
    #[serde(flatten)]
    pub id: FileId,
    pub fingerprint: Fingerprint,
    /// Bytes from the start of the file to the end of the last line that was taken.
    pub offset: u64,
    /// It had been renamed since it was first seen: nothing but its last line is awaited.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rotated: bool,
}

/// One file, as a look at the file system shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    pub path: PathBuf,
    pub id: FileId,
    /// Bytes.
    pub size: u64,
    /// The first bytes, at most [`FINGERPRINT_BYTES`]; `None` when the file cannot be read now.
    pub head: Option<Vec<u8>>,
    /// Do the globs name it? If not, it is a file that was followed and has been renamed or deleted.
    pub by_glob: bool,
}

/// What the reader is to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Open the file (unless it is) and read on from `start`.
    Read { id: FileId, path: PathBuf, start: Start },
    /// Nothing more is written to this rotated file: what it has behind its last newline is its last line.
    TakeRest { id: FileId },
    /// The file is idle: close it, keep its position.
    Close { id: FileId },
    /// The file is gone and, as far as anybody knows, read to its end but for `unread` bytes: close it and
    /// delete its position.
    Forget { id: FileId, path: PathBuf, unread: u64 },
}

/// Where to begin reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    At(u64),
    /// At the beginning of the last, unfinished line, or the end of the file.
    LastLine,
}

/// Time since the reader started; a monotonic clock's reading, for pure code.
pub type Elapsed = Duration;

/// What a reader hands to the spool. The items of one file take effect in their order, one at a time.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Lines {
        rows: Vec<u8>,
        count: u32,
        origin: Arc<str>,
        collected_at: Millis,
        position: FilePosition,
        /// What the stream's check found in them.
        tally: Tally,
    },
    /// One line that is too long to be an event.
    TooLong {
        position: FilePosition,
    },
    Position {
        position: FilePosition,
    },
    Forget {
        id: FileId,
    },
}

impl Item {
    pub(super) fn file(&self) -> FileId {
        match self {
            Self::Lines { position, .. } | Self::TooLong { position } | Self::Position { position } => {
                position.id
            }
            Self::Forget { id } => *id,
        }
    }
}
