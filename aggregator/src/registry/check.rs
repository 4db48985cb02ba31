//! May a schema follow those that a subject has?

use std::collections::HashSet;

use tributary_schema::compat::{CompatibilityLevel, can_read};
use tributary_schema::language::ParsedSchema;

use super::messages::{NewSchema, Verdict, Version};
use super::{Registry, RegistryError};

/// Breaks that are told at most; the first ones show what is wrong.
const MAX_MESSAGES: usize = 50;

impl Registry {
    /// Whether a schema may follow a subject's versions by the subject's level, or, with `against`, by the same
    /// level one of them alone. Anything may be the first.
    ///
    /// # Errors
    /// When the schema is none, or the version is not there.
    pub fn check(
        &self,
        subject: &str,
        new: &NewSchema,
        against: Option<Version>,
    ) -> Result<Verdict, RegistryError> {
        let prepared = self.prepare(subject, new)?;
        let level = self.level(subject)?;
        let Some(version) = against else {
            return self.judge(subject, level, &prepared.parsed);
        };
        let old = match self.version(subject, version, false) {
            Err(RegistryError::UnknownSubject { .. } | RegistryError::NoLatest { .. })
                if version == Version::Latest =>
            {
                return Ok(Verdict::default());
            }
            found => found?,
        };
        Ok(self.against(level, &prepared.parsed, &[(old.version, old.schema.id)]))
    }

    /// Judges by the versions that the level asks for.
    pub(super) fn judge(
        &self,
        subject: &str,
        level: CompatibilityLevel,
        new: &ParsedSchema,
    ) -> Result<Verdict, RegistryError> {
        if level == CompatibilityLevel::None {
            return Ok(Verdict::default());
        }
        let limit = (!level.is_transitive()).then_some(1);
        let mut seen = HashSet::new();
        let mut old = self.store().accepted_ids(subject, limit)?;
        old.retain(|(_, id)| seen.insert(*id));
        Ok(self.against(level, new, &old))
    }

    fn against(&self, level: CompatibilityLevel, new: &ParsedSchema, old: &[(u32, u32)]) -> Verdict {
        let mut messages = Vec::new();
        for (version, id) in old {
            match self.parsed(*id) {
                Ok(parsed) => messages.extend(breaks(level, new, &parsed, *version)),
                Err(error) => messages.push(format!("version {version} cannot be compared: {error}")),
            }
            if messages.len() >= MAX_MESSAGES {
                messages.truncate(MAX_MESSAGES);
                break;
            }
        }
        Verdict { messages }
    }
}

fn breaks(level: CompatibilityLevel, new: &ParsedSchema, old: &ParsedSchema, version: u32) -> Vec<String> {
    let mut found = Vec::new();
    if level.is_backward() {
        found.extend(can_read(new, old));
    }
    if level.is_forward() {
        for one in can_read(old, new) {
            if !found.contains(&one) {
                found.push(one);
            }
        }
    }
    found
        .into_iter()
        .map(|one| format!("{one} (version {version})"))
        .collect()
}
