//! `count(DISTINCT x)` and `approx_distinct(x)`.

use datasketches::hll::{Coupon, HllSketch, HllType, HllUnion};

use super::super::codec::{Reader, put_bytes, put_u64};
use super::super::messages::StateError;
use super::fold::Fold;
use super::slots::{Cell, Slots};
use crate::view::{DISTINCT_LG_REGISTERS, Scalar};

/// The values themselves, as fingerprints, up to `EXACT` of them; then a HyperLogLog sketch. What a cell shows depends
/// on the set of values only, not on their order or on how cells were merged.
#[derive(Clone)]
pub(in super::super) enum DistinctCell<const EXACT: usize> {
    /// In ascending order.
    Few(Vec<u128>),
    Many(Box<HllSketch>),
}

/// Registers of a byte each, and what stands around them.
const SKETCH_BYTES: usize = (1 << DISTINCT_LG_REGISTERS) + 256;
const FEW: u8 = 0;
const MANY: u8 = 1;

impl<const EXACT: usize> Default for DistinctCell<EXACT> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<const EXACT: usize> std::fmt::Debug for DistinctCell<EXACT> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.is_approximate() { "Many" } else { "Few" };
        f.debug_tuple(kind).field(&self.value()).finish()
    }
}

fn empty_sketch() -> HllSketch {
    HllSketch::new(DISTINCT_LG_REGISTERS, HllType::Hll8).expect("the number of registers is in range")
}

fn note(sketch: &mut HllSketch, print: u128) {
    // half of a fingerprint is more than the sketch looks at
    sketch.update_with_coupon(Coupon::from_value(print as u64));
}

impl<const EXACT: usize> DistinctCell<EXACT> {
    #[inline]
    fn add(&mut self, print: u128) {
        match self {
            Self::Many(sketch) => note(sketch, print),
            Self::Few(prints) => {
                if let Err(at) = prints.binary_search(&print) {
                    if prints.len() == EXACT {
                        note(self.sketch(), print);
                    } else {
                        prints.insert(at, print);
                    }
                }
            }
        }
    }

    /// The sketch, made of what is known if there is none yet.
    fn sketch(&mut self) -> &mut HllSketch {
        if let Self::Few(prints) = self {
            let mut sketch = Box::new(empty_sketch());
            prints.iter().for_each(|print| note(&mut sketch, *print));
            *self = Self::Many(sketch);
        }
        match self {
            Self::Many(sketch) => sketch,
            Self::Few(_) => unreachable!("made above"),
        }
    }

    pub(super) fn is_approximate(&self) -> bool {
        matches!(self, Self::Many(_))
    }

    pub(super) fn value(&self) -> Scalar {
        match self {
            Self::Few(prints) => Scalar::Int(prints.len() as i64),
            // the estimate that does not depend on the order of the values
            Self::Many(sketch) => Scalar::Int(sketch.composite_estimate().round() as i64),
        }
    }
}

impl<const EXACT: usize> Cell for DistinctCell<EXACT> {
    fn merge(&mut self, other: &Self) {
        match other {
            Self::Few(prints) => prints.iter().for_each(|print| self.add(*print)),
            Self::Many(theirs) => {
                let ours = self.sketch();
                let mut union =
                    HllUnion::new(DISTINCT_LG_REGISTERS).expect("the number of registers is in range");
                union.update(ours);
                union.update(theirs);
                *ours = union.to_sketch(HllType::Hll8);
            }
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Few(prints) => {
                out.push(FEW);
                put_u64(out, prints.len() as u64);
                prints
                    .iter()
                    .for_each(|print| out.extend_from_slice(&print.to_le_bytes()));
            }
            Self::Many(sketch) => {
                out.push(MANY);
                put_bytes(out, &sketch.serialize());
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        match reader.u8()? {
            FEW => {
                let len = reader.len(EXACT)?;
                let prints: Vec<u128> = (0..len).map(|_| reader.u128()).collect::<Result<_, _>>()?;
                let ascending = prints.is_sorted_by(|a, b| a < b);
                ascending
                    .then_some(Self::Few(prints))
                    .ok_or(StateError::Malformed)
            }
            MANY => {
                let sketch = HllSketch::deserialize(reader.bytes()?).map_err(|_| StateError::Malformed)?;
                let ours =
                    sketch.lg_config_k() == DISTINCT_LG_REGISTERS && sketch.target_type() == HllType::Hll8;
                ours.then(|| Self::Many(Box::new(sketch)))
                    .ok_or(StateError::Malformed)
            }
            _ => Err(StateError::Malformed),
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Few(prints) => prints.capacity() * size_of::<u128>(),
            Self::Many(_) => SKETCH_BYTES,
        }
    }
}

impl<const EXACT: usize> Slots<DistinctCell<EXACT>> {
    pub(super) fn update(&mut self, fold: &Fold<'_>) {
        fold.fingerprints(|row, print| self.change(fold.slots[row], |cell| cell.add(print)));
    }
}
