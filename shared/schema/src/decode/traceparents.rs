//! The trace contexts that events carry themselves, in a top-level field `traceparent`.

use std::borrow::Cow;
use std::io::Cursor;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array, StringArray};
use arrow_ipc::reader::StreamReader;
use arrow_schema::ArrowError;
use serde::Deserialize;
use tributary_shared::wire::batch::EXTRA_COLUMN;

use super::messages::Decoded;

/// As W3C Trace Context calls it.
const FIELD: &str = "traceparent";
const QUOTED: &str = "\"traceparent\"";

#[derive(Deserialize)]
struct Traced<'t> {
    #[serde(borrow, default)]
    traceparent: Option<Cow<'t, str>>,
}

/// Visits the field of every event that has it as a text: a column of its own, among the fields that the schema does not
/// name, or in a dead letter that is JSON. Reads those columns of the finished batch, and nothing where they are not.
///
/// # Errors
/// When the columns are not what a decoder wrote.
pub fn each_traceparent(decoded: &Decoded, mut visit: impl FnMut(&str)) -> Result<(), ArrowError> {
    for letter in &decoded.dead {
        if let Ok(text) = std::str::from_utf8(&letter.payload) {
            within(text, &mut visit);
        }
    }
    if decoded.columns.is_empty() {
        return Ok(());
    }
    let whole = StreamReader::try_new(Cursor::new(&decoded.columns), None)?;
    let fields = whole.schema();
    let fields = fields.fields().iter().enumerate();
    let wanted = fields.filter(|(_, field)| [FIELD, EXTRA_COLUMN].contains(&field.name().as_str()));
    let wanted: Vec<usize> = wanted.map(|(at, _)| at).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    for batch in StreamReader::try_new(Cursor::new(&decoded.columns), Some(wanted))? {
        let batch = batch?;
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            if field.name() == FIELD {
                each_text(column, &mut visit);
            } else {
                each_text(column, &mut |text| within(text, &mut visit));
            }
        }
    }
    Ok(())
}

fn within(text: &str, visit: &mut impl FnMut(&str)) {
    if text.contains(QUOTED)
        && let Ok(Traced {
            traceparent: Some(traceparent),
        }) = serde_json::from_str(text)
    {
        visit(&traceparent);
    }
}

fn each_text(column: &dyn Array, visit: &mut impl FnMut(&str)) {
    if let Some(texts) = column.as_string_opt::<i32>() {
        texts.iter().flatten().for_each(visit);
    } else if let Some(texts) = column
        .as_dictionary_opt::<Int32Type>()
        .and_then(|dictionary| dictionary.downcast_dict::<StringArray>())
    {
        texts.into_iter().flatten().for_each(visit);
    }
}

#[cfg(test)]
mod tests {
    use tributary_shared::wire::rows::push_row;
    use tributary_shared::wire::{Codec, SchemaInfo, Segment};

    use super::super::{DecodeLimits, Decoder, StreamSchema};
    use super::*;

    fn found(schema: &StreamSchema, events: &[&str]) -> Vec<String> {
        let mut raw = Vec::new();
        events
            .iter()
            .for_each(|event| push_row(&mut raw, event.as_bytes()));
        let len = u32::try_from(raw.len()).expect("small");
        let segment = Segment {
            count: u32::try_from(events.len()).expect("few"),
            collected_at: 1,
            spooled_at: 2,
            codec: Codec::None,
            len,
            raw_len: len,
            origin: None,
        };
        let limits = DecodeLimits::default();
        let decoded = Decoder::new().decode(schema, 1, &[(&segment, &raw)], &limits);
        let mut found = Vec::new();
        each_traceparent(&decoded.expect("decoded"), |text| found.push(text.to_owned())).expect("columns");
        found
    }

    fn schema(text: &str) -> StreamSchema {
        let info = SchemaInfo {
            id: 1,
            version: 1,
            format: "JSON".to_owned(),
            text: text.to_owned(),
            references: Vec::new(),
        };
        StreamSchema::compile(&info).expect("a schema")
    }

    const EVENTS: [&str; 5] = [
        r#"{"n":1,"traceparent":"00-a"}"#,
        r#"{"n":2,"deep":{"traceparent":"00-b"}}"#,
        r#"{"n":3,"traceparent":7}"#,
        r#"{"n":4}"#,
        r#"{"n":5,"traceparent":"00-\u0063"}"#,
    ];

    #[test]
    fn the_field_is_found_wherever_the_schema_puts_it() {
        let named = schema(
            r#"{"type":"object","properties":{"n":{"type":"integer"},"traceparent":{"type":"string"}}}"#,
        );
        // the third event is a dead letter here
        assert_eq!(found(&named, &EVENTS), ["00-a", "00-c"]);
        let open = schema(r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#);
        assert_eq!(found(&open, &EVENTS), ["00-a", "00-c"]);
        assert_eq!(
            found(&StreamSchema::schemaless(), &[EVENTS[0], EVENTS[1]]),
            ["00-a"]
        );
    }

    #[test]
    fn a_dead_letter_names_its_trace_too_and_other_batches_have_none() {
        let strict = schema(r#"{"type":"object","properties":{"n":{"type":"string"}},"required":["n"]}"#);
        assert_eq!(found(&strict, &EVENTS[..2]), ["00-a"]);
        assert!(found(&strict, &[r#"{"n":"x"}"#, "not json \"traceparent\""]).is_empty());
        let many: Vec<String> = (0..500).map(|_| EVENTS[0].to_owned()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(
            found(&StreamSchema::schemaless(), &many).len(),
            500,
            "one text in a dictionary"
        );
    }
}
