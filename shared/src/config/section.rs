//! Reads one TOML table key by key, collecting problems instead of stopping at the first.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use toml::{Table, Value};

use super::{Problem, parse_duration, parse_size};

/// A table under validation. Ask for each key that you know, then let the parent [`Section::finish`] report
/// the rest as unknown.
#[derive(Debug)]
pub struct Section {
    path: String,
    rest: Table,
    known: Vec<String>,
    problems: Vec<Problem>,
}

impl Section {
    pub(super) fn root(table: Table) -> Self {
        Self {
            path: String::new(),
            rest: table,
            known: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.known.push(key.to_owned());
        self.rest.remove(key)
    }

    /// Records a problem with a key of this section; for checks that span several keys.
    pub fn problem(&mut self, key: &str, value: Option<String>, message: &str, hint: Option<&str>) {
        let problem = Problem {
            key: self.key(key),
            value,
            message: message.to_owned(),
            hint: hint.map(str::to_owned),
        };
        self.problems.push(problem);
    }

    fn parsed<T>(
        &mut self,
        key: &str,
        expected: &str,
        hint: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.take(key)?;
        let parsed = read(&value);
        if parsed.is_none() {
            self.problem(
                key,
                Some(value.to_string()),
                &format!("expected {expected}"),
                Some(hint),
            );
        }
        parsed
    }

    /// `None` and a problem when the key is missing.
    pub fn required<T>(
        &mut self,
        key: &str,
        hint: &str,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        if self.rest.contains_key(key) {
            return read(self);
        }
        self.known.push(key.to_owned());
        self.problem(key, None, "is required", Some(hint));
        None
    }

    pub fn string(&mut self, key: &str) -> Option<String> {
        self.parsed(key, "text", "write it in quotes", |v| {
            v.as_str().map(str::to_owned)
        })
    }

    pub fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.string(key).map(PathBuf::from)
    }

    pub fn boolean(&mut self, key: &str) -> Option<bool> {
        self.parsed(key, "true or false", "write it without quotes", Value::as_bool)
    }

    pub fn duration(&mut self, key: &str) -> Option<Duration> {
        self.parsed(
            key,
            "a duration",
            "for example \"250ms\", \"30s\", \"5m\" or \"72h\"",
            |v| v.as_str().and_then(parse_duration),
        )
    }

    pub fn size(&mut self, key: &str) -> Option<u64> {
        self.parsed(
            key,
            "a size",
            "for example \"256KiB\", \"64MiB\" or \"2GiB\"",
            |v| v.as_str().and_then(parse_size),
        )
    }

    pub fn integer(&mut self, key: &str, min: u64, max: u64) -> Option<u64> {
        let hint = format!("from {min} to {max}");
        self.parsed(key, "a whole number", &hint, |v| {
            v.as_integer()
                .and_then(|n| u64::try_from(n).ok())
                .filter(|n| (min..=max).contains(n))
        })
    }

    pub fn float(&mut self, key: &str, min: f64, max: f64) -> Option<f64> {
        let hint = format!("from {min} to {max}");
        self.parsed(key, "a number", &hint, |v| {
            v.as_float()
                .or_else(|| v.as_integer().map(|n| n as f64))
                .filter(|n| (min..=max).contains(n))
        })
    }

    pub fn address(&mut self, key: &str) -> Option<SocketAddr> {
        self.parsed(
            key,
            "an address with a port",
            "for example \"127.0.0.1:8603\" or \"[::]:8602\"",
            |v| v.as_str().and_then(|s| s.parse().ok()),
        )
    }

    /// A value with its own parser: an id, a policy …
    pub fn from_text<T: FromStr>(&mut self, key: &str) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        let text = self.string(key)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(key, Some(format!("{text:?}")), &error.to_string(), None);
                None
            }
        }
    }

    /// A list of texts; `None` when the key is missing.
    pub fn strings(&mut self, key: &str) -> Option<Vec<String>> {
        self.parsed(key, "a list of texts", "for example [\"one\", \"two\"]", |v| {
            v.as_array()?
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect()
        })
    }

    /// A table below this one; an empty one when the key is missing, so that defaults apply.
    pub fn section<T>(&mut self, key: &str, read: impl FnOnce(&mut Section) -> T) -> T {
        let table = match self.take(key) {
            Some(Value::Table(table)) => table,
            Some(other) => {
                self.problem(
                    key,
                    Some(other.to_string()),
                    "expected a table",
                    Some(&format!("write [{key}]")),
                );
                Table::new()
            }
            None => Table::new(),
        };
        self.nested(self.key(key), table, read)
    }

    /// Is the key there at all?
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.rest.contains_key(key)
    }

    /// An array of tables (`[[key]]`), in order.
    pub fn sections<T>(&mut self, key: &str, mut read: impl FnMut(&mut Section) -> T) -> Vec<T> {
        let items = match self.take(key) {
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.problem(
                    key,
                    Some(other.to_string()),
                    "expected tables",
                    Some(&format!("write [[{key}]]")),
                );
                Vec::new()
            }
            None => Vec::new(),
        };
        let mut out = Vec::with_capacity(items.len());
        for (n, item) in items.into_iter().enumerate() {
            let path = format!("{}[{n}]", self.key(key));
            match item {
                Value::Table(table) => out.push(self.nested(path, table, &mut read)),
                other => self.problem(
                    &format!("{key}[{n}]"),
                    Some(other.to_string()),
                    "expected a table",
                    None,
                ),
            }
        }
        out
    }

    /// Named tables below this one (`[key.name]`), in name order.
    pub fn named_sections<T>(&mut self, key: &str, mut read: impl FnMut(&str, &mut Section) -> T) -> Vec<T> {
        let table = match self.take(key) {
            Some(Value::Table(table)) => table,
            Some(other) => {
                self.problem(
                    key,
                    Some(other.to_string()),
                    "expected tables",
                    Some(&format!("write [{key}.name]")),
                );
                Table::new()
            }
            None => Table::new(),
        };
        let mut out = Vec::with_capacity(table.len());
        for (name, item) in table {
            let path = format!("{}.{name}", self.key(key));
            match item {
                Value::Table(inner) => out.push(self.nested(path, inner, |section| read(&name, section))),
                other => self.problem(
                    &format!("{key}.{name}"),
                    Some(other.to_string()),
                    "expected a table",
                    None,
                ),
            }
        }
        out
    }

    fn nested<T>(&mut self, path: String, table: Table, read: impl FnOnce(&mut Section) -> T) -> T {
        let mut inner = Section {
            path,
            rest: table,
            known: Vec::new(),
            problems: Vec::new(),
        };
        let out = read(&mut inner);
        self.problems.extend(inner.finish());
        out
    }

    /// All problems, those of unknown keys included.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        let unknown: Vec<(String, Value)> = std::mem::take(&mut self.rest).into_iter().collect();
        for (key, value) in unknown {
            let hint = match nearest(self.known.iter().map(String::as_str), &key) {
                Some(known) => format!("did you mean {known}?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            let shown = value.to_string();
            let short = if shown.len() > 60 { None } else { Some(shown) };
            self.problem(&key, short, "is not a known key", Some(&hint));
        }
        self.problems
    }
}

/// The known word that somebody may have meant, for "did you mean".
pub fn nearest<'a>(known: impl Iterator<Item = &'a str>, word: &str) -> Option<&'a str> {
    known
        .map(|known| (distance(known, word), known))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, known)| known)
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use std::time::Duration;

    #[test]
    fn all_problems_are_reported_at_once_with_key_value_and_hint() {
        let text = "id = 'a/b'\n[spool]\nlimt = '2GiB'\nmax_age = '5 parsecs'\n";
        let error = parse("agent.toml", text, |top| {
            let id = top.from_text::<crate::ids::AgentId>("id");
            let age = top.section("spool", |spool| {
                spool.size("limit");
                spool.duration("max_age")
            });
            top.required("gateways", "list at least one", |s| s.strings("gateways"));
            Some((id?, age?))
        })
        .expect_err("four problems");
        let keys: Vec<_> = error.problems.iter().map(|p| p.key.as_str()).collect();
        assert_eq!(keys, ["id", "spool.max_age", "spool.limt", "gateways"]);
        let text = error.to_string();
        assert!(text.contains("did you mean limit?"), "{text}");
        assert!(text.contains("\"5 parsecs\""), "{text}");
    }

    #[test]
    fn a_valid_text_gives_the_value() {
        let age = parse("x", "age = '72h'", |s| s.duration("age"));
        assert_eq!(age, Ok(Duration::from_secs(72 * 3600)));
    }
}
