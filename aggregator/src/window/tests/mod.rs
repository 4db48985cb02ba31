//! The engine against independent references, and against itself under other batchings and crashes.

mod aggregates;
mod amounts;
mod differential;
mod eviction;
mod evolution;
mod explained;
mod keyed;
mod kinds;
mod properties;
mod rollups;
mod time;

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use serde_json::{Map, Value, json};
use tributary_shared::ids::{AgentId, LaneNo, SeqRange, StreamName};
use tributary_shared::time::Millis;
use tributary_shared::wire::batch::{EVENT_TIME_COLUMN, JSON_TEXT_METADATA, SCHEMALESS_METADATA};

use super::{AppliedBatch, Engine, EngineConfig, WindowChange, WindowPage, WindowQuery};
use crate::view::ViewPlan;

/// An event: its time and its fields.
#[derive(Debug, Clone)]
struct Event {
    at: Millis,
    fields: Map<String, Value>,
}

fn event(at: Millis, fields: Value) -> Event {
    match fields {
        Value::Object(fields) => Event { at, fields },
        other => panic!("{other} is not an object"),
    }
}

/// How a gateway writes the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// With a schema: `i*` integers, `f*` floats, `s*` texts, `d*` texts with dictionary, `b*` booleans.
    Typed,
    /// With a schema of mixed types: every value is a JSON text.
    JsonText,
    /// Types inferred from the batch.
    Schemaless,
}

fn record_batch(events: &[Event], layout: Layout) -> RecordBatch {
    let mut names: Vec<String> = events.iter().flat_map(|e| e.fields.keys().cloned()).collect();
    names.sort();
    names.dedup();
    let columns = names.into_iter().map(|name| {
        let values: Vec<&Value> = events
            .iter()
            .map(|e| e.fields.get(&name).unwrap_or(&Value::Null))
            .collect();
        let kind = kind(&name, &values, layout);
        (name, kind, values)
    });
    assemble(events, columns, layout == Layout::Schemaless)
}

/// A batch of the given columns: name, kind and values.
fn assemble<'a>(
    events: &[Event],
    named: impl Iterator<Item = (String, char, Vec<&'a Value>)>,
    schemaless: bool,
) -> RecordBatch {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let mut fields = vec![Field::new(EVENT_TIME_COLUMN, time, false)];
    let times: TimestampMillisecondArray = events.iter().map(|e| Some(e.at)).collect();
    let mut columns: Vec<ArrayRef> = vec![Arc::new(times.with_timezone("UTC"))];
    for (name, kind, values) in named {
        let column = column(kind, &values);
        let field = Field::new(&name, column.data_type().clone(), true);
        let metadata = [(JSON_TEXT_METADATA.to_owned(), "true".to_owned())];
        fields.push(if kind == 'j' {
            field.with_metadata(metadata)
        } else {
            field
        });
        columns.push(column);
    }
    let metadata = schemaless.then(|| (SCHEMALESS_METADATA.to_owned(), "true".to_owned()));
    let schema =
        Schema::new(fields).with_metadata(metadata.into_iter().collect::<std::collections::HashMap<_, _>>());
    RecordBatch::try_new(Arc::new(schema), columns).expect("columns fit their schema")
}

/// What a column holds: integers, floats, booleans, plain texts, texts with a dictionary, or JSON texts.
fn kind(name: &str, values: &[&Value], layout: Layout) -> char {
    let present = || values.iter().filter(|v| !v.is_null());
    match layout {
        Layout::Typed => name.chars().next().expect("a name"),
        Layout::JsonText => 'j',
        Layout::Schemaless if present().all(|v| v.is_i64()) => 'i',
        Layout::Schemaless if present().all(|v| v.is_number()) => 'f',
        Layout::Schemaless if present().all(|v| v.is_string()) => 'd',
        Layout::Schemaless if present().all(|v| v.is_boolean()) => 'b',
        Layout::Schemaless => 'j',
    }
}

fn column(kind: char, values: &[&Value]) -> ArrayRef {
    let texts = || values.iter().map(|v| v.as_str());
    match kind {
        'i' => Arc::new(values.iter().map(|v| v.as_i64()).collect::<Int64Array>()),
        'f' => Arc::new(values.iter().map(|v| v.as_f64()).collect::<Float64Array>()),
        'b' => Arc::new(values.iter().map(|v| v.as_bool()).collect::<BooleanArray>()),
        's' => Arc::new(texts().collect::<StringArray>()),
        'd' => Arc::new(texts().collect::<DictionaryArray<Int32Type>>()),
        _ => Arc::new(
            values
                .iter()
                .map(|v| (!v.is_null()).then(|| v.to_string()))
                .collect::<StringArray>(),
        ),
    }
}

/// An engine whose log is written by the test.
struct Bench {
    engine: Engine,
    stream: StreamName,
}

impl Bench {
    fn new(views: &[&str]) -> Self {
        Self::with(EngineConfig::default(), views)
    }

    fn with(config: EngineConfig, views: &[&str]) -> Self {
        let mut engine = Engine::new(config);
        for (at, sql) in views.iter().enumerate() {
            engine.put_view(plan(&format!("v{at}"), sql));
        }
        let stream = StreamName::new("readings").expect("valid");
        Self { engine, stream }
    }

    /// Appends a batch to the log and applies it.
    fn commit(&mut self, lane: u32, now: Millis, records: &RecordBatch) -> Vec<WindowChange> {
        self.append(lane, now, records, false)
    }

    /// The same for dead letters that became valid.
    fn replay(&mut self, lane: u32, now: Millis, records: &RecordBatch) -> Vec<WindowChange> {
        self.append(lane, now, records, true)
    }

    /// Applies the newest entry once more.
    fn again(&mut self, lane: u32, now: Millis, records: &RecordBatch) {
        let agent = AgentId::new(&format!("edge{lane}")).expect("valid");
        let changes = self.engine.apply(&AppliedBatch {
            replayed: false,
            range: SeqRange { first: 1, last: 9 },
            pos: self.engine.position(),
            lane: LaneNo(lane),
            agent: &agent,
            stream: &self.stream.clone(),
            committed_at: now,
            records: Some(records),
        });
        assert!(changes.is_empty(), "an entry counts once");
    }

    fn append(&mut self, lane: u32, now: Millis, records: &RecordBatch, replayed: bool) -> Vec<WindowChange> {
        // each lane is of an agent of its own
        let agent = AgentId::new(&format!("edge{lane}")).expect("valid");
        let (range, stream) = (SeqRange { first: 1, last: 9 }, self.stream.clone());
        self.engine.apply(&AppliedBatch {
            replayed,
            range,
            pos: self.engine.position().next(),
            lane: LaneNo(lane),
            agent: &agent,
            stream: &stream,
            committed_at: now,
            records: Some(records),
        })
    }

    fn page(&self, view: &str) -> WindowPage {
        let query = WindowQuery {
            limit: usize::MAX,
            ..WindowQuery::default()
        };
        self.engine.windows(view, &query).expect("the view exists")
    }

    /// The rows of a view as JSON, oldest first; without revisions, which depend on the batching.
    fn rows(&self, view: &str) -> Vec<Value> {
        let mut rows: Vec<Value> = self.page(view).rows.iter().map(|row| json!(row)).collect();
        for row in &mut rows {
            row.as_object_mut().expect("an object").remove("revision");
        }
        rows.sort_by_key(ToString::to_string);
        rows
    }
}

fn plan(name: &str, sql: &str) -> Arc<ViewPlan> {
    match ViewPlan::compile(name, sql) {
        Ok(plan) => Arc::new(plan),
        Err(error) => panic!("{sql}: {error}"),
    }
}

/// A view over the test's stream, in windows of a minute.
fn view(list: &str, rest: &str) -> String {
    format!("SELECT {list} FROM TUMBLE(readings, ts, INTERVAL '1 minute') {rest}")
}
