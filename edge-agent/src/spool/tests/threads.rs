//! The real thread behind the handle.

use super::super::{OpenError, open as open_spool};
use super::*;

fn spool_in(dir: &TempDir) -> SpoolConfig {
    SpoolConfig {
        limit: 64 << 20,
        ..SpoolConfig::new(dir.path().join("spool"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_appends_share_commits_and_blocks_and_get_contiguous_seqs() {
    let dir = TempDir::new().expect("tempdir");
    let spool = open_spool(spool_in(&dir), agent()).expect("opens");
    let tasks: Vec<_> = (0..200u64)
        .map(|n| {
            let spool = spool.clone();
            tokio::spawn(async move { spool.append(events("s", &[noise(n, 50), noise(n, 60)])).await })
        })
        .collect();
    let mut firsts = Vec::new();
    for task in tasks {
        let accepted = task.await.expect("no panic").expect("taken");
        assert_eq!(accepted.range.count(), 2);
        firsts.push(accepted.range.first);
    }
    firsts.sort_unstable();
    assert_eq!(firsts, (0..200).map(|n| n * 2 + 1).collect::<Vec<_>>());
    let lane = spool.watch().borrow().lanes[0].clone();
    assert_eq!(lane.held_events, 400);
    let blocks = spool
        .read(lane.lane, 1, u32::MAX, usize::MAX)
        .await
        .expect("read");
    assert!(blocks.len() < 150, "{} blocks for 200 requests", blocks.len());
}

#[tokio::test]
async fn shutdown_finishes_what_is_queued_and_lets_the_next_one_in() {
    let dir = TempDir::new().expect("tempdir");
    let spool = open_spool(spool_in(&dir), agent()).expect("opens");
    assert!(matches!(
        open_spool(spool_in(&dir), agent()),
        Err(OpenError::Locked(_))
    ));
    let position = InputPosition {
        key: "file:1".to_owned(),
        value: b"10".to_vec(),
    };
    let with_position = NewEvents {
        position: Some(position.clone()),
        ..events("s", &[noise(1, 50)])
    };
    let (appended, stopped) = tokio::join!(spool.append(with_position), spool.shutdown());
    appended.expect("taken");
    stopped.expect("closed");
    assert_eq!(
        spool.append(events("s", &[noise(1, 50)])).await,
        Err(SpoolError::Closed)
    );
    assert_eq!(spool.position("file:1".to_owned()).await, Err(SpoolError::Closed));

    let again = open_spool(spool_in(&dir), agent()).expect("the lock is free");
    assert_eq!(again.watch().borrow().lanes[0].held_events, 1);
    assert_eq!(again.positions("file:".to_owned()).await, Ok(vec![position]));
    assert_eq!(again.positions("other:".to_owned()).await, Ok(vec![]));
    again
        .forget_position("file:1".to_owned())
        .await
        .expect("forgotten");
    assert_eq!(again.position("file:1".to_owned()).await, Ok(None));
}

#[tokio::test]
async fn the_watch_changes_with_every_commit() {
    let dir = TempDir::new().expect("tempdir");
    let spool = open_spool(spool_in(&dir), agent()).expect("opens");
    let mut watch = spool.watch();
    watch.borrow_and_update();
    spool.append(events("s", &[noise(1, 50)])).await.expect("taken");
    assert!(watch.has_changed().expect("open"));
    let lane = watch.borrow_and_update().lanes[0].clone();
    spool.commit_mark(lane.lane, 1).await.expect("mark");
    assert!(watch.has_changed().expect("open"));
    assert_eq!(watch.borrow().lanes[0].committed_seq, 1);
}

#[tokio::test]
async fn a_large_request_becomes_several_blocks_and_reads_are_bounded() {
    let dir = TempDir::new().expect("tempdir");
    let spool = open_spool(
        SpoolConfig {
            limit: 256 << 20,
            ..spool_in(&dir)
        },
        agent(),
    )
    .expect("opens");
    let payloads: Vec<_> = (0..10_000u64).map(|n| noise(n, 255)).collect();
    let accepted = spool.append(events("s", &payloads)).await.expect("taken");
    assert_eq!(accepted.range.count(), 10_000);
    let lane = spool.watch().borrow().lanes[0].clone();
    let all = spool
        .read(lane.lane, 1, u32::MAX, usize::MAX)
        .await
        .expect("read");
    assert_eq!(all.len(), 3);
    assert_eq!(all.iter().map(|block| block.range().count()).sum::<u64>(), 10_000);
    let bounded = spool.read(lane.lane, 1, 5_000, usize::MAX).await.expect("read");
    assert_eq!(bounded, all[..1]);
    let at_least_one = spool
        .read(lane.lane, all[1].range().first + 7, 1, 1)
        .await
        .expect("read");
    assert_eq!(at_least_one, all[1..2]);
    let too_much = spool
        .append(NewEvents {
            rows: vec![0; MAX_APPEND_BYTES + 1],
            ..events("s", &[])
        })
        .await;
    assert!(matches!(too_much, Err(SpoolError::TooLarge { .. })));
}
