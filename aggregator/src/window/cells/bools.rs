//! `bool_and(x)` and `bool_or(x)`.

use super::super::codec::Reader;
use super::super::messages::StateError;
use super::fold::Fold;
use super::slots::{Cell, Slots};
use crate::view::Scalar;

/// Which of the two values were there.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct BoolCell {
    yes: bool,
    no: bool,
}

impl BoolCell {
    /// Whether all were true; NULL when there were none.
    pub(super) fn all(self) -> Scalar {
        self.any_value(!self.no)
    }

    /// Whether one was true; NULL when there were none.
    pub(super) fn any(self) -> Scalar {
        self.any_value(self.yes)
    }

    fn any_value(self, value: bool) -> Scalar {
        match self {
            Self {
                yes: false,
                no: false,
            } => Scalar::Null,
            _ => Scalar::Bool(value),
        }
    }
}

impl Cell for BoolCell {
    fn merge(&mut self, other: &Self) {
        self.yes |= other.yes;
        self.no |= other.no;
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.yes) | u8::from(self.no) << 1);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        match reader.u8()? {
            bits @ 0..4 => Ok(Self {
                yes: bits & 1 != 0,
                no: bits & 2 != 0,
            }),
            _ => Err(StateError::Malformed),
        }
    }
}

impl Slots<BoolCell> {
    pub(super) fn update(&mut self, fold: &Fold<'_>) {
        let cells = self.plain();
        fold.bools(|row, value| {
            let cell = &mut cells[fold.slots[row] as usize];
            cell.yes |= value;
            cell.no |= !value;
        });
    }
}
