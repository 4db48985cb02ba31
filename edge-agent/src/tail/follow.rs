//! Decides which file is which, where to go on reading, and when a file is done with. Pure: it sees the file
//! system only as [`Sighting`]s and answers with [`Step`]s.
//!
//! ```text
//! unknown ──seen──▶ followed ──quiet──▶ closed ──grows──▶ followed
//!                   │      ▲
//!    shrinks or     ╰──────╯   renamed or deleted ──read to its end, quiet──▶ forgotten
//!    begins otherwise: from 0
//! ```
//!
//! - **Rename** keeps (dev, inode), so the file goes on at its offset under its new name, and what appears
//!   under the old name is a new file, read from 0.
//! - **Truncation** keeps the inode too: the file is shorter than its offset, or begins otherwise. From 0.
//! - **Reuse of an inode** by another file looks like truncation, and is answered in the same way.
//!
//! Limits, by nature: a file that is truncated and grows past its old offset with the same first
//! [`FINGERPRINT_BYTES`](super::FINGERPRINT_BYTES) bytes between two looks is taken for the old one; and the
//! copy that `copytruncate` makes is a new file, so the globs must not name it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::messages::{Elapsed, FileId, FilePosition, Fingerprint, ReadFrom, Sighting, Start, Step};

/// A rotated file that has not grown for so long is not written to any more. Writers reopen their log within
/// a second or two of a rotation; ten leave room for a slow one.
pub const ROTATED_GRACE: Duration = Duration::from_secs(10);
/// A file that is read to its end and has not grown for so long is closed, so that old logs cost no
/// descriptors. It is opened again as soon as it grows.
pub const IDLE_CLOSE: Duration = Duration::from_secs(300);

#[derive(Debug, Clone)]
struct Followed {
    path: PathBuf,
    /// Of what was taken: as it is saved.
    fingerprint: Fingerprint,
    /// Of what was looked at, the unfinished line included.
    looked: Fingerprint,
    /// End of the last line that was taken.
    offset: u64,
    /// How far the reader has looked, the unfinished line behind `offset` included.
    read_to: u64,
    size: u64,
    changed: Elapsed,
    open: bool,
    renamed: bool,
}

impl Followed {
    /// A file to be read from its beginning.
    fn fresh(path: PathBuf, size: u64, now: Elapsed) -> Self {
        Self {
            path,
            fingerprint: Fingerprint::default(),
            looked: Fingerprint::default(),
            offset: 0,
            read_to: 0,
            size,
            changed: now,
            open: true,
            renamed: false,
        }
    }

    fn at_end(&self) -> bool {
        self.read_to == self.size
    }
}

/// All files of one `[[files]]` entry.
#[derive(Debug)]
pub struct Follow {
    files: BTreeMap<FileId, Followed>,
    /// Where files that are unknown now begin.
    new_files: Start,
}

impl Follow {
    /// Goes on from the positions that the spool has. `read_from` counts only when there are none: later,
    /// an unknown file is one that appeared since, and all of it is news.
    #[must_use]
    pub fn new(known: Vec<FilePosition>, read_from: ReadFrom) -> Self {
        let new_files = match read_from {
            ReadFrom::End if known.is_empty() => Start::LastLine,
            ReadFrom::End | ReadFrom::Beginning => Start::At(0),
        };
        let followed = |position: FilePosition| {
            let FilePosition {
                path,
                id,
                fingerprint,
                offset,
                rotated: renamed,
            } = position;
            let file = Followed {
                path,
                fingerprint,
                looked: fingerprint,
                offset,
                read_to: offset,
                size: offset,
                changed: Elapsed::ZERO,
                open: false,
                renamed,
            };
            (id, file)
        };
        Self {
            files: known.into_iter().map(followed).collect(),
            new_files,
        }
    }

    /// The files that are followed but not open, with their last known path: look there for them when the
    /// globs do not show them.
    pub fn closed(&self) -> impl Iterator<Item = (FileId, &PathBuf)> {
        self.files
            .iter()
            .filter(|(_, file)| !file.open)
            .map(|(id, file)| (*id, &file.path))
    }

    /// The position to save with the lines up to `offset` of a file that begins with `head`.
    #[must_use]
    pub fn position(&self, id: FileId, head: &[u8], offset: u64) -> Option<FilePosition> {
        let file = self.files.get(&id)?;
        let (path, rotated) = (file.path.clone(), file.renamed);
        Some(FilePosition {
            path,
            id,
            fingerprint: Fingerprint::of(head, offset),
            offset,
            rotated,
        })
    }

    /// The reader took whole lines up to `offset` and has looked at everything up to `read_to`.
    pub fn advanced(&mut self, id: FileId, head: &[u8], offset: u64, read_to: u64) {
        if let Some(file) = self.files.get_mut(&id) {
            file.fingerprint = Fingerprint::of(head, offset);
            file.looked = Fingerprint::of(head, read_to);
            (file.offset, file.read_to) = (offset, read_to);
            file.size = file.size.max(read_to);
        }
    }

    /// The reader could not open or read it: the next look tries again.
    pub fn failed(&mut self, id: FileId) {
        if let Some(file) = self.files.get_mut(&id) {
            file.open = false;
            (file.read_to, file.looked) = (file.offset, file.fingerprint);
        }
    }

    /// Takes one look at the file system and says what to do. `seen` must hold every file that the globs
    /// name, every open file, and those closed ones that could be found; ids that occur twice (hard links) count once.
    pub fn look(&mut self, seen: Vec<Sighting>, now: Elapsed) -> Vec<Step> {
        let mut by_id: BTreeMap<FileId, Sighting> = BTreeMap::new();
        for sighting in seen {
            // of several names, stay with the one that is known
            let known = self
                .files
                .get(&sighting.id)
                .is_some_and(|file| file.path == sighting.path);
            if known || !by_id.contains_key(&sighting.id) {
                by_id.insert(sighting.id, sighting);
            }
        }
        let mut steps = Vec::new();
        let missing: Vec<FileId> = self
            .files
            .keys()
            .filter(|id| !by_id.contains_key(id))
            .copied()
            .collect();
        for id in missing {
            steps.extend(self.forget(id));
        }
        for sighting in by_id.into_values() {
            steps.extend(self.sighted(sighting, now));
        }
        self.new_files = Start::At(0);
        steps
    }

    fn forget(&mut self, id: FileId) -> Option<Step> {
        let file = self.files.remove(&id)?;
        Some(Step::Forget {
            id,
            path: file.path,
            unread: file.size.saturating_sub(file.offset),
        })
    }

    /// A quick look at one open file, between two whole looks: did it grow, or begin anew?
    pub fn glance(&mut self, id: FileId, size: u64, head: &[u8], now: Elapsed) -> Option<Step> {
        let file = self.files.get_mut(&id)?;
        if size < file.offset || !file.fingerprint.fits(head) {
            // ── truncated, or another file with a used inode ──
            let path = file.path.clone();
            let renamed = file.open && file.renamed;
            *file = Followed {
                renamed,
                ..Followed::fresh(path.clone(), size, now)
            };
            return Some(Step::Read {
                id,
                path,
                start: Start::At(0),
            });
        }
        if size != file.size {
            (file.size, file.changed) = (size, now);
        }
        if size < file.read_to || !file.looked.fits(head) {
            // ── its unfinished line was cut short, and perhaps written anew ──
            (file.read_to, file.looked, file.open) = (file.offset, file.fingerprint, true);
            return Some(Step::Read {
                id,
                path: file.path.clone(),
                start: Start::At(file.offset),
            });
        }
        None
    }

    /// The open files that have something to read, and how far the reader has looked at each.
    pub fn unread(&self) -> impl Iterator<Item = FileId> {
        self.files
            .iter()
            .filter(|(_, file)| file.open && !file.at_end())
            .map(|(id, _)| *id)
    }

    fn sighted(&mut self, sighting: Sighting, now: Elapsed) -> Option<Step> {
        let Sighting {
            path,
            id,
            size,
            head,
            by_glob,
        } = sighting;
        let head = head?;
        let Some(file) = self.files.get_mut(&id) else {
            return by_glob.then(|| self.begin(path, id, size, now));
        };
        if path != file.path {
            // ── renamed; but one of which nothing was taken cannot be told from another with its inode ──
            let same = file.open || file.offset > 0;
            (file.path, file.renamed, file.changed) = (path, same, now);
        }
        let was_open = file.open;
        if let Some(step) = self.glance(id, size, &head, now) {
            return Some(step);
        }
        let file = self.files.get_mut(&id)?;
        if was_open || (file.at_end() && by_glob) {
            return self.rest_of_life(id, by_glob, now);
        }
        if file.at_end() {
            return self.forget(id);
        }
        // ── a closed file has grown ──
        file.open = true;
        Some(Step::Read {
            id,
            path: file.path.clone(),
            start: Start::At(file.offset),
        })
    }

    /// What becomes of a file that is read to its end and stays as it is.
    fn rest_of_life(&mut self, id: FileId, by_glob: bool, now: Elapsed) -> Option<Step> {
        let file = self.files.get(&id)?;
        let quiet = now.saturating_sub(file.changed);
        if !file.at_end() {
            return None;
        }
        let unfinished = file.size > file.offset;
        let rotated = file.renamed || !by_glob;
        if rotated && quiet >= ROTATED_GRACE && unfinished {
            return Some(Step::TakeRest { id });
        }
        if !by_glob && quiet >= ROTATED_GRACE {
            return self.forget(id);
        }
        let file = self.files.get_mut(&id)?;
        if file.open && quiet >= IDLE_CLOSE && !unfinished {
            file.open = false;
            return Some(Step::Close { id });
        }
        None
    }

    fn begin(&mut self, path: PathBuf, id: FileId, size: u64, now: Elapsed) -> Step {
        let start = self.new_files;
        self.files.insert(id, Followed::fresh(path.clone(), size, now));
        Step::Read { id, path, start }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: FileId = FileId { dev: 1, ino: 7 };

    fn seen(bytes: &[u8], by_glob: bool) -> Vec<Sighting> {
        let head = Some(bytes.to_vec());
        vec![Sighting {
            path: "/a.log".into(),
            id: ID,
            size: bytes.len() as u64,
            head,
            by_glob,
        }]
    }

    fn read(start: u64) -> Vec<Step> {
        vec![Step::Read {
            id: ID,
            path: "/a.log".into(),
            start: Start::At(start),
        }]
    }

    #[test]
    fn an_idle_file_is_closed_and_opened_again_when_it_grows() {
        let mut follow = Follow::new(Vec::new(), ReadFrom::Beginning);
        assert_eq!(follow.look(seen(b"one\n", true), Duration::ZERO), read(0));
        follow.advanced(ID, b"one\n", 4, 4);
        assert_eq!(
            follow.look(seen(b"one\n", true), IDLE_CLOSE - Duration::from_secs(1)),
            []
        );
        assert_eq!(
            follow.look(seen(b"one\n", true), IDLE_CLOSE),
            [Step::Close { id: ID }]
        );
        assert_eq!(follow.look(seen(b"one\n", true), 2 * IDLE_CLOSE), []);
        assert_eq!(follow.look(seen(b"one\ntwo\n", true), 2 * IDLE_CLOSE), read(4));
    }

    #[test]
    fn a_deleted_file_is_awaited_while_its_writer_may_still_write_then_its_last_line_is_taken() {
        let mut follow = Follow::new(Vec::new(), ReadFrom::Beginning);
        follow.look(seen(b"one\ntw", true), Duration::ZERO);
        follow.advanced(ID, b"one\ntw", 4, 6);
        let later = ROTATED_GRACE / 2;
        assert_eq!(
            follow.look(seen(b"one\ntwo", false), later),
            [],
            "it grew: the grace begins again"
        );
        assert_eq!(follow.unread().collect::<Vec<_>>(), [ID]);
        follow.advanced(ID, b"one\ntwo", 4, 7);
        assert_eq!(follow.look(seen(b"one\ntwo", false), ROTATED_GRACE), []);
        assert_eq!(
            follow.look(seen(b"one\ntwo", false), later + ROTATED_GRACE),
            [Step::TakeRest { id: ID }]
        );
        follow.advanced(ID, b"one\ntwo", 7, 7);
        let forget = Step::Forget {
            id: ID,
            path: "/a.log".into(),
            unread: 0,
        };
        assert_eq!(
            follow.look(seen(b"one\ntwo", false), later + ROTATED_GRACE),
            [forget]
        );
    }

    #[test]
    fn an_unreadable_file_keeps_its_position() {
        let position = FilePosition {
            path: "/a.log".into(),
            id: ID,
            fingerprint: Fingerprint::of(b"one\n", 4),
            offset: 4,
            rotated: false,
        };
        let mut follow = Follow::new(vec![position], ReadFrom::Beginning);
        let unreadable = |mut seen: Vec<Sighting>| {
            seen[0].head = None;
            seen
        };
        assert_eq!(
            follow.look(unreadable(seen(b"one\ntwo\n", true)), Duration::ZERO),
            []
        );
        assert_eq!(follow.look(seen(b"one\ntwo\n", true), Duration::ZERO), read(4));
    }
}
