use super::*;

#[test]
fn versions_without_overlap_are_refused_with_both_ranges() {
    let hello = |min_version, max_version| crate::wire::Hello {
        min_version,
        max_version,
        node: "a".to_owned(),
        software: String::new(),
        instance: 0,
        session: 0,
    };
    assert_eq!(negotiate(&hello(1, 9)), Ok(VERSION));
    let bye = negotiate(&hello(VERSION + 1, VERSION + 3)).expect_err("too new");
    assert!(
        bye.message
            .contains(&format!("{} to {}", VERSION + 1, VERSION + 3)),
        "{}",
        bye.message
    );
}
