//! Refusals as an act.

use serde_json::json;
use tributary_audit::Kind;
use tributary_shared::wire::RefusedPeer;

use super::Act;

/// One leaf for all who were turned away; `None` when nobody was.
#[must_use]
pub(super) fn refused(peers: &[RefusedPeer]) -> Option<Act> {
    (!peers.is_empty()).then(|| Act::new(Kind::Refusal, json!({ "refused": peers })))
}
