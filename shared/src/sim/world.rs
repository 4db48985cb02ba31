//! The simulated mesh and its steps. Each step lets one thing happen, then carries out what the cores ask for,
//! then checks.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::bounds::Credits;
use super::center::{Center, Entry, refused};
use super::faults::Faults;
use super::nodes::{Agent, Gateway, Parcel, Session, Upstream};
use super::oracle::{Broken, EventNo, Key, Oracle};
use super::spool::{Content, Lanes, Spool};
use crate::ids::{AgentId, Epoch, GatewayId, LaneKey, LaneNo, SeqRange, StreamName};
use crate::protocol::{
    AgentLink, AggregatorLink, FreshShare, GatewayLink, LaneView, Priority, RetiredLane, Tick, UpstreamLink,
};
use crate::wire::history::MAX_WRITER;
use crate::wire::{
    BatchContent, BatchHeader, ByeCode, CommitHeader, Limits, RefuseCode, SessionKey, ToAgent,
};

pub(super) const AGENTS: usize = 3;
pub(super) const GATEWAYS: usize = 2;
const STREAMS: u32 = 2;
/// Events that a simulated spool holds before it is full.
const SPOOL_LIMIT: usize = 300;
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
    next_session: usize,
    next_serial: u64,
}

pub(super) fn stream(number: u32) -> StreamName {
    StreamName::new(&format!("s{number}")).expect("letters and digits")
}

pub(super) fn gateway_id(number: usize) -> GatewayId {
    GatewayId::new(&format!("g{number}")).expect("letters and digits")
}

fn limits(max_in_flight: usize) -> Limits {
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

    fn produce(&mut self, agent: usize) {
        let (to, count) = (self.rng.random_range(0..STREAMS), self.rng.random_range(1..20));
        let (epoch, of) = (self.epoch(agent), self.agents[agent].of);
        if self.agents[agent].spool.held_events() > SPOOL_LIMIT && !self.make_room(agent, to) {
            self.faults.spools_full += 1;
            return;
        }
        let events: Vec<EventNo> = (0..count).map(|_| self.oracle.produce(of, to)).collect();
        self.agents[agent]
            .spool
            .append(to, epoch, &events, of, &mut self.oracle);
    }

    /// The first stream's policy is `drop_oldest`, the other's is to wait.
    fn make_room(&mut self, agent: usize, to: u32) -> bool {
        if to != 0 {
            return false;
        }
        let node = &mut self.agents[agent];
        let lanes = node.spool.disk.visible().by_id.iter();
        let lanes: Vec<u32> = lanes
            .filter(|(_, lane)| lane.row.stream == to)
            .map(|(id, _)| *id)
            .collect();
        for id in lanes {
            let sent = node.link.as_ref().map_or(0, |link| link.sent_up_to(id));
            let gone = node.spool.drop_oldest(id, sent);
            self.faults.events_dropped += gone as u64;
            if gone > 0 {
                return true;
            }
        }
        false
    }

    pub fn show_spool(&mut self, agent: usize) {
        let node = &mut self.agents[agent];
        let Some(link) = &mut node.link else { return };
        // only what is durable is read, and shown
        let lanes = node.spool.disk.durable().by_id.iter();
        let views: Vec<LaneView> = lanes
            .map(|(&lane, state)| LaneView {
                lane,
                stream: stream(state.row.stream),
                epoch: state.row.epoch,
                next_seq: state.row.next_seq,
                committed_seq: state.row.committed,
                history: state.row.history.clone(),
                held_events: state.row.next_seq - 1 - state.row.committed,
                held_bytes: 0,
                fresh: state.row.active,
                priority: [Priority::Low, Priority::High][state.row.stream as usize % 2],
            })
            .collect();
        link.spool_changed(self.now, &views, 0, 0);
        let retired = &node.spool.disk.durable().retired;
        let retired = retired.iter().map(|lane| RetiredLane {
            no: lane.no,
            stream: stream(lane.stream),
            epoch: lane.epoch,
            committed_seq: lane.committed,
            history: lane.history.clone(),
        });
        link.retired(self.now, &retired.collect());
    }

    fn connect(&mut self, agent: usize) {
        let node = &self.agents[agent];
        if node.link.is_some() || self.now < node.dial_at {
            return;
        }
        let (gateway, key) = (
            node.rota % GATEWAYS,
            SessionKey {
                instance: node.instance,
                session: node.sessions,
            },
        );
        let id = node.id.clone();
        self.agents[agent].rota += 1;
        self.agents[agent].sessions += 1;
        if !self.reachable(agent, gateway) {
            self.agents[agent].dial_at = self.now + self.rng.random_range(0..1_000);
            return;
        }
        let mut link = AgentLink::new(&id, "sim", key, FreshShare::default(), self.now);
        if let Err(wait) = self.gateways[gateway].ramp.admit(self.now) {
            self.faults.hellos_turned_away += 1;
            link.receive(
                self.now,
                ToAgent::Bye(crate::wire::Bye {
                    code: ByeCode::Busy,
                    message: String::new(),
                    retry_after_ms: wait,
                }),
            );
            self.agents[agent].link = Some(link);
            return;
        }
        let session = Session {
            agent,
            key,
            link: GatewayLink::new(
                id.clone(),
                gateway_id(gateway),
                limits(self.credits.agent),
                self.now,
            ),
            to_gateway: [].into(),
            to_agent: [].into(),
            batches: Vec::new(),
        };
        let number = self.next_session;
        self.next_session += 1;
        // the newer session supersedes the older one of the same agent
        let sessions = &mut self.gateways[gateway].sessions;
        for old in sessions.values_mut().filter(|old| *old.link.agent() == id) {
            old.link.superseded();
            self.faults.sessions_superseded += 1;
        }
        sessions.insert(number, session);
        self.agents[agent].link = Some(link);
        self.agents[agent].reading = None;
        self.agents[agent].peer = Some((gateway, number));
        self.show_spool(agent);
    }

    /// Whether packets pass between the two.
    pub fn reachable(&self, agent: usize, gateway: usize) -> bool {
        self.now >= self.agents[agent].cut_off_until && self.now >= self.gateways[gateway].stopped_until
    }

    fn upstream_reachable(&self, gateway: usize) -> bool {
        let node = &self.gateways[gateway];
        self.now >= node.stopped_until && self.now >= node.cut_off_until
    }

    fn dial_upstream(&mut self, gateway: usize) {
        if self.gateways[gateway].upstream.is_some() || !self.upstream_reachable(gateway) {
            return;
        }
        self.next_serial += 1;
        let (id, credit) = (gateway_id(gateway), limits(self.credits.gateway));
        self.gateways[gateway].upstream = Some(Upstream {
            serial: self.next_serial,
            link: UpstreamLink::new(&id, "sim", 0, self.now),
            server: AggregatorLink::new(id, "agg".to_owned(), credit, self.now),
            to_aggregator: [].into(),
            to_gateway: [].into(),
            batches: Vec::new(),
            submitted: [].into(),
            credit: 0,
            handles: [].into(),
            next_handle: 0,
        });
    }

    fn ship(&mut self, agent: usize) {
        let now = self.now;
        let most = self.rng.random_range(1..4);
        let node = &mut self.agents[agent];
        let (Some(link), Some((gateway, session))) = (&mut node.link, node.peer) else {
            return;
        };
        let read = node.reading.take().filter(|read| link.is_next(now, read));
        let Some(shipment) = read else {
            node.reading = link.next_shipment(now);
            return;
        };
        self.oracle.require(!shipment.give_up, "conservation", || {
            "a batch was given up that nobody damaged".to_owned()
        });
        let Some(lane) = node.spool.disk.durable().by_id.get(&shipment.lane) else {
            return;
        };
        let from = |block: &&super::spool::Block| block.range.last >= shipment.from_seq;
        let mut blocks = lane.blocks.iter().filter(from);
        let Some(first) = blocks.next() else { return };
        let (mut range, mut content) = (first.range, first.content.clone());
        if let Content::Rows(events) = &first.content {
            let mut events = events.to_vec();
            let writer = lane.row.history.writer_at(range.first);
            let more = blocks.take(most - 1).map_while(|block| match &block.content {
                Content::Rows(events) if lane.row.history.writer_at(block.range.first) == writer => {
                    Some((block.range.last, events))
                }
                _ => None,
            });
            for (last, next) in more {
                range.last = last;
                events.extend_from_slice(next);
            }
            content = Content::Rows(events.into());
        } else {
            // a batch is of one writer, and a record may be of several
            let first = range.first.max(shipment.from_seq);
            content = content.without_first((first - range.first) as usize);
            let end = lane.row.history.run_end(first).unwrap_or(range.last);
            range = SeqRange {
                first,
                last: end.min(range.last),
            };
            content = content.first(range.count() as usize);
        }
        let writers = (
            lane.row.history.writer_at(range.first),
            lane.row.history.writer_at(range.first - 1),
        );
        link.shipped(now, shipment.lane, range, range.count());
        // the next one is read while whatever may come does
        node.reading = link.next_shipment(now);
        let header = batch_header(shipment.lane, range, writers, &content);
        if let Some(session) = self.gateways[gateway].sessions.get_mut(&session) {
            session.batches.push(Parcel { header, content });
        }
    }

    fn sync_spools(&mut self) {
        for agent in &mut self.agents {
            agent.spool.sync(&mut self.oracle);
        }
    }

    /// One of the gateway's sessions, if there are any and the gateway runs.
    fn some_session(&mut self, gateway: usize) -> Option<usize> {
        let len = self.gateways[gateway].sessions.len();
        if len == 0 || self.now < self.gateways[gateway].stopped_until {
            return None;
        }
        let at = self.pick(len);
        self.gateways[gateway].sessions.keys().nth(at).copied()
    }

    fn deliver_all_control(&mut self, gateway: usize) {
        if self.now < self.gateways[gateway].stopped_until {
            return;
        }
        let keys: Vec<usize> = self.gateways[gateway].sessions.keys().copied().collect();
        keys.into_iter()
            .for_each(|key| self.deliver_control(gateway, key));
    }

    fn deliver_control(&mut self, gateway: usize, key: usize) {
        let burst = self.rng.random_range(1..8);
        let wall = self.wall(0);
        let session = self.gateways[gateway].sessions.get_mut(&key).expect("listed");
        let at = session.agent;
        let alive = self.agents[at].peer == Some((gateway, key));
        if alive && self.now < self.agents[at].cut_off_until {
            return;
        }
        for message in session.to_gateway.drain(..burst.min(session.to_gateway.len())) {
            session.link.receive(self.now, wall, message);
        }
        for message in session.to_agent.drain(..burst.min(session.to_agent.len())) {
            if let Some(link) = self.agents[at].link.as_mut().filter(|_| alive) {
                link.receive(self.now, message);
            }
        }
        // the transport's idle timeout
        if !alive && self.chance(4) {
            self.end_session(gateway, key);
        }
    }

    fn deliver_batch(&mut self, gateway: usize) {
        let Some(key) = self.some_session(gateway) else {
            return;
        };
        let session = &self.gateways[gateway].sessions[&key];
        let (len, agent) = (session.batches.len(), session.agent);
        if len == 0 || self.now < self.agents[agent].cut_off_until {
            return;
        }
        let at = self.pick(len);
        self.faults.batches_reordered += u64::from(at > 0);
        let node = &mut self.gateways[gateway];
        let session = node.sessions.get_mut(&key).expect("listed");
        let parcel = session.batches.remove(at);
        if let Some((lane_no, _)) = session.link.admit(&parcel.header) {
            node.waiting.push_back((key, parcel, lane_no));
        }
    }

    fn forward(&mut self, gateway: usize) {
        let node = &mut self.gateways[gateway];
        let len = node.waiting.len();
        if len == 0 || self.now < node.stopped_until.max(node.hoards_until) {
            return;
        }
        let hoarded = std::mem::take(&mut node.hoards_until) > 0;
        match &node.upstream {
            None => node.waiting.clear(),
            Some(_) if hoarded => self.overdraw(gateway),
            // decoding finishes in any order
            Some(upstream) if upstream.credit > 0 => {
                let at = self.pick(len);
                self.send_upstream(gateway, at);
            }
            Some(_) => {}
        }
    }

    /// A faulty gateway has kept everything for a while. Now it loses the oldest batch of each lane, and sends all
    /// others without a look at its credit.
    fn overdraw(&mut self, gateway: usize) {
        let waiting = &mut self.gateways[gateway].waiting;
        let mut oldest = std::collections::BTreeMap::new();
        for (session, parcel, _) in waiting.iter() {
            let first = oldest.entry((*session, parcel.header.lane)).or_insert(u64::MAX);
            *first = parcel.header.first_seq.min(*first);
        }
        waiting.retain(|(session, parcel, _)| {
            oldest[&(*session, parcel.header.lane)] != parcel.header.first_seq
        });
        self.faults.credits_overdrawn += u64::from(!waiting.is_empty());
        while !self.gateways[gateway].waiting.is_empty() {
            let at = self.pick(self.gateways[gateway].waiting.len());
            self.send_upstream(gateway, at);
        }
    }

    fn send_upstream(&mut self, gateway: usize, at: usize) {
        let node = &mut self.gateways[gateway];
        let Some(upstream) = &mut node.upstream else {
            return;
        };
        let (session, parcel, lane_no) = node.waiting.remove(at).expect("in range");
        let owner = (session, parcel.header.lane);
        let handle = upstream
            .handles
            .iter()
            .find(|(_, of)| **of == owner)
            .map(|(h, _)| *h);
        // the session has ended
        let Some(handle) = handle else { return };
        upstream.credit -= 1;
        upstream.link.sent(handle, parcel.header.range().last);
        let header = commit_header(lane_no, &parcel.header, gateway);
        upstream.batches.push((header, parcel.content));
    }

    fn deliver_upstream(&mut self, gateway: usize) {
        if !self.upstream_reachable(gateway) {
            return;
        }
        let now = self.now;
        let upstream = self.gateways[gateway].upstream.as_ref();
        let len = upstream.map_or(0, |upstream| upstream.batches.len());
        let at = if len > 0 { Some(self.pick(len)) } else { None };
        let (burst, wall) = (self.rng.random_range(1..8), self.wall(0));
        let Some(upstream) = &mut self.gateways[gateway].upstream else {
            return;
        };
        for message in upstream
            .to_aggregator
            .drain(..burst.min(upstream.to_aggregator.len()))
        {
            upstream.server.receive(now, wall, message);
        }
        for message in upstream.to_gateway.drain(..burst.min(upstream.to_gateway.len())) {
            upstream.link.receive(message);
        }
        if let Some(at) = at {
            let (header, content) = upstream.batches.remove(at);
            upstream.server.batch(now, header, content);
        }
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

pub(super) fn batch_header(
    lane: u32,
    range: SeqRange,
    (writer, after_writer): (u64, u64),
    content: &Content,
) -> BatchHeader {
    BatchHeader {
        lane,
        first_seq: range.first,
        count: range.count() as u32,
        writer,
        after_writer,
        content: match content {
            Content::Rows(_) => BatchContent::Rows,
            Content::Dropped(reason, _) => BatchContent::Dropped {
                reason: (*reason).to_owned(),
            },
        },
        segments: Vec::new(),
        body_len: 0,
        body_crc: 0,
        sent_at: 0,
        traceparent: None,
    }
}

fn commit_header(lane: LaneNo, header: &BatchHeader, gateway: usize) -> CommitHeader {
    CommitHeader {
        lane,
        first_seq: header.first_seq,
        count: header.count,
        writer: header.writer,
        after_writer: header.after_writer,
        content: header.content.clone(),
        dead_seqs: Vec::new(),
        schema: None,
        columns_len: 0,
        dead_len: 0,
        body_crc: 0,
        gateway: gateway_id(gateway),
        segments: Vec::new(),
        sent_at: 0,
        received_at: 0,
        admitted_at: 0,
        traceparent: None,
        usage: Vec::new(),
    }
}
