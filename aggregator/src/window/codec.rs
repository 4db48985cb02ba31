//! The stored form of keys and states: a version byte, then fields in a fixed order, little-endian.

use std::sync::Arc;

use super::messages::StateError;
use crate::view::Scalar;

/// Format of key bytes. Groups are found by them: a change means that every stored key is written anew.
pub(super) const KEY_FORMAT: u8 = 1;
/// The key of a window's overflow group; no value has this kind.
pub(super) const OVERFLOW_KEY: [u8; 2] = [KEY_FORMAT, 7];
/// Format of state bytes.
pub(super) const STATE_FORMAT: u8 = 2;
/// The same without the log position of the last change.
pub(super) const STATE_FORMAT_1: u8 = 1;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const FLOAT: u8 = 4;
const TEXT: u8 = 5;
const TIME: u8 = 6;

pub(super) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Bytes with their length.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn put_scalar(out: &mut Vec<u8>, value: &Scalar) {
    match value {
        Scalar::Null => out.push(NULL),
        Scalar::Bool(value) => out.push(if *value { TRUE } else { FALSE }),
        Scalar::Int(value) => {
            out.push(INT);
            put_u64(out, value.cast_unsigned());
        }
        Scalar::Float(value) => {
            out.push(FLOAT);
            put_u64(out, value.to_bits());
        }
        Scalar::Text(value) => put_text(out, value),
        Scalar::Time(value) => {
            out.push(TIME);
            put_u64(out, value.cast_unsigned());
        }
    }
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(TEXT);
    put_u64(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Reads what the functions above wrote.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Returns also which of the known formats it is.
    ///
    /// # Errors
    /// [`StateError::Format`] when another version wrote the bytes.
    pub(super) fn new(bytes: &'a [u8], known: &[u8]) -> Result<(Self, u8), StateError> {
        match bytes.split_first() {
            Some((format, rest)) if known.contains(format) => Ok((Self { rest }, *format)),
            Some((other, _)) => Err(StateError::Format(*other)),
            None => Err(StateError::Malformed),
        }
    }

    /// # Errors
    /// When bytes are left over.
    pub(super) fn end(self) -> Result<(), StateError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(StateError::Malformed)
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], StateError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(StateError::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn u64(&mut self) -> Result<u64, StateError> {
        let bytes = self.take(8)?.try_into().map_err(|_| StateError::Malformed)?;
        Ok(u64::from_le_bytes(bytes))
    }

    pub(super) fn u8(&mut self) -> Result<u8, StateError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u128(&mut self) -> Result<u128, StateError> {
        let bytes = self.take(16)?.try_into().map_err(|_| StateError::Malformed)?;
        Ok(u128::from_le_bytes(bytes))
    }

    /// A number of things, of which there may be so many.
    pub(super) fn len(&mut self, most: usize) -> Result<usize, StateError> {
        let len = usize::try_from(self.u64()?).map_err(|_| StateError::Malformed)?;
        if len > most {
            return Err(StateError::Malformed);
        }
        Ok(len)
    }

    /// Bytes with their length.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], StateError> {
        let len = usize::try_from(self.u64()?).map_err(|_| StateError::Malformed)?;
        self.take(len)
    }

    pub(super) fn scalar(&mut self) -> Result<Scalar, StateError> {
        match self.take(1)?[0] {
            NULL => Ok(Scalar::Null),
            FALSE => Ok(Scalar::Bool(false)),
            TRUE => Ok(Scalar::Bool(true)),
            INT => Ok(Scalar::Int(self.u64()?.cast_signed())),
            FLOAT => Scalar::finite(f64::from_bits(self.u64()?)).ok_or(StateError::Malformed),
            TEXT => {
                let len = usize::try_from(self.u64()?).map_err(|_| StateError::Malformed)?;
                let text = std::str::from_utf8(self.take(len)?).map_err(|_| StateError::Malformed)?;
                Ok(Scalar::Text(Arc::from(text)))
            }
            TIME => Ok(Scalar::Time(self.u64()?.cast_signed())),
            _ => Err(StateError::Malformed),
        }
    }
}
