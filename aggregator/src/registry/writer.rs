//! May rows of a stream be written with the schema that they name?

use tributary_shared::ids::StreamName;
use tributary_shared::wire::{Reason, SchemaInfo};

use super::{Registry, RegistryError, subject_of};

/// The rule of a row whose schema is not one of its stream's.
const UNKNOWN_SCHEMA: &str = "unknown_schema";

impl Registry {
    /// The version of the stream's subject that has this id.
    ///
    /// # Errors
    /// Those of SQLite. Inside: why rows of the stream may not be written with it, as dead letters say it.
    pub fn writer(&self, stream: &StreamName, id: u32) -> Result<Result<SchemaInfo, Reason>, RegistryError> {
        let subject = subject_of(stream);
        if let Some(found) = self.store().version_by_id(&subject, id)? {
            return Ok(Ok(found.schema));
        }
        let message = match self.store().text(id)? {
            None => format!("the registry has no schema with id {id}"),
            Some(_) => format!("schema {id} is registered, but not as a version of {subject}"),
        };
        Ok(Err(Reason {
            path: String::new(),
            rule: UNKNOWN_SCHEMA.to_owned(),
            message,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::SchemaFormat;

    #[test]
    fn only_versions_of_the_streams_own_subject_write_its_rows() {
        let dir = tempfile::tempdir().expect("dir");
        let registry = Registry::open(dir.path()).expect("open");
        let register = |subject: &str, text: &str| {
            let registered = registry.register(subject, SchemaFormat::Json, text);
            registered.expect("registered").id
        };
        let old = register("a-value", r#"{"type":"object"}"#);
        let new = register("a-value", r#"{"type":"object","title":"t"}"#);
        let foreign = register("b-value", r#"{"type":"object","title":"b"}"#);
        let stream = StreamName::new("a").expect("a name");
        let writer = |id| registry.writer(&stream, id).expect("readable");
        assert_eq!(writer(old).expect("a version").version, 1);
        assert_eq!(writer(new).expect("a version").version, 2);
        let refused = |id| {
            let reason = writer(id).expect_err("refused");
            assert_eq!(reason.rule, UNKNOWN_SCHEMA);
            reason.message
        };
        assert!(
            refused(foreign).contains("not as a version of a-value"),
            "{}",
            refused(foreign)
        );
        assert!(refused(99).contains("no schema with id 99"), "{}", refused(99));
    }
}
