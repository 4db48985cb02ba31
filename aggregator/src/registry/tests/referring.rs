//! Schemas that refer to others.

use super::*;

const BASE: &str = r#"{"$id":"base.json","type":"object","properties":{"unit":{"type":"string"}}}"#;
const MIDDLE: &str = r#"{"$id":"middle.json","type":"object","properties":{"base":{"$ref":"base.json"}}}"#;
const TOP: &str = r#"{"type":"object","properties":{"middle":{"$ref":"middle.json"}}}"#;

fn referring(text: &str, name: &str, subject: &str) -> NewSchema {
    NewSchema {
        references: vec![ReferenceAsked {
            name: name.to_owned(),
            subject: subject.to_owned(),
            version: Version::Latest,
        }],
        ..json(text)
    }
}

#[test]
fn references_are_pinned_and_their_texts_travel_with_the_schema() {
    let (_dir, registry) = open();
    put(&registry, "base", BASE);
    let middle = referring(MIDDLE, "base.json", "base");
    registry.register("middle", &middle, &by()).expect("registered");
    let top = referring(TOP, "middle.json", "middle");
    let done = registry.register("a-value", &top, &by()).expect("registered");
    let info = registry.cache().latest(&stream("a")).expect("cached");
    let names: Vec<&str> = info.references.iter().map(|named| named.name.as_str()).collect();
    assert_eq!(names, ["base.json", "middle.json"]);
    assert_eq!(info.references[0].text, BASE);
    let stored = registry.schema(done.id).expect("stored");
    assert_eq!(stored.references[0].version, 1, "latest is the version of then");
    let by_version = registry.referenced_by("middle", Version::Number(1));
    assert_eq!(by_version.expect("known"), [done.id]);
    let writer = registry.stream_writer(&stream("a"), done.id).expect("read");
    assert_eq!(writer.expect("accepted"), *info);
}

#[test]
fn what_is_referred_to_cannot_be_deleted_and_what_is_missing_is_named() {
    let (_dir, registry) = open();
    put(&registry, "base", BASE);
    let middle = referring(MIDDLE, "base.json", "base");
    registry.register("middle", &middle, &by()).expect("registered");
    for result in [
        registry
            .delete_version("base", Version::Latest, false, &by())
            .map(drop),
        registry.delete_subject("base", false, &by()).map(drop),
    ] {
        assert!(
            matches!(result, Err(RegistryError::Referenced { .. })),
            "{result:?}"
        );
    }
    registry
        .delete_subject("middle", false, &by())
        .expect("nobody needs it");
    registry
        .delete_subject("base", false, &by())
        .expect("nobody needs it any more");
    let missing = registry.register("middle", &middle, &by()).expect_err("archived");
    assert!(
        matches!(&missing, RegistryError::Reference { name, .. } if name == "base.json"),
        "{missing}"
    );
    let unnamed = registry
        .register("x", &json(MIDDLE), &by())
        .expect_err("not among the references");
    assert!(unnamed.to_string().contains("base.json"), "{unnamed}");
}
