//! Which session of each agent counts, seen from the aggregator. Pure, and without a clock: gateways may come
//! back and repeat what was true a minute ago.

use std::collections::{HashMap, VecDeque};

use crate::ids::{AgentId, GatewayId};
use crate::wire::SessionKey;

/// Processes of one agent that are remembered. Each restart of an agent is one; only those that might still be
/// heard of through a gateway matter.
const MAX_INSTANCES: usize = 16;

/// What a gateway's word about an agent's session means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// It is the session that counts.
    Current,
    /// It is newer than any that was seen; `older` is to be closed at its gateway.
    TakesOver { older: Option<(GatewayId, SessionKey)> },
    /// A newer one was seen before: this one is to be closed.
    Stale,
}

#[derive(Debug, Default)]
struct Known {
    current: Option<(GatewayId, SessionKey)>,
    /// The highest session of each process, in order of first sight.
    seen: VecDeque<SessionKey>,
}

/// The sessions that count. One entry an agent, bounded by the certificates that were issued.
#[derive(Debug, Default)]
pub struct Presence {
    agents: HashMap<AgentId, Known>,
}

impl Presence {
    /// A gateway has this session of the agent.
    pub fn seen(&mut self, agent: &AgentId, gateway: &GatewayId, session: SessionKey) -> Sighting {
        let known = self.agents.entry(agent.clone()).or_default();
        let highest = known
            .seen
            .iter_mut()
            .find(|seen| seen.instance == session.instance);
        let newer = match highest {
            Some(highest) if session.session > highest.session => {
                highest.session = session.session;
                true
            }
            Some(highest) if session.session < highest.session => return Sighting::Stale,
            Some(_) => false,
            None => {
                if known.seen.len() == MAX_INSTANCES {
                    known.seen.pop_front();
                }
                known.seen.push_back(session);
                true
            }
        };
        let this = (gateway.clone(), session);
        match &mut known.current {
            Some((_, current)) if *current == session => {
                known.current = Some(this);
                Sighting::Current
            }
            Some(_) if !newer => Sighting::Stale,
            None if !newer => {
                known.current = Some(this);
                Sighting::Current
            }
            current => Sighting::TakesOver {
                older: current.replace(this),
            },
        }
    }

    /// The session ended. Another one of the agent is not touched.
    pub fn left(&mut self, agent: &AgentId, session: SessionKey) {
        if let Some(known) = self.agents.get_mut(agent)
            && known
                .current
                .as_ref()
                .is_some_and(|(_, current)| *current == session)
        {
            known.current = None;
        }
    }

    /// The session that counts, and where it is.
    #[must_use]
    pub fn current(&self, agent: &AgentId) -> Option<&(GatewayId, SessionKey)> {
        self.agents.get(agent)?.current.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent() -> AgentId {
        AgentId::new("a").expect("valid")
    }

    fn gateway(name: &str) -> GatewayId {
        GatewayId::new(name).expect("valid")
    }

    fn key(instance: u64, session: u64) -> SessionKey {
        SessionKey { instance, session }
    }

    #[test]
    fn the_newer_session_at_another_gateway_supersedes_the_older() {
        let mut presence = Presence::default();
        let (a, g1, g2) = (agent(), gateway("g1"), gateway("g2"));
        assert_eq!(
            presence.seen(&a, &g1, key(7, 1)),
            Sighting::TakesOver { older: None }
        );
        assert_eq!(presence.seen(&a, &g1, key(7, 1)), Sighting::Current);
        let older = Some((g1.clone(), key(7, 1)));
        assert_eq!(presence.seen(&a, &g2, key(7, 2)), Sighting::TakesOver { older });
        // the gateway that was cut off comes back and repeats itself
        assert_eq!(presence.seen(&a, &g1, key(7, 1)), Sighting::Stale);
        assert_eq!(presence.current(&a), Some(&(g2.clone(), key(7, 2))));
        presence.left(&a, key(7, 1));
        assert!(
            presence.current(&a).is_some(),
            "a late goodbye of the old session"
        );
        presence.left(&a, key(7, 2));
        assert_eq!(presence.seen(&a, &g1, key(7, 1)), Sighting::Stale, "it stays old");
        assert_eq!(
            presence.seen(&a, &g2, key(7, 2)),
            Sighting::Current,
            "its gateway was away"
        );
    }

    #[test]
    fn a_twin_takes_over_and_the_first_one_only_with_a_new_session() {
        let mut presence = Presence::default();
        let (a, g1, g2) = (agent(), gateway("g1"), gateway("g2"));
        presence.seen(&a, &g1, key(1, 5));
        let older = Some((g1.clone(), key(1, 5)));
        assert_eq!(presence.seen(&a, &g2, key(2, 1)), Sighting::TakesOver { older });
        assert_eq!(presence.seen(&a, &g1, key(1, 5)), Sighting::Stale);
        let older = Some((g2.clone(), key(2, 1)));
        assert_eq!(presence.seen(&a, &g1, key(1, 6)), Sighting::TakesOver { older });
        assert_eq!(presence.seen(&a, &g2, key(2, 1)), Sighting::Stale);
    }

    #[test]
    fn restarts_do_not_pile_up() {
        let mut presence = Presence::default();
        for instance in 0..1_000 {
            presence.seen(&agent(), &gateway("g"), key(instance, 1));
        }
        assert_eq!(presence.agents[&agent()].seen.len(), MAX_INSTANCES);
    }
}
