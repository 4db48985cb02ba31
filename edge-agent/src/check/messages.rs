//! What is set for a stream, and what a check has found.

use std::collections::BTreeMap;
use std::str::FromStr;

use tributary_shared::ids::StreamName;

/// Rules that are counted by name. There are about fifty; a schema's text cannot make more.
const MAX_RULES: usize = 64;
/// What all further ones are counted as.
const OTHER_RULES: &str = "other";

/// `[streams.NAME] check`: what becomes of events that do not fit their stream's schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckPolicy {
    /// Nobody looks: the gateway will.
    #[default]
    Off,
    /// They are taken and counted.
    Tag,
    /// The intake refuses the whole request and says why. Where nobody can be told, as [`Self::Tag`].
    Reject,
}

/// By stream; those that are not named are not checked.
pub type CheckPolicies = BTreeMap<StreamName, CheckPolicy>;

impl CheckPolicy {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Tag => "tag",
            Self::Reject => "reject",
        }
    }
}

impl FromStr for CheckPolicy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            "tag" => Ok(Self::Tag),
            "reject" => Ok(Self::Reject),
            _ => Err("expected \"off\", \"tag\" or \"reject\""),
        }
    }
}

/// What a check has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events that were judged.
    pub checked: u64,
    pub invalid: u64,
    /// The invalid ones by the rule that they break first.
    pub by_rule: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn invalid(&mut self, rule: &str) {
        self.invalid += 1;
        self.count_rule(rule, 1);
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.checked += other.checked;
        self.invalid += other.invalid;
        for (rule, count) in &other.by_rule {
            self.count_rule(rule, *count);
        }
    }

    fn count_rule(&mut self, rule: &str, count: u64) {
        let full = self.by_rule.len() >= MAX_RULES && !self.by_rule.contains_key(rule);
        let rule = if full { OTHER_RULES } else { rule };
        match self.by_rule.get_mut(rule) {
            Some(known) => *known += count,
            None => drop(self.by_rule.insert(rule.to_owned(), count)),
        }
    }
}
