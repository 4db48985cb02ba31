//! Every kind of cell: merged cells are cells that saw all rows, stored cells come back as they were, sketches keep
//! their bounds, and the memory is accounted for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{BooleanArray, DictionaryArray, Float64Array, Int64Array, StringArray};
use serde_json::Value;

use super::{Cells, Fold};
use crate::commit::LogPos;
use crate::view::{CellKind, Mode, Reading, Scalar, TOP_COUNTERS, Vector};
use crate::window::StateError;
use crate::window::codec::Reader;

const READINGS: [(CellKind, &[Reading]); 13] = [
    (CellKind::Count, &[Reading::Value, Reading::PerSecond]),
    (
        CellKind::Sum,
        &[Reading::Value, Reading::Mean, Reading::PerSecond],
    ),
    (CellKind::Min, &[Reading::Value]),
    (CellKind::Max, &[Reading::Value]),
    (
        CellKind::Moments,
        &[
            Reading::Variance { sample: true },
            Reading::Deviation { sample: false },
        ],
    ),
    (CellKind::First, &[Reading::Value]),
    (CellKind::Last, &[Reading::Value]),
    (CellKind::Bools, &[Reading::All, Reading::Any]),
    (CellKind::Distinct, &[Reading::Value]),
    (CellKind::ApproxDistinct, &[Reading::Value]),
    (
        CellKind::Quantiles,
        &[
            Reading::Quantile(0.0),
            Reading::Quantile(0.5),
            Reading::Quantile(0.99),
            Reading::Quantile(1.0),
        ],
    ),
    (CellKind::Top, &[Reading::Top(5), Reading::Top(100)]),
    (CellKind::Increase, &[Reading::Value]),
];

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A batch's column of `rows` values out of `values`, every tenth NULL, with times out of order.
fn column(numbers: &mut Numbers, kind: char, rows: usize, values: u64) -> (Vector, Vec<i64>) {
    let picked: Vec<Option<u64>> = (0..rows)
        .map(|_| (numbers.below(10) > 0).then(|| numbers.below(values)))
        .collect();
    let text = |value: &Option<u64>| value.map(|value| format!("value-{value}"));
    let vector = match kind {
        'i' => Vector::Int(
            picked
                .iter()
                .map(|value| value.map(|v| v as i64 - 5))
                .collect::<Int64Array>(),
        ),
        'f' => Vector::Float(
            picked
                .iter()
                .map(|value| value.map(|v| v as f64 / 4.0))
                .collect::<Float64Array>(),
        ),
        'b' => Vector::Bool(
            picked
                .iter()
                .map(|value| value.map(|v| v > 0))
                .collect::<BooleanArray>(),
        ),
        't' => Vector::Text(Arc::new(picked.iter().map(text).collect::<StringArray>())),
        'd' => {
            let texts: Vec<Option<String>> = picked.iter().map(text).collect();
            let array = texts
                .iter()
                .map(Option::as_deref)
                .collect::<DictionaryArray<Int32Type>>();
            Vector::Text(Arc::new(array))
        }
        _ => Vector::Scalars(
            picked
                .iter()
                .map(|value| match value {
                    None => Scalar::Null,
                    Some(v) if v % 3 == 0 => Scalar::Int(*v as i64),
                    Some(v) if v % 3 == 1 => Scalar::from(format!("value-{v}").as_str()),
                    Some(v) => Scalar::Bool(v % 2 == 0),
                })
                .collect(),
        ),
    };
    (vector, (0..rows).map(|_| numbers.below(5_000) as i64).collect())
}

fn cells(kind: CellKind, slots: usize) -> Cells {
    let mut cells = Cells::new(kind);
    (0..slots).for_each(|_| cells.push());
    cells
}

fn fold(cells: &mut Cells, slots: &[u32], values: &Vector, times: &[i64], pos: u64) {
    let mode = Mode::Json;
    let pos = LogPos(pos);
    cells.update(&Fold {
        slots,
        times,
        values,
        mode,
        pos,
    });
}

fn read(cells: &Cells, slot: u32, readings: &[Reading]) -> Vec<Scalar> {
    readings
        .iter()
        .map(|reading| cells.read(slot, *reading, 60.0))
        .collect()
}

fn stored(cells: &Cells, slot: u32) -> Vec<u8> {
    let mut bytes = vec![1];
    cells.encode(slot, &mut bytes);
    bytes
}

fn restored(kind: CellKind, bytes: &[u8]) -> Result<Cells, StateError> {
    let (mut reader, _) = Reader::new(bytes, &[1])?;
    let mut cells = cells(kind, 1);
    cells.restore(0, &mut reader)?;
    reader.end()?;
    Ok(cells)
}

fn assert_same(ours: &[Scalar], theirs: &[Scalar], what: &str) {
    for (a, b) in ours.iter().zip(theirs) {
        let near = match (a, b) {
            // the order of additions differs
            (Scalar::Float(a), Scalar::Float(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()),
            (a, b) => a == b,
        };
        assert!(near, "{what}: {a:?} is not {b:?}");
    }
}

/// Slots 0 to 2 get a third of the rows each, slot 3 all of them.
#[test]
fn merged_and_restored_cells_are_those_that_saw_all_rows() {
    let mut numbers = Numbers(7);
    for (kind, readings) in READINGS {
        for column_kind in ['i', 'f', 'b', 't', 'd', 'm'] {
            for (batches, rows, values) in [
                (1, 3, 2),
                (3, 20, 7),
                (4, 60, 1_000),
                (6, 1_500, 900),
                (6, 1_500, 1_000_000),
            ] {
                let approximates = matches!(kind, CellKind::Top | CellKind::Increase);
                if approximates && values > TOP_COUNTERS as u64 && rows > 60 {
                    continue; // their own tests look at what is left out
                }
                if kind == CellKind::Increase && rows > 20 {
                    continue;
                }
                let what =
                    format!("{kind:?} of {column_kind}, {batches} batches of {rows} rows, {values} values");
                let mut seen = cells(kind, 4);
                for pos in 0..batches {
                    let (values, times) = column(&mut numbers, column_kind, rows, values);
                    let thirds: Vec<u32> = (0..rows).map(|_| numbers.below(3) as u32).collect();
                    fold(&mut seen, &thirds, &values, &times, pos);
                    fold(&mut seen, &vec![3; rows], &values, &times, pos);
                }
                let expected = read(&seen, 3, readings);
                // through the stored form, in another order, and onto an empty cell
                let mut merged = cells(kind, 1);
                for slot in [2, 0, 1] {
                    let part = restored(kind, &stored(&seen, slot)).expect("the stored form is read");
                    assert_eq!(
                        read(&part, 0, readings),
                        read(&seen, slot, readings),
                        "{what}: stored"
                    );
                    assert_eq!(stored(&part, 0), stored(&seen, slot), "{what}: stored twice");
                    merged.merge_from(0, &part, 0);
                }
                assert_same(&read(&merged, 0, readings), &expected, &what);
                assert_eq!(merged.is_approximate(0), seen.is_approximate(3), "{what}");
            }
        }
    }
}

#[test]
fn damaged_cells_are_refused_and_memory_is_accounted_for() {
    let mut numbers = Numbers(11);
    for (kind, _) in READINGS {
        let mut filled = cells(kind, 3);
        let empty = filled.bytes();
        for pos in 0..4 {
            let column_kind = if matches!(
                kind,
                CellKind::Sum | CellKind::Quantiles | CellKind::Increase | CellKind::Moments
            ) {
                'i'
            } else {
                't'
            };
            let (values, times) = column(&mut numbers, column_kind, 700, 3_000);
            let slots: Vec<u32> = (0..700).map(|_| numbers.below(2) as u32).collect();
            fold(&mut filled, &slots, &values, &times, pos);
        }
        let heap: usize = (0..3)
            .map(|slot| filled.slot_bytes(slot) - filled.slot_bytes(2))
            .sum();
        assert_eq!(filled.bytes(), empty + heap, "{kind:?}");
        let bytes = stored(&filled, 0);
        for end in [1, 2, bytes.len() / 2, bytes.len() - 1] {
            assert!(
                restored(kind, &bytes[..end]).is_err() || end == bytes.len(),
                "{kind:?} cut at {end}"
            );
        }
        let copy = filled.clone();
        filled.merge_from(1, &copy, 0);
        (0..3).for_each(|slot| filled.clear(slot));
        assert_eq!(filled.bytes(), empty, "{kind:?} leaves nothing behind");
    }
}

#[test]
fn percentiles_stay_within_one_percent() {
    let mut numbers = Numbers(3);
    for rows in [1, 2, 31, 32, 33, 200, 5_000] {
        for scale in [1e-6, 1.0, 1e9] {
            let spread = |v: u64| {
                scale * (1.0 + (v as f64 / 100.0).exp()) * if v.is_multiple_of(3) { -1.0 } else { 1.0 }
            };
            let mut values: Vec<f64> = (0..rows).map(|_| spread(numbers.below(1_000))).collect();
            let mut cells = cells(CellKind::Quantiles, 1);
            let column = Vector::Float(values.iter().copied().map(Some).collect());
            fold(&mut cells, &vec![0; rows], &column, &vec![0; rows], 1);
            values.sort_by(f64::total_cmp);
            for q in [0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 1.0] {
                let truth = values[(q * (rows as f64 - 1.0)) as usize];
                let found = cells
                    .read(0, Reading::Quantile(q), 1.0)
                    .as_f64()
                    .expect("a number");
                assert!(
                    (found - truth).abs() <= truth.abs() * 0.010_001,
                    "{q} of {rows}: {found} for {truth}"
                );
            }
        }
    }
}

#[test]
fn distinct_values_are_exact_for_long_and_then_within_five_percent() {
    let count = |kind: CellKind, values: &[i64]| {
        let mut cells = cells(kind, 1);
        for (pos, part) in values.chunks(4_096).enumerate() {
            let column = Vector::Int(part.iter().copied().map(Some).collect());
            let rows = part.len();
            fold(&mut cells, &vec![0; rows], &column, &vec![0; rows], pos as u64);
        }
        let Scalar::Int(count) = cells.read(0, Reading::Value, 1.0) else {
            panic!("a count")
        };
        (count, cells.is_approximate(0), cells.slot_bytes(0))
    };
    for (kind, exact) in [(CellKind::Distinct, 1_000), (CellKind::ApproxDistinct, 128)] {
        for n in [0, 1, 10, exact - 1, exact, exact + 1, 5_000, 20_000, 60_000] {
            // each value twice, in two orders
            let values: Vec<i64> = (0..n).chain((0..n).rev()).map(|v| v * 7_919).collect();
            let (counted, approximate, bytes) = count(kind, &values);
            if n <= exact {
                assert_eq!(counted, n);
            } else {
                assert!((counted - n).abs() as f64 <= n as f64 * 0.05, "{counted} of {n}");
            }
            assert_eq!(approximate, kind == CellKind::Distinct && n > exact);
            assert!(bytes < 40_000, "{bytes} bytes for {n}");
        }
    }
    let (_, _, small) = count(CellKind::ApproxDistinct, &[1, 2, 3]);
    assert!(small <= 100, "{small} bytes for three values");
}

#[test]
fn numbers_are_one_value_in_whichever_form_and_texts_another() {
    let mut cells = cells(CellKind::Distinct, 1);
    let values = vec![
        Scalar::Int(5),
        Scalar::Float(5.0),
        Scalar::from("5"),
        Scalar::Null,
        Scalar::Float(5.5),
    ];
    fold(&mut cells, &[0; 5], &Vector::Scalars(values), &[0; 5], 1);
    assert_eq!(cells.read(0, Reading::Value, 1.0), Scalar::Int(3));
}

#[test]
fn top_values_are_exact_until_there_are_too_many_and_then_within_the_bound() {
    let mut numbers = Numbers(5);
    let mut seen = cells(CellKind::Top, 3);
    let mut truth: BTreeMap<i64, u64> = BTreeMap::new();
    let rows = 2_000;
    for pos in 0..20 {
        // few values are frequent, most come once
        let values: Vec<i64> = (0..rows)
            .map(|_| match numbers.below(4) {
                0 => numbers.below(10) as i64,
                _ => numbers.below(1 << 40) as i64,
            })
            .collect();
        values
            .iter()
            .for_each(|value| *truth.entry(*value).or_default() += 1);
        let column = Vector::Int(values.into_iter().map(Some).collect());
        let halves: Vec<u32> = (0..rows).map(|_| numbers.below(2) as u32).collect();
        fold(&mut seen, &halves, &column, &vec![0; rows], pos);
        fold(&mut seen, &vec![2; rows], &column, &vec![0; rows], pos);
    }
    let other = seen.clone();
    seen.merge_from(0, &other, 1);
    let all: u64 = truth.values().sum();
    let bound = all as f64 / (TOP_COUNTERS / 2 + 1) as f64;
    for slot in [0, 2] {
        assert!(seen.is_approximate(slot));
        let Scalar::Text(text) = seen.read(slot, Reading::Top(10), 1.0) else {
            panic!("a text")
        };
        let Value::Array(top) = serde_json::from_str(&text).expect("JSON") else {
            panic!("an array")
        };
        let found: BTreeSet<i64> = top.iter().filter_map(|entry| entry["value"].as_i64()).collect();
        assert_eq!(found, (0..10).collect(), "the frequent ones");
        for entry in top {
            let (value, count) = (
                entry["value"].as_i64().expect("one"),
                entry["count"].as_u64().expect("one"),
            );
            let missing = truth[&value].checked_sub(count).expect("never too high");
            assert!(
                (missing as f64) <= bound,
                "{value}: {missing} of {all} are missing"
            );
        }
    }
}

/// Samples of a counter that begins anew now and then: time and value.
fn counter(numbers: &mut Numbers, samples: usize) -> Vec<(i64, i64)> {
    let mut value = 0;
    (0..samples as i64)
        .map(|time| {
            value = if numbers.below(40) == 0 {
                numbers.below(3) as i64
            } else {
                value + numbers.below(9) as i64
            };
            (time, value)
        })
        .collect()
}

fn rises(samples: &[(i64, i64)]) -> f64 {
    let rise = |pair: &[(i64, i64)]| {
        if pair[1].1 >= pair[0].1 {
            pair[1].1 - pair[0].1
        } else {
            pair[1].1
        }
    };
    samples.windows(2).map(rise).sum::<i64>() as f64
}

fn increase_of(cells: &mut Cells, slot: u32, samples: &[(i64, i64)], pos: u64) {
    let values = Vector::Int(samples.iter().map(|(_, value)| Some(*value)).collect());
    let times: Vec<i64> = samples.iter().map(|(time, _)| *time).collect();
    fold(cells, &vec![slot; samples.len()], &values, &times, pos);
}

#[test]
fn a_counter_rises_the_same_in_order_out_of_order_and_in_parts() {
    let mut numbers = Numbers(13);
    for samples in [1, 2, 50, 128, 129, 1_000, 10_000] {
        let counter = counter(&mut numbers, samples);
        let expected = Scalar::Float(rises(&counter));
        let mut cells = cells(CellKind::Increase, 4);
        increase_of(&mut cells, 0, &counter, 1);
        assert_eq!(cells.read(0, Reading::Value, 1.0), expected, "{samples} in order");
        // neighbours change places, as senders that retry do
        let mut shuffled = counter.clone();
        shuffled.chunks_mut(4).for_each(|four| four.reverse());
        increase_of(&mut cells, 1, &shuffled, 1);
        assert_eq!(
            cells.read(1, Reading::Value, 1.0),
            expected,
            "{samples} a little out of order"
        );
        // two windows after each other, merged
        let (older, newer) = counter.split_at(samples / 2);
        increase_of(&mut cells, 2, older, 1);
        increase_of(&mut cells, 3, newer, 2);
        let parts = cells.clone();
        cells.merge_from(3, &parts, 2);
        assert_eq!(
            cells.read(3, Reading::Value, 1.0),
            expected,
            "{samples} in two parts"
        );
        assert!((0..4).all(|slot| !cells.is_approximate(slot)), "{samples}");
    }
    // far too late, between samples that were left out
    let counter = counter(&mut numbers, 1_000);
    let mut cells = cells(CellKind::Increase, 1);
    increase_of(&mut cells, 0, &counter[..10], 1);
    increase_of(&mut cells, 0, &counter[11..], 2);
    increase_of(&mut cells, 0, &counter[10..11], 3);
    assert!(cells.is_approximate(0), "and says so");
}
