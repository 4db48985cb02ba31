//! The faults. Most may happen in every run. The grave ones, after which some loss is unavoidable, have runs of
//! their own, so that the oracle can say exactly which events they excuse.

use rand::RngExt;

use super::spool::{Lanes, Spool};
use super::world::{GATEWAYS, World, held};
use crate::protocol::Ramp;

/// A fault of which no more than one kind belongs to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grave {
    /// An agent's disk goes back to an older image. What was only on it is lost.
    OldImage,
    /// A copy of an agent's disk comes to life beside it.
    Twin,
    /// The aggregator's disk goes back to an older backup. The ledger names what agents have deleted since.
    OldBackup,
}

impl Grave {
    pub fn of(seed: u64) -> Option<Self> {
        match seed % 5 {
            0 => Some(Self::OldImage),
            1 => Some(Self::Twin),
            2 => Some(Self::OldBackup),
            _ => None,
        }
    }
}

impl World {
    pub fn fault(&mut self, agent: usize, gateway: usize) {
        match self.rng.random_range(0..16) {
            0 => {
                self.faults.connections_cut += 1;
                self.cut_agent(agent);
            }
            1 => {
                self.faults.connections_cut += 1;
                self.cut_upstream(gateway);
            }
            2 => {
                self.faults.agent_crashes += 1;
                self.crash_agent(agent);
            }
            3 => self.crash_gateway(gateway),
            4 => {
                self.faults.aggregator_crashes += 1;
                self.crash_center();
            }
            5 => {
                self.faults.gateways_stopped += 1;
                self.gateways[gateway].stopped_until = self.now + self.rng.random_range(100..9_000);
            }
            6 => {
                self.faults.partitions += 1;
                self.agents[agent].cut_off_until = self.now + self.rng.random_range(100..8_000);
            }
            7 => {
                self.faults.partitions += 1;
                self.gateways[gateway].cut_off_until = self.now + self.rng.random_range(100..8_000);
            }
            8 => {
                self.faults.clock_jumps += 1;
                self.agents[agent].skew += self.rng.random_range(-86_400_000..86_400_000);
                // a host that slept
                self.now += self.rng.random_range(0..10_000);
            }
            9 => {
                self.faults.fsyncs_failed += 1;
                self.crash_agent(agent);
            }
            10 => {
                let until = self.now + self.rng.random_range(200..3_000);
                self.gateways[gateway].hoards_until = until;
            }
            _ => self.grave(agent),
        }
    }

    /// The process ends, or its disk fails under it: it starts again from what the disk has.
    pub fn crash_agent(&mut self, at: usize) {
        self.cut_agent(at);
        let agent = &mut self.agents[at];
        let recovered = agent.spool.disk.crash(&mut self.rng, &mut self.faults);
        self.oracle.require_ok(recovered, "whole-commits");
        agent.spool.forget_waiting();
        let image = agent.spool.disk.durable().clone();
        self.begin_process(at, image);
    }

    fn begin_process(&mut self, at: usize, image: Lanes) {
        let (instance, writer) = (self.rng.random(), self.writer());
        let agent = &mut self.agents[at];
        agent.spool = Spool::open(image, writer);
        agent.instance = instance;
        agent.sessions = 0;
        agent.own.clear();
    }

    fn crash_gateway(&mut self, gateway: usize) {
        self.faults.gateway_crashes += 1;
        for agent in 0..self.agents.len() {
            if self.agents[agent].peer.is_some_and(|(at, _)| at == gateway) {
                self.cut_agent(agent);
            }
        }
        let node = &mut self.gateways[gateway];
        node.sessions.clear();
        node.waiting.clear();
        node.upstream = None;
        node.ramp = Ramp::new(2, 3, self.now);
        (node.stopped_until, node.hoards_until) = (0, 0);
    }

    pub fn crash_center(&mut self) {
        (0..GATEWAYS).for_each(|gateway| self.cut_upstream(gateway));
        let log = self.center.disk.crash(&mut self.rng, &mut self.faults);
        self.oracle.require_ok(log, "whole-commits");
        let views = self.center.views.crash(&mut self.rng, &mut self.faults);
        self.oracle.require_ok(views, "whole-commits");
        self.faults.views_replayed += 1;
        self.center.recovered(&mut self.oracle);
    }

    fn grave(&mut self, at: usize) {
        let early = self.chance(2);
        match self.grave {
            None => {
                self.faults.connections_cut += 1;
                self.cut_agent(at);
            }
            Some(Grave::OldImage) if early => {
                let image = self.agents[at].spool.disk.durable().clone();
                self.agents[at].image = Some(image);
            }
            Some(Grave::OldImage) => {
                if let Some(image) = self.agents[at].image.take() {
                    self.restore_agent(at, image);
                }
            }
            Some(Grave::Twin) => self.start_twin(at),
            Some(Grave::OldBackup) if early => {
                self.center.backup = Some(self.center.disk.durable().clone());
            }
            Some(Grave::OldBackup) => self.restore_center(),
        }
    }

    /// Everything that is under way is gone before a disk has been replaced: that takes longer than a batch
    /// lives outside of one.
    fn everything_arrives_or_is_lost(&mut self) {
        for gateway in 0..GATEWAYS {
            self.crash_gateway(gateway);
        }
    }

    fn restore_agent(&mut self, at: usize, image: Lanes) {
        self.faults.agents_restored += 1;
        self.everything_arrives_or_is_lost();
        self.agents[at].spool.forget_waiting();
        self.begin_process(at, image);
        self.oracle.excuse_missing(held(&self.agents));
    }

    fn start_twin(&mut self, at: usize) {
        if self.agents.len() > super::world::AGENTS {
            return;
        }
        self.faults.twins_started += 1;
        let image = self.agents[at].spool.disk.durable().clone();
        let of = self.agents[at].of;
        self.start_agent(of, image);
    }

    fn restore_center(&mut self) {
        let Some(backup) = self.center.backup.take() else {
            return;
        };
        self.faults.aggregators_restored += 1;
        // the sessions of agents may outlive it, or not
        if self.chance(2) {
            self.everything_arrives_or_is_lost();
        }
        (0..GATEWAYS).for_each(|gateway| self.cut_upstream(gateway));
        self.center.restore(backup, &mut self.oracle);
        self.agents.iter_mut().for_each(|agent| agent.told = false);
    }
}
