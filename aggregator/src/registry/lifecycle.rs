//! The life of versions, and whose subjects are.

use tributary_shared::time::{Millis, now_millis};

use super::messages::{By, Governance, VersionRow};
use super::rules::{self, State, Step};
use super::store::{NewChange, Store};
use super::{Registry, RegistryError, stream_of};

/// An agent that has sent events of a version within this time, in ms, still uses it: two days, so that a
/// weekend's gap is noticed but a device that is gone does not keep a version alive.
const IN_USE_FOR: Millis = 48 * 60 * 60 * 1_000;

impl Registry {
    /// Takes a step in a version's life; returns the state that it has now.
    ///
    /// # Errors
    /// When the step does not begin in the version's state or needs another role; when a draft or a retired
    /// version is not compatible with what is active; when a version is retired that is in use, or the last one
    /// of a stream's subject, unless `force`.
    pub fn step(
        &self,
        subject: &str,
        version: u32,
        step: Step,
        force: bool,
        by: &By,
    ) -> Result<State, RegistryError> {
        self.save_usage()?;
        let _changing = self.changing();
        let row = self.live_row(subject, version)?;
        let approver = self.store().governance(subject)?.approver_role;
        let state = rules::step(
            (subject, version),
            row.state,
            step,
            approver.as_deref(),
            by.role.as_deref(),
        )?;
        if state == State::Active && !row.state.accepted() {
            let parsed = self.parsed(row.id)?;
            self.must_follow(subject, &parsed)?;
        }
        if state == State::Retired && row.state.accepted() && !force {
            self.may_retire(subject, version)?;
        }
        self.store().write(|db| {
            Store::set_state(db, subject, version, state)?;
            let change = NewChange {
                subject,
                version: Some(version),
                what: step.done(),
                detail: Some(row.state.as_str()),
            };
            Store::record(db, now_millis(), by, change)
        })?;
        self.refresh(subject)?;
        tracing::info!(
            subject,
            version,
            state = state.as_str(),
            by = by.who,
            "schema version changed its state"
        );
        Ok(state)
    }

    fn live_row(&self, subject: &str, version: u32) -> Result<VersionRow, RegistryError> {
        let store = self.store();
        let row = store.version_row(subject, version)?.filter(|row| !row.deleted);
        match row {
            Some(row) => Ok(row),
            None if store.has_subject(subject, false)? => Err(RegistryError::UnknownVersion {
                subject: subject.to_owned(),
                version,
            }),
            None => Err(RegistryError::UnknownSubject {
                subject: subject.to_owned(),
            }),
        }
    }

    fn may_retire(&self, subject: &str, version: u32) -> Result<(), RegistryError> {
        let store = self.store();
        let since = now_millis() - IN_USE_FOR;
        let agents: Vec<String> = store
            .usage(subject)?
            .into_iter()
            .filter(|usage| usage.version == version && usage.last_seen >= since)
            .map(|usage| usage.agent)
            .collect();
        if !agents.is_empty() {
            return Err(RegistryError::InUse {
                subject: subject.to_owned(),
                version,
                agents,
            });
        }
        if stream_of(subject).is_some() && store.accepted_ids(subject, Some(2))?.len() < 2 {
            let subject = subject.to_owned();
            return Err(RegistryError::LastOne { subject, version });
        }
        Ok(())
    }

    /// Says whose a subject is. It may be said before the first version is registered.
    ///
    /// # Errors
    /// [`RegistryError::InvalidSubject`]; [`RegistryError::NotApproverOf`] when somebody else than the approver
    /// would change who approves.
    pub fn set_governance(&self, subject: &str, new: &Governance, by: &By) -> Result<(), RegistryError> {
        rules::subject_name(subject)?;
        let _changing = self.changing();
        let old = self.store().governance(subject)?;
        rules::may_set_approver(
            subject,
            old.approver_role.as_deref(),
            new.approver_role.as_deref(),
            by.role.as_deref(),
        )?;
        let detail = differences(&old, new);
        self.store().write(|db| {
            Store::put_governance(db, subject, new)?;
            let change = NewChange {
                subject,
                version: None,
                what: "governance_set",
                detail: Some(&detail),
            };
            Store::record(db, now_millis(), by, change)
        })
    }
}

/// The fields that change, with their new values.
fn differences(old: &Governance, new: &Governance) -> String {
    let fields = [
        ("owner", &old.owner, &new.owner),
        ("contact", &old.contact, &new.contact),
        ("description", &old.description, &new.description),
        ("approver_role", &old.approver_role, &new.approver_role),
    ];
    let changed = fields.iter().filter(|(_, old, new)| old != new);
    changed
        .map(|(name, _, new)| format!("{name}={}", new.as_deref().unwrap_or("-")))
        .collect::<Vec<_>>()
        .join(", ")
}
