//! Rows of a stream with a schema: validation and columns in one pass over the text.
//!
//! A flat plan's checks are made while the values go into their columns. When one fails, the row's cells are
//! cut off again and the row takes the slow way: the whole validator judges it and finds all reasons. A row
//! that the slow way finds valid goes into the columns without checks.

use std::collections::HashMap;

use arrow_array::{BooleanArray, Int32Array, RecordBatch};
use arrow_select::filter::filter_record_batch;
use tributary_shared::time::{MAX_MILLIS, MIN_MILLIS, Millis};
use tributary_shared::wire::batch::{EVENT_TIME_METADATA, KEYS_METADATA};
use tributary_shared::wire::{Reason, WireError};

use super::column::Column;
use super::extra::Extra;
use super::fault::{
    Fault, bool_here, event_time_here, explain, integer_here, number_here, special_checks, time_here,
    unsigned_here,
};
use super::ipc::{Columns, encode_error, write};
use super::keys::{FieldNo, KeyTable, Member};
use super::lent::Lent;
use super::number::Number;
use super::plan::{Field, Plan};
use super::reasons::judge;
use super::rules::RuleBook;
use super::scan::Cursor;
use super::schema::Judged;
use super::time::EventTime;

/// A batch that is written.
#[derive(Debug, Default)]
pub(super) struct Finished {
    /// Arrow IPC.
    pub columns: Vec<u8>,
    /// The rows that are not in the columns because they break a rule, ascending, with their reasons.
    pub broken: Vec<(usize, Vec<Reason>)>,
}

/// The columns of one schema, filled batch after batch.
#[derive(Debug)]
pub(super) struct TypedRows {
    keys: KeyTable,
    /// For each field, the last try at a row that had it.
    seen: Vec<u64>,
    tries: u64,
    rows: usize,
    columns: Vec<Column>,
    event_times: Vec<Millis>,
    lent_times: Lent,
    extra: Extra,
    scratch: String,
    /// Bytes of the last batch's columns: the next one's are about as many.
    written: usize,
}

impl TypedRows {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            keys: KeyTable::new(plan.fields.iter().map(|field| field.name.as_ref())),
            seen: vec![0; plan.fields.len()],
            tries: 0,
            rows: 0,
            columns: plan.columns().map(|(_, kind)| Column::new(kind)).collect(),
            event_times: Vec::new(),
            lent_times: Lent::default(),
            extra: Extra::new(),
            scratch: String::new(),
            written: 0,
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Judges a row and adds it to the columns.
    ///
    /// # Errors
    /// The reasons why the row is not valid; the columns are then as before.
    #[inline]
    pub(super) fn add(
        &mut self,
        judged: &Judged,
        text: &str,
        collected_at: Millis,
    ) -> Result<(), Vec<Reason>> {
        if judged.plan.flat && self.fill(&judged.plan, text, collected_at, true).is_ok() {
            return Ok(());
        }
        self.add_slowly(judged, text, collected_at)
    }

    #[cold]
    #[inline(never)]
    fn add_slowly(&mut self, judged: &Judged, text: &str, collected_at: Millis) -> Result<(), Vec<Reason>> {
        self.cut_row();
        judge(Some(&judged.validator), text)?;
        self.add_judged(judged, text, collected_at)
    }

    /// Adds a row that the schema of its writer has judged, so that only what the columns cannot hold is left
    /// to find.
    ///
    /// # Errors
    /// Why the row has no place in the columns, which are then as before.
    pub(super) fn add_judged(
        &mut self,
        judged: &Judged,
        text: &str,
        collected_at: Millis,
    ) -> Result<(), Vec<Reason>> {
        self.fill(&judged.plan, text, collected_at, false)
            .map_err(|fault| {
                self.cut_row();
                vec![explain(fault, &judged.plan)]
            })
    }

    fn cut_row(&mut self) {
        for column in &mut self.columns {
            column.truncate(self.rows);
        }
    }

    /// Adds the row's cells; after a fault, cells of the row may be left.
    fn fill(&mut self, plan: &Plan, text: &str, collected_at: Millis, check: bool) -> Result<(), Fault> {
        self.tries += 1;
        self.keys.start_row();
        self.extra.start_row();
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
                    self.value(&mut cursor, (number, field), time, check)?;
                }
                Member::Unknown(key) => {
                    if check && plan.closed {
                        return Err(Fault::Unproven);
                    }
                    let start = cursor.at();
                    cursor.skip_value()?;
                    if !self.extra.add_unknown(key, cursor.since(start)) {
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
        self.extra.end_row(self.rows);
        // an agent's clock is not trusted to lie within the calendar
        self.event_times
            .push(event_time.unwrap_or(collected_at.clamp(MIN_MILLIS, MAX_MILLIS)));
        self.rows += 1;
        Ok(())
    }

    /// Puts the value here into the field's column.
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
        let Some(column) = field.column else {
            let start = cursor.at();
            cursor.skip_value()?;
            self.extra.add_field(&field.name, cursor.since(start));
            return Ok(());
        };
        if cursor.peek() == b'n' {
            cursor.literal("null")?;
            return if check && !checks.null {
                Err(Fault::Unproven)
            } else {
                Ok(())
            };
        }
        let row = self.rows;
        let proven = match &mut self.columns[column] {
            Column::Int(column) => {
                let value = integer_here(cursor, number)?;
                column.push(row, value);
                checks.range.is_none_or(|range| range.has_int(value)) && checks.whole.allows(value)
            }
            Column::Float(column) => match number_here(cursor, number)? {
                Number::Int(value) => {
                    column.push(row, value as f64);
                    checks.range.is_none_or(|range| range.has_int(value))
                }
                Number::Float(value) => {
                    column.push(row, value);
                    checks.range.is_none_or(|range| range.has_float(value))
                }
            },
            Column::Bool(column) => {
                let value = bool_here(cursor, number)?;
                column.push(row, value);
                true
            }
            Column::Text(column) => {
                if cursor.peek() != b'"' {
                    return Err(Fault::Unfit(number));
                }
                let text = cursor.string()?.decode(&mut self.scratch);
                column.push(row, text, || !check || checks.text.allows(text, time))
            }
            Column::Time(unit, column) => {
                column.push(row, time_here(cursor, number, *unit, &mut self.scratch)?);
                true
            }
            Column::Unsigned(column) => {
                column.push(row, unsigned_here(cursor, number)?);
                true
            }
            Column::Json(column) => {
                let start = cursor.at();
                cursor.skip_value()?;
                let raw = cursor.since(start);
                column.push(row, raw, || {
                    !check || checks.opens_with.is_none_or(|byte| raw.as_bytes()[0] == byte)
                })
            }
        };
        if proven || !check {
            Ok(())
        } else {
            Err(Fault::Unproven)
        }
    }

    /// The batch's columns as Arrow IPC, with the ids of the rows' schemas if there are any, and the builders
    /// empty again. Rows that break a rule are left out. No bytes for no rows.
    ///
    /// # Errors
    /// [`WireError::Encode`] when arrow refuses the columns, which none of ours makes it do.
    pub(super) fn finish(
        &mut self,
        plan: &Plan,
        ids: Option<Int32Array>,
        rules: &RuleBook<'_>,
    ) -> Result<Finished, WireError> {
        let rows = std::mem::take(&mut self.rows);
        let finished = if rows == 0 {
            Ok(Finished::default())
        } else {
            self.write(plan, ids, rows, rules)
        };
        // the arrays are gone now
        self.event_times = self.lent_times.take_back();
        self.columns.iter_mut().for_each(Column::reclaim);
        self.extra.column.reclaim();
        finished
    }

    fn write(
        &mut self,
        plan: &Plan,
        ids: Option<Int32Array>,
        rows: usize,
        rules: &RuleBook<'_>,
    ) -> Result<Finished, WireError> {
        let mut batch = self.batch(plan, ids, rows)?;
        let mut broken = Vec::new();
        if !rules.is_empty() {
            broken = rules.broken_by(&batch);
            if broken.len() == rows {
                return Ok(Finished {
                    columns: Vec::new(),
                    broken,
                });
            }
            if !broken.is_empty() {
                let mut keep = vec![true; rows];
                broken.iter().for_each(|(row, _)| keep[*row] = false);
                batch = filter_record_batch(&batch, &BooleanArray::from(keep)).map_err(encode_error)?;
            }
        }
        let columns = write(&batch, self.written + self.written / 8)?;
        self.written = columns.len();
        Ok(Finished { columns, broken })
    }

    fn batch(&mut self, plan: &Plan, ids: Option<Int32Array>, rows: usize) -> Result<RecordBatch, WireError> {
        let mut columns = Columns::new(self.lent_times.lend(std::mem::take(&mut self.event_times)));
        for ((name, _), column) in plan.columns().zip(&mut self.columns) {
            let (array, json) = column.finish(rows).map_err(encode_error)?;
            columns.push(name, array, json);
        }
        if let Some(ids) = ids {
            columns.push_schema_ids(ids);
        }
        let mut metadata = HashMap::new();
        if let Some(field) = plan.event_time.filter(|_| plan.event_time_marked) {
            metadata.insert(
                EVENT_TIME_METADATA.to_owned(),
                plan.fields[field].name.to_string(),
            );
        }
        if !plan.keys.is_empty() {
            metadata.insert(KEYS_METADATA.to_owned(), serde_json::json!(plan.keys).to_string());
        }
        columns.finish(&mut self.extra.column, metadata)
    }
}
