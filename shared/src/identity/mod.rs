//! Who a process is, and how it proves it.
//!
//! Every process holds a certificate of one CA. Its URI SAN names trust domain, role and id
//! (`spiffe://tributary/agent/press-7`), and that name, never anything in a payload, says who is talking.
//! Both hops are mutual TLS 1.3 inside QUIC. A dialler asks for the fixed DNS name of the role that it wants
//! ([`Role::server_name`]) instead of the address, so hosts may move without new certificates.
//!
//! A role is checked three times: at start a process refuses a certificate of another role
//! ([`Identity::load`]); in the handshake a server takes only the role that belongs on its port
//! ([`Identity::server_config`]), and only a certificate with the DNS name can answer as a server; after it
//! both ends read the [`Peer`] that they will account to.
//!
//! In TLS 1.3 a dialler has finished its handshake before the server has judged the dialler's certificate:
//! a refusal reaches it as the end of the new connection, not as a failed `connect`. [`explain`] reads both.

mod ca;
mod explain;
mod files;
mod peer;
mod tls;
mod transport;

#[cfg(test)]
mod tests;

pub use ca::{Authority, Bundle, CA_VALIDITY, CaError, DEFAULT_LEAF_VALIDITY, Validity};
pub use explain::explain;
pub use files::{IdentityError, TlsPaths, write_private, write_public};
pub use peer::{Peer, PeerError, Role};
pub use tls::Identity;
