//! The walk over a row's members: which fields it has, each once, and whether their values may stand there. What
//! becomes of the values is their taker's business: columns keep them, a mere verdict does not.

use tributary_shared::time::Millis;

use super::fault::{Fault, event_time_here, special_checks};
use super::keys::{FieldNo, KeyTable, Member};
use super::plan::{Field, Plan};
use super::scan::{Cursor, Text};
use super::time::EventTime;

/// A value of a field that has a column, and is not null.
#[derive(Debug)]
pub(super) struct Here<'h, 't> {
    pub cursor: &'h mut Cursor<'t>,
    pub number: FieldNo,
    pub field: &'h Field,
    /// The row's event time, when this is the field that holds it.
    pub time: Option<EventTime>,
    /// Whether the schema's checks must hold, or were made before.
    pub check: bool,
    /// For texts with escapes.
    pub scratch: &'h mut String,
}

/// Takes the values of a row.
pub(super) trait Taker {
    /// What an unfinished row left behind is void.
    fn start_row(&mut self);

    /// Steps over the value here. Whether the field's checks hold; counts only where they must.
    ///
    /// # Errors
    /// When the value does not fit the column.
    fn value(&mut self, here: Here<'_, '_>, column: usize) -> Result<bool, Fault>;

    /// A field without a column, and its text.
    fn beside(&mut self, field: &Field, raw: &str);

    /// A member that is no field. False when the row has had its key before.
    fn unknown(&mut self, key: Text<'_>, raw: &str) -> bool;
}

/// What is remembered from row to row: the order of the keys, so that most are found without a search.
#[derive(Debug)]
pub(super) struct Walk {
    keys: KeyTable,
    /// For each field, the last try at a row that had it.
    seen: Vec<u64>,
    tries: u64,
    scratch: String,
}

impl Walk {
    pub(super) fn new(fields: &[Field]) -> Self {
        Self {
            keys: KeyTable::new(fields.iter().map(|field| field.name.as_ref())),
            seen: vec![0; fields.len()],
            tries: 0,
            scratch: String::new(),
        }
    }

    /// Walks over one row. Returns its event time, when a field holds a usable one.
    ///
    /// # Errors
    /// The first fault. The taker has then had some of the row's values.
    #[inline]
    pub(super) fn row(
        &mut self,
        plan: &Plan,
        text: &str,
        check: bool,
        taker: &mut impl Taker,
    ) -> Result<Option<Millis>, Fault> {
        self.tries += 1;
        self.keys.start_row();
        taker.start_row();
        let mut cursor = Cursor::new(text);
        let mut required = 0;
        let mut event_time = None;
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
                        let time = event_time_here(&mut cursor, field.kind, &mut self.scratch)?;
                        event_time = time.and_then(EventTime::millis);
                        if time == Some(EventTime::Unusable) && plan.event_time_marked {
                            return Err(Fault::EventTime(number));
                        }
                        time
                    } else {
                        None
                    };
                    let here = Here {
                        cursor: &mut cursor,
                        number,
                        field,
                        time,
                        check,
                        scratch: &mut self.scratch,
                    };
                    take(here, taker)?;
                }
                Member::Unknown(key) => {
                    if check && plan.closed {
                        return Err(Fault::Unproven);
                    }
                    let start = cursor.at();
                    cursor.skip_value()?;
                    if !taker.unknown(key, cursor.since(start)) {
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
        Ok(event_time)
    }
}

/// Hands the value here to the taker.
#[inline]
fn take(here: Here<'_, '_>, taker: &mut impl Taker) -> Result<(), Fault> {
    let Here { field, check, .. } = here;
    let checks = &field.checks;
    if check && (checks.validator.is_some() || checks.forbidden) {
        special_checks(here.cursor, field)?;
    }
    let proven = match field.column {
        None => {
            let start = here.cursor.at();
            here.cursor.skip_value()?;
            taker.beside(field, here.cursor.since(start));
            true
        }
        Some(_) if here.cursor.peek() == b'n' => {
            here.cursor.literal("null")?;
            checks.null
        }
        Some(column) => taker.value(here, column)?,
    };
    if proven || !check {
        Ok(())
    } else {
        Err(Fault::Unproven)
    }
}
