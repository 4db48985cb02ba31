//! A condition over the columns of one row, as a rule keeps it.

use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};

use super::bind::Frame;
use super::expr::Expr;
use super::lower::{Lowering, Scope};
use super::messages::ViewError;
use super::parse::parse_condition;
use super::rowwise::Evaluator;

/// A compiled condition. Immutable, and independent of any data: column types are bound batch by batch.
#[derive(Debug, Clone)]
pub struct Predicate {
    sql: Arc<str>,
    columns: Vec<String>,
    /// True for a row that breaks the condition.
    broken: Expr,
}

impl Predicate {
    /// Checks and compiles a condition such as `min_value <= max_value`.
    ///
    /// # Errors
    /// [`ViewError`] with the place of the mistake.
    pub fn compile(sql: &str) -> Result<Self, ViewError> {
        let parsed = parse_condition(sql)?;
        let mut lowering = Lowering::default();
        let condition = lowering.condition(&parsed, Scope::Row("a rule"))?;
        Ok(Self {
            sql: sql.into(),
            columns: lowering.columns,
            broken: Expr::Not(Box::new(condition)),
        })
    }

    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The columns that the condition names.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The rows that break the condition, as a CHECK constraint would: only those for which it is false. What
    /// is NULL, for want of a value, breaks nothing.
    #[must_use]
    pub fn broken_by(&self, batch: &RecordBatch) -> BooleanArray {
        let frame = Frame::over(&self.columns, "ts", batch);
        Evaluator::new(frame.mode).mask(&self.broken, &frame)
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, Float64Array, Int64Array, StringArray};

    use super::*;

    fn batch() -> RecordBatch {
        let columns: [(&str, ArrayRef); 3] = [
            (
                "low",
                Arc::new(Int64Array::from(vec![Some(1), Some(5), None, Some(9)])),
            ),
            (
                "high",
                Arc::new(Float64Array::from(vec![
                    Some(2.0),
                    Some(4.5),
                    Some(1.0),
                    Some(9.0),
                ])),
            ),
            (
                "kind",
                Arc::new(StringArray::from(vec![Some("a"), Some("b"), Some("a"), None])),
            ),
        ];
        RecordBatch::try_from_iter(columns).expect("a batch")
    }

    fn broken(sql: &str) -> Vec<usize> {
        let mask = Predicate::compile(sql).expect(sql).broken_by(&batch());
        (0..4).filter(|row| mask.value(*row)).collect()
    }

    #[test]
    fn only_what_is_false_breaks_a_rule() {
        assert_eq!(broken("low <= high"), [1]);
        assert_eq!(broken("low < high AND kind = 'a'"), [1, 3]);
        assert_eq!(broken("kind IN ('a', 'x') OR low > 4"), [0usize; 0]);
        assert_eq!(broken("CASE WHEN kind = 'b' THEN false ELSE true END"), [1]);
        assert_eq!(
            broken("missing > 3"),
            [0usize; 0],
            "a column that is not there is NULL"
        );
        assert_eq!(broken("low / 0 > 1"), [0usize; 0], "so is what has no result");
        assert_eq!(broken("kind IS NOT NULL"), [3]);
    }

    #[test]
    fn mistakes_have_their_place() {
        for (sql, place, words) in [
            ("", (1, 1), "empty"),
            ("low <", (1, 6), ""),
            ("low +\n 1", (1, 1), "not a condition"),
            ("low < 1; DROP", (1, 8), "does not belong"),
            ("low < 1 high", (1, 9), "does not belong"),
            ("count(*) > 1", (1, 1), ""),
            ("low IN (SELECT 1)", (1, 1), ""),
            ("window_start > 1", (1, 1), "window_start"),
        ] {
            let error = Predicate::compile(sql).expect_err(sql);
            assert_eq!((error.line, error.column), place, "{sql}: {error}");
            assert!(error.to_string().contains(words), "{sql}: {error}");
        }
    }
}
