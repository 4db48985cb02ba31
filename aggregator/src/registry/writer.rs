//! May rows of a stream be written with the schema that they name?

use tributary_shared::ids::StreamName;
use tributary_shared::wire::{Reason, SchemaInfo};

use super::rules::State;
use super::{Registry, RegistryError, subject_of};

/// The rule of a row whose schema is not one of its stream's.
const UNKNOWN_SCHEMA: &str = "unknown_schema";
/// The rule of a row whose schema is one of its stream's, but not accepted: a draft, or retired.
const UNACCEPTED_SCHEMA: &str = "unaccepted_schema";

impl Registry {
    /// The version of the stream's subject that has this id. An archived one is as good as it was.
    ///
    /// # Errors
    /// Those of SQLite. Inside: why rows of the stream may not be written with it, as dead letters say it.
    pub fn stream_writer(
        &self,
        stream: &StreamName,
        id: u32,
    ) -> Result<Result<SchemaInfo, Reason>, RegistryError> {
        let subject = subject_of(stream);
        let refused = |rule: &str, message| {
            Ok(Err(Reason {
                path: String::new(),
                rule: rule.to_owned(),
                message,
            }))
        };
        let store = self.store();
        let Some(row) = store.version_with(&subject, id, true)? else {
            let message = match store.schema(id)? {
                None => format!("the registry has no schema with id {id}"),
                Some(_) => format!("schema {id} is registered, but not as a version of {subject}"),
            };
            return refused(UNKNOWN_SCHEMA, message);
        };
        if !row.state.accepted() {
            let what = if row.state == State::Draft {
                "not yet approved"
            } else {
                "retired"
            };
            let message = format!("version {} of {subject} (schema {id}) is {what}", row.version);
            return refused(UNACCEPTED_SCHEMA, message);
        }
        let found = store.version(&subject, row.version)?;
        drop(store);
        match found {
            Some(found) => Ok(Ok(self.info(found)?)),
            None => refused(UNKNOWN_SCHEMA, format!("the registry has no schema with id {id}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::rules::Step;
    use crate::registry::{By, NewSchema, SchemaFormat};

    #[test]
    fn only_accepted_versions_of_the_streams_own_subject_write_its_rows() {
        let dir = tempfile::tempdir().expect("dir");
        let registry = Registry::open(dir.path()).expect("open");
        let by = By::itself("a test");
        let register = |subject: &str, text: &str| {
            let new = NewSchema::new(SchemaFormat::Json, text);
            registry.register(subject, &new, &by).expect("registered").id
        };
        let old = register("a-value", r#"{"type":"object"}"#);
        let new = register("a-value", r#"{"type":"object","title":"t"}"#);
        let foreign = register("b-value", r#"{"type":"object","title":"b"}"#);
        let stream = StreamName::new("a").expect("a name");
        let writer = |id| registry.stream_writer(&stream, id).expect("readable");
        assert_eq!(writer(old).expect("a version").version, 1);
        assert_eq!(writer(new).expect("a version").version, 2);
        let refused = |id| {
            let reason = writer(id).expect_err("refused");
            (reason.rule, reason.message)
        };
        let (rule, message) = refused(foreign);
        assert!(
            rule == UNKNOWN_SCHEMA && message.contains("not as a version of a-value"),
            "{message}"
        );
        let (rule, message) = refused(99);
        assert!(
            rule == UNKNOWN_SCHEMA && message.contains("no schema with id 99"),
            "{message}"
        );
        registry
            .step("a-value", 1, Step::Retire, false, &by)
            .expect("retired");
        let (rule, message) = refused(old);
        assert!(
            rule == UNACCEPTED_SCHEMA && message.contains("retired"),
            "{message}"
        );
    }
}
