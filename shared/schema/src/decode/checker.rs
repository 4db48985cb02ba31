//! The gateway's verdict without its columns, for whoever only wants to know whether an event is valid.

use std::sync::Arc;

use tributary_shared::wire::Reason;

use super::fault::{
    Fault, bool_here, explain, integer_here, number_here, text_here, time_here, unsigned_here,
};
use super::framing::{is_framed, split};
use super::keys::KeySet;
use super::kind::Kind;
use super::messages::DecodeLimits;
use super::plan::{Field, Plan};
use super::reasons::judge;
use super::scan::Text;
use super::schema::{Judged, Language, StreamSchema, text_of};
use super::walk::{Here, Taker, Walk};

/// Judges events one after the other, and remembers the order of their keys. Takes the same two ways as the
/// decoder, so that both say the same: a property test holds them to it.
#[derive(Debug)]
pub struct Checker {
    schema: Arc<StreamSchema>,
    state: State,
}

#[derive(Debug)]
struct State {
    walk: Walk,
    verdict: Verdict,
}

/// Takes a row's values and keeps none.
#[derive(Debug, Default)]
struct Verdict {
    /// Keys of the row that are no field.
    unknown: KeySet,
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
            walk: Walk::new(fields),
            verdict: Verdict::default(),
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
        self.walk.row(plan, text, check, &mut self.verdict).map(drop)
    }
}

impl Taker for Verdict {
    fn start_row(&mut self) {
        self.unknown.clear();
    }

    #[inline]
    fn value(&mut self, here: Here<'_, '_>, _column: usize) -> Result<bool, Fault> {
        let Here {
            cursor,
            number,
            field,
            time,
            check,
            scratch,
        } = here;
        let checks = &field.checks;
        Ok(match field.kind {
            Kind::Int => checks.allow_int(integer_here(cursor, number)?),
            Kind::Float => checks.allow_number(number_here(cursor, number)?),
            Kind::Bool => bool_here(cursor, number).map(|_| true)?,
            Kind::Text => {
                let text = text_here(cursor, number)?;
                !check || checks.text.allows(text.decode(scratch), time)
            }
            Kind::Time(unit) => time_here(cursor, number, unit, scratch).map(|_| true)?,
            Kind::Unsigned => unsigned_here(cursor, number).map(|_| true)?,
            Kind::Json => {
                let opens_with = cursor.peek();
                cursor.skip_value()?;
                checks.allow_json(opens_with)
            }
        })
    }

    fn beside(&mut self, _field: &Field, _raw: &str) {}

    fn unknown(&mut self, key: Text<'_>, _raw: &str) -> bool {
        self.unknown.insert(key)
    }
}
