//! Batches through the decoder, and what a slow reference says about them.

mod agreement;
mod avro;
mod batches;
mod columns;
mod framing;
mod grammar;
mod hostile;
mod protobuf;
mod reasons;
mod reference;
mod rules;
mod schemas;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
};
use arrow_array::{Array, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_schema::{DataType, TimeUnit};
use serde_json::{Map, Value};
use tributary_shared::time::Millis;
use tributary_shared::wire::batch::JSON_TEXT_METADATA;
use tributary_shared::wire::rows::{compress, push_row};
use tributary_shared::wire::{SchemaInfo, Segment};

use super::{DecodeLimits, Decoded, Decoder, SchemaError, StreamSchema};

pub(super) const COLLECTED_AT: Millis = 1_700_000_000_000;

pub(super) fn compile(schema: &Value) -> Result<StreamSchema, SchemaError> {
    StreamSchema::compile(&SchemaInfo {
        id: 7,
        version: 2,
        format: "JSON".to_owned(),
        text: schema.to_string(),
        references: Vec::new(),
    })
}

/// A payload in wire format.
pub(super) fn framed(id: u32, body: &[u8]) -> Vec<u8> {
    let id = id.to_be_bytes();
    [&[0][..], &id, body].concat()
}

/// A segment as an agent makes it.
pub(super) fn segment(rows: &[impl AsRef<[u8]>]) -> (Segment, Vec<u8>) {
    let mut raw = Vec::new();
    rows.iter().for_each(|row| push_row(&mut raw, row.as_ref()));
    let (codec, bytes) = compress(&raw).expect("compress");
    let segment = Segment {
        count: rows.len() as u32,
        collected_at: COLLECTED_AT,
        spooled_at: COLLECTED_AT,
        codec,
        len: bytes.len() as u32,
        raw_len: raw.len() as u32,
        origin: None,
    };
    (segment, bytes)
}

pub(super) fn decode_with(
    decoder: &mut Decoder,
    schema: &StreamSchema,
    rows: &[impl AsRef<[u8]>],
) -> Decoded {
    let (segment, bytes) = segment(rows);
    decoder
        .decode(schema, 1, &[(&segment, &bytes)], &DecodeLimits::default())
        .expect("a sound batch")
}

pub(super) fn decode(schema: &StreamSchema, rows: &[impl AsRef<[u8]>]) -> Decoded {
    decode_with(&mut Decoder::new(), schema, rows)
}

pub(super) fn read(decoded: &Decoded) -> Option<RecordBatch> {
    if decoded.columns.is_empty() {
        assert_eq!(decoded.valid, 0);
        return None;
    }
    let mut reader = StreamReader::try_new(decoded.columns.as_slice(), None).expect("a stream");
    let batch = reader.next().expect("one batch").expect("readable");
    assert!(reader.next().is_none(), "one batch only");
    assert_eq!(batch.num_rows(), decoded.valid as usize);
    Some(batch)
}

/// A row as the columns hold it: nulls left out, the event time apart, `_extra` as an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub event_time: Millis,
    pub cells: Map<String, Value>,
    pub extra: Map<String, Value>,
}

pub(super) fn rows_of(decoded: &Decoded) -> Vec<Row> {
    let Some(batch) = read(decoded) else {
        return Vec::new();
    };
    let schema = batch.schema();
    assert_eq!(schema.field(0).name(), "_event_time");
    assert_eq!(schema.fields().last().expect("fields").name(), "_extra");
    let times = batch.column(0).as_primitive::<TimestampMillisecondType>();
    assert_eq!((times.timezone(), times.null_count()), (Some("UTC"), 0));
    let cells = |row: usize| {
        let named = schema.fields().iter().zip(batch.columns()).skip(1);
        let present = named.filter(move |(_, array)| array.is_valid(row));
        present.map(move |(field, array)| {
            let json = field
                .metadata()
                .get(JSON_TEXT_METADATA)
                .is_some_and(|value| value == "true");
            (field.name().clone(), cell(array, row, json))
        })
    };
    let row = |row: usize| {
        let mut cells: Map<String, Value> = cells(row).collect();
        let extra = match cells.remove("_extra") {
            Some(Value::Object(extra)) => extra,
            None => Map::new(),
            Some(other) => panic!("_extra is {other}"),
        };
        Row {
            event_time: times.value(row),
            cells,
            extra,
        }
    };
    (0..batch.num_rows()).map(row).collect()
}

fn cell(array: &dyn Array, row: usize, json: bool) -> Value {
    match array.data_type() {
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).into(),
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Timestamp(unit, _) => {
            let time =
                arrow_cast::cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None)).expect("a time");
            let micros = time.as_primitive::<TimestampMicrosecondType>().value(row);
            let nanos = *unit == TimeUnit::Nanosecond;
            assert!(!nanos || micros >= 0, "only small ones are made");
            let time = chrono::DateTime::from_timestamp_micros(micros).expect("in range");
            time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true).into()
        }
        DataType::Utf8 if json => {
            serde_json::from_str(array.as_string::<i32>().value(row)).expect("a JSON text")
        }
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_dictionary::<Int32Type>();
            let code = usize::try_from(dictionary.keys().value(row)).expect("not negative");
            dictionary.values().as_string::<i32>().value(code).into()
        }
        other => panic!("no column of ours has the type {other}"),
    }
}
