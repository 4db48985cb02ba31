//! `approx_percentile(x, q)`.

use sketches_ddsketch::{Config, DDSketch};

use super::super::codec::{Reader, put_bytes, put_u64};
use super::super::messages::StateError;
use super::fold::Fold;
use super::slots::{Cell, Slots};
use crate::view::{EXACT_QUANTILES, Scalar};

/// The values themselves while they are few; then a sketch whose quantiles are within 1 % of a value of that rank. The
/// state depends on the values only, not on their order or on how cells were merged.
#[derive(Clone)]
pub(in super::super) enum QuantileCell {
    Few(Vec<f64>),
    Many(Box<DDSketch>),
}

const FEW: u8 = 0;
const MANY: u8 = 1;

impl Default for QuantileCell {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl std::fmt::Debug for QuantileCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Few(values) => f.debug_tuple("Few").field(values).finish(),
            Self::Many(sketch) => f.debug_tuple("Many").field(&sketch.count()).finish(),
        }
    }
}

impl QuantileCell {
    #[inline]
    fn add(&mut self, value: f64) {
        match self {
            Self::Many(sketch) => sketch.add(value),
            Self::Few(values) if values.len() < EXACT_QUANTILES => values.push(value),
            Self::Few(_) => self.sketch().add(value),
        }
    }

    /// The sketch, made of what is known if there is none yet.
    fn sketch(&mut self) -> &mut DDSketch {
        if let Self::Few(values) = self {
            // the library's defaults are 1 %, and its stored form knows no other
            let mut sketch = Box::new(DDSketch::new(Config::defaults()));
            values.iter().for_each(|value| sketch.add(*value));
            *self = Self::Many(sketch);
        }
        match self {
            Self::Many(sketch) => sketch,
            Self::Few(_) => unreachable!("made above"),
        }
    }

    /// A value such that the share `q` of all is not above it; NULL of none.
    pub(super) fn value(&self, q: f64) -> Scalar {
        let found = match self {
            Self::Few(values) => {
                let mut sorted = values.clone();
                sorted.sort_unstable_by(f64::total_cmp);
                // the rank that the sketch looks for
                let rank = (q * (sorted.len() as f64 - 1.0)).max(0.0) as usize;
                sorted.get(rank).copied()
            }
            Self::Many(sketch) => sketch.quantile(q).ok().flatten(),
        };
        found.and_then(Scalar::finite).unwrap_or_default()
    }
}

impl Cell for QuantileCell {
    fn merge(&mut self, other: &Self) {
        match other {
            Self::Few(values) => values.iter().for_each(|value| self.add(*value)),
            Self::Many(theirs) => {
                self.sketch()
                    .merge(theirs)
                    .expect("all sketches are configured alike");
            }
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Few(values) => {
                out.push(FEW);
                put_u64(out, values.len() as u64);
                values.iter().for_each(|value| put_u64(out, value.to_bits()));
            }
            Self::Many(sketch) => {
                out.push(MANY);
                put_bytes(out, &sketch.to_java_bytes());
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        match reader.u8()? {
            FEW => {
                let len = reader.len(EXACT_QUANTILES)?;
                let value = |_| reader.u64().map(f64::from_bits);
                Ok(Self::Few((0..len).map(value).collect::<Result<_, _>>()?))
            }
            MANY => {
                let stored = DDSketch::from_java_bytes(reader.bytes()?).map_err(|_| StateError::Malformed)?;
                // refuses one that is configured otherwise
                let mut sketch = DDSketch::new(Config::defaults());
                sketch.merge(&stored).map_err(|_| StateError::Malformed)?;
                Ok(Self::Many(Box::new(sketch)))
            }
            _ => Err(StateError::Malformed),
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Few(values) => values.capacity() * size_of::<f64>(),
            Self::Many(sketch) => size_of::<DDSketch>() + sketch.length() * size_of::<u64>(),
        }
    }
}

impl Slots<QuantileCell> {
    pub(super) fn update(&mut self, fold: &Fold<'_>) {
        fold.numbers(|row, number| self.change(fold.slots[row], |cell| cell.add(number.as_f64())));
    }
}
