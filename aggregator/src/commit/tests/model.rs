//! Random submissions against a model that knows nothing of groups, trimming or SQLite: per lane, a text with
//! one letter for each committed seq.

use std::path::PathBuf;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::sync::mpsc;
use tributary_shared::wire::RefuseCode;

use super::*;

/// Lanes of the model; two of them share a stream.
pub(super) const LANES: [(&str, u64); 3] = [("a", 1), ("a", 2), ("b", 1)];

#[derive(Debug, Clone)]
pub(super) struct Submit {
    pub lane: usize,
    /// First seq, relative to the seq that is expected when the group begins.
    pub offset: i64,
    pub count: u32,
    /// `Some` for a batch that reports drops.
    pub dropped: Option<&'static str>,
}

#[derive(Debug, Clone)]
enum Step {
    /// Queued together, so that they may fall into one transaction.
    Group(Vec<Submit>),
    /// An orderly stop and start.
    Reopen,
    /// The files as they are now, with the WAL cut by this many parts of 256, are opened as after a crash.
    Crash { wal_cut: u64 },
}

fn submit() -> impl Strategy<Value = Submit> {
    let dropped = prop_oneof![6 => Just(None), 1 => Just(Some("drop_oldest")), 1 => Just(Some("too_large"))];
    (
        0..LANES.len(),
        prop_oneof![4 => Just(0i64), 3 => -12i64..0, 1 => 1i64..4],
        1u32..16,
        dropped,
    )
        .prop_map(|(lane, offset, count, dropped)| Submit {
            lane,
            offset,
            count,
            dropped,
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(submit(), 1..8).prop_map(Step::Group),
        1 => Just(Step::Reopen),
        1 => (0u64..=256).prop_map(|wal_cut| Step::Crash { wal_cut }),
    ]
}

pub(super) type Model = [String; LANES.len()];

/// What the contract demands of one submission: `Ok(mark)` or `Err(expected)`.
fn expect(model: &mut Model, submit: &Submit, first: Seq) -> Result<Seq, Seq> {
    let lane = &mut model[submit.lane];
    let mark = lane.len() as Seq;
    if first > mark + 1 {
        return Err(mark + 1);
    }
    for seq in mark + 1..first + u64::from(submit.count) {
        lane.push(if submit.dropped.is_some() {
            'p'
        } else if is_dead(seq) {
            'd'
        } else {
            'v'
        });
    }
    // an acknowledgement says nothing of what lies behind its batch
    Ok(first + u64::from(submit.count) - 1)
}

pub(super) async fn run_group(log: &Log, model: &mut Model, group: &[Submit]) {
    let bases: Vec<i64> = model.iter().map(|lane| lane.len() as i64 + 1).collect();
    let mut pending = Vec::new();
    for submit in group {
        let key = lane_key(LANES[submit.lane].0, LANES[submit.lane].1);
        let state = log.handle.open_lane(key.clone(), u64::MAX).await.expect("opens");
        let first = (bases[submit.lane] + submit.offset).max(1) as Seq;
        let range = SeqRange::from_count(first, submit.count);
        let request = match submit.dropped {
            Some(reason) => drops(state.lane_no, &key, range, reason),
            None => rows(state.lane_no, &key, range),
        };
        let answer = log
            .handle
            .enqueue(prepare(request).expect("good"))
            .await
            .expect("queued");
        pending.push((expect(model, submit, first), answer));
    }
    for (expected, answer) in pending {
        match (expected, answer.await.expect("answered")) {
            (Ok(mark), CommitAnswer::Committed { mark: told, .. }) => assert_eq!(told, mark),
            (
                Err(next),
                CommitAnswer::Refused {
                    expected,
                    code: RefuseCode::Gap,
                    ..
                },
            ) => assert_eq!(expected, next),
            (expected, answer) => panic!("expected {expected:?}, got {answer:?}"),
        }
    }
}

/// The books, the replay and the event lookups of a log say the same as the texts.
pub(super) fn check(reader: &LogReader, texts: &Model) {
    reader.verify().expect("every invariant holds");
    let replayed = replay(reader);
    let ledger = reader.ledger().expect("reads");
    let mut produced = 0;
    for (text, (stream, epoch)) in texts.iter().zip(LANES) {
        let key = lane_key(stream, epoch);
        let found: String = replayed
            .get(&key)
            .map(|lane| lane.values().collect())
            .unwrap_or_default();
        assert_eq!(&found, text, "replay of {key}");
        let Some(row) = reader.lane_by_key(&key).expect("reads") else {
            assert!(text.is_empty());
            continue;
        };
        let count = |verdict| text.chars().filter(|c| *c == verdict).count() as u64;
        assert_eq!(
            (row.valid, row.dead, row.dropped),
            (count('v') + count('r'), count('d') + count('x'), count('p'))
        );
        assert_eq!(row.mark, text.len() as u64);
        produced += row.mark;
        for (at, verdict) in text.chars().enumerate() {
            check_fate(reader, row.lane_no, at as Seq + 1, verdict);
        }
        assert_eq!(
            reader.find(row.lane_no, row.mark + 1).expect("reads"),
            Fate::NotCommitted { mark: row.mark }
        );
    }
    assert_eq!(ledger.totals.produced, produced);
    assert_eq!(
        produced,
        ledger.totals.valid + ledger.totals.dead + ledger.totals.dropped
    );
}

fn check_fate(reader: &LogReader, lane: LaneNo, seq: Seq, verdict: char) {
    match (verdict, reader.find(lane, seq).expect("found")) {
        ('v', Fate::Valid { hop, row }) => {
            let entry = reader.entry(hop.pos).expect("reads").expect("is there");
            let records = entry.decode().expect("decodes").records.expect("has rows");
            assert_eq!(seqs_of(&records)[row], seq);
        }
        ('d', Fate::Dead { letter, .. }) => {
            let letter = letter.expect("nothing expired");
            assert_eq!((letter.lane_no, letter.seq), (lane, seq));
            assert_eq!(letter.payload, format!("payload {seq}").into_bytes());
        }
        ('p', Fate::Dropped { range, .. }) => assert!(range.contains(seq)),
        (verdict, fate) => panic!("seq {seq} is {verdict}, found {fate:?}"),
    }
}

fn copy_as_after_a_crash(dir: &std::path::Path, wal_cut: u64) -> (tempfile::TempDir, PathBuf) {
    let copy = tempfile::tempdir().expect("dir");
    let path = copy.path().to_owned();
    std::fs::copy(dir.join(LOG_FILE), path.join(LOG_FILE)).expect("copies");
    let wal = path.join("log.db-wal");
    let len = std::fs::copy(dir.join("log.db-wal"), &wal).expect("copies");
    let file = std::fs::OpenOptions::new().write(true).open(&wal).expect("opens");
    file.set_len(len - len * wal_cut / 256).expect("cuts");
    (copy, path)
}

/// After a crash a lane is a prefix of what it was: all of it if nothing unsynced was lost.
async fn check_crash(dir: &std::path::Path, model: &Model, wal_cut: u64) {
    let (_copy, path) = copy_as_after_a_crash(dir, wal_cut);
    let log = Log::open(&path);
    let replayed = replay(&log.reader);
    let mut survived = Model::default();
    for (lane, (stream, epoch)) in LANES.iter().enumerate() {
        let key = lane_key(stream, *epoch);
        survived[lane] = replayed
            .get(&key)
            .map(|lane| lane.values().collect())
            .unwrap_or_default();
        assert!(model[lane].starts_with(&survived[lane]), "{key} is a prefix");
        assert!(
            wal_cut > 0 || survived[lane] == model[lane],
            "{key}: what was acknowledged is there"
        );
    }
    check(&log.reader, &survived);
    // and the log goes on from there
    run_group(
        &log,
        &mut survived,
        &[Submit {
            lane: 0,
            offset: 0,
            count: 5,
            dropped: None,
        }],
    )
    .await;
    check(&log.reader, &survived);
    log.close().await;
}

async fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().expect("dir");
    let mut model = Model::default();
    let mut fed = BTreeMap::new();
    let mut log = Log::open(dir.path());
    // never full here, so that the test may drain it at the end
    let (mut feed, mut engine) = mpsc::channel(10_000);
    assert_eq!(log.handle.attach(feed).await.expect("attached"), LogPos(0));
    for step in steps {
        match step {
            Step::Group(group) => run_group(&log, &mut model, &group).await,
            Step::Crash { wal_cut } => check_crash(dir.path(), &model, wal_cut).await,
            Step::Reopen => {
                log.close().await;
                while let Some(entry) = engine.recv().await {
                    collect(&mut fed, Arc::unwrap_or_clone(entry));
                }
                log = Log::open(dir.path());
                (feed, engine) = mpsc::channel(10_000);
                let attached = log.handle.attach(feed).await.expect("attached");
                assert_eq!(attached, log.reader.stats().expect("reads").newest);
            }
        }
    }
    check(&log.reader, &model);
    let replayed = replay(&log.reader);
    log.close().await;
    while let Some(entry) = engine.recv().await {
        collect(&mut fed, Arc::unwrap_or_clone(entry));
    }
    assert_eq!(fed, replayed, "the engine was fed what the log holds, once");
}

#[test]
fn any_submissions_leave_contiguous_lanes_and_balance() {
    let config = ProptestConfig {
        cases: 32,
        ..ProptestConfig::with_source_file(file!())
    };
    let crashes = std::cell::Cell::new(0);
    let ran = TestRunner::new(config).run(&prop::collection::vec(step(), 1..14), |steps| {
        let crashed = steps.iter().filter(|step| matches!(step, Step::Crash { .. }));
        crashes.set(crashes.get() + crashed.count() as u64);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("runtime");
        runtime.block_on(run(steps));
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
    tributary_faults::injected(
        tributary_faults::Layer::Stores,
        "any_submissions_leave_contiguous_lanes_and_balance",
        [("crash of the log, WAL cut off", crashes.get())],
    );
}
