//! May a text be registered as a JSON Schema? Pure; nothing is fetched from anywhere.

use serde_json::Value;

use super::messages::{MAX_SCHEMA_BYTES, RegistryError};

/// What `$schema` may name: the drafts whose meta-schemas are built in.
const DRAFTS: [&str; 5] = [
    "json-schema.org/draft-04/schema",
    "json-schema.org/draft-06/schema",
    "json-schema.org/draft-07/schema",
    "json-schema.org/draft/2019-09/schema",
    "json-schema.org/draft/2020-12/schema",
];

/// Checks size, syntax, the draft's meta-schema, and that the schema compiles with references into itself
/// only.
///
/// # Errors
/// [`RegistryError`] saying where the text is wrong.
pub fn check(text: &str) -> Result<(), RegistryError> {
    if text.len() > MAX_SCHEMA_BYTES {
        return Err(RegistryError::TooLarge { len: text.len() });
    }
    let schema: Value = serde_json::from_str(text).map_err(|error| RegistryError::Malformed {
        line: error.line(),
        column: error.column(),
        message: error.to_string(),
    })?;
    let invalid = |path: &str, message: String| RegistryError::Invalid {
        path: path.to_owned(),
        message,
    };
    if !schema.is_object() {
        return Err(invalid("", "expected an object".to_owned()));
    }
    check_draft(&schema)?;
    jsonschema::meta::validate(&schema).map_err(|e| invalid(e.instance_path().as_str(), e.to_string()))?;
    jsonschema::options().offline().build(&schema).map_err(|e| {
        invalid(
            e.instance_path().as_str(),
            format!("{e} (only references into the schema itself work)"),
        )
    })?;
    Ok(())
}

fn check_draft(schema: &Value) -> Result<(), RegistryError> {
    let invalid = |message| {
        Err(RegistryError::Invalid {
            path: "/$schema".to_owned(),
            message,
        })
    };
    let uri = match schema.get("$schema") {
        None => return Ok(()),
        Some(Value::String(uri)) => uri,
        Some(_) => return invalid("expected text".to_owned()),
    };
    let bare = uri.trim_end_matches('#');
    let bare = bare
        .strip_prefix("https://")
        .or_else(|| bare.strip_prefix("http://"))
        .unwrap_or(bare);
    if DRAFTS.contains(&bare) {
        return Ok(());
    }
    invalid(format!(
        "{uri:?} is not a known draft; use \"https://json-schema.org/draft/2020-12/schema\""
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        check(text).expect_err("refused").to_string()
    }

    #[test]
    fn good_schemas_of_several_drafts_are_taken() {
        for text in [
            r#"{"type":"object","properties":{"t":{"type":"number"}}}"#,
            r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}"#,
            r##"{"$defs":{"x":{"type":"integer"}},"properties":{"x":{"$ref":"#/$defs/x"}}}"##,
            tributary_shared::host_schema::HOST_SCHEMA,
        ] {
            check(text).expect("valid");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        assert!(
            refused("{\n  \"type\": }").contains("line 2, column 11"),
            "{}",
            refused("{\n  \"type\": }")
        );
        assert!(refused(r#"{"properties":{"t":{"type":"nummer"}}}"#).contains("/properties/t/type"));
        assert!(refused(r#"{"properties":{"t":{"pattern":"("}}}"#).contains("/properties/t/pattern"));
        assert!(refused("[]").contains("expected an object"));
        assert!(refused(r#"{"$schema":"https://example.com/own"}"#).contains("/$schema"));
    }

    #[test]
    fn references_to_elsewhere_are_refused() {
        for reference in ["https://example.com/a.json", "file:///etc/passwd", "other.json"] {
            let text = format!(r#"{{"properties":{{"t":{{"$ref":"{reference}"}}}}}}"#);
            assert!(refused(&text).contains("references"), "{}", refused(&text));
        }
    }

    #[test]
    fn a_huge_text_is_refused_before_it_is_parsed() {
        let text = "[".repeat(MAX_SCHEMA_BYTES + 1);
        assert!(matches!(check(&text), Err(RegistryError::TooLarge { .. })));
        assert!(matches!(
            check(&text[..MAX_SCHEMA_BYTES]),
            Err(RegistryError::Malformed { .. })
        ));
    }
}
