//! What stops the quick way through a row, and the checks that need more than the value's own text.

use tributary_shared::wire::Reason;

use super::keys::FieldNo;
use super::kind::Kind;
use super::number::{Number, integral};
use super::plan::{Field, Plan};
use super::reasons::{malformed, pointer, reason};
use super::scan::{Cursor, ScanError, Text};
use super::time::{EventTime, TimeUnit};

/// Why a row was not taken as it was read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Scan(ScanError),
    /// The checks cannot prove the row valid.
    Unproven,
    Duplicate(FieldNo),
    /// An integer beyond 64 bits.
    OutOfRange(FieldNo),
    EventTime(FieldNo),
    /// A value that the column cannot hold: the schema's types were understood wrongly.
    Unfit(FieldNo),
}

impl From<ScanError> for Fault {
    fn from(error: ScanError) -> Self {
        Self::Scan(error)
    }
}

/// The integer here, where an integer must be.
#[inline]
pub(super) fn integer_here(cursor: &mut Cursor<'_>, field: FieldNo) -> Result<i64, Fault> {
    match number_here(cursor, field)? {
        Number::Int(value) => Ok(value),
        Number::Float(value) if value.fract() == 0.0 => integral(value).ok_or(Fault::OutOfRange(field)),
        Number::Float(_) => Err(Fault::Unfit(field)),
    }
}

/// The text here, still escaped.
#[inline]
pub(super) fn text_here<'t>(cursor: &mut Cursor<'t>, field: FieldNo) -> Result<Text<'t>, Fault> {
    match cursor.peek() {
        b'"' => Ok(cursor.string()?),
        _ => Err(Fault::Unfit(field)),
    }
}

/// The time here: text, or a count of the column's own units.
pub(super) fn time_here(
    cursor: &mut Cursor<'_>,
    field: FieldNo,
    unit: TimeUnit,
    scratch: &mut String,
) -> Result<i64, Fault> {
    if cursor.peek() == b'"' {
        let text = cursor.string()?;
        return unit.of_text(text.decode(scratch)).ok_or(Fault::Unfit(field));
    }
    integer_here(cursor, field)
}

/// The integer of 64 bits without sign here.
pub(super) fn unsigned_here(cursor: &mut Cursor<'_>, field: FieldNo) -> Result<u64, Fault> {
    let start = cursor.at();
    number_here(cursor, field)?;
    cursor.since(start).parse().map_err(|_| Fault::Unfit(field))
}

#[inline]
pub(super) fn bool_here(cursor: &mut Cursor<'_>, field: FieldNo) -> Result<bool, Fault> {
    match cursor.peek() {
        b't' => Ok(cursor.literal("true").map(|()| true)?),
        b'f' => Ok(cursor.literal("false").map(|()| false)?),
        _ => Err(Fault::Unfit(field)),
    }
}

/// Reads the value here as event time without stepping over it; `None` for null.
pub(super) fn event_time_here(
    cursor: &mut Cursor<'_>,
    kind: Kind,
    scratch: &mut String,
) -> Result<Option<EventTime>, ScanError> {
    let start = cursor.at();
    let time = match cursor.peek() {
        b'n' => None,
        b'"' => Some(EventTime::of_text(cursor.string()?.decode(scratch))),
        b'-' | b'0'..=b'9' => Some(EventTime::of_number(match (cursor.number()?, kind) {
            (Number::Int(value), Kind::Time(unit)) => Number::Int(unit.to_millis(value)),
            (number, _) => number,
        })),
        _ => Some(EventTime::Unusable),
    };
    cursor.seek(start);
    Ok(time)
}

#[inline]
pub(super) fn number_here(cursor: &mut Cursor<'_>, field: FieldNo) -> Result<Number, Fault> {
    match cursor.peek() {
        b'-' | b'0'..=b'9' => Ok(cursor.number()?),
        _ => Err(Fault::Unfit(field)),
    }
}

/// Checks that need the value as a tree, or that no value passes.
#[inline(never)]
pub(super) fn special_checks(cursor: &mut Cursor<'_>, field: &Field) -> Result<(), Fault> {
    if field.checks.forbidden {
        return Err(Fault::Unproven);
    }
    let Some(validator) = &field.checks.validator else {
        return Ok(());
    };
    let start = cursor.at();
    cursor.skip_value()?;
    let value = serde_json::from_str(cursor.since(start)).map_err(|_| Fault::Unproven)?;
    cursor.seek(start);
    if validator.is_valid(&value) {
        Ok(())
    } else {
        Err(Fault::Unproven)
    }
}

/// The reason for a fault of a row that the schema finds valid.
pub(super) fn explain(fault: Fault, plan: &Plan) -> Reason {
    let path = |field: FieldNo| pointer(&plan.fields[field].name);
    match fault {
        Fault::Scan(error) => malformed(error),
        Fault::OutOfRange(field) => reason(path(field), "out_of_range", "the integer does not fit 64 bits"),
        Fault::EventTime(field) => {
            let message = "the event time is neither RFC 3339 text nor integer Unix milliseconds of the years 1 to 9999";
            reason(path(field), "event_time", message)
        }
        Fault::Duplicate(field) => reason(
            path(field),
            "duplicate_key",
            "the key stands in the event more than once",
        ),
        Fault::Unfit(field) => reason(
            path(field),
            "type",
            "the value does not fit the column of its field",
        ),
        Fault::Unproven => reason(
            String::new(),
            "duplicate_key",
            "a key stands in the event more than once",
        ),
    }
}
