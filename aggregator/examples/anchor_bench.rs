//! What the audit costs a commit: the same log rows, written with and without their digests and leaves, in turn. Run with
//! `cargo run --release -p aggregator --example anchor_bench -- [BYTES OF COLUMNS A BATCH] [COMMITS]`.

#![allow(clippy::print_stdout)] // a benchmark's output is its purpose

use std::time::{Duration, Instant};

use aggregator::audit::Anchor;
use aggregator::commit::{self, CommitOptions, LOG_FILE};
use aggregator::registry::SchemaCache;
use rusqlite::{Connection, TransactionBehavior, params};
use tributary_audit::{EntryDigest, EntryRecord};

/// 2,000 events of the `text` workload, as the log keeps them.
const BYTES: usize = 300_000;
const COMMITS: usize = 400;
const EVENTS: u64 = 2_000;
/// A hop record, about.
const HEADER: [u8; 400] = [7; 400];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let bytes = args.next().transpose()?.unwrap_or(BYTES);
    let commits = args.next().transpose()?.unwrap_or(COMMITS);
    let dir = tempfile::tempdir()?;
    let options = CommitOptions {
        dir: dir.path().to_owned(),
        require_schema: false,
    };
    let (handle, _, thread) = commit::open(options, SchemaCache::default())?;
    handle.stop().await;
    thread.join()?;
    let mut db = Connection::open(dir.path().join(LOG_FILE))?;
    db.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;")?;
    let mut audit = Anchor::open(&mut db, dir.path())?;
    // compresses and repeats nowhere, as compressed columns
    let mut columns: Vec<u8> = (0..bytes as u64)
        .map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8)
        .collect();

    let mut spent = [Spent::default(), Spent::default()];
    for at in 0..2 * commits {
        let anchored = at % 2 == 1;
        columns[at % bytes] ^= 0x55;
        let started = Instant::now();
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        insert(&transaction, at as i64 + 1, &columns)?;
        let own = Instant::now();
        if anchored {
            anchor(&transaction, &mut audit, at as u64 + 1, &columns)?;
        }
        spent[usize::from(anchored)].own += own.elapsed();
        transaction.commit()?;
        spent[usize::from(anchored)].all += started.elapsed();
        if at % 64 == 63 {
            db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        }
    }
    let hashed = Instant::now();
    for _ in 0..commits {
        std::hint::black_box(EntryDigest::of(&HEADER, &columns, []));
    }
    report(bytes, commits, &spent, hashed.elapsed());
    Ok(())
}

#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    all: Duration,
    own: Duration,
}

fn insert(db: &Connection, pos: i64, columns: &[u8]) -> anyhow::Result<()> {
    let sql = "INSERT INTO log VALUES (?1, 1, ?1, ?1, 1, 0, 0, NULL, NULL, 1, ?2, ?3)";
    db.prepare_cached(sql)?
        .execute(params![pos, &HEADER[..], columns])?;
    Ok(())
}

fn anchor(db: &Connection, audit: &mut Anchor, pos: u64, columns: &[u8]) -> anyhow::Result<()> {
    let digest = EntryDigest::of(&HEADER, columns, []).digest();
    let record = EntryRecord {
        pos,
        lane: 1,
        first_seq: pos,
        last_seq: pos,
        kind: 0,
        digest,
    };
    Ok(audit.append_group(db, 1, vec![record])?)
}

fn report(bytes: usize, commits: usize, spent: &[Spent; 2], hashed: Duration) {
    let micros = |spent: Duration| spent.as_secs_f64() * 1e6 / commits as f64;
    let [without, with] = spent;
    println!("{commits} commits of one batch of {bytes} bytes each way, synchronous=FULL");
    println!(
        "a commit: {:.0} us without, {:.0} us with the audit",
        micros(without.all),
        micros(with.all)
    );
    println!(
        "the audit's own work: {:.1} us a commit, {:.4} us an event at {EVENTS} a batch",
        micros(with.own),
        micros(with.own) / EVENTS as f64
    );
    println!(
        "of that, hashing: {:.1} us a commit, {:.2} GB/s",
        micros(hashed),
        bytes as f64 * commits as f64 / hashed.as_secs_f64() / 1e9
    );
}
