//! What a crash leaves: the files as they are between two commits, with the WAL cut, torn, zeroed or flipped at any
//! byte, or the database half checkpointed. What was acknowledged before that byte was written is there, and the
//! books are those of a replay from empty.

use super::model::{LANES, Model, Submit, check, run_group};
use super::*;

/// Small and good enough for choosing where to cut (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

const WAL: &str = "log.db-wal";
const SEEDS: u64 = 6;
const ROUNDS: usize = 10;
const FAULTS: [&str; 4] = ["cut", "garbage", "zeroes", "flip"];

/// Damages a WAL from a byte on.
fn damage(wal: &mut Vec<u8>, at: usize, fault: &str, chance: &mut Chance) {
    match fault {
        "cut" => wal.truncate(at),
        "garbage" => wal[at..]
            .iter_mut()
            .for_each(|byte| *byte = chance.below(256) as u8),
        "zeroes" => wal[at..].fill(0),
        _ => {
            if let Some(byte) = wal.get_mut(at) {
                *byte ^= 1 << chance.below(8);
            }
        }
    }
}

fn group(chance: &mut Chance) -> Vec<Submit> {
    let count = 1 + chance.below(5);
    let submit = |_| Submit {
        lane: chance.below(LANES.len() as u64) as usize,
        offset: chance.below(6) as i64 - 3,
        count: 1 + chance.below(30) as u32,
        dropped: (chance.below(6) == 0).then_some("drop_oldest"),
    };
    (0..count).map(submit).collect()
}

/// What the log of a directory holds, as the texts of the model.
fn texts(reader: &LogReader) -> Model {
    let replayed = replay(reader);
    std::array::from_fn(|at| {
        let key = lane_key(LANES[at].0, LANES[at].1);
        replayed
            .get(&key)
            .map(|lane| lane.values().collect())
            .unwrap_or_default()
    })
}

/// Opens what a crash left, and checks it against what was acknowledged before (`least`) and in all (`most`).
/// Returns whether anything of `most` is gone.
async fn recovers(files: &[(&str, Vec<u8>)], least: &Model, most: &Model, what: &str) -> bool {
    let dir = tempfile::tempdir().expect("dir");
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).expect("writes");
    }
    let log = Log::open(dir.path());
    let mut found = texts(&log.reader);
    for lane in 0..LANES.len() {
        assert!(
            found[lane].starts_with(&least[lane]),
            "{what}: acknowledged events are gone"
        );
        assert!(
            most[lane].starts_with(&found[lane]),
            "{what}: events that nobody sent"
        );
    }
    check(&log.reader, &found);
    let lost = found != *most;
    let more = Submit {
        lane: 0,
        offset: 0,
        count: 3,
        dropped: None,
    };
    run_group(&log, &mut found, &[more]).await;
    check(&log.reader, &found);
    log.close().await;
    lost
}

#[tokio::test]
async fn ack_after_fsync_and_state_is_f_of_log_at_every_torn_wal_tail() {
    let (mut injected, mut lost) = (BTreeMap::new(), 0);
    for seed in 0..SEEDS {
        let chance = &mut Chance(seed);
        let dir = tempfile::tempdir().expect("dir");
        let mut log = Log::open(dir.path());
        let mut model = Model::default();
        // how long the WAL was when so much was acknowledged
        let mut history = vec![(0usize, Model::default())];
        for round in 0..ROUNDS {
            run_group(&log, &mut model, &group(chance)).await;
            let wal = std::fs::read(dir.path().join(WAL)).expect("reads");
            history.push((wal.len(), model.clone()));
            let (at, fault) = (
                chance.below(wal.len() as u64 + 1) as usize,
                FAULTS[chance.below(4) as usize],
            );
            let mut torn = wal;
            damage(&mut torn, at, fault, chance);
            let database = std::fs::read(dir.path().join(LOG_FILE)).expect("reads");
            let least = &history.iter().rev().find(|(len, _)| *len <= at).expect("0 is").1;
            let what = format!("seed {seed}, round {round}: {fault} at {at}");
            let files = [(LOG_FILE, database), (WAL, torn)];
            lost += u32::from(recovers(&files, least, &model, &what).await);
            *injected.entry(fault).or_insert(0) += 1;
            if chance.below(5) == 0 {
                // an orderly stop moves the WAL into the database: the next cut finds a young WAL
                log.close().await;
                log = Log::open(dir.path());
                history = vec![(0, model.clone())];
            }
        }
        log.close().await;
    }
    tributary_faults::injected(
        tributary_faults::Layer::Stores,
        "ack_after_fsync_and_state_is_f_of_log_at_every_torn_wal_tail",
        injected
            .iter()
            .map(|(fault, times)| (format!("WAL tail of the log: {fault}"), *times as u64)),
    );
    assert!(lost > 20, "the faults had consequences: {lost}");
    assert_eq!(injected.len(), FAULTS.len(), "every fault happened");
    assert_eq!(injected.values().sum::<usize>(), SEEDS as usize * ROUNDS);
}

#[tokio::test]
async fn state_is_f_of_log_after_a_checkpoint_that_was_torn() {
    let mut mixed = 0;
    for seed in 100..108 {
        let chance = &mut Chance(seed);
        let dir = tempfile::tempdir().expect("dir");
        let log = Log::open(dir.path());
        let mut model = Model::default();
        for _ in 0..6 {
            run_group(&log, &mut model, &group(chance)).await;
        }
        let read = |dir: &Path, name: &str| std::fs::read(dir.join(name)).expect("reads");
        let (before, wal) = (read(dir.path(), LOG_FILE), read(dir.path(), WAL));
        // a checkpoint of the same files, whose pages are then written only in part
        let copy = tempfile::tempdir().expect("dir");
        std::fs::write(copy.path().join(LOG_FILE), &before).expect("writes");
        std::fs::write(copy.path().join(WAL), &wal).expect("writes");
        let other = rusqlite::Connection::open(copy.path().join(LOG_FILE)).expect("opens");
        other
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(2))
            .expect("moves");
        let after = read(copy.path(), LOG_FILE);
        drop(other);
        let page = super::super::store::PAGE_SIZE as usize;
        let torn: Vec<u8> = after
            .chunks(page)
            .enumerate()
            .flat_map(|(at, new)| {
                let old = before.get(at * page..at * page + page).unwrap_or(&[]);
                let written = chance.below(2) == 0;
                mixed += u32::from(written && old != new);
                let mut kept = if written { new.to_vec() } else { old.to_vec() };
                // a page that the file had room for, and that never came
                kept.resize(page, 0);
                kept
            })
            .collect();
        let lost = recovers(
            &[(LOG_FILE, torn), (WAL, wal)],
            &model,
            &model,
            &format!("seed {seed}"),
        )
        .await;
        assert!(!lost, "seed {seed}: the WAL has all of it");
        log.close().await;
    }
    assert!(mixed > 8, "pages were really torn: {mixed}");
    tributary_faults::injected(
        tributary_faults::Layer::Stores,
        "state_is_f_of_log_after_a_checkpoint_that_was_torn",
        [(
            "page of a checkpoint of the log that was not written",
            u64::from(mixed),
        )],
    );
}
