//! Real endpoints on loopback: who gets in, and what the others are told.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, ConnectionError, Endpoint};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::*;
use crate::time::{Millis, now_millis};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn authority(dir: &Path) -> Authority {
    Authority::create(dir, now_millis()).expect("a CA")
}

fn issue(ca: &Authority, dir: &Path, role: Role, id: &str) -> TlsPaths {
    let bundle = ca
        .issue(role, id, Validity::from_now(now_millis(), DAY))
        .expect("a bundle");
    bundle.write(&dir.join(id)).expect("written")
}

fn identity(paths: &TlsPaths, role: Role) -> Identity {
    Identity::load(paths, role).expect("a good identity")
}

/// Both ends of one attempt: the dialler's connection or error, and the server's.
struct Outcome {
    dialler: Result<Connection, ConnectionError>,
    server: Result<Connection, ConnectionError>,
    _endpoints: (Endpoint, Endpoint),
}

async fn dial(server: quinn::ServerConfig, client: quinn::ClientConfig, name: &str) -> Outcome {
    let local = "127.0.0.1:0".parse().expect("an address");
    let listening = Endpoint::server(server, local).expect("a port");
    let dialling = Endpoint::client(local).expect("a port");
    let address = listening.local_addr().expect("bound");
    let connecting = dialling
        .connect_with(client, address, name)
        .expect("a valid name");
    let accept = async { listening.accept().await.expect("open").await };
    let (dialler, server) = tokio::join!(connecting, accept);
    Outcome {
        dialler,
        server,
        _endpoints: (dialling, listening),
    }
}

/// A server that asks its diallers for nothing, and shows whatever certificate it has.
fn serve_anybody(paths: &TlsPaths) -> quinn::ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(&paths.cert).expect("a certificate")],
            PrivateKeyDer::from_pem_file(&paths.key).expect("a key"),
        )
        .expect("a pair");
    tls.alpn_protocols = vec![crate::wire::ALPN.to_vec()];
    let quic = QuicServerConfig::try_from(tls).expect("quic");
    quinn::ServerConfig::with_crypto(Arc::new(quic))
}

/// The error that a dialler meets: at once, or (TLS 1.3) when the server has judged its certificate.
async fn refusal(dialler: Result<Connection, ConnectionError>) -> ConnectionError {
    match dialler {
        Err(error) => error,
        Ok(connection) => connection.closed().await,
    }
}

#[tokio::test]
async fn a_good_pair_connects_and_both_know_the_other() {
    let dir = tempfile::tempdir().expect("dir");
    let ca = authority(dir.path());
    let gateway = identity(&issue(&ca, dir.path(), Role::Gateway, "gw-1"), Role::Gateway);
    let agent = identity(&issue(&ca, dir.path(), Role::Agent, "press-7"), Role::Agent);

    let server = gateway.server_config(Role::Agent, 16).expect("a server");
    let client = agent.client_config().expect("a client");
    let outcome = dial(server, client, Role::Gateway.server_name().expect("dialled")).await;

    let (dialler, server) = (
        outcome.dialler.expect("connected"),
        outcome.server.expect("accepted"),
    );
    assert_eq!(
        Peer::of(&server)
            .and_then(Peer::agent)
            .expect("an agent")
            .as_str(),
        "press-7"
    );
    assert_eq!(
        Peer::of(&dialler)
            .and_then(Peer::gateway)
            .expect("a gateway")
            .as_str(),
        "gw-1"
    );

    // a batch crosses, and a server cannot open a stream that the dialler did not ask for
    let mut batch = dialler.open_uni().await.expect("a stream");
    batch.write_all(b"rows").await.expect("sent");
    batch.finish().expect("finished");
    let mut received = server.accept_uni().await.expect("a stream");
    assert_eq!(received.read_to_end(16).await.expect("read"), b"rows");
    let unasked = tokio::time::timeout(Duration::from_millis(50), server.open_uni()).await;
    assert!(unasked.is_err(), "the dialler grants no streams");
}

#[tokio::test]
async fn a_gateway_dials_the_aggregator() {
    let dir = tempfile::tempdir().expect("dir");
    let ca = authority(dir.path());
    let aggregator = identity(
        &issue(&ca, dir.path(), Role::Aggregator, "centre"),
        Role::Aggregator,
    );
    let gateway = identity(&issue(&ca, dir.path(), Role::Gateway, "gw-1"), Role::Gateway);

    let server = aggregator.server_config(Role::Gateway, 16).expect("a server");
    let outcome = dial(
        server,
        gateway.client_config().expect("a client"),
        "aggregator.tributary.internal",
    )
    .await;
    outcome.dialler.expect("connected");
    outcome.server.expect("accepted");
}

#[tokio::test]
async fn an_agents_certificate_cannot_dial_the_aggregator() {
    let dir = tempfile::tempdir().expect("dir");
    let ca = authority(dir.path());
    let aggregator = identity(
        &issue(&ca, dir.path(), Role::Aggregator, "centre"),
        Role::Aggregator,
    );
    let agent = identity(&issue(&ca, dir.path(), Role::Agent, "press-7"), Role::Agent);

    let server = aggregator.server_config(Role::Gateway, 16).expect("a server");
    let outcome = dial(
        server,
        agent.client_config().expect("a client"),
        "aggregator.tributary.internal",
    )
    .await;

    let told = explain(&outcome.server.expect_err("refused"), aggregator.paths());
    assert!(
        told.contains("agent \"press-7\", and only a certificate of role gateway"),
        "{told}"
    );
    let told = explain(&refusal(outcome.dialler).await, agent.paths());
    assert!(
        told.contains("refuses the role or name in our certificate"),
        "{told}"
    );
}

#[tokio::test]
async fn an_agents_certificate_cannot_act_as_a_gateway() {
    let dir = tempfile::tempdir().expect("dir");
    let ca = authority(dir.path());
    let thief = issue(&ca, dir.path(), Role::Agent, "thief");
    let agent = identity(&issue(&ca, dir.path(), Role::Agent, "press-7"), Role::Agent);

    // our own programs refuse at start
    let error = Identity::load(&thief, Role::Gateway).expect_err("an agent is no gateway");
    assert!(
        matches!(
            &error,
            IdentityError::Name {
                source: PeerError::WrongRole { .. },
                ..
            }
        ),
        "{error}"
    );
    let as_agent = identity(&thief, Role::Agent);
    let error = as_agent
        .server_config(Role::Agent, 1)
        .expect_err("agents do not serve");
    assert!(matches!(error, IdentityError::NoSuchHop { .. }), "{error}");

    // and a program that does not ask is refused by whoever dials it
    let outcome = dial(
        serve_anybody(&thief),
        agent.client_config().expect("a client"),
        "gateway.tributary.internal",
    )
    .await;
    let told = explain(&outcome.dialler.expect_err("refused"), agent.paths());
    assert!(
        told.contains("not one of the role that must answer here"),
        "{told}"
    );
}

#[tokio::test]
async fn a_gateway_does_not_answer_for_the_aggregator() {
    let dir = tempfile::tempdir().expect("dir");
    let ca = authority(dir.path());
    let gateway = identity(&issue(&ca, dir.path(), Role::Gateway, "gw-1"), Role::Gateway);
    let other = identity(&issue(&ca, dir.path(), Role::Gateway, "gw-2"), Role::Gateway);

    let server = gateway.server_config(Role::Gateway, 1).expect("a server");
    let outcome = dial(
        server,
        other.client_config().expect("a client"),
        "aggregator.tributary.internal",
    )
    .await;
    let told = explain(&outcome.dialler.expect_err("refused"), other.paths());
    assert!(
        told.contains("not one of the role that must answer here"),
        "{told}"
    );
}

#[tokio::test]
async fn a_foreign_ca_is_refused_by_both_ends() {
    let dir = tempfile::tempdir().expect("dir");
    let (here, there) = (dir.path().join("here"), dir.path().join("there"));
    let gateway = identity(
        &issue(&authority(&here), &here, Role::Gateway, "gw-1"),
        Role::Gateway,
    );
    let foreign = authority(&there);
    let stranger = identity(&issue(&foreign, &there, Role::Agent, "press-7"), Role::Agent);

    let server = gateway.server_config(Role::Agent, 1).expect("a server");
    let outcome = dial(
        server,
        stranger.client_config().expect("a client"),
        "gateway.tributary.internal",
    )
    .await;
    let told = explain(&outcome.dialler.expect_err("refused"), stranger.paths());
    assert!(
        told.contains(&format!("is not of the CA in {}", stranger.paths().ca.display())),
        "{told}"
    );

    // a stranger that trusts our CA, so that only the server can refuse
    let mut paths = stranger.paths().clone();
    std::fs::copy(here.join("ca.pem"), &paths.ca).expect("copied");
    let error = Identity::load(&paths, Role::Agent).expect_err("certificate and CA do not fit");
    assert!(matches!(error, IdentityError::NotOfCa { .. }), "{error}");
    let both = format!(
        "{}{}",
        foreign.ca_pem(),
        std::fs::read_to_string(here.join("ca.pem")).expect("ca")
    );
    paths.ca = there.join("both.pem");
    std::fs::write(&paths.ca, both).expect("written");
    let stranger = identity(&paths, Role::Agent);
    let server = gateway.server_config(Role::Agent, 1).expect("a server");
    let outcome = dial(
        server,
        stranger.client_config().expect("a client"),
        "gateway.tributary.internal",
    )
    .await;
    let told = explain(&outcome.server.expect_err("refused"), gateway.paths());
    assert!(told.contains("is not of the CA in"), "{told}");
    let told = explain(&refusal(outcome.dialler).await, stranger.paths());
    assert!(told.contains("does not know the CA of our certificate"), "{told}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_at_start_and_by_the_server() {
    let dir = tempfile::tempdir().expect("dir");
    let ca = authority(dir.path());
    let gateway = identity(&issue(&ca, dir.path(), Role::Gateway, "gw-1"), Role::Gateway);
    let hour: Millis = 3_600_000;
    let ended = now_millis() - hour;
    let validity = Validity {
        not_before: ended - hour,
        not_after: ended,
    };
    let paths = ca
        .issue(Role::Agent, "old", validity)
        .and_then(|bundle| bundle.write(&dir.path().join("old")))
        .expect("issued");

    let error = Identity::load(&paths, Role::Agent).expect_err("it has expired");
    let until = crate::time::to_rfc3339(ended / 1000 * 1000 + 999);
    assert!(
        error.to_string().contains(&format!("was valid until {until}")),
        "{error}"
    );
    let error = Identity::load_at(&paths, Role::Agent, ended - 2 * hour).expect_err("not yet valid");
    assert!(matches!(error, IdentityError::NotYetValid { .. }), "{error}");

    // a host whose clock is behind does not know it; the server does
    let agent = Identity::load_at(&paths, Role::Agent, ended).expect("still valid then");
    let server = gateway.server_config(Role::Agent, 1).expect("a server");
    let outcome = dial(
        server,
        agent.client_config().expect("a client"),
        "gateway.tributary.internal",
    )
    .await;
    let told = explain(&outcome.server.expect_err("refused"), gateway.paths());
    assert!(told.contains("not valid at this time"), "{told}");
    let told = explain(&refusal(outcome.dialler).await, agent.paths());
    assert!(told.contains("compare the clocks of both hosts"), "{told}");
}

#[tokio::test]
async fn a_dialler_without_a_certificate_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let ca = authority(dir.path());
    let gateway = identity(&issue(&ca, dir.path(), Role::Gateway, "gw-1"), Role::Gateway);
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.ca_pem().as_bytes()).expect("ca"))
        .expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![crate::wire::ALPN.to_vec()];
    let quic = QuicClientConfig::try_from(tls).expect("quic");
    let client = quinn::ClientConfig::new(Arc::new(quic));

    let server = gateway.server_config(Role::Agent, 1).expect("a server");
    let outcome = dial(server, client, "gateway.tributary.internal").await;
    assert!(outcome.server.is_err(), "nobody without a name gets in");
}

#[test]
fn broken_files_are_named() {
    let dir = tempfile::tempdir().expect("dir");
    let ca = authority(dir.path());
    let good = issue(&ca, dir.path(), Role::Agent, "a");
    let other = issue(&ca, dir.path(), Role::Agent, "b");

    let load = |paths: TlsPaths| Identity::load(&paths, Role::Agent).expect_err("broken");
    let missing = load(TlsPaths {
        cert: dir.path().join("none.pem"),
        ..good.clone()
    });
    assert!(
        missing.to_string().contains("none.pem cannot be read"),
        "{missing}"
    );
    let mixed = load(TlsPaths {
        key: other.key.clone(),
        ..good.clone()
    });
    assert!(matches!(mixed, IdentityError::KeyMismatch { .. }), "{mixed}");
    let garbage = dir.path().join("garbage.pem");
    std::fs::write(&garbage, "no PEM here").expect("written");
    let unreadable = load(TlsPaths { ca: garbage, ..good });
    assert!(matches!(unreadable, IdentityError::Pem { .. }), "{unreadable}");
}

#[test]
fn a_ca_is_made_once_and_loaded_after() {
    let dir = tempfile::tempdir().expect("dir");
    let first = authority(dir.path());
    let again = Authority::load_or_create(dir.path(), now_millis()).expect("loaded");
    assert_eq!(first.ca_pem(), again.ca_pem());
    identity(
        &issue(&again, dir.path(), Role::Agent, "by-loaded-ca"),
        Role::Agent,
    );
    assert!(matches!(
        Authority::create(dir.path(), now_millis()),
        Err(CaError::File { .. })
    ));

    let other = dir.path().join("other");
    authority(&other);
    std::fs::copy(other.join("ca.key"), dir.path().join("ca.key")).expect("copied");
    assert!(matches!(
        Authority::load(dir.path()),
        Err(CaError::Mismatch { .. })
    ));
}

#[cfg(unix)]
#[test]
fn keys_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("dir");
    let ca = authority(dir.path());
    let paths = issue(&ca, dir.path(), Role::Agent, "a");
    for path in [dir.path().join("ca.key"), paths.key] {
        let mode = std::fs::metadata(&path).expect("exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
}

#[test]
fn a_server_that_comes_back_after_a_kill_ends_the_sessions_of_its_past_at_once() {
    let dir = tempfile::tempdir().expect("dir");
    let ca = authority(dir.path());
    let gateway = identity(&issue(&ca, dir.path(), Role::Gateway, "gw-1"), Role::Gateway);
    let agent = identity(&issue(&ca, dir.path(), Role::Agent, "press-7"), Role::Agent);
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime")
    };
    let (serving, dialling) = (runtime(), runtime());
    let server = || gateway.server_config(Role::Agent, 16).expect("a server");
    let listen = |address: SocketAddr| gateway.listen(server(), address).expect("a port");
    let first = serving.block_on(async { listen(SocketAddr::from(([127, 0, 0, 1], 0))) });
    let address = first.local_addr().expect("bound");
    let accepting = first.clone();
    let accepted = serving.spawn(async move { accepting.accept().await.expect("open").await });
    let connection = dialling
        .block_on(async {
            let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
            let name = Role::Gateway.server_name().expect("dialled");
            let client = agent.client_config().expect("a client");
            endpoint
                .connect_with(client, address, name)
                .expect("a valid name")
                .await
        })
        .expect("connected");
    let at_server = serving
        .block_on(accepted)
        .expect("not panicked")
        .expect("accepted");

    // as by kill -9: what drives the connection is gone before anything could say goodbye
    drop(serving);
    drop((at_server, first));
    let again = runtime();
    let _second = again.block_on(async { listen(address) });
    let ended = dialling.block_on(async {
        let (mut send, _receive) = connection.open_bi().await.expect("a stream");
        send.write_all(b"are you there?").await.expect("not yet known");
        connection.closed().await
    });
    assert_eq!(ended, ConnectionError::Reset);
}
