//! The columns of a view's rows when they are a table: the view's own in SELECT order, then what every row has.

use crate::view::{Column, ColumnType, Scalar};
use crate::window::WindowRow;

/// What every view has beside its own columns, as the windows API shows it.
const OF_EVERY_VIEW: [(&str, ColumnType, Place); 5] = [
    ("window_start", ColumnType::Timestamp, Place::WindowStart),
    ("window_end", ColumnType::Timestamp, Place::WindowEnd),
    ("revision", ColumnType::Integer, Place::Revision),
    ("final", ColumnType::Boolean, Place::Final),
    ("completeness", ColumnType::Number, Place::Completeness),
];

/// Where a column's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Output(usize),
    WindowStart,
    WindowEnd,
    Revision,
    Final,
    Completeness,
}

/// The columns, and where their values are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowColumns {
    columns: Vec<Column>,
    places: Vec<Place>,
}

impl RowColumns {
    /// Those of a view with these columns of its own.
    #[must_use]
    pub fn of(own: &[Column]) -> Self {
        let (mut columns, mut places) = (Vec::new(), Vec::new());
        for (at, column) in own.iter().enumerate() {
            columns.push(column.clone());
            places.push(match column.name.as_str() {
                "window_start" => Place::WindowStart,
                "window_end" => Place::WindowEnd,
                _ => Place::Output(at),
            });
        }
        for (name, kind, place) in OF_EVERY_VIEW {
            if !columns.iter().any(|column| column.name == name) {
                let name = name.to_owned();
                columns.push(Column::new(name, kind));
                places.push(place);
            }
        }
        Self { columns, places }
    }

    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column that has the window's start.
    #[must_use]
    pub fn window_start(&self) -> Option<usize> {
        self.places.iter().position(|place| *place == Place::WindowStart)
    }

    /// Whether a column is one of the view's own values.
    #[must_use]
    pub fn is_output(&self, column: usize) -> bool {
        matches!(self.places[column], Place::Output(_))
    }

    /// The value of a column in a row.
    #[must_use]
    pub fn value(&self, row: &WindowRow, column: usize) -> Scalar {
        match self.places[column] {
            Place::Output(at) => row.values[at].clone(),
            Place::WindowStart => row.window_start.map_or(Scalar::Null, Scalar::Time),
            Place::WindowEnd => row.window_end.map_or(Scalar::Null, Scalar::Time),
            Place::Revision => Scalar::Int(row.revision.cast_signed()),
            Place::Final => Scalar::Bool(row.is_final),
            Place::Completeness => Scalar::Float(row.completeness),
        }
    }

    /// All values of a row.
    #[must_use]
    pub fn values(&self, row: &WindowRow) -> Vec<Scalar> {
        (0..self.places.len()).map(|at| self.value(row, at)).collect()
    }
}
