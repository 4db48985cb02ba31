//! Ports for what must know its own before it starts.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// A TCP port of loopback that nobody uses now.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_tcp_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address").port()
}

/// A UDP port of loopback that nobody uses now.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_udp_port() -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.local_addr().expect("a bound address").port()
}
