//! The simulated mesh and its steps. Each step lets one thing happen, then carries out what the cores ask for,
//! then checks.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::bounds::Credits;
use super::center::{Center, Entry, refused};
use super::faults::Faults;
use super::nodes::{Agent, Gateway};
use super::oracle::{Broken, Key, Oracle};
use super::spool::{Content, Lanes, Spool};
use crate::ids::{AgentId, Epoch, GatewayId, LaneKey, StreamName};
use crate::protocol::Tick;
use crate::wire::history::MAX_WRITER;
use crate::wire::{Limits, RefuseCode};

pub(super) const AGENTS: usize = 3;
pub(super) const GATEWAYS: usize = 2;
pub(super) const STREAMS: u32 = 2;
/// How often every accepted event is looked for, in steps.
const AUDIT_EVERY: u64 = 16;

#[derive(Debug)]
pub(super) struct World {
    pub rng: StdRng,
    pub now: Tick,
    pub agents: Vec<Agent>,
    pub gateways: Vec<Gateway>,
    pub center: Center,
    pub oracle: Oracle,
    pub faults: Faults,
    pub faulty: bool,
    /// Which of the grave faults may happen in this run; see [`super::chaos`].
    pub grave: Option<super::chaos::Grave>,
    /// One step in so many brings a fault: some runs are stormy, in others much is under way when it comes.
    rarity: u32,
    pub credits: Credits,
    pub stash_was_full: bool,
    pub next_session: usize,
    pub next_serial: u64,
}

pub(super) fn stream(number: u32) -> StreamName {
    StreamName::new(&format!("s{number}")).expect("letters and digits")
}

pub(super) fn gateway_id(number: usize) -> GatewayId {
    GatewayId::new(&format!("g{number}")).expect("letters and digits")
}

pub(super) fn limits(max_in_flight: usize) -> Limits {
    Limits {
        max_in_flight: max_in_flight as u32,
        ..Limits::default()
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut world = Self {
            rng: StdRng::seed_from_u64(seed),
            now: 1,
            agents: Vec::new(),
            gateways: (0..GATEWAYS).map(|_| Gateway::new(1)).collect(),
            center: Center::new(),
            oracle: Oracle::default(),
            faults: Faults::default(),
            faulty: true,
            grave: super::chaos::Grave::of(seed),
            rarity: [40, 100, 250][(seed % 3) as usize],
            credits: Credits::of(seed),
            stash_was_full: false,
            next_session: 0,
            next_serial: 0,
        };
        for of in 0..AGENTS {
            world.start_agent(of, Lanes::default());
        }
        world
    }

    /// A process of an agent that finds this on its disk.
    pub fn start_agent(&mut self, of: usize, image: Lanes) {
        let writer = self.writer();
        let agent = Agent {
            of,
            id: AgentId::new(&format!("a{of}")).expect("letters and digits"),
            spool: Spool::open(image, writer),
            instance: self.rng.random(),
            sessions: 0,
            link: None,
            reading: None,
            peer: None,
            dial_at: self.now,
            rota: self.rng.random_range(0..GATEWAYS),
            skew: 0,
            own: std::collections::BTreeSet::new(),
            image: None,
            cut_off_until: 0,
            told: false,
        };
        self.agents.push(agent);
    }

    pub fn chance(&mut self, one_in: u32) -> bool {
        self.rng.random_range(0..one_in) == 0
    }

    /// Of a process that begins.
    pub fn writer(&mut self) -> u64 {
        self.rng.random_range(1..=MAX_WRITER)
    }

    pub fn pick(&mut self, len: usize) -> usize {
        self.rng.random_range(0..len)
    }

    pub fn epoch(&mut self, agent: usize) -> Epoch {
        let wall = self.wall(self.agents[agent].skew);
        Epoch::from_parts((wall / 1_000).unsigned_abs(), self.rng.random())
    }

    /// A clock that is so far off.
    pub fn wall(&self, skew: i64) -> i64 {
        1_700_000_000_000 + self.now as i64 + skew
    }

    pub fn step(&mut self) -> Option<Broken> {
        self.oracle.step += 1;
        self.now += self.rng.random_range(0..20);
        let (agent, gateway) = (self.pick(self.agents.len()), self.pick(GATEWAYS));
        match self.rng.random_range(0..17) {
            0 if self.faulty => self.produce(agent),
            1 => self.sync_spools(),
            2 => (0..self.agents.len()).for_each(|agent| self.connect(agent)),
            3 => (0..GATEWAYS).for_each(|gateway| self.dial_upstream(gateway)),
            4..=6 => self.ship(agent),
            7 => self.deliver_all_control(gateway),
            8..=10 => self.some_times(Self::deliver_batch),
            11 => self.some_times(Self::forward),
            12 => self.some_times(Self::deliver_upstream),
            13 => self.some_times(Self::commit),
            14 => self.sync_center(),
            15 => self.apply(),
            _ => self.tick_all(),
        }
        if self.faulty && self.chance(self.rarity) {
            self.fault(agent, gateway);
        }
        self.settle();
        self.check();
        self.oracle.broken.clone()
    }

    /// At each gateway, so that a run is not spent on waiting.
    fn some_times(&mut self, step: fn(&mut Self, usize)) {
        for gateway in 0..GATEWAYS {
            let times = self.rng.random_range(0..4);
            (0..times).for_each(|_| step(self, gateway));
        }
    }

    /// Whether packets pass between the two.
    pub fn reachable(&self, agent: usize, gateway: usize) -> bool {
        self.now >= self.agents[agent].cut_off_until && self.now >= self.gateways[gateway].stopped_until
    }

    fn commit(&mut self, gateway: usize) {
        let (refuse, schema) = (self.faulty && self.chance(15), self.faulty && self.chance(15));
        let Some(upstream) = &mut self.gateways[gateway].upstream else {
            return;
        };
        let Some((key, generation, header, content)) = upstream.submitted.pop_front() else {
            return;
        };
        let lane = header.lane;
        let expected = self.center.disk.visible().lanes[lane.0 as usize].mark + 1;
        let outcome = if refuse {
            self.faults.store_refusals += 1;
            refused(expected, RefuseCode::Unavailable)
        } else if schema {
            self.faults.schema_changes += 1;
            refused(expected, RefuseCode::SchemaChanged)
        } else {
            let range = header.range();
            let entry = Entry { lane, range, content };
            let writers = (header.writer, header.after_writer);
            self.center.commit(&key, entry, writers, &mut self.oracle)
        };
        let answer = super::center::Answer::Batch {
            lane,
            generation,
            outcome,
        };
        self.center.answers.push((gateway, upstream.serial, answer));
    }

    fn apply(&mut self) {
        self.center.apply(&mut self.oracle);
        if self.chance(6) {
            // with its log position, in one transaction
            let live = self.center.live;
            self.center.views.transaction(vec![live]);
            if self.chance(2) {
                self.center.views.sync();
            }
        }
    }

    fn tick_all(&mut self) {
        self.now += self.rng.random_range(0..300);
        let (now, wall) = (self.now, self.wall(0));
        for agent in &mut self.agents {
            if let Some(link) = &mut agent.link {
                link.tick(now, wall + agent.skew);
            }
        }
        for gateway in self
            .gateways
            .iter_mut()
            .filter(|gateway| now >= gateway.stopped_until)
        {
            let sessions = gateway.sessions.values_mut();
            sessions.for_each(|session| session.link.tick(now, wall));
            if let Some(upstream) = &mut gateway.upstream {
                upstream.link.tick(now, wall);
            }
        }
        for upstream in self
            .gateways
            .iter_mut()
            .filter_map(|gateway| gateway.upstream.as_mut())
        {
            upstream.server.tick(now, wall);
        }
    }

    /// The promises that are checked after each step.
    fn check(&mut self) {
        self.check_bounds();
        if self.oracle.step.is_multiple_of(AUDIT_EVERY) {
            self.audit(false);
        }
    }

    /// `conservation` over every event.
    pub fn audit(&mut self, at_the_end: bool) {
        let held = held(&self.agents);
        self.oracle.check_conservation(held, at_the_end);
    }

    /// Every spool is empty, and whatever the aggregator has forgotten is told.
    pub fn drained(&self) -> bool {
        let lanes = self
            .agents
            .iter()
            .flat_map(|agent| agent.spool.disk.visible().by_id.values());
        let empty = lanes
            .clone()
            .all(|lane| lane.row.committed + 1 == lane.row.next_seq);
        let restored = self.faults.aggregators_restored > 0;
        empty && (!restored || self.agents.iter().all(|agent| agent.told))
    }

    /// What [`Self::drained`] waits for, for people.
    pub fn undelivered(&self) -> String {
        let agent = |agent: &Agent| {
            let lanes = agent.spool.disk.visible().by_id.iter();
            let held = lanes.filter(|(_, lane)| lane.row.committed + 1 < lane.row.next_seq);
            let held: Vec<_> = held.map(|(id, lane)| (id, &lane.row)).collect();
            format!(
                "{} told {}, holds {held:?}; {:?}",
                agent.id, agent.told, agent.link
            )
        };
        self.agents.iter().map(agent).collect::<Vec<_>>().join("; ")
    }

    /// The faults end; what they have begun ends as well.
    pub fn calm(&mut self) {
        self.faulty = false;
        self.agents.iter_mut().for_each(|agent| agent.cut_off_until = 0);
        for gateway in &mut self.gateways {
            (gateway.cut_off_until, gateway.stopped_until) = (0, 0);
        }
        for at in 0..self.agents.len() {
            self.agents[at].spool.sync(&mut self.oracle);
        }
    }
}

/// What all spools hold.
pub(super) fn held(agents: &[Agent]) -> impl Iterator<Item = &Content> {
    let lanes = agents
        .iter()
        .flat_map(|agent| agent.spool.disk.visible().by_id.values());
    lanes.flat_map(|lane| lane.blocks.iter().map(|block| &block.content))
}

pub(super) fn key_of(wire: &LaneKey) -> Key {
    let number = |name: &str| name[1..].parse().expect("named by the simulator");
    (
        number(wire.agent.as_str()),
        number(wire.stream.as_str()) as u32,
        wire.epoch,
    )
}
