//! What a text looks like: which formats all texts of a field have.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

/// Formats that are looked for, the more special first.
const FORMATS: [&str; 7] = ["date-time", "date", "time", "uuid", "ipv4", "ipv6", "uri"];

/// The validators' own rules, so that a proposed format accepts what it was proposed from.
static CHECKS: LazyLock<Vec<(&'static str, Validator)>> = LazyLock::new(|| {
    let build = |format: &'static str| {
        let schema = json!({ "format": format });
        let built = crate::language::validation_options().build(&schema);
        built.ok().map(|validator| (format, validator))
    };
    FORMATS.into_iter().filter_map(build).collect()
});

/// Formats that every text so far has.
#[derive(Debug, Clone)]
pub(super) struct Formats {
    possible: Vec<usize>,
}

impl Default for Formats {
    fn default() -> Self {
        Self {
            possible: (0..CHECKS.len()).collect(),
        }
    }
}

impl Formats {
    pub fn see(&mut self, text: &str) {
        if self.possible.is_empty() {
            return;
        }
        let value = Value::from(text);
        self.possible.retain(|index| {
            CHECKS
                .get(*index)
                .is_some_and(|(_, check)| check.is_valid(&value))
        });
    }

    pub fn found(&self) -> Option<&'static str> {
        let first = self.possible.first()?;
        CHECKS.get(*first).map(|(format, _)| *format)
    }
}
