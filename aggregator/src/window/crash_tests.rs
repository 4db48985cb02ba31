//! Crashes and retention under the engine: windows are those of a replay from empty, or say what they miss.

use std::path::Path;

use super::actor_tests::{Running, VIEW, copy_dir};
use super::*;
use crate::commit::{LOG_FILE, LogPos, Retention};

fn counted(page: &WindowPage) -> f64 {
    page.rows.iter().filter_map(|row| row.value("n")?.as_f64()).sum()
}

async fn put_view(running: &Running, name: &str) {
    let put = running.engine.put_view(name.to_owned(), VIEW.to_owned());
    put.await.expect("compiles");
}

async fn stats(running: &Running, name: &str) -> ViewStats {
    let views = running.engine.views().await.expect("the engine runs");
    views
        .into_iter()
        .find(|view| view.name == name)
        .expect("known")
        .stats
}

async fn deleted_up_to(running: &Running, floor: LogPos) {
    while running.log.floor().expect("reads") < floor {
        tokio::task::yield_now().await;
    }
}

fn without_views(dir: &Path) {
    for file in std::fs::read_dir(dir).expect("lists") {
        let path = file.expect("lists").path();
        if path.to_string_lossy().contains(VIEWS_FILE) {
            std::fs::remove_file(path).expect("removes");
        }
    }
}

/// Windows and events of what a directory holds.
async fn opened(dir: &Path, make_view: bool) -> (WindowPage, u64) {
    let running = Running::start(dir);
    running.ready().await;
    running.log.verify().expect("every invariant holds");
    if make_view {
        put_view(&running, "v").await;
    }
    let windows = running.windows("v").await;
    let produced = running.log.ledger().expect("reads").totals.produced;
    running.stop().await;
    (windows, produced)
}

#[tokio::test]
async fn state_is_f_of_log_with_any_snapshot_and_a_wal_cut_at_any_byte() {
    let temp = tempfile::tempdir().expect("dir");
    let home = temp.path().join("home");
    std::fs::create_dir_all(&home).expect("makes");
    let running = Running::start(&home);
    put_view(&running, "v").await;
    running.stop().await;
    let (mut snapshots, mut cuts, mut behind) = (Vec::new(), 0, 0);
    for life in 0..4u64 {
        // the views as a stop left them: the snapshot of a crash may be as old as any of these
        let snapshot = temp.path().join(format!("views-{life}"));
        std::fs::create_dir_all(&snapshot).expect("makes");
        std::fs::copy(home.join(VIEWS_FILE), snapshot.join(VIEWS_FILE)).expect("copies");
        snapshots.push(snapshot);
        let running = Running::start(&home);
        running.ready().await;
        let mut acknowledged = vec![(0, running.log.ledger().expect("reads").totals.produced)];
        for round in 0..5u64 {
            let pos = running.commit(5 + (7 * round as u32) % 11).await;
            running.applied(pos).await;
            let wal = home.join(format!("{LOG_FILE}-wal"));
            let len = std::fs::metadata(&wal).expect("is there").len();
            acknowledged.push((len, running.log.ledger().expect("reads").totals.produced));
            let at = (life * 7_919 + round * 104_729 + 13) * 31 % (len + 1);
            let (crashed, bare) = (temp.path().join("crashed"), temp.path().join("bare"));
            copy_dir(&home, &crashed);
            without_views(&crashed);
            let file = std::fs::OpenOptions::new()
                .write(true)
                .open(crashed.join(format!("{LOG_FILE}-wal")));
            file.expect("opens").set_len(at).expect("cuts");
            copy_dir(&crashed, &bare);
            let snapshot = &snapshots[(round % (life + 1)) as usize];
            std::fs::copy(snapshot.join(VIEWS_FILE), crashed.join(VIEWS_FILE)).expect("copies");
            let (windows, produced) = opened(&crashed, false).await;
            let (replayed, same) = opened(&bare, true).await;
            assert_eq!(
                (&windows, produced),
                (&replayed, same),
                "life {life}, round {round}, cut at {at}"
            );
            assert_eq!(counted(&windows), produced as f64);
            let least = acknowledged
                .iter()
                .rev()
                .find(|(len, _)| *len <= at)
                .expect("0 is")
                .1;
            let most = acknowledged.last().expect("one").1;
            assert!(
                (least..=most).contains(&produced),
                "{least} <= {produced} <= {most}"
            );
            (cuts, behind) = (cuts + 1, behind + u32::from(produced < most));
            for dir in [crashed, bare] {
                std::fs::remove_dir_all(dir).expect("removes");
            }
        }
        running.stop().await;
    }
    assert!(
        cuts == 20 && behind > 5,
        "{cuts} cuts, {behind} of them lost unacknowledged bytes"
    );
    tributary_faults::injected(
        tributary_faults::Layer::Stores,
        "state_is_f_of_log_with_any_snapshot_and_a_wal_cut_at_any_byte",
        [("crash of the log and the windows, WAL cut off", cuts)],
    );
}

#[tokio::test]
async fn windows_outlive_the_log_and_a_later_view_says_from_where_it_counts() {
    let temp = tempfile::tempdir().expect("dir");
    let home = temp.path();
    let running = Running::start(home);
    put_view(&running, "v").await;
    for _ in 0..150 {
        running.commit(2).await;
    }
    let pos = running.commit(2).await;
    running.applied(pos).await;
    let before = running.windows("v").await;
    running.stop().await;

    let keep = Retention {
        keep_for: 0,
        ..Retention::EVERYTHING
    };
    // the first snapshot of this life covers all of it
    let running = Running::start_keeping(home, keep);
    deleted_up_to(&running, pos).await;
    assert!(running.log.scan(LogPos(0), 1, 1).expect("reads").is_empty());
    assert_eq!(running.windows("v").await, before);
    put_view(&running, "later").await;
    assert_eq!(running.commit(10).await, pos.next(), "positions go on");
    running.applied(pos.next()).await;
    assert_eq!(counted(&running.windows("v").await), 302.0 + 10.0);
    assert_eq!(counted(&running.windows("later").await), 10.0);
    let told = stats(&running, "later").await.counters;
    assert_eq!((told.missed_entries, told.counts_after), (pos.0, pos));
    assert_eq!(stats(&running, "v").await.counters.missed_entries, 0);
    running.stop().await;

    // after a restart the same is told; without views.db, the new view says what it misses
    let running = Running::start(home);
    running.ready().await;
    assert_eq!(counted(&running.windows("v").await), 312.0);
    assert_eq!(stats(&running, "later").await.counters, told);
    running.stop().await;
    without_views(home);
    let running = Running::start(home);
    running.ready().await;
    put_view(&running, "v").await;
    assert_eq!(counted(&running.windows("v").await), 10.0);
    assert_eq!(stats(&running, "v").await.counters.counts_after, pos);
    running.stop().await;
}

#[tokio::test]
async fn views_older_than_the_log_reaches_back_go_on_and_count_what_they_miss() {
    let temp = tempfile::tempdir().expect("dir");
    let (home, old) = (temp.path().join("home"), temp.path().join("old"));
    std::fs::create_dir_all(&home).expect("makes");
    let running = Running::start(&home);
    put_view(&running, "v").await;
    let first = running.commit(10).await;
    // else the last snapshot may be without it
    running.applied(first).await;
    running.stop().await;
    copy_dir(&home, &old);
    let running = Running::start(&home);
    let pos = running.commit(10).await;
    running.stop().await;
    let keep = Retention {
        keep_for: 0,
        ..Retention::EVERYTHING
    };
    let running = Running::start_keeping(&home, keep);
    deleted_up_to(&running, pos).await;
    running.stop().await;
    // somebody put an old views.db beside a log that does not hold what it would need
    without_views(&home);
    for entry in std::fs::read_dir(&old).expect("reads").flatten() {
        // with its WAL: who closes last moves that into the file, and need not have closed yet
        if entry.file_name().to_string_lossy().starts_with(VIEWS_FILE) {
            std::fs::copy(entry.path(), home.join(entry.file_name())).expect("copies");
        }
    }
    let running = Running::start(&home);
    running.ready().await;
    let told = stats(&running, "v").await;
    assert_eq!(
        (told.counters.missed_entries, told.counters.counts_after),
        (1, pos)
    );
    running.commit(10).await;
    running.applied(pos.next()).await;
    assert_eq!(
        counted(&running.windows("v").await),
        20.0,
        "all but the 10 that it says it missed"
    );
    running.stop().await;
}
