//! What a virtual table is made of, without SQLite.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use tributary_shared::time::Millis;

use crate::view::{Column, Scalar};

/// A source of rows with fixed columns.
pub trait Table: Debug + Send + Sync {
    fn columns(&self) -> &[Column];

    /// The column that a scan can be narrowed by in time, if there is one.
    fn time_column(&self) -> Option<usize>;

    /// Whether equality with a text narrows a scan by this column.
    fn narrows_by(&self, column: usize) -> bool;

    /// Begins to read. The rows may be more than `narrow` asks for, never fewer.
    fn scan(&self, narrow: Narrow) -> Box<dyn Scan>;
}

/// What a reader needs at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Narrow {
    /// Rows whose time column is at or after this.
    pub from: Option<Millis>,
    /// Rows whose time column is before this.
    pub to: Option<Millis>,
    /// Rows whose column is this text.
    pub equal: Vec<(usize, String)>,
}

/// A scan that is under way.
pub trait Scan: Debug {
    /// The next rows; `None` after the last, and never an empty chunk.
    ///
    /// # Errors
    /// When the source cannot be read on.
    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>, ScanError>;
}

/// Some rows of a scan.
pub trait Chunk: Debug {
    fn rows(&self) -> usize;
    fn value(&self, row: usize, column: usize) -> Scalar;
}

/// Why a scan ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScanError(pub String);

/// The tables of one question, by schema and name.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    pub views: BTreeMap<String, Arc<dyn Table>>,
    pub events: BTreeMap<String, Arc<dyn Table>>,
}
