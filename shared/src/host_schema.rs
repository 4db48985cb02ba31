//! The schema of the `host` stream, which agents fill with metrics of their own machine and for which the
//! aggregator ships a registered schema and default views. A contract between processes, hence here.

/// The stream that host metrics go to.
pub const HOST_STREAM: &str = "host";

/// JSON Schema (2020-12) of one `host` event; every field is documented with its unit.
pub const HOST_SCHEMA: &str = include_str!("host_schema.json");

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_schema_documents_every_field_and_marks_one_event_time() {
        crate::ids::StreamName::new(HOST_STREAM).expect("a valid stream name");
        let schema: Value = serde_json::from_str(HOST_SCHEMA).expect("JSON");
        let fields = schema["properties"].as_object().expect("properties");
        for (name, field) in fields {
            let documented = field["description"].as_str().is_some_and(|text| text.len() > 10);
            assert!(documented, "{name} has a description");
            let numeric = matches!(field["type"].as_str(), Some("integer" | "number"));
            assert_eq!(
                numeric,
                field.get("x-unit").is_some(),
                "{name} has a unit exactly if it is a number"
            );
        }
        let marked: Vec<_> = fields
            .iter()
            .filter(|(_, f)| f["x-event-time"] == true)
            .map(|(n, _)| n)
            .collect();
        assert_eq!(marked, ["ts"]);
        for name in schema["required"].as_array().expect("required") {
            assert!(
                fields.contains_key(name.as_str().expect("text")),
                "{name} is described"
            );
        }
    }
}
