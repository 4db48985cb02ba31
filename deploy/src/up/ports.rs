//! Which addresses the mesh serves on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use super::state::State;

/// What a port carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    /// QUIC.
    Udp,
}

/// A flag's address is taken.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    #[error(
        "{flag} {address} is in use by another program: stop it, or choose another port with {flag} \
         (port 0 picks a free one)"
    )]
    InUse { flag: &'static str, address: SocketAddr },
    #[error("{flag} {address} cannot be used: {error}")]
    Unusable {
        flag: &'static str,
        address: SocketAddr,
        error: io::Error,
    },
}

fn probe(address: SocketAddr, transport: Transport) -> io::Result<()> {
    match transport {
        Transport::Tcp => TcpListener::bind(address).map(drop),
        Transport::Udp => UdpSocket::bind(address).map(drop),
    }
}

/// The address to configure for a flag. Port 0 becomes the port that was picked at an earlier start, if that
/// is still free, so that what was pointed at this mesh stays right; else it stays 0.
///
/// # Errors
/// [`PortError`] when the address that was asked for cannot be had. This only explains early and by flag what
/// the role itself would find out.
pub fn resolve(
    flag: &'static str,
    asked: SocketAddr,
    transport: Transport,
    state: &State,
) -> Result<SocketAddr, PortError> {
    if asked.port() == 0 {
        let kept = state.picked.get(flag).filter(|kept| kept.ip() == asked.ip());
        return Ok(kept
            .copied()
            .filter(|kept| probe(*kept, transport).is_ok())
            .unwrap_or(asked));
    }
    probe(asked, transport)
        .map(|()| asked)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => PortError::InUse { flag, address: asked },
            _ => PortError::Unusable {
                flag,
                address: asked,
                error,
            },
        })
}

/// Where a process on this host reaches a server that listens there: a server on all addresses is reached
/// through loopback.
#[must_use]
pub fn local(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tributary_shared::ids::AgentId;

    use super::*;

    #[test]
    fn a_port_in_use_is_told_by_its_flag_and_a_picked_one_is_kept_while_it_is_free() {
        let agent_id = AgentId::new("a").expect("id");
        let busy = TcpListener::bind("127.0.0.1:0").expect("bind");
        let taken = busy.local_addr().expect("address");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("address");
        let state = State {
            agent_id,
            picked: BTreeMap::from([("--http".to_owned(), taken)]),
        };
        let error = resolve("--http", taken, Transport::Tcp, &state)
            .expect_err("in use")
            .to_string();
        assert!(error.starts_with(&format!("--http {taken} is in use")), "{error}");
        assert_eq!(
            resolve("--http", any, Transport::Tcp, &state).expect("any"),
            any,
            "taken: pick another"
        );
        drop(busy);
        assert_eq!(
            resolve("--http", any, Transport::Tcp, &state).expect("kept"),
            taken
        );
        assert_eq!(
            resolve("--intake", any, Transport::Tcp, &state).expect("any"),
            any,
            "never picked"
        );
    }

    #[test]
    fn a_server_on_all_addresses_is_reached_through_loopback() {
        let local = |text: &str| local(text.parse().expect("address")).to_string();
        assert_eq!(local("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(local("[::]:1"), "[::1]:1");
        assert_eq!(local("192.0.2.1:1"), "192.0.2.1:1");
    }
}
