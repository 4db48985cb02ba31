//! Arrays of related types as the few that expressions know: 64-bit numbers, milliseconds, plain texts.
//!
//! Arrow's own cast knows every pair of types, which is 1.5 MB of program for the dozen that can come here.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, Float64Array, Int64Array, StringArray, TimestampMillisecondArray,
};
use arrow_schema::{DataType, TimeUnit};

fn widened<T>(array: &ArrayRef) -> Int64Array
where
    T: ArrowPrimitiveType,
    T::Native: TryInto<i64>,
{
    array.as_primitive::<T>().unary_opt(|value| value.try_into().ok())
}

/// Integers of any width; those beyond 64 signed bits are NULL. `None` for other arrays.
pub(super) fn ints(array: &ArrayRef) -> Option<Int64Array> {
    Some(match array.data_type() {
        DataType::Int64 => array.as_primitive::<Int64Type>().clone(),
        DataType::Int8 => widened::<Int8Type>(array),
        DataType::Int16 => widened::<Int16Type>(array),
        DataType::Int32 => widened::<Int32Type>(array),
        DataType::UInt8 => widened::<UInt8Type>(array),
        DataType::UInt16 => widened::<UInt16Type>(array),
        DataType::UInt32 => widened::<UInt32Type>(array),
        DataType::UInt64 => widened::<UInt64Type>(array),
        _ => return None,
    })
}

/// Floats of any width. `None` for other arrays.
pub(super) fn floats(array: &ArrayRef) -> Option<Float64Array> {
    Some(match array.data_type() {
        DataType::Float64 => array.as_primitive::<Float64Type>().clone(),
        DataType::Float32 => array.as_primitive::<Float32Type>().unary(f64::from),
        DataType::Float16 => array.as_primitive::<Float16Type>().unary(f64::from),
        _ => return None,
    })
}

/// Integers as floats, to the nearest.
pub(super) fn ints_to_floats(ints: &Int64Array) -> Float64Array {
    ints.unary(|value| value as f64)
}

/// Instants as milliseconds without a zone: parts of one are cut off, what is beyond 64 bits is NULL. `None` for
/// other arrays.
pub(super) fn times(array: &ArrayRef) -> Option<TimestampMillisecondArray> {
    let DataType::Timestamp(unit, _) = array.data_type() else {
        return None;
    };
    let times = match unit {
        TimeUnit::Second => array
            .as_primitive::<TimestampSecondType>()
            .unary_opt(|value| value.checked_mul(1_000)),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().clone(),
        TimeUnit::Microsecond => array
            .as_primitive::<TimestampMicrosecondType>()
            .unary(|value| value / 1_000),
        TimeUnit::Nanosecond => array
            .as_primitive::<TimestampNanosecondType>()
            .unary(|value| value / 1_000_000),
    };
    Some(times.with_timezone_opt(None::<Arc<str>>))
}

/// Texts however they are laid out, also in dictionaries. `None` for other arrays.
pub(super) fn texts(array: &ArrayRef) -> Option<StringArray> {
    Some(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().clone(),
        DataType::LargeUtf8 => array.as_string::<i64>().iter().collect(),
        DataType::Utf8View => array.as_string_view().iter().collect(),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let values = texts(dictionary.values())?;
            if values.is_empty() {
                return Some(StringArray::new_null(array.len()));
            }
            let keys = dictionary.normalized_keys();
            let text = |row: usize| {
                let key = keys[row];
                (dictionary.keys().is_valid(row) && values.is_valid(key)).then(|| values.value(key))
            };
            (0..array.len()).map(text).collect()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use arrow_array::{
        BooleanArray, DictionaryArray, Float32Array, Int16Array, LargeStringArray, StringViewArray,
        TimestampMicrosecondArray, TimestampSecondArray, UInt8Array, UInt64Array,
    };

    use super::*;

    fn array(array: impl Array + 'static) -> ArrayRef {
        Arc::new(array)
    }

    #[test]
    fn integers_of_every_width_are_taken_and_those_that_do_not_fit_are_null() {
        let narrow = array(Int16Array::from(vec![Some(-3), None]));
        assert_eq!(ints(&narrow), Some(Int64Array::from(vec![Some(-3), None])));
        let wide = array(UInt64Array::from(vec![7, u64::MAX]));
        assert_eq!(ints(&wide), Some(Int64Array::from(vec![Some(7), None])));
        assert_eq!(ints(&array(BooleanArray::from(vec![true]))), None);
    }

    #[test]
    fn floats_are_widened_exactly() {
        let narrow = array(Float32Array::from(vec![Some(0.5), None]));
        assert_eq!(floats(&narrow), Some(Float64Array::from(vec![Some(0.5), None])));
        assert_eq!(floats(&array(UInt8Array::from(vec![1]))), None);
    }

    #[test]
    fn times_become_milliseconds_without_a_zone() {
        let seconds = array(TimestampSecondArray::from(vec![2, i64::MAX]).with_timezone("UTC"));
        let expected = TimestampMillisecondArray::from(vec![Some(2_000), None]);
        assert_eq!(times(&seconds), Some(expected));
        let micros = array(TimestampMicrosecondArray::from(vec![1_999, -1_999]));
        assert_eq!(times(&micros), Some(TimestampMillisecondArray::from(vec![1, -1])));
        let zoned = array(TimestampMillisecondArray::from(vec![5]).with_timezone("+02:00"));
        assert_eq!(times(&zoned), Some(TimestampMillisecondArray::from(vec![5])));
    }

    #[test]
    fn texts_come_out_of_every_layout() {
        let expected = Some(StringArray::from(vec![Some("a"), None, Some("ü")]));
        let given = [Some("a"), None, Some("ü")];
        assert_eq!(texts(&array(LargeStringArray::from(given.to_vec()))), expected);
        assert_eq!(texts(&array(StringViewArray::from(given.to_vec()))), expected);
        let dictionary: DictionaryArray<Int8Type> = given.into_iter().collect();
        assert_eq!(texts(&array(dictionary)), expected);
        let nulls: DictionaryArray<UInt16Type> = [None::<&str>, None].into_iter().collect();
        assert_eq!(texts(&array(nulls)), Some(StringArray::new_null(2)));
        assert_eq!(texts(&array(Int16Array::from(vec![1]))), None);
    }
}
