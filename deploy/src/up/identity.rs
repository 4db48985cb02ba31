//! The development CA and the certificates of the local roles.

use std::io;
use std::path::Path;
use std::time::Duration;

use tributary_shared::identity::{Authority, CaError, DEFAULT_LEAF_VALIDITY, Identity, TlsPaths, Validity};
use tributary_shared::time::{Millis, now_millis};

use crate::role::Role;

/// A certificate that ends sooner than this is renewed at the next start.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);

/// The paths of a usable identity in `dir`: what is there, or a new one when there is none, when it is about
/// to expire, or when it is not of this CA, role and id.
///
/// # Errors
/// [`CaError`] when none can be issued or written.
pub fn ensure(authority: &Authority, dir: &Path, role: Role, id: &str) -> Result<TlsPaths, CaError> {
    let now = now_millis();
    let paths = TlsPaths {
        ca: dir.join("ca.pem"),
        cert: dir.join("cert.pem"),
        key: dir.join("key.pem"),
    };
    let present = paths.cert.exists();
    match Identity::load(&paths, role) {
        Ok(identity) if identity.own().id == id && lasts(identity.not_after(), now) => return Ok(paths),
        Ok(_) => tracing::info!(%role, "certificate is renewed"),
        Err(error) if present => {
            tracing::warn!(%role, %error, "certificate is not usable and is issued anew")
        }
        Err(_) => {}
    }
    authority
        .issue(role, id, Validity::from_now(now, DEFAULT_LEAF_VALIDITY))?
        .write(dir)
}

fn lasts(not_after: Millis, now: Millis) -> bool {
    u128::try_from(not_after.saturating_sub(now)).is_ok_and(|left| left > RENEW_BEFORE.as_millis())
}

/// Opens the CA of a directory that `up` or `cert ca` made.
///
/// # Errors
/// With what to do, when there is none.
pub fn open_authority(dir: &Path) -> io::Result<Authority> {
    Authority::load(dir).map_err(|error| {
        let hint = "make one with `tributary up` or `tributary cert ca --dir DIR`";
        io::Error::other(format!(
            "no usable certificate authority in {}: {error}; {hint}",
            dir.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_kept_until_it_is_close_to_its_end_or_of_another_name() {
        let dir = tempfile::tempdir().expect("dir");
        let (ca, leaf) = (dir.path().join("ca"), dir.path().join("agent"));
        let authority = Authority::load_or_create(&ca, now_millis()).expect("ca");
        let read = || std::fs::read_to_string(leaf.join("cert.pem")).expect("cert");
        ensure(&authority, &leaf, Role::Agent, "a").expect("issue");
        let first = read();
        ensure(&authority, &leaf, Role::Agent, "a").expect("keep");
        assert_eq!(read(), first, "a good certificate stays");
        ensure(&authority, &leaf, Role::Agent, "b").expect("issue");
        let renamed = read();
        assert_ne!(renamed, first, "another id needs another certificate");
        let short = Validity::from_now(now_millis(), RENEW_BEFORE / 2);
        authority
            .issue(Role::Agent, "b", short)
            .expect("issue")
            .write(&leaf)
            .expect("write");
        let ending = read();
        ensure(&authority, &leaf, Role::Agent, "b").expect("renew");
        assert_ne!(read(), ending, "one that ends soon is renewed");
    }
}
