//! One value within a cell.

use super::super::codec::{Reader, put_scalar};
use super::super::messages::StateError;
use crate::view::Scalar;

/// Bytes of a text that a cell keeps. Cutting keeps the order of texts, so that what remains of an extreme is the
/// start of the true one.
pub(super) const MAX_KEPT_TEXT: usize = 1024;

/// A value in 16 bytes. Texts, which are rare here, are twice behind a pointer for that.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Kept {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    /// Finite.
    Float(f64),
    Time(i64),
    Text(Box<Box<str>>),
}

/// The part of a text that is kept.
pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_KEPT_TEXT)]
}

impl Kept {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(Box::new(cut(text).into()))
    }

    pub(super) fn scalar(&self) -> Scalar {
        match self {
            Self::Null => Scalar::Null,
            Self::Bool(value) => Scalar::Bool(*value),
            Self::Int(value) => Scalar::Int(*value),
            Self::Float(value) => Scalar::Float(*value),
            Self::Time(value) => Scalar::Time(*value),
            Self::Text(text) => Scalar::from(&***text),
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Text(text) => size_of::<Box<str>>() + text.len(),
            _ => 0,
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_scalar(out, &self.scalar());
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        reader.scalar().map(|value| Self::from(&value))
    }
}

impl From<&Scalar> for Kept {
    fn from(value: &Scalar) -> Self {
        match value {
            Scalar::Null => Self::Null,
            Scalar::Bool(value) => Self::Bool(*value),
            Scalar::Int(value) => Self::Int(*value),
            Scalar::Float(value) => Self::Float(*value),
            Scalar::Time(value) => Self::Time(*value),
            Scalar::Text(text) => Self::text(text),
        }
    }
}
