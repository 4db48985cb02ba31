//! From a schema to its verdicts. A program that does not name [`json_schemas`] does not contain what it needs, about
//! 4 MB: hence the indirection, and hence the small program `edge-agent` does not check.

use std::fmt;
use std::sync::Arc;

use tributary_schema::decode::{Checker, StreamSchema};
use tributary_shared::ids::StreamName;
use tributary_shared::wire::{Reason, SchemaInfo};

/// Judges payloads one after the other: the first reason of an invalid one.
pub(super) type Verdicts = Box<dyn FnMut(&[u8]) -> Result<(), Reason> + Send>;

/// A compiled schema. Cheap to clone.
#[derive(Clone)]
pub struct Compiled(Arc<dyn Fn() -> Verdicts + Send + Sync>);

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compiled")
    }
}

impl Compiled {
    pub(super) fn verdicts(&self) -> Verdicts {
        (self.0)()
    }
}

/// Compiles a stream's schema; `None` for one that only a gateway judges by.
pub type Compiler = fn(&StreamName, &SchemaInfo) -> Option<Compiled>;

/// The compiler of programs that check events: JSON Schemas.
#[must_use]
pub fn json_schemas(stream: &StreamName, info: &SchemaInfo) -> Option<Compiled> {
    if info.format != "JSON" {
        return None;
    }
    match StreamSchema::compile(info) {
        Ok(schema) => {
            let schema = Arc::new(schema);
            Some(Compiled(Arc::new(move || {
                let mut checker = Checker::new(Arc::clone(&schema));
                Box::new(move |payload| first(checker.check(payload)))
            })))
        }
        Err(error) => {
            tracing::warn!(%stream, id = info.id, %error, "cannot check by this schema: the gateway will");
            None
        }
    }
}

fn first(verdict: Result<(), Vec<Reason>>) -> Result<(), Reason> {
    // there is at least one
    verdict.map_err(|mut reasons| reasons.swap_remove(0))
}
