//! Answers as tables in the formats that other programs read: CSV, Parquet, and the API's own JSON.
//!
//! [`Format::choose`] reads what a request asks for. A [`Sheet`] is an answer as columns of values; its
//! encoders give it out in [pieces](Pieces) of a bounded size, so that a large answer is never held twice.

mod columns;
mod csv;
mod format;
mod parquet;
mod sheet;
#[cfg(test)]
mod tests;

pub use columns::RowColumns;
pub use format::{Format, FormatError};
pub use sheet::{ExportError, Pieces, Sheet};
