//! The schema that each stream's letters are judged by, compiled once a request.

use std::collections::HashMap;
use std::sync::Arc;

use tributary_schema::decode::{StreamSchema, Writer, writer_id};
use tributary_shared::ids::StreamName;
use tributary_shared::wire::SchemaInfo;

use super::judge::JudgedBy;
use super::messages::ReplayError;
use crate::commit::LetterToReplay;
use crate::registry::{Registry, RegistryError, Version, subject_of};

#[derive(Debug)]
pub(super) struct Schemas {
    registry: Registry,
    version: Option<u32>,
    compiled: HashMap<StreamName, Arc<StreamSchema>>,
    /// Those that payloads in wire format name.
    writers: HashMap<(StreamName, u32), Writer>,
}

/// Writers that are kept, of all streams together: letters mostly name a few.
const MAX_WRITERS: usize = 256;

impl Schemas {
    pub fn new(registry: Registry, version: Option<u32>) -> Self {
        Self {
            registry,
            version,
            compiled: HashMap::new(),
            writers: HashMap::new(),
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

    /// What a letter is judged by: its stream's schema, and the one that its payload names.
    ///
    /// # Errors
    /// As [`Self::of`], and when the registry cannot be read.
    pub fn judge_of(&mut self, letter: &LetterToReplay) -> Result<JudgedBy, ReplayError> {
        let stream = &letter.key.stream;
        let schema = self.of(stream)?;
        let id = writer_id(&letter.payload);
        let own = id.is_some() && id == schema.schema_ref().map(|own| own.id);
        let writer = match id.filter(|_| !own) {
            Some(id) => Some((id, self.writer(stream, id)?)),
            None => None,
        };
        Ok(JudgedBy { schema, writer })
    }

    fn writer(&mut self, stream: &StreamName, id: u32) -> Result<Writer, ReplayError> {
        let key = (stream.clone(), id);
        if let Some(known) = self.writers.get(&key) {
            return Ok(known.clone());
        }
        let writer = match self.registry.stream_writer(stream, id)? {
            Ok(info) => match StreamSchema::compile(&info) {
                Ok(schema) => Writer::Known(Arc::new(schema)),
                Err(error) => {
                    let stream = stream.clone();
                    return Err(ReplayError::Schema { stream, error });
                }
            },
            Err(reason) => Writer::Refused(reason),
        };
        if self.writers.len() >= MAX_WRITERS {
            self.writers.clear();
        }
        self.writers.insert(key, writer.clone());
        Ok(writer)
    }

    fn compile(&self, stream: &StreamName) -> Result<StreamSchema, ReplayError> {
        let info = match self.version {
            None => match self.registry.cache().latest(stream) {
                Some(latest) => latest,
                None => return Ok(StreamSchema::schemaless()),
            },
            Some(version) => Arc::new(self.version(stream, version)?),
        };
        StreamSchema::compile(&info).map_err(|error| ReplayError::Schema {
            stream: stream.clone(),
            error,
        })
    }
}

impl Schemas {
    /// A version by which events may be judged: those of a draft or a retired one are not accepted from agents either.
    fn version(&self, stream: &StreamName, version: u32) -> Result<SchemaInfo, ReplayError> {
        let found = self
            .registry
            .version(&subject_of(stream), Version::Number(version), true)
            .map_err(|error| unknown(stream, version, error))?;
        if !found.state.accepted() {
            return Err(ReplayError::NotAccepted {
                stream: stream.clone(),
                version,
                state: found.state.as_str(),
            });
        }
        Ok(self.registry.info(found)?)
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
