//! The mesh's own certificate authority: a key and a certificate in a directory, and what it issues.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::files::{TlsPaths, write_private, write_public};
use super::{Peer, Role};
use crate::ids::InvalidId;
use crate::time::Millis;

const CA_CERT_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca.key";
const LEAF_CERT_FILE: &str = "cert.pem";
const LEAF_KEY_FILE: &str = "key.pem";

const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long a new CA lasts.
pub const CA_VALIDITY: Duration = DAY.saturating_mul(3650);
/// How long a certificate lasts when nobody says otherwise.
pub const DEFAULT_LEAF_VALIDITY: Duration = DAY.saturating_mul(365);
/// A certificate is valid from this long before its issue: the clock of a device may be behind, and it
/// could otherwise not talk to a gateway that was set up today.
const BACKDATE: Duration = DAY;

/// From when until when a certificate counts, both inclusive, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub not_before: Millis,
    pub not_after: Millis,
}

impl Validity {
    /// From a day before `now` (for clocks that are behind) until `lasts` after it.
    #[must_use]
    pub fn from_now(now: Millis, lasts: Duration) -> Self {
        let millis = |duration: Duration| Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX);
        Self {
            not_before: now.saturating_sub(millis(BACKDATE)),
            not_after: now.saturating_add(millis(lasts)),
        }
    }

    fn apply(self, params: &mut CertificateParams) {
        // times before 1970 mean nothing in a certificate that is issued today
        let since_epoch = |at: Millis| Duration::from_secs(u64::try_from(at / 1000).unwrap_or(0));
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        // X.509 writes no year after 9999
        let latest = since_epoch(crate::time::MAX_MILLIS);
        params.not_before = epoch + since_epoch(self.not_before).min(latest);
        params.not_after = epoch + since_epoch(self.not_after).min(latest);
    }
}

/// Why the CA cannot be made, read, or used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error("{path}: {source}", path = path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{path} is no usable CA file: {source}", path = path.display())]
    Unusable { path: PathBuf, source: rcgen::Error },
    #[error("{key} is not the key of {cert}: restore the pair that belongs together", key = key.display(), cert = cert.display())]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    #[error("cannot make the certificate: {0}")]
    Generate(#[from] rcgen::Error),
}

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> CaError {
    |source| CaError::File {
        path: path.to_owned(),
        source,
    }
}

fn unusable(path: &Path) -> impl FnOnce(rcgen::Error) -> CaError {
    |source| CaError::Unusable {
        path: path.to_owned(),
        source,
    }
}

/// A certificate authority that can issue.
#[derive(Debug)]
pub struct Authority {
    cert_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// All that a process needs to join: its certificate, its key, and the CA's certificate, each as PEM.
#[derive(Clone)]
pub struct Bundle {
    pub cert_pem: String,
    pub key_pem: String,
    pub ca_pem: String,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // the key stays out of logs
        f.debug_struct("Bundle")
            .field("cert_pem", &self.cert_pem)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a CA (ECDSA P-256) and writes `ca.pem` and `ca.key` (mode 0600) into `dir`, which is created.
    ///
    /// # Errors
    /// [`CaError::File`] when it cannot be written, or there is a CA already.
    pub fn create(dir: &Path, now: Millis) -> Result<Self, CaError> {
        std::fs::create_dir_all(dir).map_err(file(dir))?;
        let (cert_path, key_path) = (dir.join(CA_CERT_FILE), dir.join(CA_KEY_FILE));
        for path in [&cert_path, &key_path] {
            if path.exists() {
                return Err(file(path)(std::io::ErrorKind::AlreadyExists.into()));
            }
        }
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // the name is the CA's own: verifiers look issuers up by name, so a foreign CA of the same name
        // would show as a broken signature instead of as an unknown CA
        let tag = uuid::Uuid::from_u128(rand::random());
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Tributary CA {tag}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Validity::from_now(now, CA_VALIDITY).apply(&mut params);
        let cert_pem = params.self_signed(&key)?.pem();
        // the certificate goes last: a directory with ca.pem has a whole CA
        write_private(&key_path, &key.serialize_pem()).map_err(file(&key_path))?;
        write_public(&cert_path, &cert_pem).map_err(file(&cert_path))?;
        Ok(Self {
            cert_pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// Reads the CA that [`Authority::create`] wrote.
    ///
    /// # Errors
    /// [`CaError`] when a file is missing, broken, or the two do not belong together.
    pub fn load(dir: &Path) -> Result<Self, CaError> {
        let (cert_path, key_path) = (dir.join(CA_CERT_FILE), dir.join(CA_KEY_FILE));
        let cert_pem = std::fs::read_to_string(&cert_path).map_err(file(&cert_path))?;
        let key_pem = std::fs::read_to_string(&key_path).map_err(file(&key_path))?;
        let key = KeyPair::from_pem(&key_pem).map_err(unusable(&key_path))?;
        let der = CertificateDer::from_pem_slice(cert_pem.as_bytes())
            .map_err(|_| unusable(&cert_path)(rcgen::Error::CouldNotParseCertificate))?;
        let public_key = x509_parser::parse_x509_certificate(&der)
            .map_err(|_| unusable(&cert_path)(rcgen::Error::CouldNotParseCertificate))?
            .1
            .public_key()
            .subject_public_key
            .data
            .to_vec();
        if public_key != key.der_bytes() {
            return Err(CaError::Mismatch {
                cert: cert_path,
                key: key_path,
            });
        }
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(unusable(&cert_path))?;
        Ok(Self { cert_pem, issuer })
    }

    /// [`Authority::load`] where there is a CA, else [`Authority::create`].
    ///
    /// # Errors
    /// Those of the two.
    pub fn load_or_create(dir: &Path, now: Millis) -> Result<Self, CaError> {
        if dir.join(CA_CERT_FILE).exists() {
            Self::load(dir)
        } else {
            Self::create(dir, now)
        }
    }

    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.cert_pem
    }

    /// Issues a certificate with a new key (ECDSA P-256) for one process.
    ///
    /// # Errors
    /// [`CaError::InvalidId`] when the id breaks the rules of [`crate::ids::AgentId`].
    pub fn issue(&self, role: Role, id: &str, validity: Validity) -> Result<Bundle, CaError> {
        let peer = Peer::new(role, id)?;
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("{role} {id}"));
        params
            .subject_alt_names
            .push(SanType::URI(peer.uri().as_str().try_into()?));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if let Some(name) = role.server_name() {
            params.subject_alt_names.push(SanType::DnsName(name.try_into()?));
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        if role.dials() {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        params.use_authority_key_identifier_extension = true;
        validity.apply(&mut params);
        let cert_pem = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Bundle {
            cert_pem,
            key_pem: key.serialize_pem(),
            ca_pem: self.cert_pem.clone(),
        })
    }
}

impl Bundle {
    /// Writes `ca.pem`, `cert.pem` and `key.pem` (mode 0600) into `dir`, which is created. Files of an
    /// earlier bundle are replaced, each atomically.
    ///
    /// # Errors
    /// [`CaError::File`].
    pub fn write(&self, dir: &Path) -> Result<TlsPaths, CaError> {
        std::fs::create_dir_all(dir).map_err(file(dir))?;
        let paths = TlsPaths {
            ca: dir.join(CA_CERT_FILE),
            cert: dir.join(LEAF_CERT_FILE),
            key: dir.join(LEAF_KEY_FILE),
        };
        write_private(&paths.key, &self.key_pem).map_err(file(&paths.key))?;
        write_public(&paths.cert, &self.cert_pem).map_err(file(&paths.cert))?;
        write_public(&paths.ca, &self.ca_pem).map_err(file(&paths.ca))?;
        Ok(paths)
    }
}
