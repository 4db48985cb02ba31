//! Disks that are full, read-only, or fail to sync: real ones where this host allows it, else system calls that
//! fail for the thread that runs the spool.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::*;

const LIMIT: u64 = 16 << 20;

/// A small file system of its own.
struct SmallDisk {
    at: PathBuf,
    _parent: TempDir,
}

impl SmallDisk {
    /// `None`, said loudly, where this process may not mount. In CI as root that is a failure.
    fn mount(options: &str) -> Option<Self> {
        let parent = TempDir::new().expect("tempdir");
        let at = parent.path().join("disk");
        fs::create_dir(&at).expect("mount point");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&at)
            .output();
        if mounted.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self { at, _parent: parent });
        }
        let must = std::env::var("CI").as_deref() == Ok("true") && rustix::process::geteuid().is_root();
        assert!(!must, "cannot mount a tmpfs as root in CI: {mounted:?}");
        say(&format!(
            "SKIPPED, NOTHING WAS TESTED: no tmpfs can be mounted here: {mounted:?}"
        ));
        None
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let done = Command::new("mount")
            .args(["-o", &options])
            .arg(&self.at)
            .status();
        assert!(done.expect("mount").success(), "remount {options}");
    }

    fn config(&self) -> SpoolConfig {
        SpoolConfig {
            limit: LIMIT,
            ..SpoolConfig::new(self.at.join("spool"))
        }
    }

    fn open(&self) -> Harness {
        Harness::open_at(TempDir::new().expect("unused"), self.config()).expect("opens")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

fn trouble(spool: &Harness) -> Option<&'static str> {
    match spool.status().health {
        SpoolHealth::Healthy => None,
        SpoolHealth::Failing { trouble, .. } => Some(trouble),
    }
}

/// Runs `work` on a thread of its own for which these system calls fail.
pub(super) fn while_failing(
    spool: Harness,
    errno: i32,
    calls: Vec<(i64, Vec<SeccompRule>)>,
    work: impl FnOnce(&mut Harness) + Send + 'static,
) -> Harness {
    let rules: BTreeMap<_, _> = calls.into_iter().collect();
    let fails = SeccompAction::Errno(errno.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into().expect("a known architecture");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, fails, arch).expect("filter");
    let program: BpfProgram = filter.try_into().expect("program");
    let run = move || {
        let mut spool = spool;
        seccompiler::apply_filter(&program).expect("filters need no privilege");
        work(&mut spool);
        spool
    };
    std::thread::spawn(run)
        .join()
        .expect("no panic under failing system calls")
}

fn taken(spool: &mut Harness, upto: u64) -> Vec<(Seq, Content)> {
    for n in 0..upto {
        spool.append(events("s", &[noise(n, 20_000)])).expect("taken");
    }
    let lane = spool.lane("s");
    spool.contents(&lane)
}

#[test]
fn a_failing_fsync_is_never_acknowledged_and_the_spool_goes_on_when_it_syncs_again() {
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    let before = taken(&mut spool, 5);
    let calls = vec![(libc::SYS_fsync, vec![]), (libc::SYS_fdatasync, vec![])];
    let mut spool = while_failing(spool, libc::EIO, calls, |spool| {
        let answer = spool.append(events("s", &[noise(99, 20_000)]));
        assert!(matches!(answer, Err(SpoolError::Unavailable(_))), "{answer:?}");
        assert_eq!(trouble(spool), Some("io"));
        for _ in 0..3 {
            spool.pass(Duration::from_secs(2));
            assert_eq!(trouble(spool), Some("io"), "it asks again and again");
        }
    });
    spool.pass(Duration::from_secs(2));
    assert_eq!(trouble(&spool), None);
    let lane = spool.lane("s");
    let after = spool.contents(&lane);
    assert_eq!(after[..5], before[..], "what was acknowledged is there");
    // what was not acknowledged is there as a whole or not at all
    assert!(after.len() == 5 || after[5..] == [(6, Ok(noise(99, 20_000)))]);
    let accepted = spool.append(events("s", &[noise(6, 100)])).expect("taken");
    assert_eq!(accepted.range.first, after.len() as u64 + 1);
    injected(
        "a_failing_fsync_is_never_acknowledged_and_the_spool_goes_on_when_it_syncs_again",
        [("EIO of fsync", 1)],
    );
}

#[test]
fn a_spool_that_cannot_sync_its_very_first_commit_does_not_call_itself_healthy() {
    let spool = Harness::new(LIMIT, WhenFull::Block);
    let calls = vec![(libc::SYS_fsync, vec![]), (libc::SYS_fdatasync, vec![])];
    let mut spool = while_failing(spool, libc::EIO, calls, |spool| {
        for _ in 0..3 {
            let answer = spool.append(events("s", &[noise(1, 10)]));
            assert!(matches!(answer, Err(SpoolError::Unavailable(_))), "{answer:?}");
            assert_eq!(trouble(spool), Some("io"));
            spool.pass(Duration::from_secs(2));
            assert_eq!(trouble(spool), Some("io"), "an empty WAL proves nothing");
        }
    });
    spool.pass(Duration::from_secs(2));
    assert_eq!(trouble(&spool), None);
    spool.append(events("s", &[noise(1, 10)])).expect("taken");
    injected(
        "a_spool_that_cannot_sync_its_very_first_commit_does_not_call_itself_healthy",
        [("EIO of fsync", 1)],
    );
}

#[test]
fn a_disk_that_turns_read_only_is_survived_and_named() {
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    let before = taken(&mut spool, 5);
    let for_writing = |mode: i32| {
        let flags = SeccompCondition::new(
            2,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::MaskedEq(libc::O_ACCMODE.unsigned_abs().into()),
            mode.unsigned_abs().into(),
        );
        SeccompRule::new(vec![flags.expect("condition")]).expect("rule")
    };
    let calls = vec![
        (libc::SYS_pwrite64, vec![]),
        (libc::SYS_ftruncate, vec![]),
        (libc::SYS_fallocate, vec![]),
        (libc::SYS_unlink, vec![]),
        (libc::SYS_unlinkat, vec![]),
        (
            libc::SYS_openat,
            vec![for_writing(libc::O_RDWR), for_writing(libc::O_WRONLY)],
        ),
    ];
    let mut spool = while_failing(spool, libc::EROFS, calls, |spool| {
        let answer = spool.append(events("s", &[noise(99, 200_000)]));
        assert!(matches!(answer, Err(SpoolError::Unavailable(_))), "{answer:?}");
        assert!(trouble(spool).is_some());
        spool.pass(Duration::from_secs(2));
        assert!(trouble(spool).is_some());
    });
    spool.pass(Duration::from_secs(2));
    assert_eq!(trouble(&spool), None);
    let lane = spool.lane("s");
    assert_eq!(
        spool.contents(&lane),
        before,
        "nothing lost, and nothing of what was refused"
    );
    assert_eq!(spool.status().quarantined, None);
    injected(
        "a_disk_that_turns_read_only_is_survived_and_named",
        [("EROFS while it runs", 1)],
    );
}

#[test]
fn an_agent_starts_on_a_read_only_disk_says_so_and_goes_on_when_it_can_be_written() {
    let Some(disk) = SmallDisk::mount("size=24m") else {
        return;
    };
    let mut spool = disk.open();
    let before = taken(&mut spool, 5);
    drop(spool);
    disk.remount("ro");
    let mut spool = disk.open();
    assert_eq!(trouble(&spool), Some("read_only"), "{:?}", spool.status().health);
    let answer = spool.append(events("s", &[noise(9, 100)]));
    assert!(matches!(answer, Err(SpoolError::Unavailable(_))), "{answer:?}");
    disk.remount("rw");
    spool.pass(Duration::from_secs(2));
    assert_eq!(trouble(&spool), None);
    let lane = spool.lane("s");
    assert_eq!(spool.contents(&lane), before);
    spool.append(events("s", &[noise(9, 100)])).expect("taken");
    injected(
        "an_agent_starts_on_a_read_only_disk_says_so_and_goes_on_when_it_can_be_written",
        [("read-only file system at the start", 1)],
    );
}

#[test]
fn a_full_disk_still_drains_and_takes_events_again_when_there_is_room() {
    let Some(disk) = SmallDisk::mount("size=8m") else {
        return;
    };
    let mut spool = disk.open();
    let standby = disk.at.join("spool/spool.reserve");
    assert!(standby.exists(), "room is kept for the bad day");
    let mut accepted = 0;
    let refused = loop {
        match spool.append(events("s", &[noise(accepted, 50_000)])) {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, SpoolError::Unavailable(_)), "{refused}");
    assert!(accepted > 50, "most of the disk is used: {accepted}");
    assert_eq!(trouble(&spool), Some("disk_full"));

    // each mark is a commit of its own; the one that meets the full disk again makes the spool give up its
    // standby, and those behind it are stored
    let lane = spool.lane("s");
    assert_eq!(lane.held_events, accepted);
    let stored = (1..=accepted / 2).filter(|&mark| spool.mark(lane.lane, mark).is_ok());
    let stored = stored.count() as u64;
    assert!(stored + 2 >= accepted / 2, "{stored} of {} marks", accepted / 2);
    assert_eq!(spool.lane("s").committed_seq, accepted / 2);
    // room in the database is as good as room on the disk
    spool.pass(Duration::from_secs(2));
    assert_eq!(trouble(&spool), None, "{:?}", spool.status().health);
    let next = spool
        .append(events("s", &[noise(accepted, 50_000)]))
        .expect("taken");
    assert_eq!(next.range.first, accepted + 1);
    let lane = spool.lane("s");
    let contents = spool.contents(&lane);
    let expected = (accepted / 2 + 1..).map(|seq| (seq, Ok(noise(seq - 1, 50_000))));
    assert_eq!(contents, expected.take(contents.len()).collect::<Vec<_>>());
    assert_eq!(contents.len() as u64, accepted + 1 - accepted / 2);
    injected(
        "a_full_disk_still_drains_and_takes_events_again_when_there_is_room",
        [("ENOSPC of a small file system", 1)],
    );
}

#[test]
fn a_disk_that_others_fill_is_survived_and_an_agent_starts_on_it() {
    let Some(disk) = SmallDisk::mount("size=12m") else {
        return;
    };
    let mut spool = disk.open();
    let before = taken(&mut spool, 20);
    let others = disk.at.join("others");
    let take_all = || {
        let mut file = fs::File::options()
            .create(true)
            .append(true)
            .open(&others)
            .expect("file");
        // to the last page
        while std::io::Write::write_all(&mut file, &[1; 4_096]).is_ok() {}
    };
    let fill = |spool: &mut Harness| {
        take_all();
        let answer = spool.append(events("s", &[noise(99, 500_000)]));
        let again = spool.append(events("s", &[noise(98, 500_000)]));
        [answer, again]
    };
    let mut refusals = 0;
    for _ in 0..4 {
        refusals += fill(&mut spool).iter().filter(|answer| answer.is_err()).count();
    }
    assert!(refusals > 0, "the disk was never full");
    assert_eq!(trouble(&spool), Some("disk_full"));
    let held = spool.lane("s").held_events;
    drop(spool);
    take_all();
    let mut spool = disk.open();
    assert_eq!(trouble(&spool), Some("disk_full"), "it starts and says why");
    fs::remove_file(&others).expect("the others make room");
    spool.pass(Duration::from_secs(2));
    assert_eq!(trouble(&spool), None);
    let lane = spool.lane("s");
    assert_eq!(lane.held_events, held);
    assert_eq!(spool.contents(&lane)[..20], before[..]);
    spool.append(events("s", &[noise(1, 500_000)])).expect("taken");
    injected(
        "a_disk_that_others_fill_is_survived_and_an_agent_starts_on_it",
        [("ENOSPC of a small file system", refusals)],
    );
}
