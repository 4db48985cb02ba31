//! The compatibility suite: every case is data, with the rule that it comes from.
//!
//! `backward` is what the new schema (as reader) finds wrong with the old one's data, `forward` the other way:
//! each a list of `KIND path`, empty for "compatible".

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use tributary_schema::compat::{CompatibilityLevel, Incompatibility, can_read, check};
use tributary_schema::language::{Dependency, ParsedSchema, SchemaFormat, parse};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// Document and section.
    source: String,
    old: Value,
    new: Value,
    #[serde(default)]
    old_references: Vec<Reference>,
    #[serde(default)]
    new_references: Vec<Reference>,
    backward: Vec<String>,
    forward: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reference {
    name: String,
    schema: Value,
}

fn cases(text: &str) -> Vec<Case> {
    serde_json::from_str(text).expect("the suite is well formed")
}

/// A schema is text, or JSON, or lines.
fn text(schema: &Value, format: SchemaFormat) -> String {
    match (schema, format) {
        (Value::String(text), SchemaFormat::Protobuf) => text.clone(),
        (Value::Array(lines), SchemaFormat::Protobuf) => {
            let lines: Vec<&str> = lines.iter().map(|line| line.as_str().expect("a line")).collect();
            lines.join("\n")
        }
        (json, _) => json.to_string(),
    }
}

fn parsed(format: SchemaFormat, schema: &Value, references: &[Reference], name: &str) -> ParsedSchema {
    let texts: Vec<String> = references
        .iter()
        .map(|reference| text(&reference.schema, format))
        .collect();
    let named = references.iter().zip(&texts);
    let dependencies: Vec<Dependency<'_>> = named
        .map(|(reference, text)| Dependency {
            name: &reference.name,
            text,
        })
        .collect();
    parse(format, &text(schema, format), &dependencies).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn shown(found: &[Incompatibility]) -> BTreeSet<String> {
    found
        .iter()
        .map(|one| format!("{} {}", one.kind, one.path))
        .collect()
}

fn run(format: SchemaFormat, text: &str, least: usize) {
    let cases = cases(text);
    assert!(cases.len() >= least, "{} cases", cases.len());
    let names: BTreeSet<&String> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len(), "names are unique");
    let mut wrong = Vec::new();
    for case in &cases {
        assert!(!case.source.is_empty(), "{}", case.name);
        let old = parsed(format, &case.old, &case.old_references, &case.name);
        let new = parsed(format, &case.new, &case.new_references, &case.name);
        for (direction, reader, writer, expected) in [
            ("backward", &new, &old, &case.backward),
            ("forward", &old, &new, &case.forward),
        ] {
            let found = can_read(reader, writer);
            let expected: BTreeSet<String> = expected.iter().cloned().collect();
            if shown(&found) != expected {
                wrong.push(format!(
                    "{} {direction}: expected {expected:?}, found {found:#?}",
                    case.name
                ));
            }
            assert!(found.iter().all(|one| !one.message.is_empty()));
        }
        if wrong.is_empty() {
            levels(case, &old, &new);
        }
        for (schema, references) in [(&old, &case.old_references), (&new, &case.new_references)] {
            assert_eq!(
                can_read(schema, schema),
                [],
                "{}: a schema reads its own data",
                case.name
            );
            stays_itself(format, schema, references, &case.name);
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

/// The canonical form is a schema of the same meaning, and its own canonical form.
fn stays_itself(format: SchemaFormat, schema: &ParsedSchema, references: &[Reference], name: &str) {
    for text in [schema.canonical().to_owned(), schema.normalized()] {
        let text = if format == SchemaFormat::Protobuf {
            Value::String(text)
        } else {
            serde_json::from_str(&text).expect("JSON")
        };
        let again = parsed(format, &text, references, name);
        assert_eq!(can_read(&again, schema), [], "{name}");
        assert_eq!(can_read(schema, &again), [], "{name}");
        assert_eq!(again.normalized(), schema.normalized(), "{name}");
    }
}

/// Every level follows from the two directions.
fn levels(case: &Case, old: &ParsedSchema, new: &ParsedSchema) {
    for level in CompatibilityLevel::ALL {
        let expected = (!level.is_backward() || case.backward.is_empty())
            && (!level.is_forward() || case.forward.is_empty());
        let found = check(level, new, std::slice::from_ref(old));
        assert_eq!(found.is_empty(), expected, "{} {level}: {found:?}", case.name);
    }
}

#[test]
fn json_schemas_evolve_as_documented() {
    run(SchemaFormat::Json, include_str!("compat/json.json"), 60);
}

#[test]
fn avro_schemas_evolve_as_documented() {
    run(SchemaFormat::Avro, include_str!("compat/avro.json"), 40);
}

#[test]
fn protobuf_schemas_evolve_as_documented() {
    run(SchemaFormat::Protobuf, include_str!("compat/protobuf.json"), 40);
}

#[test]
fn transitive_levels_look_at_every_version_and_others_at_the_newest() {
    let closed = |properties: &str| {
        let text = format!(r#"{{"type":"object","properties":{properties},"additionalProperties":false}}"#);
        parse(SchemaFormat::Json, &text, &[]).expect("valid")
    };
    // the newest lost `a` already; bringing it back with another type breaks with the first version only
    let versions = [
        closed(r#"{"a":{"type":"integer"},"b":{"type":"integer"}}"#),
        closed(r#"{"b":{"type":"integer"}}"#),
    ];
    let new = closed(r#"{"a":{"type":"string"},"b":{"type":"integer"}}"#);
    assert_eq!(check(CompatibilityLevel::Backward, &new, &versions), []);
    let found = check(CompatibilityLevel::BackwardTransitive, &new, &versions);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, 0, "the first version");
    assert_eq!(
        shown(&found[0].1),
        BTreeSet::from(["TYPE_CHANGED #/properties/a".to_owned()])
    );
    assert!(
        found[0].1[0].message.contains("string"),
        "{}",
        found[0].1[0].message
    );
    let found = check(CompatibilityLevel::FullTransitive, &new, &versions);
    assert_eq!(
        found.iter().map(|(version, _)| *version).collect::<Vec<_>>(),
        [0, 1]
    );
    assert_eq!(check(CompatibilityLevel::None, &new, &versions), []);
    assert_eq!(check(CompatibilityLevel::FullTransitive, &new, &[]), []);
}

#[test]
fn a_subject_keeps_its_type() {
    let json = parse(SchemaFormat::Json, "{}", &[]).expect("valid");
    let avro = parse(SchemaFormat::Avro, "\"string\"", &[]).expect("valid");
    assert_eq!(can_read(&json, &avro)[0].kind, "SCHEMA_TYPE_CHANGED");
}
