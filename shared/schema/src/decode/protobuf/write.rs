//! A decoded message as JSON text. Fields have their names of the `.proto` file, 64-bit integers are numbers,
//! bytes are base64, and enum constants their names. A field without presence that is not there has its
//! default, any other one is left out.

use std::fmt::{Display, Write};

use chrono::DateTime;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind as Proto, MapKey, MessageDescriptor, ReflectMessage, Value,
};
use tributary_shared::wire::Reason;

use crate::decode::avro::{write_base64, write_text};
use crate::decode::kind::Kind;
use crate::decode::reasons::{pointer, reason};

/// What is wrong with a message. Its path is found on the way back.
pub(super) struct Bad {
    rule: &'static str,
    message: String,
    /// The innermost first.
    path: Vec<String>,
}

impl Bad {
    fn new(rule: &'static str, message: impl Into<String>) -> Self {
        Self {
            rule,
            message: message.into(),
            path: Vec::new(),
        }
    }

    fn at(mut self, segment: String) -> Self {
        self.path.push(segment);
        self
    }

    pub(super) fn into_reason(self) -> Reason {
        let path: Vec<String> = self.path.into_iter().rev().collect();
        reason(path.concat(), self.rule, self.message)
    }
}

pub(super) struct Writer<'o> {
    out: &'o mut String,
}

impl<'o> Writer<'o> {
    pub(super) fn new(out: &'o mut String) -> Self {
        Self { out }
    }

    /// The message of a whole row. Fields that the reader has under the same number take its names, when it is
    /// the same message; those that go into columns of times are counts.
    pub(super) fn row(
        &mut self,
        message: &DynamicMessage,
        reader: Option<(&MessageDescriptor, &[(String, Kind)])>,
    ) -> Result<(), Bad> {
        let descriptor = message.descriptor();
        let same = reader.filter(|(reader, _)| reader.full_name() == descriptor.full_name());
        let kinds = reader.map_or(&[][..], |(_, kinds)| kinds);
        self.out.push('{');
        let mut first = true;
        for field in descriptor.fields() {
            if field.supports_presence() && !message.has_field(&field) {
                continue;
            }
            let known = same.and_then(|(reader, _)| reader.get_field(field.number()));
            let name = known.as_ref().map_or(field.name(), |known| known.name());
            let time = kinds
                .iter()
                .any(|(column, kind)| column == name && matches!(kind, Kind::Time(_)));
            self.key(name, &mut first);
            let value = message.get_field(&field);
            let written = match value.as_ref() {
                Value::Message(stamp) if time && is(stamp, "google.protobuf.Timestamp") => self.micros(stamp),
                value => self.field(&field, value),
            };
            written.map_err(|bad| bad.at(pointer(name)))?;
        }
        self.out.push('}');
        Ok(())
    }

    fn key(&mut self, name: &str, first: &mut bool) {
        if !std::mem::take(first) {
            self.out.push(',');
        }
        write_text(self.out, name);
        self.out.push(':');
    }

    fn put(&mut self, value: impl Display) {
        // writing to memory cannot fail
        let _ = write!(self.out, "{value}");
    }

    fn field(&mut self, field: &FieldDescriptor, value: &Value) -> Result<(), Bad> {
        match (field.kind(), value) {
            (Proto::Message(entry), Value::Map(entries)) if field.is_map() => {
                let kind = entry.map_entry_value_field().kind();
                self.map(entries.iter(), &kind)
            }
            (kind, Value::List(items)) => self.list(items, &kind),
            (kind, value) => self.value(&kind, value),
        }
    }

    fn map<'m>(
        &mut self,
        entries: impl Iterator<Item = (&'m MapKey, &'m Value)>,
        kind: &Proto,
    ) -> Result<(), Bad> {
        let mut sorted: Vec<(String, &Value)> = entries.map(|(key, value)| (key_text(key), value)).collect();
        // a map's own order differs from run to run
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        self.out.push('{');
        let mut first = true;
        for (key, value) in sorted {
            self.key(&key, &mut first);
            self.value(kind, value).map_err(|bad| bad.at(pointer(&key)))?;
        }
        self.out.push('}');
        Ok(())
    }

    fn list(&mut self, items: &[Value], kind: &Proto) -> Result<(), Bad> {
        self.out.push('[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            self.value(kind, item)
                .map_err(|bad| bad.at(format!("/{index}")))?;
        }
        self.out.push(']');
        Ok(())
    }

    fn value(&mut self, kind: &Proto, value: &Value) -> Result<(), Bad> {
        match value {
            Value::Bool(value) => self.put(value),
            Value::I32(value) => self.put(value),
            Value::I64(value) => self.put(value),
            Value::U32(value) => self.put(value),
            Value::U64(value) => self.put(value),
            Value::F32(value) => return self.float(value.is_finite(), format!("{value:?}")),
            Value::F64(value) => return self.float(value.is_finite(), format!("{value:?}")),
            Value::String(text) => write_text(self.out, text),
            Value::Bytes(bytes) => write_base64(self.out, bytes),
            Value::EnumNumber(number) => {
                let named = kind.as_enum().and_then(|ty| ty.get_value(*number));
                let text = named.map_or_else(|| number.to_string(), |value| value.name().to_owned());
                write_text(self.out, &text);
            }
            Value::Message(message) => return self.message(message),
            Value::List(items) => return self.list(items, kind),
            Value::Map(entries) => return self.map(entries.iter(), kind),
        }
        Ok(())
    }

    fn float(&mut self, finite: bool, text: String) -> Result<(), Bad> {
        if !finite {
            return Err(Bad::new("out_of_range", format!("{text} is not a finite number")));
        }
        self.out.push_str(&text);
        Ok(())
    }

    fn message(&mut self, message: &DynamicMessage) -> Result<(), Bad> {
        let descriptor = message.descriptor();
        let Some(well_known) = descriptor.full_name().strip_prefix("google.protobuf.") else {
            return self.row(message, None);
        };
        match well_known {
            "Timestamp" => {
                let (seconds, nanos) = seconds_and_nanos(message);
                let time = u32::try_from(nanos)
                    .ok()
                    .and_then(|nanos| DateTime::from_timestamp(seconds, nanos));
                let Some(time) = time else {
                    return Err(no_time(seconds, nanos));
                };
                self.put(format_args!("\"{}\"", time.format("%Y-%m-%dT%H:%M:%S%.fZ")));
                Ok(())
            }
            "Duration" => self.duration(message),
            "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value" | "UInt32Value"
            | "BoolValue" | "StringValue" | "BytesValue" => match descriptor.get_field(1) {
                Some(field) => self.value(&field.kind(), &message.get_field(&field)),
                None => self.row(message, None),
            },
            "Struct" | "ListValue" => match descriptor.get_field(1) {
                Some(field) => self.field(&field, &message.get_field(&field)),
                None => self.row(message, None),
            },
            "Value" => self.any_json(message),
            "FieldMask" => {
                let paths = message.get_field_by_number(1);
                let paths = paths.as_deref().and_then(Value::as_list).unwrap_or_default();
                let paths: Vec<&str> = paths.iter().filter_map(Value::as_str).collect();
                write_text(self.out, &paths.join(","));
                Ok(())
            }
            "Any" => self.any(message),
            _ => self.row(message, None),
        }
    }

    fn micros(&mut self, message: &DynamicMessage) -> Result<(), Bad> {
        let (seconds, nanos) = seconds_and_nanos(message);
        let micros = seconds
            .checked_mul(1_000_000)
            .and_then(|micros| micros.checked_add(i64::from(nanos.div_euclid(1_000))))
            .filter(|_| (0..1_000_000_000).contains(&nanos));
        match micros {
            Some(micros) => {
                self.put(micros);
                Ok(())
            }
            None => Err(no_time(seconds, nanos)),
        }
    }

    /// Seconds as a decimal number.
    fn duration(&mut self, message: &DynamicMessage) -> Result<(), Bad> {
        let (seconds, nanos) = seconds_and_nanos(message);
        let sound =
            nanos.unsigned_abs() < 1_000_000_000 && (seconds.signum() * i64::from(nanos.signum())) >= 0;
        if !sound {
            return Err(Bad::new(
                "out_of_range",
                format!("{seconds} s and {nanos} ns are no duration"),
            ));
        }
        let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
        self.put(format_args!(
            "{sign}{}.{:09}",
            seconds.unsigned_abs(),
            nanos.unsigned_abs()
        ));
        Ok(())
    }

    /// A `google.protobuf.Value`.
    fn any_json(&mut self, message: &DynamicMessage) -> Result<(), Bad> {
        let mut fields = message.fields();
        match fields.next() {
            Some((field, value)) if field.number() != 1 => self.value(&field.kind(), value),
            _ => {
                self.out.push_str("null");
                Ok(())
            }
        }
    }

    /// The type and the bytes: what they mean may not be known here.
    fn any(&mut self, message: &DynamicMessage) -> Result<(), Bad> {
        let url = message.get_field_by_number(1);
        let bytes = message.get_field_by_number(2);
        self.out.push_str("{\"@type\":");
        write_text(
            self.out,
            url.as_deref().and_then(Value::as_str).unwrap_or_default(),
        );
        self.out.push_str(",\"value\":");
        write_base64(
            self.out,
            bytes
                .as_deref()
                .and_then(Value::as_bytes)
                .map_or(&[], |bytes| bytes),
        );
        self.out.push('}');
        Ok(())
    }
}

fn is(message: &DynamicMessage, name: &str) -> bool {
    message.descriptor().full_name() == name
}

fn no_time(seconds: i64, nanos: i32) -> Bad {
    Bad::new(
        "out_of_range",
        format!("{seconds} s and {nanos} ns since the epoch are no time that can be written"),
    )
}

fn seconds_and_nanos(message: &DynamicMessage) -> (i64, i32) {
    let field = |number: u32| message.get_field_by_number(number);
    let seconds = field(1).and_then(|value| value.as_i64()).unwrap_or_default();
    let nanos = field(2).and_then(|value| value.as_i32()).unwrap_or_default();
    (seconds, nanos)
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}
