//! The name in a certificate: role and id.

use std::fmt;

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

use crate::ids::{AgentId, GatewayId, InvalidId};

/// The SPIFFE trust domain of every Tributary certificate.
const TRUST_DOMAIN: &str = "tributary";

/// What a process is in the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    Agent,
    Gateway,
    Aggregator,
}

impl Role {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Gateway => "gateway",
            Self::Aggregator => "aggregator",
        }
    }

    /// The name that a dialler asks for in the handshake, whatever the address. Agents are never dialled.
    #[must_use]
    pub fn server_name(self) -> Option<&'static str> {
        match self {
            Self::Agent => None,
            Self::Gateway => Some("gateway.tributary.internal"),
            Self::Aggregator => Some("aggregator.tributary.internal"),
        }
    }

    /// Whether this role dials anybody.
    #[must_use]
    pub fn dials(self) -> bool {
        matches!(self, Self::Agent | Self::Gateway)
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Agent, Self::Gateway, Self::Aggregator]
            .into_iter()
            .find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The other end of a connection, as its certificate names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    pub role: Role,
    /// Obeys the rules of [`AgentId`] for every role.
    pub id: String,
}

/// Why a certificate does not name a peer that may do what it tries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    #[error("the peer showed no certificate")]
    NoCertificate,
    #[error("the certificate cannot be parsed: {0}")]
    Unreadable(String),
    #[error(
        "the certificate names no role: it needs exactly one URI like spiffe://tributary/agent/NAME, it has {0}"
    )]
    NoName(usize),
    #[error("{0:?} is not a Tributary name: expected spiffe://tributary/{{agent|gateway|aggregator}}/NAME")]
    ForeignName(String),
    #[error("the certificate's name is not valid: {0}")]
    InvalidId(#[from] InvalidId),
    #[error("the certificate is of {peer}, and only a certificate of role {wanted} may act here")]
    WrongRole { peer: Peer, wanted: Role },
}

impl Peer {
    /// Checks the id and pairs it with its role.
    ///
    /// # Errors
    /// [`InvalidId`] when the id breaks the rules of [`AgentId`].
    pub fn new(role: Role, id: &str) -> Result<Self, InvalidId> {
        // one rule for all roles; the agent's type is the one that states it
        AgentId::new(id).map(|id| Self { role, id: id.into() })
    }

    /// The peer of an established connection.
    ///
    /// # Errors
    /// [`PeerError`] when the peer's certificate names nobody in this mesh.
    pub fn of(connection: &quinn::Connection) -> Result<Self, PeerError> {
        let identity = connection.peer_identity().ok_or(PeerError::NoCertificate)?;
        let chain = identity
            .downcast::<Vec<CertificateDer<'static>>>()
            .map_err(|_| PeerError::NoCertificate)?;
        Self::from_certificate(chain.first().ok_or(PeerError::NoCertificate)?)
    }

    /// Reads the name out of a leaf certificate. The signature is not checked here.
    ///
    /// # Errors
    /// [`PeerError`], all variants but `NoCertificate` and `WrongRole`.
    pub fn from_certificate(leaf: &CertificateDer<'_>) -> Result<Self, PeerError> {
        let (_, certificate) =
            x509_parser::parse_x509_certificate(leaf).map_err(|e| PeerError::Unreadable(e.to_string()))?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|e| PeerError::Unreadable(e.to_string()))?;
        let names = names
            .map(|san| san.value.general_names.as_slice())
            .unwrap_or_default();
        let uris: Vec<&str> = names
            .iter()
            .filter_map(|name| {
                if let GeneralName::URI(uri) = name {
                    Some(*uri)
                } else {
                    None
                }
            })
            .collect();
        // SPIFFE X.509-SVID §2: exactly one URI, or it is not clear who speaks
        match uris.as_slice() {
            [uri] => Self::from_uri(uri),
            _ => Err(PeerError::NoName(uris.len())),
        }
    }

    fn from_uri(uri: &str) -> Result<Self, PeerError> {
        let foreign = || PeerError::ForeignName(uri.chars().take(200).collect());
        let path = uri
            .strip_prefix("spiffe://")
            .and_then(|rest| rest.strip_prefix(TRUST_DOMAIN));
        let (role, id) = path
            .and_then(|path| path.strip_prefix('/')?.split_once('/'))
            .ok_or_else(foreign)?;
        Ok(Self::new(Role::parse(role).ok_or_else(foreign)?, id)?)
    }

    /// The URI that names this peer in its certificate.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("spiffe://{TRUST_DOMAIN}/{}/{}", self.role, self.id)
    }

    /// Passes a peer of this role on.
    ///
    /// # Errors
    /// [`PeerError::WrongRole`] for every other.
    pub fn require(self, wanted: Role) -> Result<Self, PeerError> {
        if self.role == wanted {
            Ok(self)
        } else {
            Err(PeerError::WrongRole { peer: self, wanted })
        }
    }

    /// The id of a peer that must be an agent.
    ///
    /// # Errors
    /// [`PeerError::WrongRole`].
    pub fn agent(self) -> Result<AgentId, PeerError> {
        Ok(AgentId::new(&self.require(Role::Agent)?.id)?)
    }

    /// The id of a peer that must be a gateway.
    ///
    /// # Errors
    /// [`PeerError::WrongRole`].
    pub fn gateway(self) -> Result<GatewayId, PeerError> {
        Ok(GatewayId::new(&self.require(Role::Gateway)?.id)?)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.role, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_round_trips() {
        for role in [Role::Agent, Role::Gateway, Role::Aggregator] {
            let peer = Peer::new(role, "press-7").expect("valid id");
            assert_eq!(Peer::from_uri(&peer.uri()), Ok(peer));
        }
    }

    #[test]
    fn foreign_names_are_refused() {
        let foreign = [
            "spiffe://tributary.example/agent/a",
            "spiffe://other/agent/a",
            "spiffe://tributary/admin/a",
            "spiffe://tributary/agent",
            "https://tributary/agent/a",
        ];
        for uri in foreign {
            assert_eq!(Peer::from_uri(uri), Err(PeerError::ForeignName(uri.to_owned())));
        }
        for uri in [
            "spiffe://tributary/agent/",
            "spiffe://tributary/agent/a/b",
            "spiffe://tributary/agent/a b",
        ] {
            assert!(
                matches!(Peer::from_uri(uri), Err(PeerError::InvalidId(_))),
                "{uri}"
            );
        }
    }

    #[test]
    fn a_role_is_not_another() {
        let agent = Peer::new(Role::Agent, "a").expect("valid id");
        let refused = agent.clone().gateway().expect_err("an agent is no gateway");
        assert_eq!(
            refused,
            PeerError::WrongRole {
                peer: agent.clone(),
                wanted: Role::Gateway
            }
        );
        assert_eq!(agent.agent().expect("an agent").as_str(), "a");
    }
}
