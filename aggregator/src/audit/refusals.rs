//! Refusals, counted: a peer that knocks a thousand times is one leaf.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tributary_audit::Kind;

use super::Act;

/// Reasons and peers that are told apart between two leaves; more are counted as one.
const MAX_KINDS: usize = 32;
/// A peer's words are not ours to store at any length.
const MAX_TEXT: usize = 200;

/// Refusals since the last leaf. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Refusals {
    counts: Arc<Mutex<BTreeMap<(String, String), u64>>>,
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

impl Refusals {
    /// Somebody was turned away: who (an address without its port, or a name), and why.
    pub fn count(&self, who: &str, why: &str) {
        self.add(who, why, 1);
    }

    /// What was taken could not be recorded.
    pub(super) fn give_back(&self, act: &Act) {
        let refused = act.detail.get("refused").and_then(Value::as_array);
        for one in refused.into_iter().flatten() {
            let text = |key: &str| one.get(key).and_then(Value::as_str).unwrap_or_default();
            self.add(
                text("who"),
                text("why"),
                one.get("count").and_then(Value::as_u64).unwrap_or(0),
            );
        }
    }

    fn add(&self, who: &str, why: &str, count: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (cut(who), cut(why));
        if counts.len() >= MAX_KINDS && !counts.contains_key(&key) {
            key = ("others".to_owned(), "various".to_owned());
        }
        *counts.entry(key).or_default() += count;
    }

    /// What there is to record; `None` when nobody was turned away.
    #[must_use]
    pub fn take(&self) -> Option<Act> {
        let counts = std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner));
        if counts.is_empty() {
            return None;
        }
        let refused: Vec<_> = counts
            .into_iter()
            .map(|((who, why), count)| json!({ "who": who, "why": why, "count": count }))
            .collect();
        Some(Act::new(Kind::Refusal, json!({ "refused": refused })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_refusals_are_one_leaf_of_bounded_size() {
        let refusals = Refusals::default();
        assert_eq!(refusals.take(), None);
        for at in 0..1_000 {
            refusals.count(&format!("10.0.0.{at}"), &"x".repeat(5_000));
        }
        let act = refusals.take().expect("refused");
        let refused = act.detail["refused"].as_array().expect("a list");
        assert_eq!(refused.len(), MAX_KINDS + 1);
        let sum: u64 = refused.iter().filter_map(|one| one["count"].as_u64()).sum();
        assert_eq!(sum, 1_000);
        refusals.give_back(&act);
        assert_eq!(
            refusals.take(),
            Some(act),
            "nothing is lost when it cannot be recorded"
        );
        assert_eq!(refusals.take(), None);
    }
}
