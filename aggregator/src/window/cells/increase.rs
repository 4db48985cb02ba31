//! `increase(x)`: how far a counter rose, although it began anew from zero now and then, and although samples come out
//! of order.

use super::super::codec::{Reader, put_u64};
use super::super::messages::StateError;
use super::fold::{Fold, Place};
use super::slots::{Cell, Slots};
use crate::view::{INCREASE_SAMPLES, Scalar};

/// The samples in the order of event time. When they become too many, every other one of the older is left out, and
/// the increase over it is kept in its place: that loses nothing, unless a sample arrives later that belongs between.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct IncreaseCell(Option<Box<Series>>);

#[derive(Debug, Clone, Default)]
struct Series {
    samples: Vec<Sample>,
    /// A sample came too late to be taken account of.
    approximate: bool,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    place: Place,
    value: f64,
    /// The increase from here to the next sample when others were left out between; else NaN.
    over: f64,
}

/// The newest samples are left alone: most of what is late is a little late.
const KEPT_WHOLE: usize = INCREASE_SAMPLES / 4;

/// A counter that fell began anew from zero.
fn rise(from: f64, to: f64) -> f64 {
    if to >= from { to - from } else { to }
}

impl Sample {
    fn has_gap(&self) -> bool {
        !self.over.is_nan()
    }

    fn rise_to(&self, next: &Self) -> f64 {
        if self.has_gap() {
            self.over
        } else {
            rise(self.value, next.value)
        }
    }
}

impl Series {
    #[inline]
    fn add(&mut self, place: Place, value: f64) {
        let sample = Sample {
            place,
            value,
            over: f64::NAN,
        };
        match self.samples.last() {
            Some(last) if last.place > place => {
                let at = self.samples.partition_point(|known| known.place < place);
                if at > 0 && self.samples[at - 1].has_gap() {
                    self.approximate = true;
                } else {
                    self.samples.insert(at, sample);
                }
            }
            _ => self.samples.push(sample),
        }
        self.compact();
    }

    fn compact(&mut self) {
        if self.samples.len() <= INCREASE_SAMPLES {
            return;
        }
        let older = self.samples.len() - KEPT_WHOLE;
        let mut kept = Vec::with_capacity(INCREASE_SAMPLES);
        // each pair of the older samples becomes its first
        let mut pairs = self.samples[..older].windows(3).step_by(2);
        for window in pairs.by_ref() {
            let over = window[0].rise_to(&window[1]) + window[1].rise_to(&window[2]);
            kept.push(Sample { over, ..window[0] });
        }
        let seen = kept.len() * 2;
        kept.extend_from_slice(&self.samples[seen..]);
        self.samples = kept;
    }

    fn total(&self) -> f64 {
        let rises = self.samples.windows(2).map(|pair| pair[0].rise_to(&pair[1]));
        rises.sum()
    }

    fn merge(&mut self, other: &Self) {
        let (ours, theirs) = (std::mem::take(&mut self.samples), &other.samples);
        self.approximate |= other.approximate;
        let (mut a, mut b) = (ours.as_slice(), theirs.as_slice());
        let mut merged: Vec<Sample> = Vec::with_capacity(a.len() + b.len());
        while let Some(from_a) = first_is_older(a, b) {
            let (from, aside) = if from_a {
                (&mut a, &mut b)
            } else {
                (&mut b, &mut a)
            };
            let sample = from[0];
            *from = &from[1..];
            if sample.has_gap()
                && let Some(next) = from.first()
            {
                // what lies in the other's gap can not be told apart any more
                let within = aside.partition_point(|other| other.place < next.place);
                self.approximate |= within > 0;
                *aside = &aside[within..];
            }
            merged.push(sample);
        }
        self.samples = merged;
        while self.samples.len() > INCREASE_SAMPLES {
            self.compact();
        }
    }
}

/// Whether the first of `a` comes before the first of `b`; `None` when both are empty.
fn first_is_older(a: &[Sample], b: &[Sample]) -> Option<bool> {
    match (a.first(), b.first()) {
        (None, None) => None,
        (Some(_), None) => Some(true),
        (None, Some(_)) => Some(false),
        (Some(a), Some(b)) => Some(a.place <= b.place),
    }
}

impl IncreaseCell {
    pub(super) fn is_approximate(&self) -> bool {
        self.0.as_ref().is_some_and(|series| series.approximate)
    }

    /// NULL without samples.
    pub(super) fn value(&self) -> Scalar {
        let total = self.0.as_ref().map(|series| series.total());
        total.and_then(Scalar::finite).unwrap_or_default()
    }
}

impl Cell for IncreaseCell {
    fn merge(&mut self, other: &Self) {
        if let Some(other) = &other.0 {
            self.0.get_or_insert_default().merge(other);
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let Some(series) = &self.0 else {
            out.push(0);
            return put_u64(out, 0);
        };
        out.push(u8::from(series.approximate));
        put_u64(out, series.samples.len() as u64);
        for sample in &series.samples {
            sample.place.encode(out);
            put_u64(out, sample.value.to_bits());
            put_u64(out, sample.over.to_bits());
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let approximate = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(StateError::Malformed),
        };
        let len = reader.len(INCREASE_SAMPLES)?;
        let mut samples = Vec::with_capacity(len);
        for _ in 0..len {
            samples.push(Sample {
                place: Place::decode(reader)?,
                value: f64::from_bits(reader.u64()?),
                over: f64::from_bits(reader.u64()?),
            });
        }
        if !samples.is_sorted_by_key(|sample| sample.place) {
            return Err(StateError::Malformed);
        }
        let series = Series { samples, approximate };
        Ok(Self((len > 0).then(|| Box::new(series))))
    }

    fn heap_bytes(&self) -> usize {
        let bytes = |series: &Series| size_of::<Series>() + series.samples.capacity() * size_of::<Sample>();
        self.0.as_deref().map_or(0, bytes)
    }
}

impl Slots<IncreaseCell> {
    pub(super) fn update(&mut self, fold: &Fold<'_>) {
        fold.numbers(|row, number| {
            let place = fold.place(row);
            self.change(fold.slots[row], |cell| {
                cell.0.get_or_insert_default().add(place, number.as_f64());
            });
        });
    }
}
