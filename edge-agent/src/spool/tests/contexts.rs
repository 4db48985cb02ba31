//! The trace contexts that requests brought.

use super::*;

const LIMIT: u64 = 4 << 20;
const A: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const B: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

fn traced(rows: usize, traceparent: Option<&str>) -> NewEvents {
    NewEvents {
        traceparent: traceparent.map(Arc::from),
        ..events("s", &vec![vec![b'x']; rows])
    }
}

fn contexts(spool: &mut Harness, from: Seq, max_rows: u32) -> Vec<(Seq, Seq, String)> {
    let lane = spool.lane("s").lane;
    let blocks = spool.read(lane, from, max_rows, 1 << 20);
    let of = |block: &Block| match block {
        Block::Rows(rows) => rows.contexts.clone(),
        Block::Dropped { .. } => Vec::new(),
    };
    let told = blocks.iter().flat_map(of);
    told.map(|context| (context.first_seq, context.last_seq, context.traceparent))
        .collect()
}

/// Two requests with a context each, and one without between them, in one block.
fn two_traced() -> Harness {
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    let group = vec![traced(2, Some(A)), traced(1, None), traced(3, Some(B))];
    let taken = spool.append_group(group);
    assert!(taken.iter().all(Result::is_ok), "{taken:?}");
    spool
}

#[test]
fn each_request_keeps_its_context_and_a_block_may_hold_several() {
    let mut spool = two_traced();
    let both = [(1, 2, A.to_owned()), (4, 6, B.to_owned())];
    assert_eq!(contexts(&mut spool, 1, 100), both);
    spool.crash();
    assert_eq!(contexts(&mut spool, 1, 100), both);
    assert_eq!(spool.read(spool.lane("s").lane, 1, 100, 1 << 20).len(), 1);
    spool.append(traced(1, Some(A))).expect("taken");
    assert_eq!(contexts(&mut spool, 7, 100), [(7, 7, A.to_owned())]);
}

#[test]
fn what_is_committed_is_forgotten_and_a_new_epoch_takes_the_rest_along() {
    let mut spool = two_traced();
    let lane = spool.lane("s").lane;
    spool.mark(lane, 4).expect("mark");
    assert_eq!(contexts(&mut spool, 5, 100), [(5, 6, B.to_owned())]);
    let reason = ForkReason::BehindPast { mark: 4 };
    let fork = |reply| Control::Fork { lane, reason, reply };
    let forked = spool.control(fork).expect("forked");
    assert_eq!((forked.next_seq, forked.held_events), (3, 2));
    assert_eq!(contexts(&mut spool, 1, 100), [(1, 2, B.to_owned())]);
    spool.crash();
    assert_eq!(spool.status().quarantined, None);
    let lane = spool.lane("s").lane;
    spool.mark(lane, 2).expect("mark");
    assert_eq!(rows(&mut spool), 0);
}

fn rows(spool: &mut Harness) -> i64 {
    let conn = &spool.actor.database_for_tests().store.conn;
    let count = |row: &rusqlite::Row<'_>| row.get(0);
    conn.query_row("SELECT count(*) FROM contexts", [], count)
        .expect("a count")
}

#[test]
fn a_request_over_several_blocks_is_known_in_each() {
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    let many = super::super::MAX_BLOCK_ROWS as usize + 10;
    spool.append(traced(many, Some(A))).expect("taken");
    let (edge, end) = (u64::from(super::super::MAX_BLOCK_ROWS), many as u64);
    let both = [(1, edge, A.to_owned()), (edge + 1, end, A.to_owned())];
    assert_eq!(contexts(&mut spool, 1, 16_384), both);
    assert_eq!(contexts(&mut spool, edge + 1, 16_384), both[1..]);
}

#[test]
fn dropped_events_leave_no_context_behind() {
    let mut spool = Harness::new(LIMIT, WhenFull::DropOldest);
    for n in 0..200 {
        let event = NewEvents {
            traceparent: Some(A.into()),
            ..events("s", &[noise(n, 60_000)])
        };
        spool.append(event).expect("taken");
    }
    let lane = spool.lane("s");
    assert!(lane.dropped_events > 100, "{lane:?}");
    assert_eq!(rows(&mut spool) as u64, lane.held_events);
}

#[test]
fn a_spool_of_format_3_opens_and_takes_contexts() {
    let mut spool = two_traced();
    let image = spool.image();
    let conn = rusqlite::Connection::open(image.path().join("spool.db")).expect("open");
    conn.execute_batch("DROP TABLE contexts; UPDATE meta SET format_version = 3")
        .expect("format 3");
    drop(conn);
    spool.restore(image);
    assert_eq!(spool.status().quarantined, None);
    assert_eq!(contexts(&mut spool, 1, 100), []);
    spool.append(traced(1, Some(A))).expect("taken");
    assert_eq!(contexts(&mut spool, 1, 100), [(7, 7, A.to_owned())]);
}
