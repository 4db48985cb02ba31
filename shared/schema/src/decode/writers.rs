//! The schemas that rows in wire format were written with.

use std::collections::HashMap;
use std::sync::Arc;

use tributary_shared::wire::Reason;

use super::schema::StreamSchema;

/// What is known of a schema that rows name by its id.
#[derive(Debug, Clone)]
pub enum Writer {
    Known(Arc<StreamSchema>),
    /// Rows of the stream may not be written with it; the reason goes into their dead letters.
    Refused(Reason),
}

/// Writers by the registry's id.
#[derive(Debug, Clone, Default)]
pub struct Writers(HashMap<u32, Writer>);

impl Writers {
    pub fn insert(&mut self, id: u32, writer: Writer) {
        self.0.insert(id, writer);
    }

    pub fn remove(&mut self, id: u32) {
        self.0.remove(&id);
    }

    #[must_use]
    pub fn get(&self, id: u32) -> Option<&Writer> {
        self.0.get(&id)
    }
}

impl FromIterator<(u32, Writer)> for Writers {
    fn from_iter<I: IntoIterator<Item = (u32, Writer)>>(writers: I) -> Self {
        Self(writers.into_iter().collect())
    }
}
