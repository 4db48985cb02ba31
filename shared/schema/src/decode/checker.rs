//! The gateway's verdict without its columns, for whoever only wants to know whether an event is valid.

use std::sync::Arc;

use tributary_shared::wire::Reason;

use super::fault::{
    Fault, bool_here, event_time_here, explain, integer_here, number_here, special_checks, time_here,
    unsigned_here,
};
use super::framing::{is_framed, split};
use super::keys::{FieldNo, KeySet, KeyTable, Member};
use super::kind::Kind;
use super::messages::DecodeLimits;
use super::number::Number;
use super::plan::{Field, Plan};
use super::reasons::judge;
use super::scan::Cursor;
use super::schema::{Judged, Language, StreamSchema, text_of};
use super::time::EventTime;

/// Judges events one after the other, and remembers the order of their keys. Takes the same two ways as the
/// decoder, so that both say the same: a property test holds them to it.
#[derive(Debug)]
pub struct Checker {
    schema: Arc<StreamSchema>,
    state: State,
}

#[derive(Debug)]
struct State {
    keys: KeyTable,
    /// For each field, the last try at a row that had it.
    seen: Vec<u64>,
    tries: u64,
    /// Keys of the row that are no field.
    unknown: KeySet,
    scratch: String,
}

impl Checker {
    #[must_use]
    pub fn new(schema: Arc<StreamSchema>) -> Self {
        let fields = schema
            .judged
            .as_ref()
            .map_or(&[][..], |judged| &judged.plan.fields);
        let state = State::new(fields);
        Self { schema, state }
    }

    #[must_use]
    pub fn schema(&self) -> &StreamSchema {
        &self.schema
    }

    /// Judges one payload. One in wire format that another schema wrote passes: what that schema says only a
    /// gateway knows.
    ///
    /// # Errors
    /// The reasons why a gateway would make a dead letter of it, at least one.
    pub fn check(&mut self, payload: &[u8]) -> Result<(), Vec<Reason>> {
        self.state.judge(&self.schema, payload)
    }
}

/// [`Checker::check`] for a single payload.
#[cfg(not(feature = "columns"))]
pub(super) fn check_one(schema: &StreamSchema, payload: &[u8]) -> Result<(), Vec<Reason>> {
    let fields = schema
        .judged
        .as_ref()
        .map_or(&[][..], |judged| &judged.plan.fields);
    State::new(fields).judge(schema, payload)
}

impl State {
    fn new(fields: &[Field]) -> Self {
        Self {
            keys: KeyTable::new(fields.iter().map(|field| field.name.as_ref())),
            seen: vec![0; fields.len()],
            tries: 0,
            unknown: KeySet::default(),
            scratch: String::new(),
        }
    }

    fn judge(&mut self, schema: &StreamSchema, payload: &[u8]) -> Result<(), Vec<Reason>> {
        let mut json = payload;
        if is_framed(payload) {
            let (id, body) = split(payload).map_err(|reason| vec![reason])?;
            let own = schema.schema_ref().is_some_and(|own| own.id == id);
            if !own || !matches!(schema.language, Language::Json) {
                return Ok(());
            }
            json = body;
        }
        let text = text_of(json, DecodeLimits::default().event_bytes).map_err(|reason| vec![reason])?;
        match &schema.judged {
            None => judge(None, text),
            Some(judged) => self.check(judged, text),
        }
    }

    fn check(&mut self, judged: &Judged, text: &str) -> Result<(), Vec<Reason>> {
        if judged.plan.flat && self.pass(&judged.plan, text, true).is_ok() {
            return Ok(());
        }
        judge(Some(&judged.validator), text)?;
        // what only the columns know
        self.pass(&judged.plan, text, false)
            .map_err(|fault| vec![explain(fault, &judged.plan)])
    }

    /// One pass over the row, as its cells would be filled.
    fn pass(&mut self, plan: &Plan, text: &str, check: bool) -> Result<(), Fault> {
        self.tries += 1;
        self.keys.start_row();
        self.unknown.clear();
        let mut cursor = Cursor::new(text);
        let mut required = 0;
        let mut first = true;
        cursor.open_row()?;
        loop {
            match self.keys.next(&mut cursor, first)? {
                Member::Field(number) => {
                    if std::mem::replace(&mut self.seen[number], self.tries) == self.tries {
                        return Err(Fault::Duplicate(number));
                    }
                    let field = &plan.fields[number];
                    required += u32::from(field.required);
                    let time = if plan.event_time == Some(number) {
                        event_time_here(&mut cursor, field.kind, &mut self.scratch)?
                    } else {
                        None
                    };
                    if time == Some(EventTime::Unusable) && plan.event_time_marked {
                        return Err(Fault::EventTime(number));
                    }
                    self.value(&mut cursor, (number, field), time, check)?;
                }
                Member::Unknown(key) => {
                    if check && plan.closed {
                        return Err(Fault::Unproven);
                    }
                    cursor.skip_value()?;
                    if !self.unknown.insert(key) {
                        return Err(Fault::Unproven);
                    }
                }
                Member::End => break,
            }
            first = false;
        }
        if check && required != plan.required {
            return Err(Fault::Unproven);
        }
        Ok(())
    }

    #[inline]
    fn value(
        &mut self,
        cursor: &mut Cursor<'_>,
        (number, field): (FieldNo, &Field),
        time: Option<EventTime>,
        check: bool,
    ) -> Result<(), Fault> {
        let checks = &field.checks;
        if check && (checks.validator.is_some() || checks.forbidden) {
            special_checks(cursor, field)?;
        }
        if field.column.is_none() {
            return Ok(cursor.skip_value()?);
        }
        let proven = if cursor.peek() == b'n' {
            cursor.literal("null")?;
            checks.null
        } else {
            match field.kind {
                Kind::Int => {
                    let value = integer_here(cursor, number)?;
                    checks.range.is_none_or(|range| range.has_int(value)) && checks.whole.allows(value)
                }
                Kind::Float => match number_here(cursor, number)? {
                    Number::Int(value) => checks.range.is_none_or(|range| range.has_int(value)),
                    Number::Float(value) => checks.range.is_none_or(|range| range.has_float(value)),
                },
                Kind::Bool => bool_here(cursor, number).map(|_| true)?,
                Kind::Text if cursor.peek() != b'"' => return Err(Fault::Unfit(number)),
                Kind::Text => {
                    let text = cursor.string()?;
                    !check || checks.text.allows(text.decode(&mut self.scratch), time)
                }
                Kind::Time(unit) => time_here(cursor, number, unit, &mut self.scratch).map(|_| true)?,
                Kind::Unsigned => unsigned_here(cursor, number).map(|_| true)?,
                Kind::Json => {
                    let opens_with = cursor.peek();
                    cursor.skip_value()?;
                    checks.opens_with.is_none_or(|byte| opens_with == byte)
                }
            }
        };
        if proven || !check {
            Ok(())
        } else {
            Err(Fault::Unproven)
        }
    }
}
