//! Peers that were turned away, counted: one that knocks a thousand times is one line. Gateways tell theirs to the
//! aggregator with a heartbeat, which records all of them in the audit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::wire::RefusedPeer;

/// Peers and reasons that are told apart between two records; more are counted as one.
const MAX_KINDS: usize = 32;
/// What one record can hold: those, and the others.
pub const MAX_REFUSED_PEERS: usize = MAX_KINDS + 1;
/// A peer's words are not ours to store at any length.
const MAX_TEXT: usize = 200;

/// Refusals since they were last taken. Clones share it.
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

    /// Adds what was counted elsewhere, or taken and not recorded.
    pub fn add(&self, who: &str, why: &str, count: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (cut(who), cut(why));
        if counts.len() >= MAX_KINDS && !counts.contains_key(&key) {
            key = ("others".to_owned(), "various".to_owned());
        }
        let known = counts.entry(key).or_default();
        *known = known.saturating_add(count);
    }

    /// What there is to record, at most [`MAX_REFUSED_PEERS`]. Who takes it and cannot record it gives it back.
    #[must_use]
    pub fn take(&self) -> Vec<RefusedPeer> {
        let counts = std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner));
        let peer = |((who, why), count)| RefusedPeer { who, why, count };
        counts.into_iter().map(peer).collect()
    }

    /// What was taken could not be recorded.
    pub fn give_back(&self, refused: Vec<RefusedPeer>) {
        for peer in refused {
            self.add(&peer.who, &peer.why, peer.count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_refusals_are_few_lines_and_none_is_lost() {
        let refusals = Refusals::default();
        assert_eq!(refusals.take(), []);
        for at in 0..1_000 {
            refusals.count(&format!("10.0.0.{at}"), &"x".repeat(5_000));
        }
        let refused = refusals.take();
        assert_eq!(refused.len(), MAX_REFUSED_PEERS);
        assert_eq!(refused.iter().map(|peer| peer.count).sum::<u64>(), 1_000);
        assert!(refused.iter().all(|peer| peer.why.len() <= MAX_TEXT));
        refusals.give_back(refused.clone());
        assert_eq!(refusals.take(), refused);
        assert_eq!(refusals.take(), []);
    }
}
