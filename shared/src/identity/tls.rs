//! TLS 1.3 for QUIC, mutual, with one provider that is named here and no process-wide default.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::{fmt, io};

use aws_lc_rs::hmac;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::HashedConnectionIdGenerator;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerifier as _};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::files::{self, IdentityError, Material, TlsPaths};
use super::{Peer, PeerError, Role, transport};
use crate::time::{Millis, now_millis};
use crate::wire;

/// Handshakes under way on one port. More are dropped, and a dropped dialler tries again.
const MAX_HANDSHAKES: usize = 1_024;
/// What one peer may send before its handshake is judged: a client hello with a post-quantum share and a
/// certificate chain are under 8 KiB.
const HANDSHAKE_BUFFER: u64 = 64 << 10;
const HANDSHAKE_BUFFERS: u64 = 16 << 20;

/// A process's identity, read and checked: it can serve and dial with it.
#[derive(Debug)]
pub struct Identity {
    own: Peer,
    not_after: Millis,
    paths: TlsPaths,
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    certified: Arc<CertifiedKey>,
    endpoint: EndpointKeys,
}

/// What a QUIC endpoint needs to know again after a restart: made from the private key, so that a process that was
/// killed and started again answers packets of its past with a reset that their sender believes. Without
/// it the peer finds out only when its idle timeout has passed.
///
/// Two processes that share a key and an address would reset each other's connections: give each its own identity.
struct EndpointKeys {
    reset: [u8; 32],
    connection_ids: u64,
}

impl EndpointKeys {
    fn of(key: &PrivateKeyDer<'_>) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.secret_der());
        let derive = |label: &str| -> [u8; 32] {
            let mut derived = [0; 32];
            derived.copy_from_slice(hmac::sign(&key, label.as_bytes()).as_ref());
            derived
        };
        let ids = derive("tributary quic connection ids");
        Self {
            reset: derive("tributary quic stateless reset"),
            connection_ids: u64::from_be_bytes([
                ids[0], ids[1], ids[2], ids[3], ids[4], ids[5], ids[6], ids[7],
            ]),
        }
    }
}

// the keys are secret
impl fmt::Debug for EndpointKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EndpointKeys")
    }
}

impl Identity {
    /// Reads the files, and checks everything that can be known before the first connection: that key,
    /// certificate and CA belong together, that the certificate is valid now, and that it is of `role`.
    ///
    /// # Errors
    /// [`IdentityError`] naming the file and what to do about it.
    pub fn load(paths: &TlsPaths, role: Role) -> Result<Self, IdentityError> {
        Self::load_at(paths, role, now_millis())
    }

    /// [`Identity::load`] with the time as an argument.
    ///
    /// # Errors
    /// As [`Identity::load`].
    pub fn load_at(paths: &TlsPaths, role: Role, now: Millis) -> Result<Self, IdentityError> {
        let Material {
            cas,
            chain,
            key,
            own,
            not_before,
            not_after,
        } = files::read(paths)?;
        let own = own.require(role).map_err(|source| IdentityError::Name {
            cert: paths.cert.clone(),
            source,
        })?;
        if now > not_after {
            return Err(IdentityError::Expired {
                cert: paths.cert.clone(),
                not_after,
            });
        }
        if now < not_before {
            return Err(IdentityError::NotYetValid {
                cert: paths.cert.clone(),
                not_before,
            });
        }
        let provider = Arc::new(provider());
        let endpoint = EndpointKeys::of(&key);
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|source| match source {
            rustls::Error::InconsistentKeys(_) => IdentityError::KeyMismatch {
                cert: paths.cert.clone(),
                key: paths.key.clone(),
            },
            source => tls_error(paths)(source),
        })?;
        let mut roots = RootCertStore::empty();
        for ca in cas {
            roots.add(ca).map_err(tls_error(paths))?;
        }
        let identity = Self {
            own,
            not_after,
            paths: paths.clone(),
            provider,
            roots: Arc::new(roots),
            certified: Arc::new(certified),
            endpoint,
        };
        identity.check_chain(now)?;
        Ok(identity)
    }

    /// Our own name, as our peers see it.
    #[must_use]
    pub fn own(&self) -> &Peer {
        &self.own
    }

    /// Until when our certificate is valid.
    #[must_use]
    pub fn not_after(&self) -> Millis {
        self.not_after
    }

    #[must_use]
    pub fn paths(&self) -> &TlsPaths {
        &self.paths
    }

    /// Serves on a UDP address. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn listen(&self, server: quinn::ServerConfig, address: SocketAddr) -> io::Result<quinn::Endpoint> {
        let reset = hmac::Key::new(hmac::HMAC_SHA256, &self.endpoint.reset);
        let mut config = quinn::EndpointConfig::new(Arc::new(reset));
        let ids = self.endpoint.connection_ids;
        config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
        let socket = UdpSocket::bind(address)?;
        let runtime = quinn::default_runtime().ok_or_else(|| io::Error::other("no async runtime"))?;
        quinn::Endpoint::new(config, Some(server), socket, runtime)
    }

    /// Serves peers of role `accept`, each with at most so many batches (unidirectional streams) under way
    /// and one control stream. A peer of another role is refused in the handshake.
    ///
    /// # Errors
    /// [`IdentityError::NoSuchHop`] for an agent, [`IdentityError::Tls`] when rustls refuses the material.
    pub fn server_config(
        &self,
        accept: Role,
        max_uni_streams: u32,
    ) -> Result<quinn::ServerConfig, IdentityError> {
        if self.own.role.server_name().is_none() {
            return Err(IdentityError::NoSuchHop {
                own: self.own.role,
                verb: "serve",
            });
        }
        let verifier = RoleVerifier {
            chain: self.client_verifier()?,
            accept,
        };
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(tls_error(&self.paths))?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(Arc::clone(
                &self.certified,
            ))));
        tls.alpn_protocols = vec![wire::ALPN.to_vec()];
        // No resumption and no 0-RTT: a resumed session skips the certificate verifier, so a revoked or
        // expired peer would get back in, and early data could be replayed. Connections live for hours; a
        // full handshake costs a millisecond.
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        tls.send_tls13_tickets = 0;
        tls.max_early_data_size = 0;
        let quic = QuicServerConfig::try_from(tls).map_err(|error| self.general(&error))?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(quic));
        config
            .transport_config(transport::for_server(max_uni_streams))
            .max_incoming(MAX_HANDSHAKES)
            .incoming_buffer_size(HANDSHAKE_BUFFER)
            .incoming_buffer_size_total(HANDSHAKE_BUFFERS);
        Ok(config)
    }

    /// Dials. Give `endpoint.connect` the [`Role::server_name`] of the role that must answer.
    ///
    /// # Errors
    /// [`IdentityError::NoSuchHop`] for an aggregator, [`IdentityError::Tls`] when rustls refuses the
    /// material.
    pub fn client_config(&self) -> Result<quinn::ClientConfig, IdentityError> {
        if !self.own.role.dials() {
            return Err(IdentityError::NoSuchHop {
                own: self.own.role,
                verb: "dial",
            });
        }
        let mut tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(tls_error(&self.paths))?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(Arc::clone(
                &self.certified,
            ))));
        tls.alpn_protocols = vec![wire::ALPN.to_vec()];
        // for the same reason as in server_config
        tls.resumption = Resumption::disabled();
        tls.enable_early_data = false;
        let quic = QuicClientConfig::try_from(tls).map_err(|error| self.general(&error))?;
        let mut config = quinn::ClientConfig::new(Arc::new(quic));
        config.transport_config(transport::for_dialler());
        Ok(config)
    }

    fn general(&self, error: &dyn fmt::Display) -> IdentityError {
        tls_error(&self.paths)(rustls::Error::General(error.to_string()))
    }

    fn client_verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, IdentityError> {
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| self.general(&error))
    }

    /// Judges our own certificate as our peers will.
    fn check_chain(&self, now: Millis) -> Result<(), IdentityError> {
        let seconds = u64::try_from(now / 1000).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let (leaf, intermediates) = (&self.certified.cert[0], &self.certified.cert[1..]);
        let verdict = match self.own.role.server_name() {
            None => self
                .client_verifier()?
                .verify_client_cert(leaf, intermediates, now)
                .map(drop),
            Some(name) => {
                let verifier = WebPkiServerVerifier::builder_with_provider(
                    Arc::clone(&self.roots),
                    Arc::clone(&self.provider),
                )
                .build()
                .map_err(|error| self.general(&error))?;
                let name = ServerName::try_from(name).map_err(|error| self.general(&error))?;
                verifier
                    .verify_server_cert(leaf, intermediates, &name, &[], now)
                    .map(drop)
            }
        };
        verdict.map_err(|error| match error {
            // same name but another key shows as a bad signature
            rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            ) => IdentityError::NotOfCa {
                cert: self.paths.cert.clone(),
                ca: self.paths.ca.clone(),
            },
            error => tls_error(&self.paths)(error),
        })
    }
}

fn tls_error(paths: &TlsPaths) -> impl Fn(rustls::Error) -> IdentityError {
    |source| IdentityError::Tls {
        cert: paths.cert.clone(),
        ca: paths.ca.clone(),
        source,
    }
}

/// aws-lc-rs, with the hybrid post-quantum exchange first: what is recorded today stays unreadable later.
/// The order is set here rather than left to a cargo feature.
fn provider() -> CryptoProvider {
    let kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1];
    CryptoProvider {
        kx_groups,
        ..default_provider()
    }
}

/// Takes what webpki takes, when its name is of the role that belongs on this port.
#[derive(Debug)]
struct RoleVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    accept: Role,
}

impl ClientCertVerifier for RoleVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        match Peer::from_certificate(end_entity).and_then(|peer| peer.require(self.accept)) {
            Ok(_) => Ok(verified),
            Err(error) => Err(CertificateError::Other(OtherError(Arc::new(Refusal(error)))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// rustls writes foreign errors with `Debug`, and that text ends up before an operator.
#[derive(thiserror::Error)]
#[error(transparent)]
struct Refusal(PeerError);

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
