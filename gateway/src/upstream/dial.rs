//! Reaching the aggregator: name resolution, handshake, role check.

use std::net::SocketAddr;

use tributary_shared::identity::{Identity, Peer, Role, explain};

/// Connects once and checks that an aggregator answered.
///
/// # Errors
/// A text that tells an operator what to do.
pub async fn dial(
    endpoint: &quinn::Endpoint,
    identity: &Identity,
    address: &str,
) -> Result<quinn::Connection, String> {
    let candidates: Vec<SocketAddr> = tokio::net::lookup_host(address)
        .await
        .map_err(|error| format!("cannot resolve {address}: {error}"))?
        .collect();
    let target = candidates
        .first()
        .ok_or_else(|| format!("{address} has no address"))?;
    let name = Role::Aggregator
        .server_name()
        .ok_or("an aggregator has no server name")?;
    let connecting = endpoint
        .connect(*target, name)
        .map_err(|error| format!("cannot dial {target}: {error}"))?;
    let connection = connecting
        .await
        .map_err(|error| explain(&error, identity.paths()))?;
    let peer = Peer::of(&connection).and_then(|peer| peer.require(Role::Aggregator));
    match peer {
        Ok(_) => Ok(connection),
        Err(error) => {
            connection.close(quinn::VarInt::from_u32(1), b"wrong role");
            Err(error.to_string())
        }
    }
}
