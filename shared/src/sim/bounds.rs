//! `bounded`: each buffer of a core stays within the bound that its documentation gives. The numbers are those of the
//! promise, not the constants of the code: a constant that grows is found.

use super::world::World;
use crate::protocol::AgentLink;

/// Batches that may be unanswered, as the welcomes of a run say. Small ones, so that bounds are met often.
#[derive(Debug, Clone, Copy)]
pub(super) struct Credits {
    pub agent: usize,
    pub gateway: usize,
}

impl Credits {
    /// In half of the runs so much may be on its way that what overtakes it can fill the aggregator's stash.
    pub fn of(seed: u64) -> Self {
        let (agent, gateway) = [(4, 8), (12, 4)][(seed % 2) as usize];
        Self { agent, gateway }
    }
}

/// Of a gateway's credit, early batches that the aggregator holds at most.
const STASH: usize = 2;

impl World {
    /// After each step.
    pub(super) fn check_bounds(&mut self) {
        let Credits { agent, gateway } = self.credits;
        for node in &self.gateways {
            let Some(upstream) = &node.upstream else { continue };
            let (early, left) = (upstream.server.waiting(), upstream.credit);
            self.faults.stashes_full += u64::from(early == STASH * gateway && !self.stash_was_full);
            self.stash_was_full = early == STASH * gateway;
            self.oracle.require(early <= STASH * gateway, "bounded", || {
                format!("the aggregator holds {early} early batches of a gateway that may have {gateway} unanswered")
            });
            self.oracle.require(left <= gateway as isize, "bounded", || {
                format!("a gateway may send {left} more batches, where {gateway} are all")
            });
        }
        for node in &self.agents {
            let in_flight = node.link.as_ref().map_or(0, AgentLink::in_flight);
            self.oracle.require(in_flight <= agent, "bounded", || {
                format!(
                    "{} has {in_flight} batches in flight, where {agent} are all",
                    node.id
                )
            });
        }
    }
}
