//! Deleted in two steps, as the API that this registry speaks has it.

use super::*;

fn numbers(registry: &Registry, deleted: Deleted) -> Vec<u32> {
    registry
        .numbers("a-value", deleted, Page::default())
        .unwrap_or_default()
}

#[test]
fn a_deleted_version_is_archived_and_judges_nothing() {
    let (_dir, registry) = open();
    let first = put(&registry, "a-value", ONE);
    let second = put(&registry, "a-value", TWO);
    let mut changes = registry.changes();
    let delete = |permanent| registry.delete_version("a-value", Version::Number(2), permanent, &by());
    assert!(matches!(
        delete(true),
        Err(RegistryError::VersionNotDeleted { .. })
    ));
    assert_eq!(delete(false).expect("archived"), 2);
    assert_eq!(judging(&registry), Some(1));
    let announced = changes.try_recv().expect("announced").schema;
    assert_eq!(announced.map(|schema| schema.id), Some(first.id));
    assert!(matches!(delete(false), Err(RegistryError::VersionDeleted { .. })));
    assert_eq!(registry.schema(second.id).expect("readable").text, TWO);
    let archived = registry
        .version("a-value", Version::Number(2), true)
        .expect("readable");
    assert!(archived.deleted);
    assert_eq!(
        (
            numbers(&registry, Deleted::Without),
            numbers(&registry, Deleted::With),
            numbers(&registry, Deleted::Only)
        ),
        (vec![1], vec![1, 2], vec![2])
    );
    let again = put(&registry, "a-value", TWO);
    assert_eq!(
        (again.id, again.version),
        (second.id, 3),
        "numbers are not given twice"
    );
    assert_eq!(delete(true).expect("forgotten"), 2);
    assert_eq!(numbers(&registry, Deleted::With), [1, 3]);
    assert_eq!(registry.schema(second.id).expect("version 3 has it").text, TWO);
}

#[test]
fn a_deleted_subject_takes_its_settings_along_and_a_forgotten_one_its_ids() {
    let (_dir, registry) = open();
    let id = put(&registry, "a-value", ONE).id;
    put(&registry, "a-value", TWO);
    free(&registry, "a-value");
    let delete = |permanent| registry.delete_subject("a-value", permanent, &by());
    assert!(matches!(
        delete(true),
        Err(RegistryError::SubjectNotDeleted { .. })
    ));
    assert_eq!(delete(false).expect("archived"), [1, 2]);
    assert_eq!(judging(&registry), None);
    assert_eq!(registry.settings("a-value").expect("read"), Settings::default());
    assert!(matches!(delete(false), Err(RegistryError::SubjectDeleted { .. })));
    let page = Page::default();
    let subjects = |deleted| registry.subjects("a", deleted, page).expect("read");
    assert!(subjects(Deleted::Without).is_empty());
    assert_eq!(
        (subjects(Deleted::With), subjects(Deleted::Only)),
        (vec!["a-value".to_owned()], vec!["a-value".to_owned()])
    );
    assert_eq!(registry.schema(id).expect("readable").text, ONE);
    assert_eq!(delete(true).expect("forgotten"), [1, 2]);
    assert!(matches!(
        registry.schema(id),
        Err(RegistryError::UnknownId { .. })
    ));
    assert!(matches!(delete(true), Err(RegistryError::UnknownSubject { .. })));
    let anew = put(&registry, "a-value", ONE);
    assert_eq!(anew.version, 1);
    assert!(anew.id > id, "an id never names another schema");
}
