//! registry.db: IO without decisions. One connection; whoever writes holds [`super::Registry`]'s writer lock,
//! so that what was read before a transaction still holds in it.

mod files;
mod lists;
mod people;
mod schemas;
mod settings;
mod versions;

use std::str::FromStr;

use rusqlite::{Connection, Row, Transaction, TransactionBehavior};
use serde::de::DeserializeOwned;

use super::error::RegistryError;

pub use files::{REGISTRY_FILE, reserve_ids};
pub use lists::SubjectSummary;
pub(super) use people::NewChange;
pub(super) use schemas::SchemaRow;
pub(super) use versions::NewVersion;

#[derive(Debug)]
pub(in crate::registry) struct Store {
    db: Connection,
}

impl Store {
    /// Runs a change as one durable transaction; nothing of it stays when it fails.
    pub fn write<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let transaction = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = change(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }
}

/// A value of a closed set that the database holds and this program does not know.
fn damaged(column: usize, what: String) -> rusqlite::Error {
    let error = RegistryError::Damaged { what };
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

/// Reads a column that holds a name of a closed set.
fn named<T: FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    text.parse()
        .map_err(|_| damaged(column, format!("{text:?} is none of the names known here")))
}

/// The same, or nothing.
fn maybe_named<T: FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|_| named(row, column)).transpose()
}

/// Reads a column that holds JSON text, or nothing.
fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_str(&text).map_err(|error| damaged(column, error.to_string())))
        .transpose()
}
