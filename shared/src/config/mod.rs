//! Configuration in two steps: TOML text becomes a raw table, and a role's `from_section` turns the table into a
//! valid configuration in one pure pass that reports **all** problems at once, each with key, value and hint.

mod section;
mod units;

use std::fmt;
use std::path::Path;

pub use section::{Section, nearest};
pub use units::{format_duration, format_size, parse_duration, parse_size};

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path of the key: `spool.limit`.
    pub key: String,
    /// The value as written, where there is one.
    pub value: Option<String>,
    pub message: String,
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n    hint: {hint}")?;
        }
        Ok(())
    }
}

/// A configuration that cannot be used, with everything that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    pub source_name: String,
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.problems.len();
        write!(
            f,
            "{}: {n} problem{}",
            self.source_name,
            if n == 1 { "" } else { "s" }
        )?;
        self.problems
            .iter()
            .try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// Reads a file and hands its table to `build`.
///
/// # Errors
/// [`ConfigError`] with every problem: unreadable file, broken TOML, and whatever `build` found.
pub fn load<T>(path: &Path, build: impl FnOnce(&mut Section) -> Option<T>) -> Result<T, ConfigError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError {
        source_name: name.clone(),
        problems: vec![Problem {
            key: "(file)".to_owned(),
            value: None,
            message: format!("cannot be read: {error}"),
            hint: Some("check the path given with --config and its permissions".to_owned()),
        }],
    })?;
    parse(&name, &text, build)
}

/// The pure half of [`load`].
///
/// # Errors
/// As [`load`].
pub fn parse<T>(
    source_name: &str,
    text: &str,
    build: impl FnOnce(&mut Section) -> Option<T>,
) -> Result<T, ConfigError> {
    let error = |problems| ConfigError {
        source_name: source_name.to_owned(),
        problems,
    };
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
        error(vec![Problem {
            key: "(syntax)".to_owned(),
            value: None,
            message: e.to_string().trim_end().to_owned(),
            hint: None,
        }])
    })?;
    let mut section = Section::root(table);
    let built = build(&mut section);
    let problems = section.finish();
    match built {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(error(problems)),
    }
}
