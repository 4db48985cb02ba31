//! Where each agent's session is, and how the gateway of an older one is told.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use actix::{Message, Recipient};
use tributary_shared::ids::{AgentId, GatewayId};
use tributary_shared::protocol::{Presence, Sighting};
use tributary_shared::wire::SessionKey;

/// This session of the agent, behind your gateway, is older than one elsewhere.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Supersede {
    pub agent: AgentId,
    pub session: SessionKey,
}

/// Shared by all sessions of gateways.
#[derive(Debug, Default)]
pub struct Sightings(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    presence: Presence,
    gateways: HashMap<GatewayId, Recipient<Supersede>>,
}

impl Sightings {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A gateway opened a session; its older one, if any, is about to end.
    pub fn gateway_up(&self, gateway: GatewayId, to: Recipient<Supersede>) {
        self.lock().gateways.insert(gateway, to);
    }

    /// A gateway's session ended.
    pub fn gateway_down(&self, gateway: &GatewayId, to: &Recipient<Supersede>) {
        let mut inner = self.lock();
        if inner.gateways.get(gateway) == Some(to) {
            inner.gateways.remove(gateway);
        }
    }

    /// A gateway reported an agent. False: that session is over, and its gateway is told so.
    pub fn seen(&self, agent: &AgentId, gateway: &GatewayId, session: SessionKey) -> bool {
        let mut inner = self.lock();
        let (counts, old) = match inner.presence.seen(agent, gateway, session) {
            Sighting::Current | Sighting::TakesOver { older: None } => return true,
            Sighting::TakesOver { older: Some(older) } => (true, older),
            Sighting::Stale => (false, (gateway.clone(), session)),
        };
        let (at, session) = old;
        // a gateway closes the older of two sessions of its own by itself
        if let Some(to) = inner.gateways.get(&at).filter(|_| !counts || at != *gateway) {
            tracing::warn!(%agent, gateway = %at, "agent has a newer session elsewhere, closing the older one");
            let agent = agent.clone();
            // a session that does not take it is wedged and ends by its own timeouts
            let _ = to.try_send(Supersede { agent, session });
        }
        counts
    }

    /// The session ended. False: another one of the agent counts.
    pub fn left(&self, agent: &AgentId, session: SessionKey) -> bool {
        let mut inner = self.lock();
        let counted = inner
            .presence
            .current(agent)
            .is_none_or(|(_, current)| *current == session);
        inner.presence.left(agent, session);
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(session: u64) -> SessionKey {
        SessionKey { instance: 1, session }
    }

    #[test]
    fn the_end_of_an_older_session_does_not_hide_the_newer_one_at_the_same_gateway() {
        let (agent, gateway) = (
            AgentId::new("a").expect("valid"),
            GatewayId::new("g").expect("valid"),
        );
        let sightings = Sightings::default();
        assert!(sightings.seen(&agent, &gateway, key(1)));
        assert!(sightings.seen(&agent, &gateway, key(2)));
        assert!(!sightings.left(&agent, key(1)), "the agent is still there");
        assert!(
            !sightings.seen(&agent, &gateway, key(1)),
            "a late report of the older one"
        );
        assert!(sightings.left(&agent, key(2)));
    }
}
