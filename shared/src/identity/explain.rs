//! Failed connections in words that say what to do.

use quinn::{ConnectionError, TransportErrorCode};

use super::TlsPaths;

/// TLS alerts (RFC 8446 §6) as QUIC carries them (RFC 9001 §4.8): 0x100 + alert.
mod alert {
    pub const HANDSHAKE_FAILURE: u8 = 40;
    pub const BAD_CERTIFICATE: u8 = 42;
    pub const UNSUPPORTED_CERTIFICATE: u8 = 43;
    pub const CERTIFICATE_REVOKED: u8 = 44;
    pub const CERTIFICATE_EXPIRED: u8 = 45;
    pub const CERTIFICATE_UNKNOWN: u8 = 46;
    pub const UNKNOWN_CA: u8 = 48;
    pub const DECRYPT_ERROR: u8 = 51;
    pub const PROTOCOL_VERSION: u8 = 70;
    pub const CERTIFICATE_REQUIRED: u8 = 116;
    pub const NO_APPLICATION_PROTOCOL: u8 = 120;
}

/// Says what ended a connection and what an operator can do about it. `ours` are our own identity's files.
#[must_use]
pub fn explain(error: &ConnectionError, ours: &TlsPaths) -> String {
    match error {
        ConnectionError::TransportError(error) => match tls_alert(error.code) {
            Some(alert) => we_refused(alert, &error.reason, ours),
            None => format!("the QUIC connection failed: {error}"),
        },
        ConnectionError::ConnectionClosed(close) => match tls_alert(close.error_code) {
            Some(alert) => they_refused(alert, &String::from_utf8_lossy(&close.reason), ours),
            None if close.error_code == TransportErrorCode::CONNECTION_REFUSED => {
                "the peer takes no more connections just now: it is stopping or full".to_owned()
            }
            None => format!("the peer closed the connection: {close}"),
        },
        ConnectionError::ApplicationClosed(close) => format!("the peer ended the session: {close}"),
        ConnectionError::TimedOut => {
            "no answer: check address and port, that the peer runs, and that UDP is let \
                                      through both ways"
                .to_owned()
        }
        ConnectionError::VersionMismatch => {
            "the peer speaks another version of QUIC: check that the address is a Tributary port".to_owned()
        }
        ConnectionError::Reset => "the peer no longer knows this connection: it was restarted".to_owned(),
        ConnectionError::LocallyClosed => "closed by this side".to_owned(),
        ConnectionError::CidsExhausted => "this endpoint has no free connection ids".to_owned(),
    }
}

fn tls_alert(code: TransportErrorCode) -> Option<u8> {
    u64::from(code)
        .checked_sub(0x100)
        .and_then(|alert| u8::try_from(alert).ok())
}

/// Our own verifier said no; rustls' text says why, and it is about the peer's certificate.
fn we_refused(alert: u8, reason: &str, ours: &TlsPaths) -> String {
    let ca = ours.ca.display();
    let advice = match alert {
        alert::UNKNOWN_CA | alert::DECRYPT_ERROR => {
            format!("the peer's certificate is not of the CA in {ca}: compare that file with the peer's ca.pem")
        }
        alert::CERTIFICATE_EXPIRED => {
            "the peer's certificate is not valid at this time: renew it there, or set this host's clock right"
                .to_owned()
        }
        alert::BAD_CERTIFICATE | alert::UNSUPPORTED_CERTIFICATE => {
            "the peer's certificate is not one of the role that must answer here: check the address, and which \
             certificate the peer uses"
                .to_owned()
        }
        alert::CERTIFICATE_UNKNOWN => "the peer's certificate does not fit this port".to_owned(),
        alert::CERTIFICATE_REQUIRED => "the peer showed no certificate".to_owned(),
        alert::NO_APPLICATION_PROTOCOL | alert::PROTOCOL_VERSION | alert::HANDSHAKE_FAILURE => {
            "the peer does not speak this protocol: check that it is a Tributary program".to_owned()
        }
        _ => "the TLS handshake failed".to_owned(),
    };
    format!("{advice} ({reason})")
}

/// The peer's verifier said no, and all we get is the alert.
fn they_refused(alert: u8, reason: &str, ours: &TlsPaths) -> String {
    let (cert, ca) = (ours.cert.display(), ours.ca.display());
    let advice = match alert {
        alert::UNKNOWN_CA | alert::DECRYPT_ERROR => format!(
            "the peer does not know the CA of our certificate {cert}: compare {ca} with the ca.pem that the peer uses"
        ),
        alert::CERTIFICATE_EXPIRED => format!(
            "the peer finds our certificate {cert} not valid at this time: renew it, or compare the clocks of both hosts"
        ),
        alert::CERTIFICATE_REVOKED => format!("our certificate {cert} was revoked: enrol again"),
        alert::BAD_CERTIFICATE | alert::UNSUPPORTED_CERTIFICATE | alert::CERTIFICATE_UNKNOWN => format!(
            "the peer refuses the role or name in our certificate {cert}: check that the address is the right \
             port, and that the certificate was issued for this role"
        ),
        alert::CERTIFICATE_REQUIRED => "the peer wants a certificate, and none was sent".to_owned(),
        alert::NO_APPLICATION_PROTOCOL | alert::PROTOCOL_VERSION | alert::HANDSHAKE_FAILURE => {
            "the peer does not speak this protocol: check address and port".to_owned()
        }
        other => format!("the peer refused the TLS handshake with alert {other}"),
    };
    if reason.is_empty() {
        advice
    } else {
        format!("{advice} ({reason})")
    }
}
