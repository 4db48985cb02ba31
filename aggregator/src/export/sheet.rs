//! An answer as columns of values.

use bytes::Bytes;

use super::csv::CsvPieces;
use super::format::Format;
use super::parquet::ParquetPieces;
use crate::view::{Column, ColumnType, Scalar};

/// An answer whose rows all have a value for each column.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Scalar>>,
}

/// Why a sheet cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("the answer cannot be written as Parquet: {0}")]
pub struct ExportError(#[from] pub(super) ::parquet::errors::ParquetError);

/// The bytes of a sheet, one after the other.
pub type Pieces = Box<dyn Iterator<Item = Result<Bytes, ExportError>> + Send>;

impl Sheet {
    /// The sheet in pieces. `None` for JSON, whose shape is each call's own.
    ///
    /// # Errors
    /// When the columns cannot be described.
    pub fn pieces(self, format: Format) -> Result<Option<Pieces>, ExportError> {
        Ok(match format {
            Format::Json => None,
            Format::Csv => Some(Box::new(CsvPieces::new(self))),
            Format::Parquet => Some(Box::new(ParquetPieces::new(self)?)),
        })
    }

    /// What a column is when every value in it counts: a column of integers with one float is of numbers, one of
    /// unlike things is of texts. A column without values is what it says, or of texts.
    pub(super) fn kind(&self, column: usize) -> ColumnType {
        let mut kind = self.columns[column].kind;
        for row in &self.rows {
            let value = match &row[column] {
                Scalar::Null => continue,
                Scalar::Bool(_) => ColumnType::Boolean,
                Scalar::Int(_) => ColumnType::Integer,
                Scalar::Float(_) => ColumnType::Number,
                Scalar::Text(_) => ColumnType::Text,
                Scalar::Time(_) => ColumnType::Timestamp,
            };
            kind = match (kind, value) {
                (ColumnType::Any, value) => value,
                (kind, value) if kind == value => kind,
                (ColumnType::Integer | ColumnType::Number, ColumnType::Integer | ColumnType::Number) => {
                    ColumnType::Number
                }
                _ => return ColumnType::Text,
            };
        }
        match kind {
            ColumnType::Any => ColumnType::Text,
            kind => kind,
        }
    }
}
