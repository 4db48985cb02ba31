//! Windows explained: what is found in the log again is what the fold counted, for windows of every kind.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tributary_shared::ids::{AgentId, Epoch, GatewayId, LaneKey, LaneNo, Seq, StreamName};
use tributary_shared::time::Millis;
use tributary_shared::wire::{Attempts, BatchContent, CommitHeader, Contexts, SchemaRef};

use super::{Event, Layout, event, record_batch};
use crate::commit::{Committed, EntryHeader, LogPos, ReplayHeader};
use crate::view::{ViewOptions, WindowKind};
use crate::window::{
    AppliedBatch, Engine, EngineConfig, ExplainError, ExplainQuery, Recount, WindowHit, WindowQuery,
};

const SECOND: Millis = 1_000;
const NOW: Millis = 1_000_000;

/// By name, so that what reads another view comes behind it.
const VIEWS: [(&str, &str); 12] = [
    (
        "a_tumble",
        "SELECT s, count(*) AS n FROM TUMBLE(readings, ts, INTERVAL '7 seconds') WHERE i > -7 GROUP BY s",
    ),
    (
        "b_hop",
        "SELECT s, count(*) AS n FROM HOP(readings, ts, INTERVAL '4 seconds', INTERVAL '10 seconds') GROUP BY s",
    ),
    (
        "c_wide",
        "SELECT s, i, count(*) AS n FROM HOP(readings, ts, INTERVAL '5 seconds', INTERVAL '10 seconds') GROUP BY s, i",
    ),
    (
        "d_session",
        "SELECT s, count(*) AS n FROM SESSION(readings, ts, INTERVAL '3 seconds') WHERE i <> 0 GROUP BY s",
    ),
    (
        "e_running",
        "SELECT s, count(*) AS n FROM readings WHERE i % 2 = 0 GROUP BY s",
    ),
    (
        "f_zoned",
        "SELECT count(*) AS n FROM TUMBLE(readings, ts, INTERVAL '1 day', 'Europe/Berlin')",
    ),
    (
        "g_seen",
        "SELECT s, count(*) AS n FROM TUMBLE(readings, seen, INTERVAL '7 seconds') GROUP BY s",
    ),
    (
        "h_shown",
        "SELECT s, count(*) AS n FROM TUMBLE(readings, ts, INTERVAL '5 seconds') GROUP BY s HAVING count(*) > 1",
    ),
    (
        "i_rolled",
        "SELECT s, merge(n) AS n FROM TUMBLE(a_tumble, window_start, INTERVAL '21 seconds') GROUP BY s",
    ),
    (
        "j_hopped",
        "SELECT s, merge(n) AS n FROM HOP(a_tumble, window_start, INTERVAL '14 seconds', INTERVAL '28 seconds')
         WHERE n > 1 GROUP BY s",
    ),
    (
        "k_higher",
        "SELECT merge(n) AS n FROM TUMBLE(i_rolled, window_start, INTERVAL '42 seconds')",
    ),
    (
        "l_of_sessions",
        "SELECT s, sum(n) AS n FROM TUMBLE(d_session, window_start, INTERVAL '20 seconds') GROUP BY s",
    ),
];

/// A log, and an engine that folded it.
struct Book {
    engine: Engine,
    log: Vec<Committed>,
    seqs: BTreeMap<u32, Seq>,
}

fn stream() -> StreamName {
    StreamName::new("readings").expect("valid")
}

impl Book {
    fn new(options: ViewOptions) -> Self {
        let mut engine = Engine::new(EngineConfig {
            options,
            ..EngineConfig::default()
        });
        for (name, sql) in VIEWS {
            match engine.compile(name, sql) {
                Ok(plan) => engine.put_view(Arc::new(plan)),
                Err(error) => panic!("{name}: {error}"),
            };
        }
        let (log, seqs) = (Vec::new(), BTreeMap::new());
        Self { engine, log, seqs }
    }

    fn commit(&mut self, lane: u32, events: &[Event], layout: Layout, replayed: bool) {
        let first_seq = self.seqs.get(&lane).copied().unwrap_or(1);
        // one seq of each batch is a dead letter's
        let count = u32::try_from(events.len()).expect("small") + 1;
        self.seqs.insert(lane, first_seq + u64::from(count));
        let header = if replayed {
            EntryHeader::Replay(ReplayHeader {
                lane: LaneNo(lane),
                seqs: (0..events.len() as u64).map(|at| first_seq + at).collect(),
                schema: None,
                body_crc: 0,
                by: "a test".to_owned(),
                fix: None,
            })
        } else {
            EntryHeader::Batch(header(lane, first_seq, count))
        };
        let key = LaneKey {
            agent: AgentId::new(&format!("edge{}", lane % 2)).expect("valid"),
            stream: stream(),
            epoch: Epoch(u64::from(lane)),
        };
        let entry = Committed {
            pos: LogPos(self.log.len() as u64 + 1),
            key,
            header,
            records: Some(record_batch(events, layout)),
            committed_at: NOW,
        };
        self.engine.apply(&applied(&entry));
        self.log.push(entry);
    }

    /// Reads the log again for some rows of a view: those entries behind a position.
    fn explain(
        &self,
        view: &str,
        query: &ExplainQuery,
        behind: LogPos,
    ) -> Result<(u64, Recount), ExplainError> {
        let mut basis = self.engine.basis(view, query)?;
        basis.late_is_lost = behind.0 > 0;
        let mut recount = Recount::behind(None);
        let base = basis.plan.name().to_owned();
        for entry in self.log.iter().filter(|entry| entry.pos > behind) {
            let done = recount.entry(&basis, entry, &mut |asked| {
                Ok::<_, Infallible>(
                    self.engine
                        .owned(&base, basis.generation, &asked)
                        .expect("the view"),
                )
            });
            let Ok(()) = done;
        }
        Ok((basis.events, recount))
    }
}

fn applied(entry: &Committed) -> AppliedBatch<'_> {
    AppliedBatch {
        pos: entry.pos,
        lane: entry.header.lane(),
        agent: &entry.key.agent,
        stream: &entry.key.stream,
        committed_at: entry.committed_at,
        range: entry.header.range(),
        replayed: entry.header.is_replay(),
        records: entry.records.as_ref(),
    }
}

fn header(lane: u32, first_seq: Seq, count: u32) -> CommitHeader {
    CommitHeader {
        lane: LaneNo(lane),
        first_seq,
        count,
        writer: 0,
        after_writer: 0,
        content: BatchContent::Columns,
        dead_seqs: vec![first_seq],
        schema: Some(SchemaRef {
            id: lane,
            version: lane,
        }),
        columns_len: 0,
        dead_len: 0,
        body_crc: 0,
        gateway: GatewayId::new(&format!("gw{}", lane % 3)).expect("valid"),
        segments: Vec::new(),
        sent_at: NOW,
        received_at: NOW,
        admitted_at: NOW,
        traceparent: None,
        usage: Vec::new(),
        contexts: Contexts::default(),
        attempts: Attempts::default(),
    }
}

/// Times are in halves of seconds, so that events lie on the bounds of windows and gaps often; some are hours ahead, so that
/// what comes behind them is too late.
fn some_event() -> impl Strategy<Value = Event> {
    let key = prop_oneof![
        2 => Just(Value::Null), 4 => Just(json!("a")), 2 => Just(json!("b")), 1 => Just(json!("c")), 1 => Just(json!("dd"))
    ];
    let at = prop_oneof![12 => -60i64..60, 2 => 60i64..240, 1 => 100_000i64..100_010];
    let seen = prop_oneof![3 => (-40i64..40).prop_map(|half| json!(half * 500)), 1 => Just(json!("soon"))];
    (at, key, -9i64..9, seen)
        .prop_map(|(half, s, i, seen)| event(half * 500, json!({"s": s, "i": i, "seen": seen})))
}

#[derive(Debug, Clone)]
struct Batch {
    lane: u32,
    events: Vec<Event>,
    replayed: bool,
}

fn some_batch() -> impl Strategy<Value = Batch> {
    let events = prop::collection::vec(some_event(), 1..8);
    (1u32..4, events, prop::bool::weighted(0.2)).prop_map(|(lane, events, replayed)| Batch {
        lane,
        events,
        replayed,
    })
}

fn some_options() -> impl Strategy<Value = ViewOptions> {
    let retention = prop_oneof![
        Just(60 * SECOND),
        Just(20 * SECOND),
        Just(ViewOptions::default().retention)
    ];
    let max_groups = prop_oneof![1 => Just(1u64), 1 => Just(2), 2 => Just(1_000)];
    (retention, max_groups).prop_map(|(retention, max_groups)| ViewOptions {
        retention,
        max_groups,
        ..ViewOptions::default()
    })
}

/// How one row is asked for.
fn of_row(row: &crate::window::WindowRow, keys: &[String]) -> ExplainQuery {
    let text = |column: &String| match row.value(column).map(|value| json!(value)) {
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => panic!("no column {column}"),
    };
    ExplainQuery {
        window_start: row.window_start,
        filters: keys.iter().map(|column| (column.clone(), text(column))).collect(),
        overflow: Some(row.overflow),
    }
}

/// A row as both sides name it: view, start, keys, and whether it is the overflow.
type RowName = (String, Option<Millis>, String, bool);

impl Book {
    /// How many events are located in each row, and the rows that some events are perhaps in.
    fn located(&self) -> (BTreeMap<RowName, u64>, BTreeSet<RowName>) {
        let name = |hit: &WindowHit| {
            (
                hit.view.to_string(),
                hit.window_start,
                json!(hit.group).to_string(),
                hit.overflow,
            )
        };
        let (mut counts, mut doubtful) = (BTreeMap::new(), BTreeSet::new());
        for entry in &self.log {
            let records = entry.records.as_ref().expect("rows");
            for row in 0..records.num_rows() {
                let located = self
                    .engine
                    .locate(&stream(), entry.pos, records, row)
                    .expect("reads");
                for hit in &located.windows {
                    *counts.entry(name(hit)).or_default() += 1;
                }
                doubtful.extend(located.doubts.iter().flat_map(|doubt| &doubt.hits).map(name));
            }
        }
        (counts, doubtful)
    }
}

/// The events of an explanation: lane, seq range and entry.
fn names(recount: &Recount) -> BTreeSet<(u32, u64)> {
    let lanes = recount.sure.ranges();
    lanes.map(|(lane, range)| (lane.0, range.position.0)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_row_of_every_kind_of_window_is_explained_by_as_many_events_as_it_counts(
        batches in prop::collection::vec(some_batch(), 1..12),
        options in some_options(),
        schemaless in any::<bool>(),
        floor in any::<prop::sample::Index>(),
    ) {
        let mut book = Book::new(options);
        let layout = if schemaless { Layout::Schemaless } else { Layout::JsonText };
        for Batch { lane, events, replayed } in &batches {
            book.commit(*lane, events, layout, *replayed);
        }
        let (located, doubtful) = book.located();
        for (view, _) in VIEWS {
            let plan = Arc::clone(book.engine.view(view).expect("the view"));
            let page = book.engine.windows(view, &WindowQuery::default()).expect("rows");
            let overflowed = |view| book.engine.stats(view).expect("exists").counters.overflowed > 0;
            // a full view of sessions does not tell everything any more
            let of_sessions = matches!(plan.window, WindowKind::Session { .. }) && overflowed(view);
            let blurred = of_sessions || (view == "l_of_sessions" && overflowed("d_session"));
            for row in &page.rows {
                let query = of_row(row, &plan.key_names);
                let (events, recount) = book.explain(view, &query, LogPos(0)).expect("a row");
                let (sure, unsure) = (recount.found(), recount.unsure.events);
                prop_assert!(sure <= events && events <= sure + unsure, "{}: {} of {} and {}", view, events, sure, unsure);
                prop_assert!(unsure == 0 || blurred, "{}: what is unsure?", view);
                // a roll-up's row counts its sources' rows
                if plan.source.is_none() {
                    prop_assert_eq!(json!(row.value("n")), json!(events), "{}: {:?}", view, row);
                }
                let group: Map<String, Value> =
                    plan.key_names.iter().map(|key| (key.clone(), json!(row.value(key)))).collect();
                let name = (view.to_owned(), row.window_start, json!(group).to_string(), row.overflow);
                if !blurred && !doubtful.contains(&name) {
                    prop_assert_eq!(located.get(&name).copied(), Some(sure), "{:?}", name);
                }
                let of_lanes: u64 = recount.sure.ranges().map(|(_, range)| range.events).sum();
                prop_assert_eq!(of_lanes, sure);
                // what the log does not have any more is missing, and nothing is there that was not
                let floor = LogPos(floor.index(book.log.len()) as u64);
                let (_, later) = book.explain(view, &query, floor).expect("a row");
                prop_assert!(later.found() <= sure, "{}: {} > {}", view, later.found(), sure);
                prop_assert!(names(&later).is_subset(&names(&recount)));
            }
            // all rows of a window at once
            for start in page.rows.iter().map(|row| row.window_start).collect::<BTreeSet<_>>() {
                let query = ExplainQuery { window_start: start, ..ExplainQuery::default() };
                let (events, recount) = book.explain(view, &query, LogPos(0)).expect("rows");
                prop_assert!(recount.found() <= events && events <= recount.found() + recount.unsure.events);
                prop_assert!(recount.unsure.events == 0 || blurred);
            }
        }
    }
}
