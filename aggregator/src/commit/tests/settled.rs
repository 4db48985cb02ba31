//! Dead letters that are replayed, discarded and expire: each event counts once, whatever comes together, twice, or
//! before a crash.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use proptest::prelude::*;
use rusqlite::Connection;

use super::super::store::LogStore;
use super::super::trim::Trimmed;
use super::*;

const STREAMS: [&str; 2] = ["a", "b"];

fn act() -> Act {
    Act {
        by: "ann".to_owned(),
        fix: Some(r#"{"sql":"payload"}"#.to_owned()),
    }
}

/// A replay of letters of one lane: its columns hold their seqs.
fn request(letters: &[StoredDeadLetter]) -> ReplayRequest {
    let seqs: Vec<Seq> = letters.iter().map(|letter| letter.seq).collect();
    let first = &letters[0];
    ReplayRequest {
        lane: first.lane_no,
        key: LaneKey {
            agent: first.agent.clone(),
            stream: first.stream.clone(),
            epoch: Epoch(1),
        },
        letters: letters.iter().map(|letter| (letter.id, letter.seq)).collect(),
        columns: columns::encode(&records(&seqs)).expect("encodes"),
        schema: schema(7, 2),
        act: act(),
    }
}

fn discard_of(ids: Vec<i64>) -> DiscardRequest {
    DiscardRequest {
        ids,
        by: "bob".to_owned(),
        reason: "test data".to_owned(),
    }
}

/// All letters of a stream, oldest first.
pub(super) fn letters_of(reader: &LogReader, stream: &str) -> Vec<StoredDeadLetter> {
    let filter = DeadLetterFilter {
        stream: Some(StreamName::new(stream).expect("valid")),
        ..DeadLetterFilter::default()
    };
    let mut found = reader.dead_letters(&filter).expect("reads");
    found.reverse();
    found
}

pub(super) async fn replay_letters(log: &Log, letters: &[StoredDeadLetter]) -> SettleAnswer {
    let batch = request(letters).prepare().expect("good");
    log.handle.replay(batch).await.expect("answered")
}

/// The counts that are kept are those of the letters that are there.
fn counts_are_true(reader: &LogReader) {
    let mut expected = BTreeMap::new();
    for letter in STREAMS.iter().flat_map(|stream| letters_of(reader, stream)) {
        let rule = letter.reasons[0].rule.clone();
        for rule in [None, Some(rule)] {
            let key = (letter.stream.clone(), letter.state(), rule.clone());
            let (count, bytes): &mut (u64, u64) = expected.entry(key).or_default();
            *count += 1;
            *bytes += if rule.is_none() {
                letter.payload.len() as u64
            } else {
                0
            };
        }
    }
    let told = reader.dead_letter_counts().expect("reads").into_iter();
    let told: BTreeMap<_, _> = told
        .map(|one| ((one.stream, one.state, one.rule), (one.count, one.bytes)))
        .collect();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_letter_is_replayed_once_however_often_and_however_concurrently() {
    let dir = tempfile::tempdir().expect("dir");
    let log = Log::open(dir.path());
    let key = lane_key("a", 1);
    let lane = log.handle.open_lane(key.clone(), 1).await.expect("opens").lane_no;
    log.submit(rows(lane, &key, range(1, 50))).await;
    let letters = letters_of(&log.reader, "a");
    assert_eq!(letters.len(), 10);
    // queued together: some fall into one transaction
    let (early, late) = (&letters[..6], &letters[3..]);
    let answers = join_all([early, late, &letters[..], early].map(|some| replay_letters(&log, some))).await;
    let (settled, again): (u64, u64) = answers
        .iter()
        .fold((0, 0), |sum, one| (sum.0 + one.settled, sum.1 + one.replayed));
    assert_eq!((settled, again), (10, 6 + 7 + 10 + 6 - 10));
    let row = log.reader.lane(lane).expect("reads").expect("known");
    assert_eq!((row.valid, row.dead, row.open, row.mark), (50, 0, 0, 50));
    log.reader.verify().expect("every invariant holds");
    counts_are_true(&log.reader);
    let replayed = replay(&log.reader);
    assert_eq!(
        replayed[&key].values().filter(|verdict| **verdict == 'r').count(),
        10
    );
    let Fate::Dead {
        letter: Some(letter), ..
    } = log.reader.find(lane, 3).expect("found")
    else {
        panic!("its letter is there")
    };
    let Some(Settlement::Replayed {
        by, pos, schema, fix, ..
    }) = &letter.settled
    else {
        panic!("replayed: {letter:?}")
    };
    assert_eq!(
        (by.as_str(), schema.map(|one| one.version), fix),
        ("ann", Some(2), &act().fix)
    );
    let entry = log.reader.entry(*pos).expect("reads").expect("is there");
    let EntryHeader::Replay(header) = &entry.header else {
        panic!("a replay")
    };
    assert_eq!(header.row_of(3), Some(0));
    // an id at another place is not the letter that was judged
    let mut elsewhere = letters[..1].to_vec();
    elsewhere[0].seq = 4;
    assert_eq!(replay_letters(&log, &elsewhere).await.unknown, 1);
    log.close().await;
}

#[tokio::test]
async fn discarded_and_expired_letters_stay_counted_and_have_their_lines() {
    let dir = tempfile::tempdir().expect("dir");
    let log = Log::open(dir.path());
    let key = lane_key("a", 1);
    let lane = log.handle.open_lane(key.clone(), 1).await.expect("opens").lane_no;
    for n in 0..10 {
        log.submit(rows(lane, &key, range(10 * n + 1, 10 * n + 10))).await;
    }
    let letters = letters_of(&log.reader, "a");
    let ids = |some: &[StoredDeadLetter]| some.iter().map(|letter| letter.id).collect::<Vec<_>>();
    let both = join_all([
        log.handle.discard(discard_of(ids(&letters[..4]))),
        log.handle.discard(discard_of(ids(&letters[2..6]))),
    ])
    .await;
    let settled: u64 = both
        .iter()
        .map(|answer| answer.as_ref().expect("answered").settled)
        .sum();
    assert_eq!(settled, 6);
    let again = log
        .handle
        .discard(discard_of(ids(&letters[..6])))
        .await
        .expect("answered");
    assert_eq!((again.settled, again.discarded), (0, 6));
    assert_eq!(
        replay_letters(&log, &letters[4..8]).await.settled,
        2,
        "only those that are open"
    );
    let book = log.reader.ledger().expect("reads").lanes.remove(0);
    assert_eq!((book.lane.valid, book.lane.dead, book.lane.open), (82, 18, 12));
    let lines: Vec<_> = book
        .given_up
        .iter()
        .map(|line| (line.reason.as_str(), line.count))
        .collect();
    assert_eq!(lines, [(LETTER_DISCARDED, 1); 6]);
    log.reader.verify().expect("every invariant holds");
    log.close().await;

    // retention by bytes: the oldest ones go, whatever became of them, and before their entries
    let mut store = LogStore::open(dir.path()).expect("opens");
    let held = letters
        .iter()
        .map(|letter| letter.payload.len() as u64)
        .sum::<u64>();
    let keep = Retention {
        keep_dead_letters_bytes: held / 2,
        ..Retention::EVERYTHING
    };
    let mut expired = 0;
    while let Trimmed::Some { expired: some, .. } = store.trim(&keep, LogPos(0), 0).expect("trims") {
        expired += some;
    }
    drop(store);
    let log = Log::open(dir.path());
    log.reader.verify().expect("every invariant holds");
    counts_are_true(&log.reader);
    let left = letters_of(&log.reader, "a");
    assert!(left.iter().map(|letter| letter.payload.len() as u64).sum::<u64>() <= held / 2);
    assert_eq!(
        left[0].id,
        letters[letters.len() - left.len()].id,
        "the newest stay"
    );
    let book = log.reader.ledger().expect("reads").lanes.remove(0);
    assert_eq!((book.lane.dead, book.lane.open), (18, 12 - expired));
    let of_expired: u64 = book
        .given_up
        .iter()
        .filter(|line| line.reason == LETTER_EXPIRED)
        .map(|line| line.count)
        .sum();
    assert_eq!((of_expired, expired), (20 - left.len() as u64 - 8, expired));
    assert!(matches!(
        log.reader.find(lane, 3).expect("told"),
        Fate::Dead { letter: None, .. }
    ));
    log.close().await;
}

#[tokio::test]
async fn never_forget_an_id_is_given_once_also_after_the_newest_letter_is_gone() {
    let dir = tempfile::tempdir().expect("dir");
    let key = lane_key("a", 1);
    let log = Log::open(dir.path());
    let lane = log.handle.open_lane(key.clone(), 1).await.expect("opens").lane_no;
    log.submit(rows(lane, &key, range(1, 10))).await;
    let before: BTreeSet<i64> = letters_of(&log.reader, "a")
        .iter()
        .map(|letter| letter.id)
        .collect();
    log.close().await;
    let mut store = LogStore::open(dir.path()).expect("opens");
    let none = Retention {
        keep_dead_letters_bytes: 0,
        ..Retention::EVERYTHING
    };
    store.trim(&none, LogPos(0), 0).expect("trims");
    drop(store);
    let log = Log::open(dir.path());
    log.submit(rows(lane, &key, range(11, 20))).await;
    let after: BTreeSet<i64> = letters_of(&log.reader, "a")
        .iter()
        .map(|letter| letter.id)
        .collect();
    assert!(
        after.len() == 2 && before.is_disjoint(&after),
        "{before:?}, then {after:?}"
    );
    log.close().await;
    // the state after this one, which a restore forgets, may have given more
    reserve_lane_numbers(dir.path()).expect("reserves");
    let log = Log::open(dir.path());
    log.submit(rows(lane, &key, range(21, 30))).await;
    let restored = letters_of(&log.reader, "a").last().map(|letter| letter.id);
    assert!(restored > after.last().map(|id| id + 1_000_000), "{restored:?}");
    log.close().await;
}

#[tokio::test]
async fn contiguous_lanes_hold_when_retention_deletes_batches_and_leaves_their_replays() {
    let dir = tempfile::tempdir().expect("dir");
    let key = lane_key("a", 1);
    let log = Log::open(dir.path());
    let lane = log.handle.open_lane(key.clone(), 1).await.expect("opens").lane_no;
    for n in 0..4 {
        log.submit(rows(lane, &key, range(10 * n + 1, 10 * n + 10))).await;
    }
    let letters = letters_of(&log.reader, "a");
    replay_letters(&log, &letters[..1]).await;
    replay_letters(&log, &letters[1..5]).await;
    log.close().await;
    let keep = Retention {
        keep_for: 0,
        ..Retention::EVERYTHING
    };
    for covered in [2, 4, 5, 6] {
        let mut store = LogStore::open(dir.path()).expect("opens");
        while store.trim(&keep, LogPos(covered), i64::MAX).expect("trims") != Trimmed::Nothing {}
        drop(store);
        let log = Log::open(dir.path());
        log.reader.verify().expect("every invariant holds");
        let row = log.reader.lane(lane).expect("reads").expect("known");
        assert_eq!(
            (row.mark, row.floor_seq),
            (40, 10 * covered.min(4)),
            "behind entry {covered}"
        );
        assert_eq!((row.valid, row.dead), (37, 3));
        log.close().await;
    }
    let log = Log::open(dir.path());
    let answer = log.submit(rows(lane, &key, range(41, 50))).await;
    assert!(
        matches!(
            answer,
            CommitAnswer::Committed {
                pos: Some(LogPos(7)),
                ..
            }
        ),
        "{answer:?}"
    );
    assert_eq!(replay_letters(&log, &letters[5..]).await.settled, 3);
    log.close().await;
}

#[tokio::test]
async fn letters_are_found_by_every_field() {
    let dir = tempfile::tempdir().expect("dir");
    let log = Log::open(dir.path());
    for stream in STREAMS {
        let key = lane_key(stream, 1);
        let lane = log.handle.open_lane(key.clone(), 1).await.expect("opens").lane_no;
        log.submit(rows(lane, &key, range(1, 20))).await;
    }
    let of_a = letters_of(&log.reader, "a");
    replay_letters(&log, &of_a[..1]).await;
    log.handle
        .discard(discard_of(vec![of_a[1].id]))
        .await
        .expect("answered");
    let found = |change: fn(&mut DeadLetterFilter)| {
        let mut filter = DeadLetterFilter::default();
        change(&mut filter);
        log.reader.dead_letters(&filter).expect("reads").len()
    };
    assert_eq!(found(|_| ()), 8);
    assert_eq!(found(|f| f.stream = StreamName::new("b").ok()), 4);
    assert_eq!(found(|f| f.agent = AgentId::new("edge-2").ok()), 0);
    assert_eq!(found(|f| f.reason = Some("type".to_owned())), 8);
    assert_eq!(found(|f| f.reason = Some("/t".to_owned())), 8, "also by path");
    assert_eq!(found(|f| f.reason = Some("required".to_owned())), 0);
    assert_eq!(found(|f| f.state = Some(LetterState::Open)), 6);
    assert_eq!(found(|f| f.state = Some(LetterState::Replayed)), 1);
    assert_eq!(
        found(|f| {
            f.state = Some(LetterState::Discarded);
            f.reason = Some("type".to_owned());
        }),
        1
    );
    assert_eq!(found(|f| f.schema = Some(1)), 0);
    assert_eq!(found(|f| f.to = Some(0)), 0);
    assert_eq!(found(|f| f.from = Some(1)), 8);
    assert_eq!(found(|f| f.limit = 3), 3);
    let scan = ScanFrom {
        after: of_a[1].id,
        upto: i64::MAX,
    };
    let chunk = log
        .reader
        .dead_letter_chunk(&DeadLetterFilter::default(), scan, 100, 1 << 20)
        .expect("reads");
    assert!(
        chunk.is_sorted_by_key(|letter| letter.id) && chunk.len() == 6,
        "{chunk:?}"
    );
    assert_eq!(chunk[0].collected_at, 1, "the time of letters that name none");
    log.close().await;
}

#[tokio::test]
async fn a_log_of_format_2_opens_and_its_letters_can_be_replayed() {
    let dir = tempfile::tempdir().expect("dir");
    let (key, lane) = (lane_key("a", 1), LaneNo(1));
    let log = Log::open(dir.path());
    log.handle.open_lane(key.clone(), 1).await.expect("opens");
    log.submit(rows(lane, &key, range(1, 20))).await;
    log.submit(rows(lane, &key, range(21, 40))).await;
    log.close().await;
    let old = tempfile::tempdir().expect("dir");
    let file = Connection::open(old.path().join(LOG_FILE)).expect("opens");
    file.execute_batch(include_str!("format_2.sql")).expect("makes");
    file.execute(
        "ATTACH ?1 AS new",
        [dir.path().join(LOG_FILE).display().to_string()],
    )
    .expect("attaches");
    // the first entry and its letters are gone, as retention of that version left it
    file.execute_batch(
        "INSERT INTO lanes SELECT no, agent, stream, epoch, mark, valid, dead, dropped, opened_at, last_committed_at,
             floor_seq FROM new.lanes;
         UPDATE lanes SET floor_seq = 20;
         INSERT INTO log SELECT * FROM new.log WHERE pos > 1;
         INSERT INTO dead_letters SELECT id, lane, seq, pos, at, schema_id, schema_version, reasons, payload
             FROM new.dead_letters WHERE pos > 1;
         INSERT INTO dead_letter_rules SELECT 'type', id FROM dead_letters;
         INSERT INTO meta VALUES ('format_version', '2'), ('log_id', 'abc'), ('floor', '1');
         DETACH new;",
    )
    .expect("fills");
    drop(file);

    let log = Log::open(old.path());
    log.reader.verify().expect("every invariant holds");
    counts_are_true(&log.reader);
    let letters = letters_of(&log.reader, "a");
    assert_eq!(letters.len(), 4);
    let ids: Vec<i64> = letters.iter().map(|letter| letter.id).collect();
    let (read, _) = log.reader.dead_letters_of(&ids, 1 << 20).expect("reads");
    assert!(
        read.iter().all(|letter| letter.collected_at == 1),
        "as their entry says: {read:?}"
    );
    assert_eq!(replay_letters(&log, &letters).await.settled, 4);
    let book = log.reader.ledger().expect("reads").lanes.remove(0);
    assert_eq!((book.lane.valid, book.lane.dead, book.lane.open), (36, 4, 0));
    assert_eq!(book.given_up.len(), 1);
    assert_eq!(
        (book.given_up[0].reason.as_str(), book.given_up[0].count),
        (LETTER_EXPIRED, 4)
    );
    log.close().await;
}

#[derive(Debug, Clone)]
enum Step {
    Commit {
        lane: usize,
        count: u64,
    },
    /// Queued together: each is a lane, a mask over its letters, and whether they are discarded.
    Settle(Vec<(usize, u32, bool)>),
    Reopen,
    /// The files as they are now, with the WAL cut by this many parts of 256, are opened as after a crash.
    Crash {
        wal_cut: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..STREAMS.len(), 1u64..25).prop_map(|(lane, count)| Step::Commit { lane, count }),
        5 => prop::collection::vec((0..STREAMS.len(), any::<u32>(), prop::bool::weighted(0.3)), 1..6)
            .prop_map(Step::Settle),
        1 => Just(Step::Reopen),
        2 => (0u64..=256).prop_map(|wal_cut| Step::Crash { wal_cut }),
    ]
}

/// What nobody may forget: letters that were told to be settled, and how.
#[derive(Debug, Clone, Default)]
struct Told {
    replayed: u64,
    discarded: u64,
}

async fn settle(log: &Log, asked: &[(usize, u32, bool)], told: &mut Told) {
    let mut requests = Vec::new();
    for (lane, mask, discard) in asked {
        let letters = letters_of(&log.reader, STREAMS[*lane]);
        let mut at = 0u32;
        let chosen = letters.into_iter().filter(|_| {
            at += 1;
            mask >> (at % 32) & 1 == 1
        });
        let chosen: Vec<StoredDeadLetter> = chosen.collect();
        if !chosen.is_empty() {
            requests.push((chosen, *discard));
        }
    }
    let answers = join_all(requests.iter().map(|(letters, discard)| async {
        if *discard {
            let ids = letters.iter().map(|letter| letter.id).collect();
            log.handle.discard(discard_of(ids)).await.expect("answered")
        } else {
            replay_letters(log, letters).await
        }
    }))
    .await;
    for ((letters, discard), answer) in requests.iter().zip(answers) {
        let all = answer.settled + answer.replayed + answer.discarded + answer.unknown;
        assert_eq!((all, answer.unknown), (letters.len() as u64, 0));
        if *discard {
            told.discarded += answer.settled;
        } else {
            told.replayed += answer.settled;
        }
    }
}

/// The books, the letters and the log say the same. Returns how many are replayed and discarded.
fn agree(reader: &LogReader) -> Told {
    reader.verify().expect("every invariant holds");
    counts_are_true(reader);
    let (log, mut found) = (replay(reader), Told::default());
    for stream in STREAMS {
        let key = lane_key(stream, 1);
        let Some(row) = reader.lane_by_key(&key).expect("reads") else {
            continue;
        };
        let verdicts = log.get(&key).cloned().unwrap_or_default();
        let count = |wanted| verdicts.values().filter(|verdict| **verdict == wanted).count() as u64;
        assert_eq!(
            row.valid,
            count('v') + count('r'),
            "the ledger counts what the log holds"
        );
        for letter in letters_of(reader, stream) {
            let state = letter.state();
            let replayed = verdicts[&letter.seq] == 'r';
            assert_eq!(
                replayed,
                state == LetterState::Replayed,
                "seq {} is {state:?}",
                letter.seq
            );
            found.replayed += u64::from(replayed);
            found.discarded += u64::from(state == LetterState::Discarded);
        }
    }
    found
}

async fn crash(dir: &Path, wal_cut: u64, told: &Told) {
    let copy = tempfile::tempdir().expect("dir");
    for name in [LOG_FILE, "log.db-wal"] {
        std::fs::copy(dir.join(name), copy.path().join(name)).expect("copies");
    }
    let wal = std::fs::OpenOptions::new()
        .write(true)
        .open(copy.path().join("log.db-wal"))
        .expect("opens");
    let len = wal.metadata().expect("is there").len();
    wal.set_len(len - len * wal_cut / 256).expect("cuts");
    let log = Log::open(copy.path());
    let found = agree(&log.reader);
    assert!(found.replayed <= told.replayed && found.discarded <= told.discarded);
    if wal_cut == 0 {
        assert_eq!((found.replayed, found.discarded), (told.replayed, told.discarded));
    }
    // whoever was cut off asks again, for everything
    let mut again = found.clone();
    for _ in 0..2 {
        settle(&log, &[(0, u32::MAX, false), (1, u32::MAX, false)], &mut again).await;
        let now = agree(&log.reader);
        assert_eq!(
            (now.replayed, now.discarded),
            (again.replayed, again.discarded),
            "each counts once"
        );
    }
    assert_eq!(log.reader.ledger().expect("reads").totals.open, 0);
    log.close().await;
}

async fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().expect("dir");
    let mut log = Log::open(dir.path());
    let mut told = Told::default();
    for step in steps {
        match step {
            Step::Commit { lane, count } => {
                let key = lane_key(STREAMS[lane], 1);
                let state = log.handle.open_lane(key.clone(), u64::MAX).await.expect("opens");
                log.submit(rows(
                    state.lane_no,
                    &key,
                    range(state.mark + 1, state.mark + count),
                ))
                .await;
            }
            Step::Settle(asked) => settle(&log, &asked, &mut told).await,
            Step::Reopen => {
                log.close().await;
                log = Log::open(dir.path());
            }
            Step::Crash { wal_cut } => crash(dir.path(), wal_cut, &told).await,
        }
        let found = agree(&log.reader);
        assert_eq!((found.replayed, found.discarded), (told.replayed, told.discarded));
    }
    log.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn state_is_f_of_log_and_each_letter_counts_once_over_crashes(steps in prop::collection::vec(step(), 3..14)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(run(steps));
    }
}
