//! The answers of several chunks, added up. Pure.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Letters that are named one by one.
const MAX_TOLD: usize = 20;

/// Counts are summed, lists joined, as far as an answer is one of a replay or a discard.
#[derive(Debug, Default)]
pub(super) struct Report {
    sums: Map<String, Value>,
}

impl Report {
    pub fn add(&mut self, answer: Value) {
        let Value::Object(fields) = answer else { return };
        for (name, value) in fields.into_iter().filter(|(name, _)| name != "next") {
            match (self.sums.get_mut(&name), value) {
                (Some(Value::Array(known)), Value::Array(more)) => known.extend(more),
                (Some(known @ Value::Number(_)), Value::Number(more)) => {
                    *known = (known.as_u64().unwrap_or(0) + more.as_u64().unwrap_or(0)).into();
                }
                (_, value) => {
                    self.sums.insert(name, value);
                }
            }
        }
    }

    fn count(&self, name: &str) -> u64 {
        self.sums.get(name).and_then(Value::as_u64).unwrap_or(0)
    }

    pub fn matched(&self) -> u64 {
        self.count("matched")
    }

    pub fn unknown(&self) -> u64 {
        self.count("unknown")
    }

    pub fn stays_dead(&self) -> bool {
        self.count("still_invalid") + self.unknown() > 0
    }

    pub fn to_json(&self) -> Value {
        Value::Object(self.sums.clone())
    }

    pub fn replay_text(&self, dry_run: bool) -> String {
        let replayed = if dry_run { "would be replayed" } else { "replayed" };
        let mut text = self.counts(&[
            ("replayed", replayed),
            ("still_invalid", "still invalid"),
            ("already_replayed", "replayed before"),
            ("discarded", "discarded before"),
            ("unknown", "not known (any more)"),
        ]);
        for sample in self.list("samples") {
            let payload = sample["payload"].as_str().unwrap_or_default();
            let _ = write!(text, "\nwith the fix, {} becomes {payload}", sample["id"]);
        }
        let invalid = self.list("invalid");
        for letter in invalid.iter().take(MAX_TOLD) {
            let _ = write!(
                text,
                "\n{}  {}  stays dead:",
                letter["id"],
                letter["stream"].as_str().unwrap_or("?")
            );
            for reason in letter["reasons"].as_array().into_iter().flatten() {
                let path = reason["path"]
                    .as_str()
                    .filter(|path| !path.is_empty())
                    .unwrap_or("(whole event)");
                let _ = write!(
                    text,
                    "\n    {path}: {}",
                    reason["message"].as_str().unwrap_or_default()
                );
            }
        }
        let more = self
            .count("still_invalid")
            .saturating_sub(invalid.len().min(MAX_TOLD) as u64);
        if more > 0 {
            let _ = write!(text, "\nand {more} more");
        }
        text
    }

    pub fn discard_text(&self, dry_run: bool) -> String {
        let discarded = if dry_run {
            "would be discarded"
        } else {
            "discarded"
        };
        self.counts(&[
            ("discarded", discarded),
            ("already_discarded", "discarded before"),
            ("already_replayed", "replayed before"),
            ("unknown", "not known (any more)"),
        ])
    }

    fn list(&self, name: &str) -> &[Value] {
        self.sums
            .get(name)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// The first count always, the others where there is something to tell.
    fn counts(&self, names: &[(&str, &str)]) -> String {
        let told = names
            .iter()
            .enumerate()
            .filter(|(at, (name, _))| *at == 0 || self.count(name) > 0);
        let told: Vec<String> = told
            .map(|(_, (name, words))| format!("{} {words}", self.count(name)))
            .collect();
        told.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn chunks_add_up_and_letters_that_stay_dead_are_named() {
        let mut report = Report::default();
        let reasons = json!([{ "path": "/t", "rule": "type", "message": "\"x\" is no number" }]);
        report.add(
            json!({ "matched": 5, "replayed": 4, "still_invalid": 1, "next": 9,
            "invalid": [{ "id": 3, "stream": "s", "reasons": reasons }] }),
        );
        report.add(json!({ "matched": 2, "replayed": 1, "already_replayed": 1, "invalid": [] }));
        assert_eq!((report.matched(), report.stays_dead()), (7, true));
        assert_eq!(
            report.replay_text(false),
            "5 replayed, 1 still invalid, 1 replayed before\n3  s  stays dead:\n    /t: \"x\" is no number"
        );
        assert_eq!(report.to_json().get("next"), None);
        assert_eq!(Report::default().discard_text(true), "0 would be discarded");
    }
}
