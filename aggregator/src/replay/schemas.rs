//! The schema that each stream's letters are judged by, compiled once a request.

use std::collections::HashMap;
use std::sync::Arc;

use tributary_schema::decode::StreamSchema;
use tributary_shared::ids::StreamName;

use super::messages::ReplayError;
use crate::registry::{Registry, RegistryError, Version, subject_of};

#[derive(Debug)]
pub(super) struct Schemas {
    registry: Registry,
    version: Option<u32>,
    compiled: HashMap<StreamName, Arc<StreamSchema>>,
}

impl Schemas {
    pub fn new(registry: Registry, version: Option<u32>) -> Self {
        Self {
            registry,
            version,
            compiled: HashMap::new(),
        }
    }

    /// The chosen version, or the current one. Blocks on the disk at first use of a stream.
    ///
    /// # Errors
    /// When there is no such version, or it cannot judge events.
    pub fn of(&mut self, stream: &StreamName) -> Result<Arc<StreamSchema>, ReplayError> {
        if let Some(known) = self.compiled.get(stream) {
            return Ok(Arc::clone(known));
        }
        let compiled = Arc::new(self.compile(stream)?);
        self.compiled.insert(stream.clone(), Arc::clone(&compiled));
        Ok(compiled)
    }

    fn compile(&self, stream: &StreamName) -> Result<StreamSchema, ReplayError> {
        let info = match self.version {
            None => match self.registry.cache().latest(stream) {
                Some(latest) => latest,
                None => return Ok(StreamSchema::schemaless()),
            },
            Some(version) => {
                let found = self
                    .registry
                    .version(&subject_of(stream), Version::Number(version));
                Arc::new(found.map_err(|error| unknown(stream, version, error))?.schema)
            }
        };
        StreamSchema::compile(&info).map_err(|error| ReplayError::Schema {
            stream: stream.clone(),
            error,
        })
    }
}

fn unknown(stream: &StreamName, version: u32, error: RegistryError) -> ReplayError {
    match error {
        RegistryError::UnknownSubject { .. } | RegistryError::UnknownVersion { .. } => {
            ReplayError::UnknownVersion {
                stream: stream.clone(),
                version,
                error,
            }
        }
        other => other.into(),
    }
}
