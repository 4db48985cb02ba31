//! The sequence numbers that were accepted, as ranges. Pure.

use tributary_shared::ids::{LaneKey, SeqRange};

use super::answer::Accepted;

/// Ranges that a person reads; other producers on the same stream cut ours into many.
const SHOWN: usize = 20;

/// Accepted ranges in the order of their acceptance; neighbours are one.
#[derive(Debug, Default)]
pub struct Ranges(Vec<(LaneKey, SeqRange)>);

impl Ranges {
    pub fn add(&mut self, accepted: &Accepted) {
        let (agent, stream) = (accepted.agent.clone(), accepted.stream.clone());
        let lane = LaneKey {
            agent,
            stream,
            epoch: accepted.epoch,
        };
        let range = SeqRange {
            first: accepted.first_seq,
            last: accepted.last_seq,
        };
        match self.0.last_mut() {
            Some((last_lane, last)) if *last_lane == lane && range.first == last.last + 1 => {
                last.last = range.last
            }
            _ => self.0.push((lane, range)),
        }
    }

    /// One line a range, for a person.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let shown = self
            .0
            .iter()
            .take(SHOWN)
            .map(|(lane, range)| format!("  {lane}/{}..{}", range.first, range.last));
        let hidden = self.0.len().saturating_sub(SHOWN);
        shown.chain((hidden > 0).then(|| format!("  and {hidden} more ranges")))
    }
}

#[cfg(test)]
mod tests {
    use tributary_shared::ids::{AgentId, Epoch, StreamName};

    use super::*;

    #[test]
    fn neighbours_join_and_a_new_epoch_starts_a_range() {
        let accepted = |epoch, first_seq, last_seq| Accepted {
            accepted: last_seq - first_seq + 1,
            agent: AgentId::new("a").expect("id"),
            stream: StreamName::new("s").expect("name"),
            epoch: Epoch(epoch),
            first_seq,
            last_seq,
        };
        let mut ranges = Ranges::default();
        for (epoch, first, last) in [(1, 1, 10), (1, 11, 20), (1, 31, 40), (2, 41, 41)] {
            ranges.add(&accepted(epoch, first, last));
        }
        assert_eq!(
            ranges.lines().collect::<Vec<_>>(),
            ["  a/s/1/1..20", "  a/s/1/31..40", "  a/s/2/41..41"]
        );
        (0..30).for_each(|n| ranges.add(&accepted(3, 10 * n + 1, 10 * n + 2)));
        assert_eq!(ranges.lines().last().as_deref(), Some("  and 13 more ranges"));
    }
}
