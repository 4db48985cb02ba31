//! Expressions over one text column with a dictionary, evaluated once for each text that the dictionary holds.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, BooleanArray, DictionaryArray, Int32Array, StringArray};

use super::bind::{Bound, Frame, Vector};
use super::expr::{Expr, Leaf};
use super::rowwise::{Env, Evaluator};
use super::scalar::Scalar;

/// The one column that an expression reads, if that is all it reads.
fn only_column(expr: &Expr) -> Option<usize> {
    let mut columns = Vec::new();
    expr.columns(&mut columns);
    columns.sort_unstable();
    columns.dedup();
    match columns.as_slice() {
        [column] => Some(*column),
        _ => None,
    }
}

struct One {
    column: usize,
    value: Scalar,
}

impl Env for One {
    fn leaf(&self, leaf: Leaf) -> Scalar {
        match leaf {
            Leaf::Column(at) if at == self.column => self.value.clone(),
            _ => Scalar::Null,
        }
    }
}

/// The values of the expression, and how many of its operations had no result. `None` when it reads something else
/// than one column whose dictionary is smaller than the batch.
pub(super) fn by_value(evaluator: &Evaluator, expr: &Expr, frame: &Frame) -> Option<(Vector, u64)> {
    let column = only_column(expr)?;
    let Bound::Plain(Vector::Text(array)) = &frame.columns[column] else {
        return None;
    };
    let dictionary = array.as_dictionary_opt::<Int32Type>()?;
    let texts = dictionary.values().as_string_opt::<i32>()?;
    if texts.len() >= frame.rows {
        return None;
    }
    // the last place is NULL's
    let mut known: Vec<Option<(Scalar, u64)>> = vec![None; texts.len() + 1];
    let mut failures = 0;
    let mut places = Vec::with_capacity(frame.rows);
    for row in 0..frame.rows {
        let place = dictionary
            .key(row)
            .filter(|key| texts.is_valid(*key))
            .unwrap_or(texts.len());
        let (_, failed) = known[place].get_or_insert_with(|| {
            let value = if place == texts.len() {
                Scalar::Null
            } else {
                texts.value(place).into()
            };
            let alone = Evaluator::new(evaluator.mode);
            let value = alone.value(expr, &One { column, value });
            (value, alone.failures())
        });
        failures += *failed;
        places.push(place);
    }
    let values: Vec<Scalar> = known
        .into_iter()
        .map(|value| value.map_or(Scalar::Null, |(value, _)| value))
        .collect();
    Some((gather(&values, &places), failures))
}

/// A column of the values at these places.
fn gather(values: &[Scalar], places: &[usize]) -> Vector {
    let all = |is: fn(&Scalar) -> bool| values.iter().all(|value| value.is_null() || is(value));
    if all(|value| matches!(value, Scalar::Bool(_))) {
        let bools = places.iter().map(|place| match values[*place] {
            Scalar::Bool(value) => Some(value),
            _ => None,
        });
        return Vector::Bool(bools.collect::<BooleanArray>());
    }
    if all(|value| matches!(value, Scalar::Text(_))) {
        let texts: StringArray = values
            .iter()
            .map(|value| match value {
                Scalar::Text(text) => text,
                _ => "",
            })
            .map(Some)
            .collect();
        let keys: Int32Array = places
            .iter()
            .map(|place| (!values[*place].is_null()).then_some(*place as i32))
            .collect();
        if let Ok(dictionary) = DictionaryArray::try_new(keys, Arc::new(texts) as ArrayRef) {
            return Vector::Text(Arc::new(dictionary));
        }
    }
    Vector::Scalars(places.iter().map(|place| values[*place].clone()).collect())
}
