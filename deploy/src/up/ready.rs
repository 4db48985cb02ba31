//! The file that says that the mesh serves, and where: for scripts and tests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;
use tributary_shared::ready::Ready;

use super::layout::Layout;
use super::ports::local;
use crate::role;

/// Where the mesh serves.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub http: SocketAddr,
    pub registry: SocketAddr,
    pub gateway: SocketAddr,
    pub intake: SocketAddr,
}

/// The content of `--ready-file`.
#[derive(Debug, Clone, Serialize)]
pub struct MeshReady {
    pub http: String,
    pub registry: String,
    pub gateway: String,
    pub intake: String,
    pub agent_id: String,
    pub pids: BTreeMap<String, u32>,
    pub dirs: BTreeMap<String, PathBuf>,
}

impl MeshReady {
    /// URLs are written so that a client on this host can use them.
    #[must_use]
    pub fn new(addresses: Addresses, agent_id: &str, layout: &Layout, roles: &[Ready]) -> Self {
        let url = |address| format!("http://{}", local(address));
        Self {
            http: url(addresses.http),
            registry: url(addresses.registry),
            gateway: local(addresses.gateway).to_string(),
            intake: url(addresses.intake),
            agent_id: agent_id.to_owned(),
            pids: roles
                .iter()
                .map(|ready| (ready.role.clone(), ready.pid))
                .collect(),
            dirs: role::ALL
                .into_iter()
                .map(|role| (role.to_string(), layout.data(role)))
                .collect(),
        }
    }

    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("text keys and plain values always serialise") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_the_keys_that_scripts_rely_on() {
        let dir = tempfile::tempdir().expect("dir");
        let layout = Layout::create(dir.path()).expect("layout");
        let address = |port| SocketAddr::from(([0, 0, 0, 0], port));
        let addresses = Addresses {
            http: address(1),
            registry: address(2),
            gateway: address(3),
            intake: address(4),
        };
        let role = |role: &str, pid| Ready {
            role: role.to_owned(),
            pid,
            addresses: BTreeMap::new(),
        };
        let roles = [role("agent", 1), role("gateway", 2), role("aggregator", 3)];
        let ready = MeshReady::new(addresses, "edge-1", &layout, &roles);
        let json: serde_json::Value = serde_json::from_str(&ready.to_json()).expect("json");
        assert_eq!(json["http"], "http://127.0.0.1:1");
        assert_eq!(json["gateway"], "127.0.0.1:3");
        assert_eq!(
            json["pids"],
            serde_json::json!({"agent": 1, "gateway": 2, "aggregator": 3})
        );
        assert_eq!(
            json["dirs"]["agent"],
            layout.data(role::Role::Agent).to_str().expect("utf-8")
        );
    }
}
