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
    Fault, bool_here, explain, integer_here, number_here, text_here, time_here, unsigned_here,
};
use super::ipc::{Columns, encode_error, write};
use super::lent::Lent;
use super::plan::{Field, Plan};
use super::reasons::judge;
use super::rules::RuleBook;
use super::scan::Text;
use super::schema::Judged;
use super::walk::{Here, Taker, Walk};

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
    walk: Walk,
    cells: Cells,
    event_times: Vec<Millis>,
    lent_times: Lent,
    /// Bytes of the last batch's columns: the next one's are about as many.
    written: usize,
}

/// The cells of the rows so far.
#[derive(Debug)]
struct Cells {
    /// Whole rows; the columns may be longer by a row that is being tried, or shorter where rows end in NULL.
    rows: usize,
    columns: Vec<Column>,
    extra: Extra,
}

impl Taker for Cells {
    fn start_row(&mut self) {
        self.extra.start_row();
    }

    #[inline]
    fn value(&mut self, here: Here<'_, '_>, column: usize) -> Result<bool, Fault> {
        let Here {
            cursor,
            number,
            field,
            time,
            check,
            scratch,
        } = here;
        let (row, checks) = (self.rows, &field.checks);
        Ok(match &mut self.columns[column] {
            Column::Int(column) => {
                let value = integer_here(cursor, number)?;
                column.push(row, value);
                checks.allow_int(value)
            }
            Column::Float(column) => {
                let value = number_here(cursor, number)?;
                column.push(row, value.as_f64());
                checks.allow_number(value)
            }
            Column::Bool(column) => {
                column.push(row, bool_here(cursor, number)?);
                true
            }
            Column::Text(column) => {
                let text = text_here(cursor, number)?.decode(scratch);
                column.push(row, text, || !check || checks.text.allows(text, time))
            }
            Column::Time(unit, column) => {
                column.push(row, time_here(cursor, number, *unit, scratch)?);
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
                column.push(row, raw, || !check || checks.allow_json(raw.as_bytes()[0]))
            }
        })
    }

    fn beside(&mut self, field: &Field, raw: &str) {
        self.extra.add_field(&field.name, raw);
    }

    fn unknown(&mut self, key: Text<'_>, raw: &str) -> bool {
        self.extra.add_unknown(key, raw)
    }
}

impl TypedRows {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            walk: Walk::new(&plan.fields),
            cells: Cells {
                rows: 0,
                columns: plan.columns().map(|(_, kind)| Column::new(kind)).collect(),
                extra: Extra::new(),
            },
            event_times: Vec::new(),
            lent_times: Lent::default(),
            written: 0,
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.cells.rows
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
        for column in &mut self.cells.columns {
            column.truncate(self.cells.rows);
        }
    }

    /// Adds the row's cells; after a fault, cells of the row may be left.
    fn fill(&mut self, plan: &Plan, text: &str, collected_at: Millis, check: bool) -> Result<(), Fault> {
        let event_time = self.walk.row(plan, text, check, &mut self.cells)?;
        self.cells.extra.end_row(self.cells.rows);
        // an agent's clock is not trusted to lie within the calendar
        self.event_times
            .push(event_time.unwrap_or(collected_at.clamp(MIN_MILLIS, MAX_MILLIS)));
        self.cells.rows += 1;
        Ok(())
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
        let rows = std::mem::take(&mut self.cells.rows);
        let finished = if rows == 0 {
            Ok(Finished::default())
        } else {
            self.write(plan, ids, rows, rules)
        };
        // the arrays are gone now
        self.event_times = self.lent_times.take_back();
        self.cells.columns.iter_mut().for_each(Column::reclaim);
        self.cells.extra.column.reclaim();
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
        for ((name, _), column) in plan.columns().zip(&mut self.cells.columns) {
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
        columns.finish(&mut self.cells.extra.column, metadata)
    }
}
