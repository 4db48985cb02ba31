//! A seeded simulation of all four cores: agents, gateways and the aggregator exchange messages over a network
//! that delays, reorders batches and cuts connections, while any of them may crash. After every step the
//! promises are checked by name.

use std::collections::{BTreeMap, VecDeque};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::ids::{AgentId, Epoch, GatewayId, LaneKey, LaneNo, Seq, SeqRange, StreamName};
use crate::wire::{
    BatchContent, BatchHeader, CommitHeader, FromAggregator, LaneOpened, Limits, RefuseCode, ToAgent,
    ToAggregator, ToGateway,
};

const AGENTS: usize = 3;
const GATEWAYS: usize = 2;
/// Streams of each agent.
const LANES: u32 = 2;

/// What the agent's disk holds of a lane: survives every crash.
#[derive(Debug, Default)]
struct SpoolLane {
    produced: Seq,
    committed: Seq,
}

#[derive(Debug)]
struct Agent {
    id: AgentId,
    spool: BTreeMap<u32, SpoolLane>,
    link: Option<AgentLink>,
    /// The gateway and its session, while connected.
    peer: Option<(usize, usize)>,
}

/// One agent-gateway connection as the gateway sees it.
#[derive(Debug)]
struct Session {
    agent: usize,
    link: GatewayLink,
    to_gateway: VecDeque<ToGateway>,
    to_agent: VecDeque<ToAgent>,
    /// Batches on the way, each on a stream of its own: delivered in any order.
    batches: Vec<BatchHeader>,
}

#[derive(Debug)]
struct Upstream {
    link: UpstreamLink,
    server: AggregatorLink<()>,
    to_aggregator: VecDeque<ToAggregator>,
    to_gateway: VecDeque<FromAggregator>,
    batches: Vec<CommitHeader>,
    /// In lane order, not yet committed.
    submitted: VecDeque<(LaneKey, Generation, CommitHeader)>,
    credit: usize,
    /// Upstream handle -> (session, its lane).
    handles: BTreeMap<u32, (usize, u32)>,
    next_handle: u32,
}

#[derive(Debug)]
struct Gateway {
    sessions: BTreeMap<usize, Session>,
    upstream: Option<Upstream>,
    /// Decoded and waiting for credit: lost with a crash.
    waiting: VecDeque<(usize, BatchHeader, LaneNo)>,
}

/// The aggregator's disk.
#[derive(Debug, Default)]
struct Store {
    lanes: Vec<(LaneKey, Seq)>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Faults {
    cuts: u64,
    agent_crashes: u64,
    gateway_crashes: u64,
    aggregator_crashes: u64,
    reordered: u64,
    store_refusals: u64,
    schema_changes: u64,
    duplicates: u64,
}

struct World {
    rng: StdRng,
    now: Tick,
    agents: Vec<Agent>,
    gateways: Vec<Gateway>,
    store: Store,
    next_session: usize,
    faulty: bool,
    faults: Faults,
}

fn stream(lane: u32) -> StreamName {
    StreamName::new(&format!("s{lane}")).expect("valid")
}

impl World {
    fn new(seed: u64) -> Self {
        let agent = |n: usize| Agent {
            id: AgentId::new(&format!("a{n}")).expect("valid"),
            spool: (1..=LANES).map(|lane| (lane, SpoolLane::default())).collect(),
            link: None,
            peer: None,
        };
        let gateway = |_| Gateway {
            sessions: BTreeMap::new(),
            upstream: None,
            waiting: VecDeque::new(),
        };
        Self {
            rng: StdRng::seed_from_u64(seed),
            now: 1,
            agents: (0..AGENTS).map(agent).collect(),
            gateways: (0..GATEWAYS).map(gateway).collect(),
            store: Store::default(),
            next_session: 0,
            faulty: true,
            faults: Faults::default(),
        }
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.rng.random_range(0..one_in) == 0
    }

    fn pick(&mut self, len: usize) -> usize {
        self.rng.random_range(0..len)
    }

    fn step(&mut self) {
        self.now += self.rng.random_range(0..20);
        let (agent, gateway) = (self.pick(AGENTS), self.pick(GATEWAYS));
        match self.rng.random_range(0..12) {
            0 if self.faulty => self.produce(agent),
            1 => self.connect(agent),
            2 => self.dial_upstream(gateway),
            3 | 4 => self.ship(agent),
            5 => self.deliver_control(gateway),
            6 | 7 => self.deliver_batch(gateway),
            8 => self.forward(gateway),
            9 => self.deliver_upstream(gateway),
            10 => self.commit(gateway),
            _ => self.tick_all(),
        }
        if self.faulty && self.chance(60) {
            self.fault(agent, gateway);
        }
        self.settle();
        self.check();
    }

    fn produce(&mut self, agent: usize) {
        let (lane, count) = (self.rng.random_range(1..=LANES), self.rng.random_range(1..20));
        self.agents[agent].spool.get_mut(&lane).expect("a lane").produced += count;
        self.show_spool(agent);
    }

    fn show_spool(&mut self, agent: usize) {
        let agent = &mut self.agents[agent];
        let views: Vec<LaneView> = agent
            .spool
            .iter()
            .map(|(&lane, spool)| LaneView {
                lane,
                stream: stream(lane),
                epoch: Epoch(7),
                next_seq: spool.produced + 1,
                committed_seq: spool.committed,
                held_events: spool.produced - spool.committed,
                held_bytes: 0,
            })
            .collect();
        if let Some(link) = &mut agent.link {
            link.spool_changed(self.now, &views, 0, 0);
        }
    }

    fn connect(&mut self, agent: usize) {
        if self.agents[agent].link.is_some() {
            return;
        }
        let gateway = self.pick(GATEWAYS);
        let id = self.agents[agent].id.clone();
        let name = GatewayId::new(&format!("g{gateway}")).expect("valid");
        let limits = Limits {
            max_in_flight: 4,
            ..Limits::default()
        };
        let session = Session {
            agent,
            link: GatewayLink::new(id.clone(), name, limits, self.now),
            to_gateway: VecDeque::new(),
            to_agent: VecDeque::new(),
            batches: Vec::new(),
        };
        let number = self.next_session;
        self.next_session += 1;
        // the newer session supersedes the older one of the same agent
        for old in self.gateways[gateway]
            .sessions
            .values_mut()
            .filter(|old| old.agent == agent)
        {
            old.link.superseded();
        }
        self.gateways[gateway].sessions.insert(number, session);
        let target = &mut self.agents[agent];
        target.link = Some(AgentLink::new(&id, "sim", number as u64, self.now));
        target.peer = Some((gateway, number));
        self.show_spool(agent);
    }

    fn dial_upstream(&mut self, gateway: usize) {
        if self.gateways[gateway].upstream.is_some() {
            return;
        }
        let name = GatewayId::new(&format!("g{gateway}")).expect("valid");
        let limits = Limits {
            max_in_flight: 8,
            ..Limits::default()
        };
        self.gateways[gateway].upstream = Some(Upstream {
            link: UpstreamLink::new(&name, "sim", 0, self.now),
            server: AggregatorLink::new(name, "agg".to_owned(), limits, self.now),
            to_aggregator: VecDeque::new(),
            to_gateway: VecDeque::new(),
            batches: Vec::new(),
            submitted: VecDeque::new(),
            credit: 0,
            handles: BTreeMap::new(),
            next_handle: 0,
        });
    }

    fn ship(&mut self, agent: usize) {
        let most = self.rng.random_range(1..12);
        let now = self.now;
        let target = &mut self.agents[agent];
        let (Some(link), Some((gateway, session))) = (&mut target.link, target.peer) else {
            return;
        };
        let Some(shipment) = link.next_shipment(now) else {
            return;
        };
        let produced = target.spool[&shipment.lane].produced;
        assert!(!shipment.give_up, "nothing is malformed here");
        let last = produced.min(shipment.from_seq + most - 1);
        let range = SeqRange {
            first: shipment.from_seq,
            last,
        };
        link.shipped(now, shipment.lane, range);
        let header = BatchHeader {
            lane: shipment.lane,
            first_seq: range.first,
            count: range.count() as u32,
            content: BatchContent::Rows,
            segments: Vec::new(),
            body_len: 0,
            body_crc: 0,
            sent_at: 0,
            traceparent: None,
        };
        if let Some(session) = self.gateways[gateway].sessions.get_mut(&session) {
            session.batches.push(header);
        }
    }

    fn deliver_control(&mut self, gateway: usize) {
        let keys: Vec<usize> = self.gateways[gateway].sessions.keys().copied().collect();
        if keys.is_empty() {
            return;
        }
        let key = keys[self.pick(keys.len())];
        let burst = self.rng.random_range(1..8);
        let session = self.gateways[gateway].sessions.get_mut(&key).expect("listed");
        for message in session.to_gateway.drain(..burst.min(session.to_gateway.len())) {
            session.link.receive(self.now, 0, message);
        }
        let agent = &mut self.agents[session.agent];
        let alive = agent.peer == Some((gateway, key));
        for message in session.to_agent.drain(..burst.min(session.to_agent.len())) {
            if let Some(link) = agent.link.as_mut().filter(|_| alive) {
                link.receive(self.now, message);
            }
        }
        // the transport's idle timeout
        if !alive && self.chance(4) {
            self.end_session(gateway, key);
        }
    }

    fn deliver_batch(&mut self, gateway: usize) {
        let keys: Vec<usize> = self.gateways[gateway].sessions.keys().copied().collect();
        if keys.is_empty() {
            return;
        }
        let key = keys[self.pick(keys.len())];
        let len = self.gateways[gateway].sessions[&key].batches.len();
        if len == 0 {
            return;
        }
        let at = self.pick(len);
        self.faults.reordered += u64::from(at > 0);
        let node = &mut self.gateways[gateway];
        let session = node.sessions.get_mut(&key).expect("listed");
        let header = session.batches.remove(at);
        if let Some((lane_no, _)) = session.link.admit(&header) {
            node.waiting.push_back((key, header, lane_no));
        }
    }

    fn forward(&mut self, gateway: usize) {
        let len = self.gateways[gateway].waiting.len();
        if len == 0 {
            return;
        }
        // decoding finishes in any order
        let at = self.pick(len);
        let node = &mut self.gateways[gateway];
        let Some(upstream) = node.upstream.as_mut().filter(|upstream| upstream.credit > 0) else {
            if node.upstream.is_none() {
                node.waiting.clear();
            }
            return;
        };
        let (session, header, lane_no) = node.waiting.remove(at).expect("in range");
        let handle = upstream
            .handles
            .iter()
            .find(|(_, owner)| **owner == (session, header.lane))
            .map(|(h, _)| *h);
        let Some(handle) = handle else { return };
        upstream.credit -= 1;
        upstream.link.sent(handle, header.range().last);
        upstream.batches.push(CommitHeader {
            lane: lane_no,
            first_seq: header.first_seq,
            count: header.count,
            content: BatchContent::Rows,
            dead_seqs: Vec::new(),
            schema: None,
            columns_len: 0,
            dead_len: 0,
            body_crc: 0,
            gateway: GatewayId::new("g").expect("valid"),
            segments: Vec::new(),
            sent_at: 0,
            received_at: 0,
            admitted_at: 0,
            traceparent: None,
        });
    }

    fn deliver_upstream(&mut self, gateway: usize) {
        let now = self.now;
        let len = self.gateways[gateway]
            .upstream
            .as_ref()
            .map_or(0, |upstream| upstream.batches.len());
        let at = if len > 0 { Some(self.pick(len)) } else { None };
        let burst = self.rng.random_range(1..8);
        let Some(upstream) = &mut self.gateways[gateway].upstream else {
            return;
        };
        for message in upstream
            .to_aggregator
            .drain(..burst.min(upstream.to_aggregator.len()))
        {
            upstream.server.receive(now, 0, message);
        }
        for message in upstream.to_gateway.drain(..burst.min(upstream.to_gateway.len())) {
            upstream.link.receive(message);
        }
        if let Some(at) = at {
            let header = upstream.batches.remove(at);
            upstream.server.batch(now, header, ());
        }
    }

    fn commit(&mut self, gateway: usize) {
        let (refuse, schema) = (self.faulty && self.chance(15), self.faulty && self.chance(15));
        let Some(upstream) = &mut self.gateways[gateway].upstream else {
            return;
        };
        let Some((key, generation, header)) = upstream.submitted.pop_front() else {
            return;
        };
        let (known, mark) = &mut self.store.lanes[header.lane.0 as usize];
        assert_eq!(*known, key, "a lane number names one lane");
        let range = header.range();
        let refused = |expected, code| CommitOutcome::Refused {
            expected,
            code,
            message: String::new(),
            retry_after_ms: 10,
        };
        let outcome = if refuse {
            self.faults.store_refusals += 1;
            refused(*mark + 1, RefuseCode::Unavailable)
        } else if schema {
            self.faults.schema_changes += 1;
            refused(*mark + 1, RefuseCode::SchemaChanged)
        } else if range.first > *mark + 1 {
            refused(*mark + 1, RefuseCode::Gap)
        } else {
            self.faults.duplicates += u64::from(range.first <= *mark);
            *mark = (*mark).max(range.last);
            CommitOutcome::Committed { mark: *mark }
        };
        upstream.server.answered(header.lane, generation, outcome);
    }

    fn tick_all(&mut self) {
        self.now += self.rng.random_range(0..600);
        for agent in &mut self.agents {
            if let Some(link) = &mut agent.link {
                link.tick(self.now, 0);
            }
        }
        for gateway in &mut self.gateways {
            gateway
                .sessions
                .values_mut()
                .for_each(|session| session.link.tick(self.now, 0));
            if let Some(upstream) = &mut gateway.upstream {
                upstream.link.tick(self.now, 0);
                upstream.server.tick(self.now, 0);
            }
        }
    }

    fn fault(&mut self, agent: usize, gateway: usize) {
        match self.rng.random_range(0..5) {
            0 => {
                self.faults.cuts += 1;
                self.cut_agent(agent);
            }
            1 => {
                self.faults.cuts += 1;
                self.cut_upstream(gateway);
            }
            2 => {
                self.faults.agent_crashes += 1;
                self.cut_agent(agent);
            }
            3 => {
                self.faults.gateway_crashes += 1;
                for agent in 0..AGENTS {
                    if self.agents[agent].peer.is_some_and(|(at, _)| at == gateway) {
                        self.cut_agent(agent);
                    }
                }
                let node = &mut self.gateways[gateway];
                node.sessions.clear();
                node.waiting.clear();
                node.upstream = None;
            }
            _ => {
                self.faults.aggregator_crashes += 1;
                (0..GATEWAYS).for_each(|gateway| self.cut_upstream(gateway));
            }
        }
    }

    fn cut_agent(&mut self, agent: usize) {
        self.agents[agent].link = None;
        // the gateway notices sooner or later
        if let Some((gateway, session)) = self.agents[agent].peer.take()
            && self.chance(2)
        {
            self.end_session(gateway, session);
        }
    }

    fn end_session(&mut self, gateway: usize, session: usize) {
        let node = &mut self.gateways[gateway];
        node.sessions.remove(&session);
        if let Some(upstream) = &mut node.upstream {
            let handles: Vec<u32> = upstream
                .handles
                .iter()
                .filter(|(_, owner)| owner.0 == session)
                .map(|(h, _)| *h)
                .collect();
            for handle in handles {
                upstream.handles.remove(&handle);
                upstream.credit += upstream.link.close_lane(handle);
            }
        }
    }

    fn cut_upstream(&mut self, gateway: usize) {
        let node = &mut self.gateways[gateway];
        if node.upstream.take().is_some() {
            node.waiting.clear();
            node.sessions
                .values_mut()
                .for_each(|session| session.link.upstream_lost());
        }
    }

    /// Carries out what the cores ask for, until they ask for nothing more.
    fn settle(&mut self) {
        for agent in 0..AGENTS {
            self.settle_agent(agent);
        }
        for gateway in 0..GATEWAYS {
            self.settle_upstream(gateway);
            self.settle_sessions(gateway);
        }
    }

    fn settle_agent(&mut self, at: usize) {
        while let Some(output) = self.agents[at].link.as_mut().and_then(AgentLink::output) {
            let agent = &mut self.agents[at];
            match output {
                AgentOutput::Send(message) => {
                    let (gateway, session) = agent.peer.expect("connected");
                    if let Some(session) = self.gateways[gateway].sessions.get_mut(&session) {
                        session.to_gateway.push_back(message);
                    }
                }
                AgentOutput::LaneOpened { lane, mark } => {
                    let spool = agent.spool.get_mut(&lane).expect("a lane");
                    assert!(
                        mark <= spool.produced,
                        "the aggregator has only what was produced"
                    );
                    spool.committed = spool.committed.max(mark);
                    if let Some(link) = &mut agent.link {
                        link.resume(lane, mark);
                    }
                    self.show_spool(at);
                }
                AgentOutput::Committed { lane, mark } => {
                    let spool = agent.spool.get_mut(&lane).expect("a lane");
                    spool.committed = spool.committed.max(mark);
                    self.show_spool(at);
                }
                AgentOutput::Connected { .. } | AgentOutput::Refused { .. } => {}
                AgentOutput::Close { .. } => self.cut_agent(at),
            }
        }
    }

    fn settle_sessions(&mut self, gateway: usize) {
        let keys: Vec<usize> = self.gateways[gateway].sessions.keys().copied().collect();
        for key in keys {
            while let Some(output) = self.gateways[gateway]
                .sessions
                .get_mut(&key)
                .and_then(|session| session.link.output())
            {
                let node = &mut self.gateways[gateway];
                match output {
                    GatewayOutput::Send(message) => {
                        node.sessions
                            .get_mut(&key)
                            .expect("listed")
                            .to_agent
                            .push_back(message);
                    }
                    GatewayOutput::OpenUpstream {
                        lane,
                        key: lane_key,
                        next_seq,
                    } => {
                        if let Some(upstream) =
                            node.upstream.as_mut().filter(|upstream| upstream.link.is_open())
                        {
                            upstream.next_handle += 1;
                            let handle = upstream.next_handle;
                            upstream.link.open_lane(handle, lane_key, next_seq);
                            upstream.handles.retain(|_, owner| *owner != (key, lane));
                            upstream.handles.insert(handle, (key, lane));
                        }
                    }
                    GatewayOutput::Close { .. } => {
                        let agent = node.sessions[&key].agent;
                        self.end_session(gateway, key);
                        if self.agents[agent].peer == Some((gateway, key)) {
                            self.agents[agent].link = None;
                            self.agents[agent].peer = None;
                        }
                    }
                    GatewayOutput::AgentUp { .. } | GatewayOutput::Report(_) => {}
                }
            }
        }
    }

    fn settle_upstream(&mut self, gateway: usize) {
        loop {
            let Some(upstream) = &mut self.gateways[gateway].upstream else {
                return;
            };
            if let Some(output) = upstream.server.output() {
                self.act_aggregator(gateway, output);
            } else if let Some(output) = upstream.link.output() {
                self.act_upstream(gateway, output);
            } else {
                return;
            }
        }
    }

    fn act_aggregator(&mut self, gateway: usize, output: AggregatorOutput<()>) {
        let upstream = self.gateways[gateway].upstream.as_mut().expect("connected");
        match output {
            AggregatorOutput::Send(message) => upstream.to_gateway.push_back(message),
            AggregatorOutput::OpenLane { lane, key, .. } => {
                let lanes = &mut self.store.lanes;
                let at = lanes
                    .iter()
                    .position(|(known, _)| *known == key)
                    .unwrap_or_else(|| {
                        lanes.push((key, 0));
                        lanes.len() - 1
                    });
                let (lane_no, mark) = (LaneNo(at as u32), lanes[at].1);
                upstream.server.lane_opened(LaneOpened { lane, lane_no, mark });
            }
            AggregatorOutput::Commit {
                key,
                generation,
                header,
                body: (),
            } => {
                upstream.submitted.push_back((key, generation, header));
            }
            AggregatorOutput::Close { bye } => {
                assert_eq!(bye, None, "the aggregator has nothing to complain about");
                self.cut_upstream(gateway);
            }
            AggregatorOutput::Subscribe { .. }
            | AggregatorOutput::GatewayUp { .. }
            | AggregatorOutput::Agent { .. } => {}
        }
    }

    fn act_upstream(&mut self, gateway: usize, output: UpstreamOutput) {
        let node = &mut self.gateways[gateway];
        let upstream = node.upstream.as_mut().expect("connected");
        let mut tell = |handle: u32, event: &dyn Fn(&mut GatewayLink, u32)| {
            if let Some((session, lane)) = upstream.handles.get(&handle).copied()
                && let Some(session) = node.sessions.get_mut(&session)
            {
                event(&mut session.link, lane);
            }
        };
        match output {
            UpstreamOutput::Send(message) => upstream.to_aggregator.push_back(message),
            UpstreamOutput::Connected { limits, .. } => {
                upstream.credit = limits.max_in_flight as usize;
                node.sessions
                    .values_mut()
                    .for_each(|session| session.link.upstream_restored());
            }
            UpstreamOutput::LaneOpened(opened) => {
                tell(opened.lane, &|link, lane| {
                    link.lane_opened(LaneOpened { lane, ..opened })
                });
            }
            UpstreamOutput::Ack { ack, credit } => {
                tell(ack.lane, &|link, lane| link.ack(crate::wire::Ack { lane, ..ack }));
                upstream.credit += credit;
            }
            UpstreamOutput::Refuse { refuse, credit } => {
                tell(refuse.lane, &|link, lane| {
                    link.upstream_refused(crate::wire::Refuse {
                        lane,
                        ..refuse.clone()
                    });
                });
                upstream.credit += credit;
            }
            UpstreamOutput::Schema { .. } => {}
            UpstreamOutput::Close { .. } => self.cut_upstream(gateway),
        }
    }

    /// The promises, by name.
    fn check(&self) {
        for agent in &self.agents {
            for (lane, spool) in &agent.spool {
                let mark = self.mark(agent, *lane);
                // ack-after-fsync: the agent never believes more to be committed than is
                assert!(
                    spool.committed <= mark,
                    "ack-after-fsync: {} > {mark}",
                    spool.committed
                );
                // identity-first, contiguous-lanes: nothing is committed that was not produced
                assert!(
                    mark <= spool.produced,
                    "contiguous-lanes: {mark} > {}",
                    spool.produced
                );
            }
        }
        for gateway in &self.gateways {
            let waiting = gateway
                .upstream
                .as_ref()
                .map_or(0, |upstream| upstream.server.waiting());
            assert!(waiting <= 16, "bounded: {waiting} batches wait out of order");
        }
    }

    fn mark(&self, agent: &Agent, lane: u32) -> Seq {
        let key = LaneKey {
            agent: agent.id.clone(),
            stream: stream(lane),
            epoch: Epoch(7),
        };
        self.store
            .lanes
            .iter()
            .find(|(known, _)| *known == key)
            .map_or(0, |(_, mark)| *mark)
    }

    fn drained(&self) -> bool {
        let lanes = self.agents.iter().flat_map(|agent| agent.spool.values());
        lanes.clone().all(|lane| lane.committed == lane.produced)
    }
}

#[test]
fn promises_hold_under_faults_and_everything_arrives_once_they_end() {
    let mut sum = Faults::default();
    for seed in 0..100 {
        let mut world = World::new(seed);
        for _ in 0..3_000 {
            world.step();
        }
        world.faulty = false;
        let mut steps = 0;
        while !world.drained() {
            world.step();
            steps += 1;
            assert!(steps < 60_000, "seed {seed}: no progress without faults");
        }
        let Faults {
            cuts,
            agent_crashes,
            gateway_crashes,
            aggregator_crashes,
            ..
        } = world.faults;
        sum.cuts += cuts;
        sum.agent_crashes += agent_crashes;
        sum.gateway_crashes += gateway_crashes;
        sum.aggregator_crashes += aggregator_crashes;
        sum.reordered += world.faults.reordered;
        sum.store_refusals += world.faults.store_refusals;
        sum.schema_changes += world.faults.schema_changes;
        sum.duplicates += world.faults.duplicates;
    }
    // the run really contained the faults
    let Faults {
        cuts,
        agent_crashes,
        gateway_crashes,
        aggregator_crashes,
        ..
    } = sum;
    assert!(
        cuts > 100 && agent_crashes > 100 && gateway_crashes > 100 && aggregator_crashes > 100,
        "{sum:?}"
    );
    assert!(
        sum.reordered > 100 && sum.store_refusals > 20 && sum.schema_changes > 20,
        "{sum:?}"
    );
    assert!(sum.duplicates > 10, "{sum:?}");
}

#[test]
fn versions_without_overlap_are_refused_with_both_ranges() {
    let hello = |min_version, max_version| crate::wire::Hello {
        min_version,
        max_version,
        node: "a".to_owned(),
        software: String::new(),
        instance: 0,
    };
    assert_eq!(negotiate(&hello(1, 9)), Ok(VERSION));
    let bye = negotiate(&hello(VERSION + 1, VERSION + 3)).expect_err("too new");
    assert!(
        bye.message
            .contains(&format!("{} to {}", VERSION + 1, VERSION + 3)),
        "{}",
        bye.message
    );
}
