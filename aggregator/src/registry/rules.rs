//! The registry's rules, pure: what a mode allows, which number a version gets, which way a version's life
//! goes, and which versions count.

use std::fmt;
use std::str::FromStr;

use super::error::RegistryError;
use super::messages::MAX_SUBJECT;

/// A name of a closed set that a text does not name; the API knows what to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unnamed;

/// What may be done with a subject's schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    ReadWrite,
    ReadOnly,
    /// For the whole registry: whatever the modes of subjects are.
    ReadOnlyOverride,
    /// Ids come from whoever registers, and nothing is checked against earlier versions.
    Import,
}

impl Mode {
    pub const ALL: [Self; 4] = [
        Self::ReadWrite,
        Self::ReadOnly,
        Self::ReadOnlyOverride,
        Self::Import,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadWrite => "READWRITE",
            Self::ReadOnly => "READONLY",
            Self::ReadOnlyOverride => "READONLY_OVERRIDE",
            Self::Import => "IMPORT",
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::ReadWrite => "read-write",
            Self::ReadOnly | Self::ReadOnlyOverride => "read-only",
            Self::Import => "import",
        }
    }

    /// The mode that counts for a subject.
    #[must_use]
    pub fn in_scope(global: Option<Self>, subject: Option<Self>) -> Self {
        match (global, subject) {
            (Some(Self::ReadOnlyOverride), _) => Self::ReadOnlyOverride,
            (_, Some(own)) => own,
            (global, None) => global.unwrap_or_default(),
        }
    }

    fn reads_only(self) -> bool {
        matches!(self, Self::ReadOnly | Self::ReadOnlyOverride)
    }
}

impl FromStr for Mode {
    type Err = Unnamed;

    fn from_str(text: &str) -> Result<Self, Unnamed> {
        let same = |mode: &Self| mode.as_str().eq_ignore_ascii_case(text);
        Self::ALL.into_iter().find(same).ok_or(Unnamed)
    }
}

/// Where a version is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Proposed; waits for the subject's approver.
    Draft,
    Active,
    /// Still accepted, warned about, counted.
    Deprecated,
    /// Events of it are rejected.
    Retired,
}

impl State {
    pub const ALL: [Self; 4] = [Self::Draft, Self::Active, Self::Deprecated, Self::Retired];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Active => "active",
            Self::Deprecated => "deprecated",
            Self::Retired => "retired",
        }
    }

    /// Whether events of such a version are accepted: those are also the versions that new ones must be
    /// compatible with, and of which the newest judges a stream's events.
    #[must_use]
    pub fn accepted(self) -> bool {
        matches!(self, Self::Active | Self::Deprecated)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = Unnamed;

    fn from_str(text: &str) -> Result<Self, Unnamed> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(Unnamed)
    }
}

/// A step in a version's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The approver says yes to a draft.
    Approve,
    /// The approver says no.
    Reject,
    /// Back from deprecated or retired.
    Activate,
    Deprecate,
    Retire,
}

impl Step {
    pub const ALL: [Self; 5] = [
        Self::Approve,
        Self::Reject,
        Self::Activate,
        Self::Deprecate,
        Self::Retire,
    ];

    /// As the API's paths write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Activate => "activate",
            Self::Deprecate => "deprecate",
            Self::Retire => "retire",
        }
    }

    /// As the record of changes writes it.
    #[must_use]
    pub fn done(self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::Reject => "rejected",
            Self::Activate => "activated",
            Self::Deprecate => "deprecated",
            Self::Retire => "retired",
        }
    }

    /// Where the step leads to from `state`; `None` when it does not start there.
    #[must_use]
    pub fn from(self, state: State) -> Option<State> {
        match (self, state) {
            (Self::Approve, State::Draft) | (Self::Activate, State::Deprecated | State::Retired) => {
                Some(State::Active)
            }
            (Self::Deprecate, State::Active) => Some(State::Deprecated),
            (Self::Reject, State::Draft) | (Self::Retire, State::Active | State::Deprecated) => {
                Some(State::Retired)
            }
            _ => None,
        }
    }

    /// Whether only the subject's approver may take it.
    #[must_use]
    pub fn needs_approver(self) -> bool {
        matches!(self, Self::Approve | Self::Reject | Self::Activate)
    }
}

impl FromStr for Step {
    type Err = Unnamed;

    fn from_str(text: &str) -> Result<Self, Unnamed> {
        Self::ALL
            .into_iter()
            .find(|step| step.as_str() == text)
            .ok_or(Unnamed)
    }
}

/// # Errors
/// [`RegistryError::InvalidSubject`].
pub fn subject_name(subject: &str) -> Result<(), RegistryError> {
    if subject.is_empty() || subject.len() > MAX_SUBJECT || subject.chars().any(char::is_control) {
        let subject = subject.chars().take(80).collect();
        return Err(RegistryError::InvalidSubject { subject });
    }
    Ok(())
}

/// May a schema be registered under a subject?
///
/// # Errors
/// When the mode is against it.
pub fn may_register(subject: &str, mode: Mode, id_given: bool) -> Result<(), RegistryError> {
    may_change(subject, mode)?;
    let subject = subject.to_owned();
    match (mode, id_given) {
        (Mode::Import, false) => Err(RegistryError::Importing { subject }),
        (Mode::Import, true) | (_, false) => Ok(()),
        (_, true) => Err(RegistryError::NotImporting { subject }),
    }
}

/// May versions or settings of a subject be changed?
///
/// # Errors
/// When the mode is against it.
pub fn may_change(subject: &str, mode: Mode) -> Result<(), RegistryError> {
    if mode.reads_only() {
        let subject = if subject.is_empty() { "registry" } else { subject };
        return Err(RegistryError::ReadOnly {
            subject: subject.to_owned(),
            mode,
        });
    }
    Ok(())
}

/// The number of a subject's next version. `newest` is the highest that is stored, deleted ones included.
///
/// # Errors
/// When another one is asked for, and this is no import.
pub fn next_version(mode: Mode, newest: Option<u32>, asked: Option<u32>) -> Result<u32, RegistryError> {
    let next = newest.unwrap_or(0) + 1;
    match asked {
        Some(given) if mode == Mode::Import || given == next => Ok(given),
        Some(given) => Err(RegistryError::NotNextVersion { given, next }),
        None => Ok(next),
    }
}

/// The state that a new version begins with.
#[must_use]
pub fn first_state(approver_role: Option<&str>, mode: Mode) -> State {
    match approver_role {
        Some(_) if mode != Mode::Import => State::Draft,
        _ => State::Active,
    }
}

/// Takes a step in a version's life.
///
/// # Errors
/// When it does not start from `state`, or somebody else must take it.
pub fn step(
    (subject, version): (&str, u32),
    state: State,
    step: Step,
    approver_role: Option<&str>,
    role: Option<&str>,
) -> Result<State, RegistryError> {
    let subject = || subject.to_owned();
    let next = step.from(state).ok_or_else(|| RegistryError::WrongState {
        subject: subject(),
        version,
        state,
        step,
    })?;
    match approver_role {
        Some(needed) if step.needs_approver() && role != Some(needed) => Err(RegistryError::NotApprover {
            subject: subject(),
            version,
            role: needed.to_owned(),
        }),
        _ => Ok(next),
    }
}

/// May somebody of `role` change who approves a subject's versions?
///
/// # Errors
/// When the approver that is set has another role.
pub fn may_set_approver(
    subject: &str,
    old: Option<&str>,
    new: Option<&str>,
    role: Option<&str>,
) -> Result<(), RegistryError> {
    match old {
        Some(needed) if old != new && role != old => Err(RegistryError::NotApproverOf {
            subject: subject.to_owned(),
            role: needed.to_owned(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_override_beats_a_subjects_own_mode_and_nothing_else_does() {
        for own in Mode::ALL {
            for global in Mode::ALL {
                let counts = Mode::in_scope(Some(global), Some(own));
                let expected = if global == Mode::ReadOnlyOverride {
                    global
                } else {
                    own
                };
                assert_eq!(counts, expected);
            }
            assert_eq!(Mode::in_scope(Some(own), None), own);
        }
        assert_eq!(Mode::in_scope(None, None), Mode::ReadWrite);
    }

    #[test]
    fn ids_are_given_while_importing_and_only_then() {
        assert!(may_register("s", Mode::ReadWrite, false).is_ok());
        assert!(may_register("s", Mode::Import, true).is_ok());
        for (mode, given) in [
            (Mode::ReadWrite, true),
            (Mode::Import, false),
            (Mode::ReadOnly, false),
            (Mode::ReadOnlyOverride, true),
        ] {
            assert!(may_register("s", mode, given).is_err(), "{mode:?} {given}");
        }
    }

    #[test]
    fn versions_are_numbered_on_and_deleted_numbers_are_not_given_again() {
        assert_eq!(next_version(Mode::ReadWrite, None, None).expect("first"), 1);
        assert_eq!(next_version(Mode::ReadWrite, Some(7), None).expect("next"), 8);
        assert_eq!(next_version(Mode::ReadWrite, Some(7), Some(8)).expect("next"), 8);
        assert!(next_version(Mode::ReadWrite, Some(7), Some(9)).is_err());
        assert_eq!(next_version(Mode::Import, Some(7), Some(3)).expect("import"), 3);
    }

    #[test]
    fn a_life_has_these_steps_and_no_others() {
        let ways: Vec<(State, Step, State)> = State::ALL
            .into_iter()
            .flat_map(|state| Step::ALL.map(|step| (state, step)))
            .filter_map(|(state, step)| Some((state, step, step.from(state)?)))
            .collect();
        assert_eq!(
            ways,
            [
                (State::Draft, Step::Approve, State::Active),
                (State::Draft, Step::Reject, State::Retired),
                (State::Active, Step::Deprecate, State::Deprecated),
                (State::Active, Step::Retire, State::Retired),
                (State::Deprecated, Step::Activate, State::Active),
                (State::Deprecated, Step::Retire, State::Retired),
                (State::Retired, Step::Activate, State::Active),
            ]
        );
    }

    #[test]
    fn a_draft_waits_for_the_named_role() {
        let draft = |role| step(("s", 2), State::Draft, Step::Approve, Some("stewards"), role);
        assert_eq!(draft(Some("stewards")).expect("approved"), State::Active);
        assert!(matches!(
            draft(Some("others")),
            Err(RegistryError::NotApprover { .. })
        ));
        assert!(matches!(draft(None), Err(RegistryError::NotApprover { .. })));
        let retire = step(("s", 2), State::Active, Step::Retire, Some("stewards"), None);
        assert_eq!(retire.expect("anybody"), State::Retired);
    }

    #[test]
    fn the_approver_says_who_approves() {
        assert!(may_set_approver("s", None, Some("a"), None).is_ok());
        assert!(may_set_approver("s", Some("a"), Some("a"), None).is_ok());
        assert!(may_set_approver("s", Some("a"), None, Some("a")).is_ok());
        assert!(may_set_approver("s", Some("a"), None, Some("b")).is_err());
    }

    #[test]
    fn names_are_read_back() {
        assert_eq!("readonly_override".parse(), Ok(Mode::ReadOnlyOverride));
        assert_eq!("WRITE".parse::<Mode>(), Err(Unnamed));
        for state in State::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        for step in Step::ALL {
            assert_eq!(step.as_str().parse(), Ok(step));
        }
    }
}
