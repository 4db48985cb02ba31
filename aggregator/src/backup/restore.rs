//! Putting a backup back.

use std::path::{Path, PathBuf};

use tributary_shared::time::{now_millis, to_rfc3339};

use super::check::verify;
use super::copy::{self, io};
use super::manifest::{Manifest, is_ours};
use super::messages::{BackupError, Progress, Restored};
use crate::commit::{self, CommitError, LOG_FILE};
use crate::registry;

/// Puts a backup into an aggregator's directory, which is made when missing. Databases that are there are
/// refused, or with `force` moved aside: nothing is deleted. A restore that was cut short leaves a directory that
/// no aggregator starts in; do it again, with `force`.
///
/// # Errors
/// [`BackupError`]. Before the backup was found whole, nothing is changed.
pub fn restore(
    from: &Path,
    dir: &Path,
    force: bool,
    tell: &mut dyn FnMut(Progress<'_>),
) -> Result<Restored, BackupError> {
    let manifest = verify(from, tell)?;
    std::fs::create_dir_all(dir).map_err(io("cannot make", dir))?;
    let _lock = commit::lock(dir).map_err(|error| match error {
        CommitError::InUse { dir } => BackupError::InUse { dir },
        other => BackupError::Log(other),
    })?;
    let old = old_files(dir)?;
    if !old.is_empty() && !force {
        return Err(BackupError::NotEmpty {
            what: dir.display().to_string(),
        });
    }
    let marker = dir.join(commit::RESTORING_FILE);
    std::fs::File::create(&marker)
        .and_then(|file| file.sync_all())
        .map_err(io("cannot make", &marker))?;
    copy::sync(dir)?;
    let moved_to = move_aside(dir, &old)?;
    put_back(from, dir, &manifest, tell)?;
    commit::reserve_lane_numbers(dir)?;
    commit::note_restore(dir, &manifest_shown(&manifest))?;
    registry::reserve_ids(dir)?;
    std::fs::remove_file(&marker).map_err(io("cannot remove", &marker))?;
    copy::sync(dir)?;
    Ok(Restored { manifest, moved_to })
}

/// What the audit says of it, when the aggregator starts.
fn manifest_shown(manifest: &Manifest) -> serde_json::Value {
    serde_json::json!({
        "backup_made": to_rfc3339(manifest.created_at),
        "backup_log_position": manifest.log_position,
        "backup_produced": manifest.produced,
        "restored_at": to_rfc3339(now_millis()),
    })
}

/// Databases and keys, with what SQLite keeps beside them, and parts of an earlier restore.
fn old_files(dir: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(io("cannot list", dir))?;
    let suffixes = ["-wal", "-shm", "-journal", ".part"];
    let ours = |path: &PathBuf| {
        let name = copy::name(path);
        let stem = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
        is_ours(stem.unwrap_or(&name))
    };
    Ok(paths.into_iter().filter(ours).collect())
}

fn move_aside(dir: &Path, old: &[PathBuf]) -> Result<Option<PathBuf>, BackupError> {
    if old.is_empty() {
        return Ok(None);
    }
    let aside = dir.join(format!("before-restore-{}", now_millis()));
    std::fs::create_dir(&aside).map_err(io("cannot make", &aside))?;
    for path in old {
        let to = aside.join(copy::name(path));
        std::fs::rename(path, &to).map_err(io("cannot move", path))?;
    }
    copy::sync(&aside)?;
    copy::sync(dir)?;
    Ok(Some(aside))
}

/// The log comes last: with it, the directory is whole.
fn put_back(
    from: &Path,
    dir: &Path,
    manifest: &Manifest,
    tell: &mut dyn FnMut(Progress<'_>),
) -> Result<(), BackupError> {
    let mut names: Vec<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
    names.sort_by_key(|name| *name == LOG_FILE);
    for name in names {
        let (part, to) = (dir.join(format!("{name}.part")), dir.join(name));
        copy::file(&from.join(name), &part, "putting back", tell)?;
        std::fs::rename(&part, &to).map_err(io("cannot write", &to))?;
        copy::sync(dir)?;
    }
    Ok(())
}
