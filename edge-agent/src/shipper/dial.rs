//! Reaching a gateway: the configured addresses in turn.

use std::sync::Arc;
use std::time::Duration;

use tributary_shared::identity::{Identity, Peer, Role, explain};

/// The gateways of the configuration, and whose turn it is.
#[derive(Debug)]
pub struct Rota {
    addresses: Vec<String>,
    next: usize,
}

impl Rota {
    /// Starts at a random one, so that agents with the same list spread over it.
    #[must_use]
    pub fn new(addresses: Vec<String>, random: u64) -> Self {
        let len = addresses.len().max(1) as u64;
        Self {
            addresses,
            next: usize::try_from(random % len).unwrap_or(0),
        }
    }

    /// The next address in turn; `None` when none is configured.
    pub fn next(&mut self) -> Option<String> {
        let address = self.addresses.get(self.next)?.clone();
        self.next = (self.next + 1) % self.addresses.len();
        Some(address)
    }
}

/// How long to stay away when a gateway asked for `at_least` milliseconds: all whom it asked were asked at about
/// the same time, so full jitter lies on top. `random` is drawn evenly from [0, 1).
#[must_use]
pub fn when_asked(at_least: u64, random: f64) -> Duration {
    Duration::from_millis(at_least).mul_f64(1.0 + random.clamp(0.0, 1.0))
}

/// Connects once and checks that a gateway answered.
///
/// # Errors
/// A text that tells an operator what to do.
pub async fn dial(
    endpoint: quinn::Endpoint,
    identity: Arc<Identity>,
    address: String,
) -> Result<quinn::Connection, String> {
    let mut candidates = tokio::net::lookup_host(&address)
        .await
        .map_err(|error| format!("cannot resolve gateway {address}: {error}"))?;
    let target = candidates
        .next()
        .ok_or_else(|| format!("gateway {address} has no address"))?;
    let name = Role::Gateway
        .server_name()
        .ok_or("a gateway has no server name")?;
    let connecting = endpoint
        .connect(target, name)
        .map_err(|error| format!("cannot dial {target}: {error}"))?;
    let connection = connecting
        .await
        .map_err(|error| explain(&error, identity.paths()))?;
    match Peer::of(&connection).and_then(|peer| peer.require(Role::Gateway)) {
        Ok(_) => Ok(connection),
        Err(error) => {
            connection.close(quinn::VarInt::from_u32(1), b"wrong role");
            Err(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Rota, when_asked};
    use std::time::Duration;

    #[test]
    fn an_agent_never_comes_before_it_was_asked_to_and_not_with_all_the_others() {
        let pauses = [0.0, 0.5, 1.0].map(|random| when_asked(4_000, random));
        assert_eq!(pauses, [4, 6, 8].map(Duration::from_secs));
        assert_eq!(when_asked(0, 0.9), Duration::ZERO);
    }

    #[test]
    fn addresses_are_tried_in_turn_from_a_random_one() {
        let mut rota = Rota::new(vec!["a".into(), "b".into(), "c".into()], 4);
        let seen: Vec<_> = std::iter::from_fn(|| rota.next()).take(4).collect();
        assert_eq!(seen, ["b", "c", "a", "b"]);
        assert_eq!(Rota::new(Vec::new(), 1).next(), None);
    }
}
