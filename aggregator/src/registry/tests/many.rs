//! As many versions as nobody has, and texts that nobody writes.

use std::time::{Duration, Instant};

use tributary_schema::compat::CompatibilityLevel;

use super::*;

/// Each may follow the one before.
fn version(n: usize) -> String {
    format!(r#"{{"type":"object","title":"version {n}","properties":{{"a":{{"type":"integer"}}}}}}"#)
}

#[test]
fn ten_thousand_versions_of_one_subject_stay_quick() {
    const MANY: usize = 10_000;
    let (dir, registry) = open();
    free(&registry, "a-value");
    // each registration is synced to the disk; the versions that only have to be there are written at once
    let ids = registry.fill("a-value", (0..MANY).map(version));
    assert_eq!(ids.len(), MANY);
    let begun = Instant::now();
    let next = put(&registry, "a-value", &version(MANY));
    assert_eq!(next.version as usize, MANY + 1);
    assert!(!put(&registry, "a-value", &version(17)).created);
    let numbers = registry
        .numbers("a-value", Deleted::Without, Page::default())
        .expect("listed");
    assert_eq!(numbers.len(), MANY + 1);
    let latest = registry
        .version("a-value", Version::Latest, false)
        .expect("found");
    assert_eq!(latest.version as usize, MANY + 1);
    drop(registry);
    let registry = Registry::open(dir.path()).expect("opens");
    assert_eq!(judging(&registry), Some(next.version));
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "register, find, list and reopen took {:?}",
        begun.elapsed()
    );
}

#[test]
fn a_transitive_check_sees_every_version() {
    let (_dir, registry) = open();
    free(&registry, "a-value");
    put(&registry, "a-value", OTHER);
    registry.fill("a-value", (0..100).map(version));
    let level = Some(CompatibilityLevel::BackwardTransitive);
    registry.set_config("a-value", level, None, &by()).expect("set");
    let error = registry
        .register("a-value", &json(&version(101)), &by())
        .expect_err("version 1 has text");
    assert!(error.to_string().contains("(version 1)"), "{error}");
    let level = Some(CompatibilityLevel::None);
    registry.set_config("a-value", level, None, &by()).expect("set");
    put(&registry, "a-value", &version(101));
}

#[test]
fn huge_deep_and_crowded_texts_are_refused_with_words() {
    let (_dir, registry) = open();
    let refused = |new: &NewSchema| {
        registry
            .register("a-value", new, &by())
            .expect_err("refused")
            .to_string()
    };
    assert!(refused(&json(&" ".repeat(MAX_SCHEMA_BYTES + 1))).contains("limit"));
    let deep = r#"{"not":"#.repeat(10_000) + "{}" + &"}".repeat(10_000);
    assert!(
        refused(&json(&deep)).contains("deep"),
        "{}",
        refused(&json(&deep))
    );
    let reference = |n: usize| ReferenceAsked {
        name: format!("{n}.json"),
        subject: "base".to_owned(),
        version: Version::Number(1),
    };
    let crowded = NewSchema {
        references: (0..1_000).map(reference).collect(),
        ..json(ONE)
    };
    assert!(
        refused(&crowded).contains("may refer to"),
        "{}",
        refused(&crowded)
    );
    assert_eq!(judging(&registry), None);
}
