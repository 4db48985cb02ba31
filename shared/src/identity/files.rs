//! The three PEM files of an identity: reading them with errors that name the file, and writing them so that
//! a key is never readable by others, not even for a moment.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{Peer, PeerError, Role};
use crate::config::Section;
use crate::time::{Millis, to_rfc3339};

/// Where an identity lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsPaths {
    /// The certificates of the CAs that we trust.
    pub ca: PathBuf,
    /// Our certificate, then any intermediates.
    pub cert: PathBuf,
    /// Our private key.
    pub key: PathBuf,
}

impl TlsPaths {
    /// Reads the keys `ca`, `cert` and `key` of a `[tls]` table.
    pub fn from_section(section: &mut Section) -> Option<Self> {
        let hint = "a path to a PEM file";
        let ca = section.required("ca", hint, |s| s.path("ca"));
        let cert = section.required("cert", hint, |s| s.path("cert"));
        let key = section.required("key", hint, |s| s.path("key"));
        Some(Self {
            ca: ca?,
            cert: cert?,
            key: key?,
        })
    }
}

/// Why this process cannot take up its identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("{what} {path} cannot be read: {source}", path = path.display())]
    Read {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{what} {path} is no PEM file with what is needed in it: {reason}", path = path.display())]
    Pem {
        what: &'static str,
        path: PathBuf,
        reason: String,
    },
    #[error(
        "private key {key} does not belong to certificate {cert}: use the two files that were issued together",
        key = key.display(), cert = cert.display()
    )]
    KeyMismatch { cert: PathBuf, key: PathBuf },
    #[error(
        "certificate {cert} was valid until {until}: issue a new one, or set this host's clock right",
        cert = cert.display(), until = to_rfc3339(*not_after)
    )]
    Expired { cert: PathBuf, not_after: Millis },
    #[error(
        "certificate {cert} is valid only from {from}: set this host's clock right",
        cert = cert.display(), from = to_rfc3339(*not_before)
    )]
    NotYetValid { cert: PathBuf, not_before: Millis },
    #[error(
        "certificate {cert} was not issued by the CA in {ca}: copy the ca.pem that came with the certificate, \
         or have the certificate issued by this CA",
        cert = cert.display(), ca = ca.display()
    )]
    NotOfCa { cert: PathBuf, ca: PathBuf },
    #[error("certificate {cert}: {source}", cert = cert.display())]
    Name { cert: PathBuf, source: PeerError },
    #[error("a {own} does not {verb} anybody")]
    NoSuchHop { own: Role, verb: &'static str },
    #[error("TLS cannot be set up with certificate {cert} and CA {ca}: {source}", cert = cert.display(), ca = ca.display())]
    Tls {
        cert: PathBuf,
        ca: PathBuf,
        source: rustls::Error,
    },
}

/// What the three files hold, and the name and times in the certificate.
#[derive(Debug)]
pub(super) struct Material {
    pub cas: Vec<CertificateDer<'static>>,
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub own: Peer,
    pub not_before: Millis,
    pub not_after: Millis,
}

pub(super) fn read(paths: &TlsPaths) -> Result<Material, IdentityError> {
    let cas = read_certificates("CA certificate", &paths.ca)?;
    let chain = read_certificates("certificate", &paths.cert)?;
    let pem = read_file("private key", &paths.key)?;
    let key =
        PrivateKeyDer::from_pem_slice(&pem).map_err(|e| not_pem("private key", &paths.key, e.to_string()))?;
    // read_certificates returns at least one
    let leaf = &chain[0];
    let own = Peer::from_certificate(leaf).map_err(|source| IdentityError::Name {
        cert: paths.cert.clone(),
        source,
    })?;
    let (not_before, not_after) =
        validity(leaf).map_err(|reason| not_pem("certificate", &paths.cert, reason))?;
    Ok(Material {
        cas,
        chain,
        key,
        own,
        not_before,
        not_after,
    })
}

fn validity(leaf: &CertificateDer<'_>) -> Result<(Millis, Millis), String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf).map_err(|e| e.to_string())?;
    let validity = certificate.validity();
    let millis = |seconds: i64| seconds.saturating_mul(1000);
    // the last second counts whole
    Ok((
        millis(validity.not_before.timestamp()),
        millis(validity.not_after.timestamp()).saturating_add(999),
    ))
}

fn not_pem(what: &'static str, path: &Path, reason: String) -> IdentityError {
    IdentityError::Pem {
        what,
        path: path.to_owned(),
        reason,
    }
}

fn read_file(what: &'static str, path: &Path) -> Result<Vec<u8>, IdentityError> {
    std::fs::read(path).map_err(|source| IdentityError::Read {
        what,
        path: path.to_owned(),
        source,
    })
}

/// Never empty.
fn read_certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let pem = read_file(what, path)?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| not_pem(what, path, error.to_string()))?;
    if certificates.is_empty() {
        return Err(not_pem(what, path, "it has no certificate".to_owned()));
    }
    Ok(certificates)
}

/// Writes a file that only its owner can read, durably and atomically: not even for a moment can others.
///
/// # Errors
/// Those of the file system; the file is then as it was.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    write(path, text, 0o600)
}

/// Writes a file that all can read, durably and atomically.
///
/// # Errors
/// Those of the file system; the file is then as it was.
pub fn write_public(path: &Path, text: &str) -> io::Result<()> {
    write(path, text, 0o644)
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    // the leftover of a crash may have another mode, and the mode is set only at creation
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    sync_parent(path)
}

/// A rename is durable only when its directory is.
fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) if cfg!(unix) => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}
