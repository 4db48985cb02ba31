//! Drafts, deprecation, retirement, and who uses what.

use tributary_shared::ids::AgentId;
use tributary_shared::time::now_millis;
use tributary_shared::wire::SchemaRef;

use super::rules::Step;
use super::*;

fn steward() -> By {
    By {
        who: "ann".to_owned(),
        role: Some("stewards".to_owned()),
        why: Some("reviewed".to_owned()),
    }
}

fn step(registry: &Registry, version: u32, step: Step) -> Result<State, RegistryError> {
    registry.step("a-value", version, step, false, &steward())
}

fn govern(registry: &Registry) {
    let governance = Governance {
        owner: Some("plant 7".to_owned()),
        approver_role: Some("stewards".to_owned()),
        ..Governance::default()
    };
    registry
        .set_governance("a-value", &governance, &by())
        .expect("set");
}

#[test]
fn a_proposed_version_waits_and_judges_nothing_until_it_is_approved() {
    let (_dir, registry) = open();
    put(&registry, "a-value", ONE);
    govern(&registry);
    let draft = put(&registry, "a-value", TWO);
    assert_eq!((draft.state, draft.version), (State::Draft, 2));
    assert_eq!(judging(&registry), Some(1));
    let latest = registry
        .version("a-value", Version::Latest, false)
        .expect("there");
    assert_eq!(
        latest.version, 1,
        "clients that ask for the latest do not get a draft"
    );
    let nobody = registry
        .step("a-value", 2, Step::Approve, false, &by())
        .expect_err("nobody in particular");
    assert!(matches!(nobody, RegistryError::NotApprover { .. }), "{nobody}");
    assert_eq!(
        step(&registry, 2, Step::Approve).expect("approved"),
        State::Active
    );
    assert_eq!(judging(&registry), Some(2));
    let record = registry.recorded(Some("a-value"), None, 10).expect("recorded");
    let told: Vec<(&str, Option<u32>, &str)> = record
        .iter()
        .map(|change| (change.what.as_str(), change.version, change.who.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("approved", Some(2), "ann"),
            ("proposed", Some(2), "tributary"),
            ("governance_set", None, "tributary"),
            ("registered", Some(1), "tributary"),
        ]
    );
    assert_eq!(record[0].why.as_deref(), Some("reviewed"));
    let stranger = registry
        .set_governance("a-value", &Governance::default(), &by())
        .expect_err("not the approver");
    assert!(
        matches!(stranger, RegistryError::NotApproverOf { .. }),
        "{stranger}"
    );
}

#[test]
fn an_approval_looks_again_at_what_became_active_meanwhile() {
    let (_dir, registry) = open();
    govern(&registry);
    put(&registry, "a-value", ONE);
    put(&registry, "a-value", OTHER);
    assert_eq!(judging(&registry), None, "both are drafts");
    step(&registry, 1, Step::Approve).expect("the first");
    let error = step(&registry, 2, Step::Approve).expect_err("incompatible by now");
    assert!(matches!(error, RegistryError::Incompatible { .. }), "{error}");
    assert_eq!(
        step(&registry, 2, Step::Reject).expect("rejected"),
        State::Retired
    );
    let again = registry
        .register("a-value", &json(OTHER), &by())
        .expect_err("rejected");
    assert!(
        matches!(again, RegistryError::Retired { version: 2, .. }),
        "{again}"
    );
}

#[test]
fn a_version_is_deprecated_then_retired_and_the_one_before_judges_again() {
    let (_dir, registry) = open();
    put(&registry, "a-value", ONE);
    put(&registry, "a-value", TWO);
    assert_eq!(
        step(&registry, 2, Step::Deprecate).expect("deprecated"),
        State::Deprecated
    );
    assert_eq!(judging(&registry), Some(2), "still accepted");
    assert_eq!(step(&registry, 2, Step::Retire).expect("retired"), State::Retired);
    assert_eq!(judging(&registry), Some(1));
    assert!(matches!(
        step(&registry, 2, Step::Deprecate),
        Err(RegistryError::WrongState { .. })
    ));
    let last = step(&registry, 1, Step::Retire).expect_err("the last one");
    assert!(matches!(last, RegistryError::LastOne { .. }), "{last}");
    let forced = registry.step("a-value", 1, Step::Retire, true, &by());
    assert_eq!(forced.expect("forced"), State::Retired);
    assert_eq!(judging(&registry), None);
    step(&registry, 2, Step::Activate).expect("back");
    assert_eq!(judging(&registry), Some(2));
}

#[test]
fn a_version_that_an_agent_still_sends_is_not_retired_by_accident() {
    let (_dir, registry) = open();
    let first = put(&registry, "a-value", ONE);
    put(&registry, "a-value", TWO);
    let agent = AgentId::new("press-7").expect("valid");
    let schema = SchemaRef {
        id: first.id,
        version: 1,
    };
    let now = now_millis();
    registry.note_use(&stream("a"), &agent, schema, 10, now - 5);
    registry.note_use(&stream("a"), &agent, schema, 7, now);
    registry.save_usage().expect("saved");
    registry.note_use(&stream("a"), &agent, schema, 3, now + 1);
    let usage = registry.usage("a-value").expect("read");
    assert_eq!(
        usage,
        [Usage {
            agent: "press-7".to_owned(),
            version: 1,
            id: first.id,
            rows: 20,
            first_seen: now - 5,
            last_seen: now + 1,
        }]
    );
    let error = step(&registry, 1, Step::Retire).expect_err("in use");
    assert!(
        matches!(&error, RegistryError::InUse { agents, .. } if agents == &["press-7"]),
        "{error}"
    );
    assert_eq!(
        step(&registry, 1, Step::Deprecate).expect("deprecated"),
        State::Deprecated
    );
    let forced = registry.step("a-value", 1, Step::Retire, true, &by());
    assert_eq!(forced.expect("forced"), State::Retired);
}
