//! Backups of real directories, also while events flow, and what comes out of them.

use std::collections::BTreeMap;
use std::path::Path;

use tributary_schema::language::SchemaFormat;
use tributary_shared::ids::{Epoch, LaneKey};

use super::*;
use crate::audit::{self, KEY_FILE, PUBLIC_KEY_FILE};
use crate::commit::{CommitError, CommitOptions, LOG_FILE, LogPos, Retention};
use crate::registry::{By, NewSchema, REGISTRY_FILE, Registry, SchemaCache};
use crate::window::VIEWS_FILE;
use crate::window::actor_tests::{Running, VIEW, copy_dir, lane_key};

fn quiet(_: Progress<'_>) {}

/// An aggregator's directory with a view and 50 events, at rest.
async fn home(dir: &Path) {
    std::fs::create_dir_all(dir).expect("makes");
    Registry::open(dir).expect("registry");
    let running = Running::start(dir);
    let put = running.engine.put_view("v".to_owned(), VIEW.to_owned());
    put.await.expect("compiles");
    running.commit(50).await;
    running.stop().await;
}

fn bytes_of(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(dir).expect("lists").map(|entry| {
        let entry = entry.expect("lists");
        let name = entry.file_name().into_string().expect("text");
        (name, entry.path())
    });
    files
        .filter(|(_, path)| path.is_file())
        .map(|(name, path)| (name, std::fs::read(path).expect("reads")))
        .collect()
}

#[tokio::test]
async fn state_is_f_of_log_after_restoring_a_backup_that_was_made_while_events_flowed() {
    let temp = tempfile::tempdir().expect("dir");
    let dir = temp.path().join("home");
    home(&dir).await;
    let running = Running::start(&dir);
    running.ready().await;
    let mut saved = Vec::new();
    for round in 0..4 {
        let out = temp.path().join(format!("backup-{round}"));
        let (from, to) = (dir.clone(), out.clone());
        let saving = tokio::task::spawn_blocking(move || save(&from, &to, false, &mut quiet));
        let mut acknowledged = LogPos(0);
        while !saving.is_finished() {
            acknowledged = running.commit(7).await;
        }
        let manifest = saving.await.expect("no panic").expect("saved");
        assert!(manifest.log_position <= acknowledged.0 + 1);
        saved.push((out, manifest));
    }
    running.stop().await;
    assert!(saved[3].1.log_position > saved[0].1.log_position, "events flowed");

    for (out, manifest) in saved {
        assert_eq!(verify(&out, &mut quiet).expect("whole"), manifest);
        let (restored, bare) = (out.with_extension("restored"), out.with_extension("bare"));
        for dir in [&restored, &bare] {
            let done = restore(&out, dir, false, &mut quiet).expect("restored");
            assert_eq!((&done.manifest, &done.moved_to), (&manifest, &None));
        }
        std::fs::remove_file(bare.join(VIEWS_FILE)).expect("removes");
        let (restored, bare) = (Running::start(&restored), Running::start(&bare));
        let put = bare.engine.put_view("v".to_owned(), VIEW.to_owned());
        put.await.expect("compiles");
        restored.ready().await;
        restored.log.verify().expect("every invariant holds");
        let totals = restored.log.ledger().expect("reads").totals;
        assert_eq!(totals.produced, manifest.produced);
        let windows = restored.windows("v").await;
        assert_eq!(windows, bare.windows("v").await, "as replayed from empty");
        let counted: f64 = windows
            .rows
            .iter()
            .filter_map(|row| row.value("n")?.as_f64())
            .sum();
        assert_eq!(counted, manifest.produced as f64);
        restored.commit(3).await;
        restored.stop().await;
        bare.stop().await;
    }
}

#[tokio::test]
async fn a_backup_with_any_damaged_file_is_refused_and_nothing_is_touched() {
    let temp = tempfile::tempdir().expect("dir");
    let (dir, out, target) = (
        temp.path().join("home"),
        temp.path().join("out"),
        temp.path().join("target"),
    );
    home(&dir).await;
    home(&target).await;
    let manifest = save(&dir, &out, false, &mut quiet).expect("saved");
    let names: Vec<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(
        names,
        [VIEWS_FILE, LOG_FILE, REGISTRY_FILE, KEY_FILE, PUBLIC_KEY_FILE]
    );
    let (good, before) = (bytes_of(&out), bytes_of(&target));
    let attempt = || restore(&out, &target, true, &mut quiet).expect_err("damaged");
    for name in names {
        let mut bytes = good[name].clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(out.join(name), &bytes).expect("writes");
        assert!(matches!(attempt(), BackupError::Damaged { file, .. } if file == name));
        std::fs::write(out.join(name), &bytes[..middle]).expect("writes");
        assert!(matches!(attempt(), BackupError::Damaged { file, .. } if file == name));
        std::fs::remove_file(out.join(name)).expect("removes");
        assert!(matches!(attempt(), BackupError::Io { .. }));
        std::fs::write(out.join(name), &good[name]).expect("writes");
    }
    // checksums that fit a log of which the manifest says something else
    let odd = Manifest {
        log_position: manifest.log_position + 1,
        ..manifest.clone()
    };
    std::fs::write(
        out.join(MANIFEST_FILE),
        serde_json::to_vec(&odd).expect("encodes"),
    )
    .expect("writes");
    assert!(matches!(attempt(), BackupError::Manifest(_)));
    std::fs::remove_file(out.join(MANIFEST_FILE)).expect("removes");
    assert!(
        matches!(attempt(), BackupError::CutShort { .. }),
        "a backup that was cut short"
    );
    std::fs::remove_file(out.join(VIEWS_FILE)).expect("removes");
    assert!(
        matches!(attempt(), BackupError::NoBackup { .. }),
        "any other directory"
    );
    assert_eq!(bytes_of(&target), before);
}

#[tokio::test]
async fn nothing_is_written_over_without_force_and_nothing_is_deleted_with_it() {
    let temp = tempfile::tempdir().expect("dir");
    let (dir, out, target) = (
        temp.path().join("home"),
        temp.path().join("out"),
        temp.path().join("target"),
    );
    home(&dir).await;
    home(&target).await;
    save(&dir, &out, false, &mut quiet).expect("saved");
    assert!(matches!(
        save(&dir, &out, false, &mut quiet),
        Err(BackupError::NotEmpty { .. })
    ));
    assert!(matches!(
        save(&dir, &dir, true, &mut quiet),
        Err(BackupError::OwnDirectory { .. })
    ));
    let empty = temp.path().join("empty");
    assert!(matches!(
        save(&empty, &out, true, &mut quiet),
        Err(BackupError::NoAggregator { .. })
    ));
    save(&dir, &out, true, &mut quiet).expect("saved again");

    let before = bytes_of(&target);
    let refused = restore(&out, &target, false, &mut quiet).expect_err("refused");
    assert!(matches!(refused, BackupError::NotEmpty { .. }), "{refused}");
    assert_eq!(bytes_of(&target), before);
    let done = restore(&out, &target, true, &mut quiet).expect("restored");
    let aside = bytes_of(&done.moved_to.expect("moved"));
    for name in [LOG_FILE, VIEWS_FILE, REGISTRY_FILE] {
        assert_eq!(aside[name], before[name], "{name} is kept");
    }

    let running = Running::start(&target);
    let refused = restore(&out, &target, true, &mut quiet).expect_err("in use");
    assert!(matches!(refused, BackupError::InUse { .. }), "{refused}");
    running.stop().await;
}

#[tokio::test]
async fn a_restore_that_was_cut_short_keeps_the_aggregator_from_starting() {
    let temp = tempfile::tempdir().expect("dir");
    let (dir, out, target) = (
        temp.path().join("home"),
        temp.path().join("out"),
        temp.path().join("target"),
    );
    home(&dir).await;
    save(&dir, &out, false, &mut quiet).expect("saved");
    // every file of the restore can be the last one that was begun
    for cut in 0..3 {
        let mut begun = 0;
        let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            restore(&out, &target, true, &mut |progress| {
                begun += u32::from(progress.step == "putting back" && progress.done == progress.total);
                assert!(begun <= cut, "killed here");
            })
        }));
        assert!(stopped.is_err());
        let options = CommitOptions {
            dir: target.clone(),
            require_schema: false,
        };
        let refused = crate::commit::open(options, SchemaCache::default()).expect_err("unfinished");
        assert!(
            matches!(refused, CommitError::RestoreUnfinished { .. }),
            "{refused}"
        );
    }
    restore(&out, &target, true, &mut quiet).expect("restored");
    let running = Running::start(&target);
    assert_eq!(running.log.ledger().expect("reads").totals.produced, 50);
    running.stop().await;
}

#[tokio::test]
async fn identity_first_a_restored_aggregator_gives_no_number_of_the_lost_state_again() {
    let temp = tempfile::tempdir().expect("dir");
    let (dir, out) = (temp.path().join("home"), temp.path().join("out"));
    home(&dir).await;
    save(&dir, &out, false, &mut quiet).expect("saved");
    let other = |epoch| LaneKey {
        epoch: Epoch(epoch),
        ..lane_key()
    };
    // what happens after the backup, and is lost
    let text = r#"{"type":"object"}"#;
    let register = |dir: &Path, text: &str| {
        let registry = Registry::open(dir).expect("registry");
        registry
            .register(
                "x-value",
                &NewSchema::new(SchemaFormat::Json, text),
                &By::itself("a test"),
            )
            .expect("registered")
            .id
    };
    let running = Running::start(&dir);
    let lost = running
        .commit
        .open_lane(other(2), 1)
        .await
        .expect("opens")
        .lane_no;
    running.stop().await;
    let lost_schema = register(&dir, text);
    restore(&out, &dir, true, &mut quiet).expect("restored");
    let running = Running::start(&dir);
    let known = running.commit.open_lane(lane_key(), 51).await.expect("opens");
    assert_eq!(
        (known.lane_no.0, known.mark),
        (1, 50),
        "a lane of the backup keeps its number"
    );
    let new = running
        .commit
        .open_lane(other(3), 1)
        .await
        .expect("opens")
        .lane_no;
    assert!(new.0 > lost.0, "{new} after {lost}");
    running.stop().await;
    assert!(register(&dir, r#"{"type":"object","title":"other"}"#) > lost_schema);
}

#[tokio::test]
async fn ack_after_fsync_a_backup_of_what_a_kill_left_has_all_that_was_acknowledged() {
    let temp = tempfile::tempdir().expect("dir");
    let dir = temp.path().join("home");
    home(&dir).await;
    let running = Running::start(&dir);
    running.ready().await;
    running.commit(25).await;
    for (name, without) in [("whole", None), ("no-shm", Some("log.db-shm"))] {
        let (killed, out) = (temp.path().join(name), temp.path().join(format!("{name}-backup")));
        copy_dir(&dir, &killed);
        if let Some(file) = without {
            std::fs::remove_file(killed.join(file)).expect("removes");
        }
        let manifest = save(&killed, &out, false, &mut quiet).expect("saved");
        assert_eq!((manifest.produced, manifest.log_position), (75, 2), "{name}");
    }
    running.stop().await;
}

#[tokio::test]
async fn windows_come_back_from_a_backup_of_a_log_that_retention_has_emptied() {
    let temp = tempfile::tempdir().expect("dir");
    let (dir, out, target) = (
        temp.path().join("home"),
        temp.path().join("out"),
        temp.path().join("target"),
    );
    home(&dir).await;
    let keep = Retention {
        keep_for: 0,
        ..Retention::EVERYTHING
    };
    let running = Running::start_keeping(&dir, keep);
    running.ready().await;
    let before = running.windows("v").await;
    // while retention works, log and views are pinned in a moment at which they fit together
    let manifest = save(&dir, &out, false, &mut quiet).expect("saved");
    assert!(manifest.log_floor <= manifest.views_position);
    while running.log.floor().expect("reads") < LogPos(1) {
        tokio::task::yield_now().await;
    }
    let manifest = save(&dir, &out, true, &mut quiet).expect("saved");
    assert_eq!(
        (manifest.log_floor, manifest.log_position, manifest.views_position),
        (1, 1, 1)
    );
    running.stop().await;
    restore(&out, &target, false, &mut quiet).expect("restored");
    let running = Running::start(&target);
    running.ready().await;
    assert_eq!(running.windows("v").await, before);
    assert_eq!(running.commit(1).await, LogPos(2));
    running.log.verify().expect("every invariant holds");
    running.stop().await;
}

#[tokio::test]
async fn a_restored_aggregators_audit_says_so_and_a_head_from_after_the_backup_does_not_fit() {
    let temp = tempfile::tempdir().expect("dir");
    let (dir, out, target) = (
        temp.path().join("home"),
        temp.path().join("out"),
        temp.path().join("target"),
    );
    home(&dir).await;
    save(&dir, &out, false, &mut quiet).expect("saved");
    // life goes on, and somebody keeps a head of it
    let running = Running::start(&dir);
    for _ in 0..9 {
        running.commit(3).await;
    }
    running.stop().await;
    Running::start(&dir).stop().await;
    let sign = |dir: &Path| {
        let db = audit::open_read_only(dir).expect("opens");
        let text = audit::newest_head(&db).expect("reads").expect("there");
        tributary_audit::SignedHead::parse(&text).expect("a head")
    };
    let kept = sign(&dir);
    restore(&out, &target, false, &mut quiet).expect("restored");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(target.join(KEY_FILE))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    Running::start(&target).stop().await;
    let db = audit::open_read_only(&target).expect("opens");
    let leaf = audit::newest_of(&db, tributary_audit::Kind::Restore).expect("reads");
    assert!(leaf.expect("recorded").to_json()["detail"]["backup_made"].is_string());
    let key = audit::read_public(&dir).expect("there");
    assert_eq!(
        audit::read_public(&target).expect("there"),
        key,
        "signed by the same key"
    );
    let found = audit::walk(&db, vec![key], &[kept], &mut |_, _| {})
        .expect("reads")
        .findings;
    assert!(
        matches!(
            found[..],
            [tributary_audit::Finding::RemovedTail { .. } | tributary_audit::Finding::Forked { .. }]
        ),
        "{found:?}"
    );
}
