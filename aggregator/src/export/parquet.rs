//! Parquet: every column optional, times as `TIMESTAMP(MILLIS, UTC)`, integers as INT64, numbers as DOUBLE, texts as
//! UTF-8 STRING. Pages are compressed by LZ4_RAW.

use std::fmt;
use std::sync::Arc;

use ::parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use ::parquet::errors::Result;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use ::parquet::schema::types::Type;
use bytes::Bytes;

use super::csv::plain;
use super::sheet::{ExportError, Sheet};
use crate::view::{ColumnType, Scalar};

/// Rows of one row group, which is one piece: a few hundred KiB.
const ROW_GROUP: usize = 8_192;

/// A sheet on its way.
pub struct ParquetPieces {
    sheet: Sheet,
    kinds: Vec<ColumnType>,
    /// `None` when the footer has gone.
    writer: Option<SerializedFileWriter<Vec<u8>>>,
    row: usize,
}

impl fmt::Debug for ParquetPieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetPieces")
            .field("rows", &self.sheet.rows.len())
            .field("row", &self.row)
            .finish_non_exhaustive()
    }
}

impl ParquetPieces {
    /// # Errors
    /// When the columns cannot be described.
    pub fn new(sheet: Sheet) -> std::result::Result<Self, ExportError> {
        let kinds: Vec<ColumnType> = (0..sheet.columns.len()).map(|at| sheet.kind(at)).collect();
        let names = unique(sheet.columns.iter().map(|column| column.name.as_str()));
        let fields = names.iter().zip(&kinds).map(|(name, kind)| field(name, *kind));
        let schema = Type::group_type_builder("rows")
            .with_fields(fields.collect::<Result<_>>()?)
            .build()?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::LZ4_RAW)
            .set_created_by(concat!("tributary ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties))?;
        Ok(Self {
            sheet,
            kinds,
            writer: Some(writer),
            row: 0,
        })
    }

    fn piece(&mut self) -> Result<Option<Bytes>> {
        let Some(mut writer) = self.writer.take() else {
            return Ok(None);
        };
        let end = self.sheet.rows.len().min(self.row + ROW_GROUP);
        if self.row == end {
            return Ok(Some(writer.into_inner()?.into()));
        }
        let rows = &self.sheet.rows[self.row..end];
        let mut group = writer.next_row_group()?;
        for (at, kind) in self.kinds.iter().enumerate() {
            if let Some(mut column) = group.next_column()? {
                write(&mut column, *kind, rows, at)?;
                column.close()?;
            }
        }
        group.close()?;
        writer.flush()?;
        self.row = end;
        let bytes = std::mem::take(writer.inner_mut());
        self.writer = Some(writer);
        Ok(Some(bytes.into()))
    }
}

impl Iterator for ParquetPieces {
    type Item = std::result::Result<Bytes, ExportError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.piece().map_err(ExportError).transpose()
    }
}

/// Parquet has no two columns of one name; an answer of SQL may.
fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in names {
        let mut own = name.to_owned();
        let mut number = 2;
        while all.contains(&own) {
            own = format!("{name}_{number}");
            number += 1;
        }
        all.push(own);
    }
    all
}

fn field(name: &str, kind: ColumnType) -> Result<Arc<Type>> {
    let (physical, logical) = match kind {
        ColumnType::Timestamp => (Physical::INT64, Some(utc_millis())),
        ColumnType::Integer => (Physical::INT64, None),
        ColumnType::Number => (Physical::DOUBLE, None),
        ColumnType::Boolean => (Physical::BOOLEAN, None),
        ColumnType::Text | ColumnType::Json | ColumnType::Any => {
            (Physical::BYTE_ARRAY, Some(LogicalType::String))
        }
    };
    let field = Type::primitive_type_builder(name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical)
        .build()?;
    Ok(Arc::new(field))
}

fn utc_millis() -> LogicalType {
    LogicalType::timestamp(true, ::parquet::basic::TimeUnit::MILLIS)
}

fn write(
    column: &mut SerializedColumnWriter<'_>,
    kind: ColumnType,
    rows: &[Vec<Scalar>],
    at: usize,
) -> Result<()> {
    match kind {
        ColumnType::Timestamp | ColumnType::Integer => {
            put::<Int64Type>(column, rows, at, |value| match value {
                Scalar::Int(value) | Scalar::Time(value) => Some(*value),
                _ => None,
            })
        }
        ColumnType::Number => put::<DoubleType>(column, rows, at, Scalar::as_f64),
        ColumnType::Boolean => put::<BoolType>(column, rows, at, |value| match value {
            Scalar::Bool(value) => Some(*value),
            _ => None,
        }),
        ColumnType::Text | ColumnType::Json | ColumnType::Any => {
            put::<ByteArrayType>(column, rows, at, |value| match value {
                Scalar::Null => None,
                Scalar::Text(text) => Some(ByteArray::from(&**text)),
                other => Some(ByteArray::from(plain(other).as_str())),
            })
        }
    }
}

fn put<T: DataType>(
    column: &mut SerializedColumnWriter<'_>,
    rows: &[Vec<Scalar>],
    at: usize,
    read: impl Fn(&Scalar) -> Option<T::T>,
) -> Result<()> {
    let values: Vec<Option<T::T>> = rows.iter().map(|row| read(&row[at])).collect();
    // an optional value is there (1) or not (0)
    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    let values: Vec<T::T> = values.into_iter().flatten().collect();
    column.typed::<T>().write_batch(&values, Some(&levels), None)?;
    Ok(())
}
