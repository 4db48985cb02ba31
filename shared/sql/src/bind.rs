//! A plan's columns, found in one batch: the columns of a stream without a schema have the batch's types.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampMillisecondType};
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow_schema::{DataType, Field};
use arrow_select::filter::{FilterBuilder, FilterPredicate};
use tributary_shared::time::{MAX_MILLIS, MIN_MILLIS, parse_rfc3339};
use tributary_shared::wire::batch::{
    EVENT_TIME_COLUMN, EVENT_TIME_METADATA, EXTRA_COLUMN, JSON_TEXT_METADATA, SCHEMALESS_METADATA,
};

use super::convert::{floats, ints, texts, times};
use super::json::{Step, from_json, pick};
use super::plan::ViewPlan;
use super::scalar::Scalar;

/// Which numbers a batch has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The stream has a schema: integers and floats differ.
    Typed,
    /// No schema: numbers are numbers, as in JSON.
    Json,
}

/// The values of an expression, one for each row.
#[derive(Debug, Clone)]
pub enum Vector {
    Null,
    Bool(BooleanArray),
    Int(Int64Array),
    /// Finite, and never -0.0.
    Float(Float64Array),
    /// Utf8, or Dictionary(Int32, Utf8).
    Text(ArrayRef),
    Time(TimestampMillisecondArray),
    /// Values of differing kinds.
    Scalars(Vec<Scalar>),
}

/// Texts of either layout, by row.
#[derive(Debug, Clone, Copy)]
pub enum Texts<'a> {
    Plain(&'a StringArray),
    Dictionary(&'a DictionaryArray<Int32Type>, &'a StringArray),
}

impl<'a> Texts<'a> {
    /// `None` for an array that is neither.
    pub fn of(array: &'a ArrayRef) -> Option<Self> {
        match array.as_string_opt::<i32>() {
            Some(plain) => Some(Self::Plain(plain)),
            None => {
                let dictionary = array.as_dictionary_opt::<Int32Type>()?;
                Some(Self::Dictionary(
                    dictionary,
                    dictionary.values().as_string_opt::<i32>()?,
                ))
            }
        }
    }

    pub fn get(self, row: usize) -> Option<&'a str> {
        match self {
            Self::Plain(array) => array.is_valid(row).then(|| array.value(row)),
            Self::Dictionary(array, values) => {
                let key = array.key(row)?;
                values.is_valid(key).then(|| values.value(key))
            }
        }
    }
}

impl Vector {
    /// An array of a batch. Those of the types that the gateway writes are taken as they are, related ones are
    /// converted, and all others hold nothing that an expression could use.
    pub fn of(array: &ArrayRef) -> Self {
        let vector = match array.data_type() {
            DataType::Boolean => Some(Self::Bool(array.as_boolean().clone())),
            DataType::Utf8 => Some(Self::Text(Arc::clone(array))),
            DataType::Dictionary(key, value) if **key == DataType::Int32 && **value == DataType::Utf8 => {
                Some(Self::Text(Arc::clone(array)))
            }
            DataType::Timestamp(..) => times(array).map(Self::Time),
            kind if kind.is_integer() => ints(array).map(Self::Int),
            kind if kind.is_floating() => floats(array).map(|floats| Self::Float(finite(&floats).0)),
            _ => texts(array).map(|texts| Self::Text(Arc::new(texts))),
        };
        vector.unwrap_or(Self::Null)
    }

    pub fn scalar(&self, row: usize) -> Scalar {
        match self {
            Self::Null => Scalar::Null,
            Self::Bool(array) if array.is_valid(row) => Scalar::Bool(array.value(row)),
            Self::Int(array) if array.is_valid(row) => Scalar::Int(array.value(row)),
            Self::Float(array) if array.is_valid(row) => Scalar::Float(array.value(row)),
            Self::Time(array) if array.is_valid(row) => Scalar::Time(array.value(row)),
            Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Time(_) => Scalar::Null,
            Self::Text(array) => Texts::of(array)
                .and_then(|texts| texts.get(row))
                .map_or(Scalar::Null, Scalar::from),
            Self::Scalars(values) => values[row].clone(),
        }
    }

    fn filter(&self, predicate: &FilterPredicate) -> Self {
        // filtering a typed array keeps its type, and its length was checked with the mask's
        let keep = |array: &dyn Array| {
            predicate
                .filter(array)
                .expect("the mask is as long as the column")
        };
        match self {
            Self::Null => Self::Null,
            Self::Bool(array) => Self::Bool(keep(array).as_boolean().clone()),
            Self::Int(array) => Self::Int(keep(array).as_primitive::<Int64Type>().clone()),
            Self::Float(array) => Self::Float(keep(array).as_primitive::<Float64Type>().clone()),
            Self::Time(array) => Self::Time(keep(array).as_primitive::<TimestampMillisecondType>().clone()),
            Self::Text(array) => Self::Text(keep(array)),
            Self::Scalars(_) => unreachable!("a batch's column is an array"),
        }
    }
}

/// A column of the batch.
#[derive(Debug, Clone)]
pub(super) enum Bound {
    Plain(Vector),
    /// Each value is a JSON text.
    JsonText(StringArray),
    /// The batch has no such column: it is a field of these JSON objects.
    Extra(StringArray, Arc<[Step]>),
}

impl Bound {
    fn find(batch: &RecordBatch, name: &str) -> Self {
        if let Some((at, field)) = batch.schema().column_with_name(name) {
            return Self::of(batch.column(at), field);
        }
        match batch
            .column_by_name(EXTRA_COLUMN)
            .map(|column| (column, column.as_string_opt::<i32>()))
        {
            Some((column, Some(extra))) if column.null_count() < column.len() => {
                Self::Extra(extra.clone(), Arc::new([Step::Field(name.to_owned())]))
            }
            _ => Self::Plain(Vector::Null),
        }
    }

    fn of(array: &ArrayRef, field: &Field) -> Self {
        if field
            .metadata()
            .get(JSON_TEXT_METADATA)
            .is_some_and(|v| v == "true")
        {
            return texts(array).map_or(Self::Plain(Vector::Null), Self::JsonText);
        }
        Self::Plain(Vector::of(array))
    }
}

/// Turns NaN and infinities into NULL, and -0.0 into 0.0. Returns how many values became NULL.
pub(super) fn finite(array: &Float64Array) -> (Float64Array, u64) {
    let clean = |value: f64| value.is_finite() && value.to_bits() != (-0.0f64).to_bits();
    if array.values().iter().all(|value| clean(*value)) {
        return (array.clone(), 0);
    }
    let before = array.null_count();
    let cleaned: Float64Array = array.unary_opt(|value| value.is_finite().then_some(value + 0.0));
    let lost = cleaned.null_count() - before;
    (cleaned, lost as u64)
}

/// The columns of one batch that a plan reads.
#[derive(Debug, Clone)]
pub struct Frame {
    pub(super) columns: Vec<Bound>,
    pub rows: usize,
    pub mode: Mode,
    time: Bound,
}

impl Frame {
    /// Rows of a view: values by column, and the time of each row.
    #[must_use]
    pub fn of_rows(columns: Vec<Vec<Scalar>>, times: Vec<i64>) -> Self {
        let bound = |values| Bound::Plain(Vector::Scalars(values));
        Self {
            columns: columns.into_iter().map(bound).collect(),
            rows: times.len(),
            mode: Mode::Typed,
            time: Bound::Plain(Vector::Time(times.into())),
        }
    }

    pub fn bind(plan: &ViewPlan, batch: &RecordBatch) -> Self {
        Self::over(&plan.columns, &plan.time, batch)
    }

    /// The columns with these names; `name_of_time` is what the expressions call the event time.
    pub(super) fn over(columns: &[String], name_of_time: &str, batch: &RecordBatch) -> Self {
        let metadata = batch.schema_ref().metadata();
        let schemaless = metadata.get(SCHEMALESS_METADATA).is_some_and(|v| v == "true");
        let event_time = name_of_time == "ts"
            || name_of_time == EVENT_TIME_COLUMN
            || metadata
                .get(EVENT_TIME_METADATA)
                .is_some_and(|name| *name == name_of_time);
        Self {
            columns: columns.iter().map(|name| Bound::find(batch, name)).collect(),
            rows: batch.num_rows(),
            mode: if schemaless { Mode::Json } else { Mode::Typed },
            time: Bound::find(
                batch,
                if event_time {
                    EVENT_TIME_COLUMN
                } else {
                    name_of_time
                },
            ),
        }
    }

    /// The rows whose mask is true. The mask must have one value for each row.
    pub fn filter(&self, mask: &BooleanArray) -> Self {
        let predicate = FilterBuilder::new(mask).optimize().build();
        let texts = |array: &StringArray| {
            predicate
                .filter(array)
                .expect("the mask is as long as the column")
                .as_string::<i32>()
                .clone()
        };
        let keep = |bound: &Bound| match bound {
            Bound::Plain(vector) => Bound::Plain(vector.filter(&predicate)),
            Bound::JsonText(array) => Bound::JsonText(texts(array)),
            Bound::Extra(array, steps) => Bound::Extra(texts(array), Arc::clone(steps)),
        };
        Self {
            columns: self.columns.iter().map(keep).collect(),
            rows: predicate.count(),
            mode: self.mode,
            time: keep(&self.time),
        }
    }

    /// The value of a column in a row.
    pub(super) fn scalar(&self, column: usize, row: usize) -> Scalar {
        let value = value_at(&self.columns[column], row);
        match self.mode {
            Mode::Typed => value,
            Mode::Json => value.normalised(),
        }
    }

    /// Each row's time in Unix ms; NULL where the time column holds no usable one.
    pub fn times(&self) -> Int64Array {
        match &self.time {
            Bound::Plain(Vector::Time(times)) if times.values().iter().all(|time| in_range(*time)) => {
                Int64Array::new(times.values().clone(), times.nulls().cloned())
            }
            other => (0..self.rows).map(|row| millis(&value_at(other, row))).collect(),
        }
    }
}

/// Some columns of a batch by name, for a reader who goes value by value.
#[derive(Debug)]
pub struct Picked {
    columns: Vec<Bound>,
    mode: Mode,
}

impl Picked {
    /// Of a batch without rows.
    #[must_use]
    pub fn none() -> Self {
        Self {
            columns: Vec::new(),
            mode: Mode::Json,
        }
    }

    /// A name that is no column is looked for among the fields that the schema does not name.
    #[must_use]
    pub fn bind<'a>(batch: &RecordBatch, names: impl Iterator<Item = &'a str>) -> Self {
        let schemaless = batch
            .schema_ref()
            .metadata()
            .get(SCHEMALESS_METADATA)
            .is_some_and(|v| v == "true");
        Self {
            columns: names.map(|name| Bound::find(batch, name)).collect(),
            mode: if schemaless { Mode::Json } else { Mode::Typed },
        }
    }

    #[must_use]
    pub fn value(&self, column: usize, row: usize) -> Scalar {
        let value = value_at(&self.columns[column], row);
        match self.mode {
            Mode::Typed => value,
            Mode::Json => value.normalised(),
        }
    }
}

fn millis(value: &Scalar) -> Option<i64> {
    match value.clone().normalised() {
        Scalar::Time(millis) => Some(millis),
        Scalar::Int(millis) => Some(millis),
        Scalar::Text(text) => parse_rfc3339(&text),
        _ => None,
    }
    .filter(|millis| in_range(*millis))
}

fn in_range(millis: i64) -> bool {
    (MIN_MILLIS..=MAX_MILLIS).contains(&millis)
}

fn value_at(bound: &Bound, row: usize) -> Scalar {
    let picked = match bound {
        Bound::Plain(vector) => return vector.scalar(row),
        Bound::JsonText(array) if array.is_valid(row) => pick(array.value(row), &[]),
        Bound::Extra(array, steps) if array.is_valid(row) => pick(array.value(row), steps),
        Bound::JsonText(_) | Bound::Extra(..) => None,
    };
    picked.map_or(Scalar::Null, |value| from_json(&value))
}
