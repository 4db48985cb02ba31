//! Looks at the file system: which files the globs name, and where those went that they name no more. IO
//! without decisions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use glob::MatchOptions;

use super::messages::{FINGERPRINT_BYTES, FileId, Sighting};

/// As a shell matches: `*` stops at a slash and does not take hidden files, which are often an editor's.
const GLOB: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// What the file system calls an open file or a path.
pub(super) fn file_id(meta: &Metadata) -> FileId {
    FileId {
        dev: meta.dev(),
        ino: meta.ino(),
    }
}

/// The first bytes of a file, at most [`FINGERPRINT_BYTES`].
pub(super) fn read_head(file: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0; FINGERPRINT_BYTES];
    let mut len = 0;
    while len < head.len() {
        match file.read_at(&mut head[len..], len as u64)? {
            0 => break,
            n => len += n,
        }
    }
    head.truncate(len);
    Ok(head)
}

/// Size and modification time: a file in which neither changed has the same first bytes.
type Stamp = (u64, i64, i64);

/// Finds files. Keeps the heads of files that are not open, so that an idle file costs one `stat` a look.
#[derive(Debug)]
pub(super) struct Scanner {
    patterns: Vec<String>,
    heads: HashMap<FileId, (Stamp, Vec<u8>)>,
    /// Files that cannot be read, to say so once.
    unreadable: BTreeSet<PathBuf>,
}

impl Scanner {
    /// `patterns` were checked when the configuration was.
    pub(super) fn new(patterns: Vec<String>) -> Self {
        Self {
            patterns,
            heads: HashMap::new(),
            unreadable: BTreeSet::new(),
        }
    }

    /// Everything that the globs name, every `open` file, and those of `closed` that were only renamed within
    /// their directory.
    pub(super) fn look<'a>(
        &mut self,
        open: &BTreeMap<FileId, (&'a Path, &'a File)>,
        closed: Vec<(FileId, PathBuf)>,
    ) -> Vec<Sighting> {
        let mut seen = Vec::new();
        let mut ids = BTreeSet::new();
        for path in self.matches() {
            if let Some(sighting) = self.sighting(path, open, true) {
                ids.insert(sighting.id);
                seen.push(sighting);
            }
        }
        for (id, (path, file)) in open.iter().filter(|(id, _)| !ids.contains(id)) {
            match file
                .metadata()
                .and_then(|meta| Ok((meta.len(), read_head(file)?)))
            {
                Ok((size, head)) => {
                    seen.push(Sighting {
                        path: path.to_path_buf(),
                        id: *id,
                        size,
                        head: Some(head),
                        by_glob: false,
                    });
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "open file cannot be read any more")
                }
            }
        }
        let missing: BTreeMap<FileId, PathBuf> =
            closed.into_iter().filter(|(id, _)| !ids.contains(id)).collect();
        for sighting in self.renamed(&missing) {
            ids.insert(sighting.id);
            seen.push(sighting);
        }
        self.heads.retain(|id, _| ids.contains(id));
        seen
    }

    fn matches(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = Vec::new();
        for pattern in &self.patterns {
            match glob::glob_with(pattern, GLOB) {
                Ok(found) => paths.extend(found.filter_map(Result::ok)),
                Err(error) => tracing::error!(pattern, %error, "pattern cannot be used"),
            }
        }
        paths.sort();
        paths.dedup();
        paths
    }

    /// Looks for files under other names in the directories where they were last.
    fn renamed(&mut self, missing: &BTreeMap<FileId, PathBuf>) -> Vec<Sighting> {
        let folders: BTreeSet<&Path> = missing.values().filter_map(|path| path.parent()).collect();
        let mut found = Vec::new();
        for folder in folders {
            let Ok(entries) = fs::read_dir(folder) else {
                continue;
            };
            for entry in entries.flatten() {
                // the entry itself, not what a link points to
                let ours = entry
                    .metadata()
                    .is_ok_and(|meta| missing.contains_key(&file_id(&meta)));
                if ours {
                    found.extend(self.sighting(entry.path(), &BTreeMap::new(), false));
                }
            }
        }
        found
    }

    fn sighting(
        &mut self,
        path: PathBuf,
        open: &BTreeMap<FileId, (&Path, &File)>,
        by_glob: bool,
    ) -> Option<Sighting> {
        // a file that vanishes between listing and looking is looked at no more
        let meta = fs::metadata(&path).ok().filter(Metadata::is_file)?;
        let id = file_id(&meta);
        let head = match open.get(&id) {
            Some((_, file)) => read_head(file),
            None => self.cached_head(&path, id, &meta),
        };
        let head = match head {
            Ok(head) => {
                self.unreadable.remove(&path);
                Some(head)
            }
            Err(error) => {
                if self.unreadable.insert(path.clone()) {
                    tracing::error!(path = %path.display(), %error, "file cannot be read: check its permissions");
                }
                None
            }
        };
        Some(Sighting {
            path,
            id,
            size: meta.len(),
            head,
            by_glob,
        })
    }

    fn cached_head(&mut self, path: &Path, id: FileId, meta: &Metadata) -> io::Result<Vec<u8>> {
        let stamp = (meta.len(), meta.mtime(), meta.mtime_nsec());
        if let Some((known, head)) = self.heads.get(&id)
            && *known == stamp
        {
            return Ok(head.clone());
        }
        let head = read_head(&File::open(path)?)?;
        self.heads.insert(id, (stamp, head.clone()));
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_in_a_shell_and_a_renamed_file_is_found_by_its_inode() {
        let dir = tempfile::tempdir().expect("dir");
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("a/b")).expect("mkdir");
        for name in ["x.log", "y.log", ".hidden.log", "x.txt", "a/b/z.log"] {
            fs::write(path(name), name).expect("write");
        }
        let root = dir.path().display();
        let names = |pattern: String| -> Vec<String> {
            let seen = Scanner::new(vec![pattern]).look(&BTreeMap::new(), Vec::new());
            let name = |s: &Sighting| {
                s.path
                    .strip_prefix(dir.path())
                    .expect("inside")
                    .display()
                    .to_string()
            };
            seen.iter().map(name).collect()
        };
        assert_eq!(names(format!("{root}/*.log")), ["x.log", "y.log"]);
        assert_eq!(names(format!("{root}/?.log")), ["x.log", "y.log"]);
        assert_eq!(names(format!("{root}/**/*.log")), ["a/b/z.log", "x.log", "y.log"]);

        let id = file_id(&fs::metadata(path("x.log")).expect("meta"));
        fs::rename(path("x.log"), path("x.log.1")).expect("rename");
        let mut scanner = Scanner::new(vec![format!("{root}/x.log")]);
        let seen = scanner.look(&BTreeMap::new(), vec![(id, path("x.log"))]);
        let want = Sighting {
            path: path("x.log.1"),
            id,
            size: 5,
            head: Some(b"x.log".to_vec()),
            by_glob: false,
        };
        assert_eq!(seen, [want]);
    }
}
