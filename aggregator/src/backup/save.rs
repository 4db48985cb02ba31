//! Making a backup, of a directory that may be in use.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tributary_shared::time::now_millis;

use super::check::{self, Facts};
use super::copy::{self, Tell, io, open_shared, pin};
use super::manifest::{FORMAT, FileEntry, KEY_FILES, MANIFEST_FILE, Manifest, is_database, is_ours};
use super::messages::{BackupError, Progress};
use crate::commit::{self, LOG_FILE, LogFacts};
use crate::window::{self, VIEWS_FILE};

/// The two pins lie microseconds apart; a retention that deletes between them, so often, is not there.
const PIN_TRIES: u32 = 20;

/// What the log in a directory says of itself, also while it is in use.
///
/// # Errors
/// [`BackupError::NoAggregator`], or when the log cannot be read.
pub fn inspect_source(dir: &Path) -> Result<LogFacts, BackupError> {
    let path = dir.join(LOG_FILE);
    if !path.exists() {
        return Err(BackupError::NoAggregator {
            dir: dir.display().to_string(),
        });
    }
    Ok(commit::inspect(&open_shared(&path)?)?)
}

/// Copies the databases of an aggregator, running or not, to `out`, which is made when missing. `force` writes
/// over an earlier backup. While it copies, the log's WAL cannot start over: it grows by what is committed
/// meanwhile.
///
/// # Errors
/// [`BackupError`]; then `out` holds no manifest.
pub fn save(
    dir: &Path,
    out: &Path,
    force: bool,
    tell: &mut dyn FnMut(Progress<'_>),
) -> Result<Manifest, BackupError> {
    inspect_source(dir)?;
    make_room(dir, out, force)?;
    let names = databases_of(dir)?;
    copy_all(dir, out, &names, tell)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let Facts { log, views } = check::databases(out, &names, tell)?;
    let keys = copy_keys(dir, out, tell)?;
    let mut files = Vec::with_capacity(names.len() + keys.len());
    for name in names.into_iter().chain(keys) {
        let (sha256, bytes) = copy::sum(&out.join(name), tell)?;
        files.push(FileEntry {
            name: name.to_owned(),
            bytes,
            sha256,
        });
    }
    let manifest = Manifest {
        format: FORMAT,
        software: concat!("tributary ", env!("CARGO_PKG_VERSION")).to_owned(),
        created_at: now_millis(),
        log_id: log.log_id,
        log_position: log.newest.0,
        log_floor: log.floor.0,
        views_position: views.position.0,
        lanes: log.lanes,
        produced: log.produced,
        files,
    };
    write_manifest(out, &manifest)?;
    Ok(manifest)
}

/// Leaves `out` as a directory without a manifest and without databases.
fn make_room(dir: &Path, out: &Path, force: bool) -> Result<(), BackupError> {
    std::fs::create_dir_all(out).map_err(io("cannot make", out))?;
    let real = |path: &Path| path.canonicalize().map_err(io("cannot find", path));
    if real(dir)? == real(out)? {
        return Err(BackupError::OwnDirectory {
            dir: out.display().to_string(),
        });
    }
    let entries: Vec<PathBuf> = std::fs::read_dir(out)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(io("cannot list", out))?;
    if !entries.is_empty() && !force {
        return Err(BackupError::NotEmpty {
            what: out.display().to_string(),
        });
    }
    // the manifest first: from here on this is no backup until the new one is whole
    let manifest = out.join(MANIFEST_FILE);
    let old = entries.iter().filter(|path| is_ours(&copy::name(path)));
    for path in entries.iter().filter(|path| **path == manifest).chain(old) {
        std::fs::remove_file(path).map_err(io("cannot remove", path))?;
    }
    copy::sync(out)
}

/// Log and views, which belong together, and whatever databases there are beside them.
fn databases_of(dir: &Path) -> Result<Vec<String>, BackupError> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| copy::name(&entry.path())))
                .collect()
        })
        .map_err(io("cannot list", dir))?;
    names.retain(|name| is_database(name) && name != LOG_FILE && name != VIEWS_FILE);
    names.sort_unstable();
    names.splice(0..0, [VIEWS_FILE.to_owned(), LOG_FILE.to_owned()]);
    Ok(names)
}

/// The key of the audit; an aggregator that never ran this version has none.
fn copy_keys(dir: &Path, out: &Path, tell: Tell<'_>) -> Result<Vec<&'static str>, BackupError> {
    let there: Vec<&'static str> = KEY_FILES
        .into_iter()
        .filter(|name| dir.join(name).exists())
        .collect();
    for name in &there {
        copy::file(&dir.join(name), &out.join(name), "copying", tell)?;
    }
    copy::sync(out)?;
    Ok(there)
}

fn copy_all(dir: &Path, out: &Path, names: &[String], tell: Tell<'_>) -> Result<(), BackupError> {
    let (views, log) = pinned(dir)?;
    copy::database(&views, &out.join(VIEWS_FILE), tell)?;
    drop(views);
    copy::database(&log, &out.join(LOG_FILE), tell)?;
    drop(log);
    for name in &names[2..] {
        let path = dir.join(name);
        let db = open_shared(&path)?;
        pin(&db, &path)?;
        copy::database(&db, &out.join(name), tell)?;
    }
    copy::sync(out)
}

/// Views and log as they were at one moment, as far as replay is concerned: the log has every entry behind the
/// views' snapshot.
fn pinned(dir: &Path) -> Result<(Connection, Connection), BackupError> {
    let (views_path, log_path) = (dir.join(VIEWS_FILE), dir.join(LOG_FILE));
    let mut moving = String::new();
    for _ in 0..PIN_TRIES {
        let (views, log) = (open_shared(&views_path)?, open_shared(&log_path)?);
        // views first: a snapshot is never ahead of a log that is looked at later
        pin(&views, &views_path)?;
        pin(&log, &log_path)?;
        let (position, log_facts) = (window::inspect(&views)?.position, commit::inspect(&log)?);
        if (log_facts.floor..=log_facts.newest).contains(&position) {
            return Ok((views, log));
        }
        moving = format!(
            "the views stand at {position}, the log holds {} to {}",
            log_facts.floor.next(),
            log_facts.newest
        );
    }
    Err(BackupError::Moving(moving))
}

fn write_manifest(out: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let (path, part) = (out.join(MANIFEST_FILE), out.join("manifest.json.part"));
    let mut text =
        serde_json::to_vec_pretty(manifest).map_err(|error| BackupError::Manifest(error.to_string()))?;
    text.push(b'\n');
    std::fs::File::create(&part)
        .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
        .map_err(io("cannot write", &part))?;
    std::fs::rename(&part, &path).map_err(io("cannot write", &path))?;
    copy::sync(out)
}
