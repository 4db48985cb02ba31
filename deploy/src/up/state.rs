//! What `up` must remember between two starts in the same directory.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tributary_shared::ids::{AgentId, MAX_NODE_ID};
use tributary_shared::ready::write_atomically;

/// Kept in `up.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub agent_id: AgentId,
    /// The ports that were picked for flags with port 0, by flag.
    #[serde(default)]
    pub picked: BTreeMap<String, SocketAddr>,
}

impl State {
    /// Reads the state, or makes a first one.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged: a new agent id must not be made silently, for the agent's
    /// events would then come from somebody else.
    pub fn load_or_create(path: &Path) -> io::Result<Self> {
        match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                io::Error::other(format!(
                    "{} is damaged ({error}): restore it, or remove it to get a new agent id",
                    path.display()
                ))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
                let state = Self {
                    agent_id: agent_id(&hostname, rand::random()),
                    picked: BTreeMap::new(),
                };
                state.save(path)?;
                Ok(state)
            }
            Err(error) => Err(error),
        }
    }

    /// # Errors
    /// Those of the file system.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        write_atomically(path, &json)
    }
}

/// The host's name, made fit for an id, and four random hex digits: two hosts of one name (cloned images,
/// `localhost`) stay apart.
fn agent_id(hostname: &str, random: u16) -> AgentId {
    let mut name: String = hostname
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
                c
            } else {
                '-'
            }
        })
        .collect();
    name.truncate(MAX_NODE_ID - 5);
    let name = name.trim_start_matches(['.', '-']);
    let name = if name.is_empty() { "host" } else { name };
    AgentId::new(&format!("{name}-{random:04x}")).expect("letters, digits, . _ - only, and short enough")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_host_name_gives_a_valid_id() {
        assert_eq!(
            agent_id("edge-7.example.net", 0xab).as_str(),
            "edge-7.example.net-00ab"
        );
        assert_eq!(agent_id("..büro 4", 1).as_str(), "b-ro-4-0001");
        assert_eq!(agent_id("", 1).as_str(), "host-0001");
        assert_eq!(agent_id(&"x".repeat(300), 1).as_str().len(), MAX_NODE_ID);
    }

    #[test]
    fn the_id_stays_the_same_and_damage_is_told() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("up.json");
        let first = State::load_or_create(&path).expect("create");
        assert_eq!(State::load_or_create(&path).expect("read"), first);
        std::fs::write(&path, "{").expect("damage");
        assert!(State::load_or_create(&path).is_err());
    }
}
