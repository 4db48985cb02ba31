//! `first(x)` and `last(x)` by event time.

use super::super::codec::Reader;
use super::super::messages::StateError;
use super::fold::{Fold, Place};
use super::kept::Kept;
use super::slots::{Cell, Slots};
use crate::view::Scalar;

/// The value, not NULL, of the earliest event, or with `LAST` of the latest. Events of one time stand in the order of
/// the log.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct EdgeCell<const LAST: bool>(Option<(Place, Kept)>);

impl<const LAST: bool> EdgeCell<LAST> {
    pub(super) fn value(&self) -> Scalar {
        self.0.as_ref().map_or(Scalar::Null, |(_, value)| value.scalar())
    }

    fn is_beaten_by(&self, place: Place) -> bool {
        match &self.0 {
            Some((known, _)) if LAST => place > *known,
            Some((known, _)) => place < *known,
            None => true,
        }
    }
}

impl<const LAST: bool> Cell for EdgeCell<LAST> {
    fn merge(&mut self, other: &Self) {
        if let Some((place, value)) = &other.0
            && self.is_beaten_by(*place)
        {
            self.0 = Some((*place, value.clone()));
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match &self.0 {
            None => out.push(0),
            Some((place, value)) => {
                out.push(1);
                place.encode(out);
                value.encode(out);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        match reader.u8()? {
            0 => Ok(Self(None)),
            1 => Ok(Self(Some((Place::decode(reader)?, Kept::decode(reader)?)))),
            _ => Err(StateError::Malformed),
        }
    }

    fn heap_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |(_, value)| value.heap_bytes())
    }
}

impl<const LAST: bool> Slots<EdgeCell<LAST>> {
    /// In two steps, so that each group copies one value of the batch and not each that was the latest for a moment.
    pub(super) fn update(&mut self, fold: &Fold<'_>) {
        fold.present(|row| {
            let (slot, place) = (fold.slots[row], fold.place(row));
            if self.get(slot).is_beaten_by(place) {
                self.change(slot, |cell| cell.0 = Some((place, Kept::Null)));
            }
        });
        fold.present(|row| {
            let (slot, place) = (fold.slots[row], fold.place(row));
            if self
                .get(slot)
                .0
                .as_ref()
                .is_some_and(|(winner, _)| *winner == place)
            {
                let value = Kept::from(&fold.scalar(row));
                self.change(slot, |cell| cell.0 = Some((place, value)));
            }
        });
    }
}
