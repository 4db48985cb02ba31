//! The registry over a real file.

mod deleting;
mod life;
mod many;
mod referring;

use tempfile::TempDir;
use tributary_shared::ids::StreamName;

use super::rules::{Mode, State};
use super::*;

const ONE: &str = r#"{"type":"object","properties":{"a":{"type":"integer"}}}"#;
/// Reads what [`ONE`] wrote.
const TWO: &str = r#"{"type":"object","properties":{"a":{"type":"number"}}}"#;
const OTHER: &str = r#"{"type":"object","properties":{"a":{"type":"string"}}}"#;

fn stream(name: &str) -> StreamName {
    StreamName::new(name).expect("valid")
}

fn by() -> By {
    By::itself("a test")
}

fn json(text: &str) -> NewSchema {
    NewSchema::new(SchemaFormat::Json, text)
}

fn open() -> (TempDir, Registry) {
    let dir = tempfile::tempdir().expect("dir");
    let registry = Registry::open(dir.path()).expect("open");
    (dir, registry)
}

fn put(registry: &Registry, subject: &str, text: &str) -> Registered {
    registry
        .register(subject, &json(text), &by())
        .expect("registered")
}

/// The version that judges the stream `a`.
fn judging(registry: &Registry) -> Option<u32> {
    registry.cache().latest(&stream("a")).map(|schema| schema.version)
}

fn free(registry: &Registry, subject: &str) {
    let none = Some(tributary_schema::compat::CompatibilityLevel::None);
    registry
        .set_config(subject, none, None, &by())
        .expect("configured");
}

#[test]
fn the_same_schema_has_one_id_and_a_version_in_each_subject() {
    let (_dir, registry) = open();
    free(&registry, "");
    let first = put(&registry, "a-value", ONE);
    let second = put(&registry, "a-value", TWO);
    let elsewhere = put(
        &registry,
        "b-value",
        &ONE.replace(',', " , ").replace(':', " :\n"),
    );
    let again = put(&registry, "a-value", ONE);
    assert_eq!((first.version, second.version, elsewhere.version), (1, 2, 1));
    assert_eq!(elsewhere.id, first.id, "another spelling is the same schema");
    assert_ne!(second.id, first.id);
    let known = Registered {
        created: false,
        ..first
    };
    assert_eq!(again, known);
    assert_eq!(judging(&registry), Some(2), "an old text stays old");
    let all = Page::default();
    assert_eq!(
        registry.numbers("a-value", Deleted::Without, all).expect("known"),
        [1, 2]
    );
    assert_eq!(
        registry.subjects("", Deleted::Without, all).expect("read"),
        ["a-value", "b-value", "host-value"]
    );
    let latest = registry
        .version("a-value", Version::Latest, false)
        .expect("known");
    assert_eq!(latest.schema.text, TWO);
    assert!(matches!(
        registry.version("a-value", Version::Number(9), false),
        Err(RegistryError::UnknownVersion { version: 9, .. })
    ));
    assert!(matches!(
        registry.version("c", Version::Number(1), false),
        Err(RegistryError::UnknownSubject { .. })
    ));
    assert!(matches!(
        registry.schema(99),
        Err(RegistryError::UnknownId { id: 99 })
    ));
}

#[test]
fn a_change_is_announced_once_and_outlives_the_process() {
    let (dir, registry) = open();
    let mut changes = registry.changes();
    put(&registry, "a-value", ONE);
    put(&registry, "a-value", ONE);
    put(&registry, "not-a-streams", TWO);
    assert_eq!(changes.try_recv().expect("announced").stream, stream("a"));
    assert!(changes.try_recv().is_err());
    drop(registry);
    let registry = Registry::open(dir.path()).expect("open again");
    let latest = registry.cache().latest(&stream("a")).expect("kept");
    assert_eq!(
        (latest.version, latest.text.as_str(), latest.format.as_str()),
        (1, ONE, "JSON")
    );
    let shipped = registry.numbers("host-value", Deleted::Without, Page::default());
    assert_eq!(shipped.expect("shipped"), [1], "shipped once, not at every start");
}

#[test]
fn a_rule_that_cannot_hold_is_refused_with_its_place() {
    let (_dir, registry) = open();
    let with = |sql: &str| {
        let rules = serde_json::json!([{"name": "range", "sql": sql}]);
        let text = serde_json::json!({"properties": {"low": {}, "high": {}}, "x-rules": rules});
        registry.register("a-value", &json(&text.to_string()), &by())
    };
    for sql in ["low <= hight", "low <="] {
        let error = with(sql).expect_err(sql).to_string();
        assert!(error.contains("/x-rules/0/sql"), "{error}");
    }
    assert!(
        with("low <= hight")
            .expect_err("unknown")
            .to_string()
            .contains("\"hight\"")
    );
    with("low <= high").expect("both are fields");
}

#[test]
fn nothing_is_stored_of_a_refused_schema() {
    let (_dir, registry) = open();
    let refused = |subject: &str, text: &str| registry.register(subject, &json(text), &by()).is_err();
    assert!(refused("a-value", r#"{"type":"nummer"}"#));
    assert!(refused("", ONE));
    assert!(refused("with\nline", ONE));
    assert!(refused(&"x".repeat(MAX_SUBJECT + 1), ONE));
    put(&registry, "a-value", ONE);
    let error = registry
        .register("a-value", &json(OTHER), &by())
        .expect_err("incompatible");
    assert!(
        matches!(&error, RegistryError::Incompatible { messages, .. } if messages[0].contains("version 1")),
        "{error}"
    );
    assert_eq!(judging(&registry), Some(1));
    assert_eq!(
        registry.newest_id().expect("read"),
        2,
        "the host's, and the one that was registered"
    );
}

#[test]
fn metadata_and_rules_are_kept_and_tell_schemas_apart() {
    let (_dir, registry) = open();
    let plain = put(&registry, "a-value", ONE);
    let metadata = serde_json::json!({ "properties": { "owner": "ops" } });
    let rules = serde_json::json!({ "domainRules": [{ "name": "r", "kind": "CONDITION", "expr": "a > 1" }] });
    let new = NewSchema {
        metadata: Some(metadata.clone()),
        rule_set: Some(rules.clone()),
        ..json(ONE)
    };
    let with = registry.register("a-value", &new, &by()).expect("registered");
    assert_ne!(with.id, plain.id);
    let found = registry
        .version("a-value", Version::Number(with.version), false)
        .expect("there");
    assert_eq!(
        (found.schema.metadata, found.schema.rule_set),
        (Some(metadata), Some(rules))
    );
    let huge = NewSchema {
        metadata: Some(serde_json::json!("x".repeat(100_000))),
        ..json(ONE)
    };
    assert!(matches!(
        registry.register("a-value", &huge, &by()),
        Err(RegistryError::TooLargeAnnex { what: "metadata" })
    ));
}

#[test]
fn ids_and_versions_come_along_in_an_import() {
    let (_dir, registry) = open();
    let imported = |id, version, text: &str| NewSchema {
        id: Some(id),
        version: Some(version),
        ..json(text)
    };
    let register = |new: &NewSchema| registry.register("a-value", new, &by());
    assert!(matches!(
        register(&imported(100, 3, ONE)),
        Err(RegistryError::NotImporting { .. })
    ));
    registry
        .set_mode("a-value", Mode::Import, false, &by())
        .expect("empty");
    let done = register(&imported(100, 3, ONE)).expect("imported");
    assert_eq!((done.id, done.version), (100, 3));
    assert!(!register(&imported(100, 3, ONE)).expect("again").created);
    let done = register(&imported(50, 1, OTHER)).expect("nothing is checked");
    assert_eq!((done.id, done.version), (50, 1));
    assert!(matches!(
        register(&json(TWO)),
        Err(RegistryError::Importing { .. })
    ));
    assert!(matches!(
        register(&imported(100, 4, TWO)),
        Err(RegistryError::IdTaken { id: 100 })
    ));
    assert!(matches!(
        register(&imported(101, 4, ONE)),
        Err(RegistryError::OtherId { id: 100 })
    ));
    assert!(matches!(
        register(&imported(101, 3, TWO)),
        Err(RegistryError::VersionTaken { version: 3, .. })
    ));
    assert_eq!(judging(&registry), Some(3));
    registry
        .set_mode("a-value", Mode::ReadWrite, false, &by())
        .expect("set");
    let next = register(&json(TWO)).expect("registered");
    assert_eq!((next.id, next.version), (101, 4));
    assert!(matches!(
        registry.set_mode("a-value", Mode::Import, false, &by()),
        Err(RegistryError::NotEmpty { .. })
    ));
    registry
        .set_mode("a-value", Mode::Import, true, &by())
        .expect("forced");
}

#[test]
fn a_read_only_subject_takes_nothing_but_what_it_has() {
    let (_dir, registry) = open();
    put(&registry, "a-value", ONE);
    registry
        .set_mode("", Mode::ReadOnlyOverride, false, &by())
        .expect("set");
    registry
        .set_mode("a-value", Mode::ReadWrite, false, &by())
        .expect("set");
    let read_only = |result: Result<(), RegistryError>| matches!(result, Err(RegistryError::ReadOnly { .. }));
    assert!(read_only(
        registry.register("a-value", &json(TWO), &by()).map(drop)
    ));
    assert!(read_only(
        registry
            .delete_version("a-value", Version::Latest, false, &by())
            .map(drop)
    ));
    assert!(read_only(
        registry.delete_subject("a-value", false, &by()).map(drop)
    ));
    assert!(read_only(registry.set_config("a-value", None, Some(true), &by())));
    assert!(!put(&registry, "a-value", ONE).created);
    registry.unset_mode("", &by()).expect("back");
    assert!(put(&registry, "a-value", TWO).created);
}
