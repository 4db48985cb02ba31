//! Carries out what the cores ask for, as the actors do.

use std::sync::Arc;

use super::agent_steps::batch_header;
use super::center::Answer;
use super::nodes::Parcel;
use super::spool::{Content, Opened};
use super::world::{AGENTS, GATEWAYS, World, key_of};
use crate::ids::{LaneKey, SeqRange};
use crate::protocol::{
    AgentLink, AgentOutput, AggregatorOutput, FORGOTTEN, GatewayLink, GatewayOutput, Sighting, UpstreamOutput,
};
use crate::wire::{Ack, ByeCode, History, LaneOpened, NodeReport, Refuse, SessionKey, ToAggregator};

/// Held events beyond which a lane is a backlog when its session begins.
const BACKLOG: u64 = 40;
/// Epochs of one stream beyond which no backlog is forked.
const MAX_EPOCHS: usize = 4;

impl World {
    /// Until nothing more is asked.
    pub fn settle(&mut self) {
        for agent in 0..self.agents.len() {
            self.show_spool(agent);
            self.settle_agent(agent);
            let node = &mut self.agents[agent];
            node.told |= node.link.as_ref().is_some_and(AgentLink::retired_are_settled);
        }
        for gateway in 0..GATEWAYS {
            self.settle_upstream(gateway);
            self.settle_sessions(gateway);
        }
        debug_assert!(self.agents.len() <= AGENTS + 1, "one twin at most");
    }

    fn settle_agent(&mut self, at: usize) {
        while let Some(output) = self.agents[at].link.as_mut().and_then(AgentLink::output) {
            match output {
                AgentOutput::Send(message) => {
                    let Some((gateway, session)) = self.agents[at].peer else {
                        continue;
                    };
                    if let Some(session) = self.gateways[gateway].sessions.get_mut(&session) {
                        session.to_gateway.push_back(message);
                    }
                }
                AgentOutput::LaneOpened { lane, mark, history } => {
                    self.lane_opened(at, lane, mark, history.as_ref());
                }
                AgentOutput::Committed { lane, mark } => {
                    let agent = &mut self.agents[at];
                    if let Some(known) = agent.spool.disk.visible().by_id.get(&lane) {
                        self.oracle
                            .believed((agent.of, known.row.stream, known.row.epoch), mark);
                    }
                    agent.spool.commit_mark(lane, mark);
                }
                AgentOutput::ReportForgotten {
                    lane,
                    range,
                    writer,
                    after_writer,
                } => self.report_forgotten(at, lane, range, (writer, after_writer)),
                AgentOutput::ForgottenAndTaken { no, from } => {
                    let epoch = self.epoch(at);
                    let agent = &mut self.agents[at];
                    agent
                        .spool
                        .forgotten_and_taken(no, from, epoch, agent.of, &mut self.oracle);
                    agent.spool.sync(&mut self.oracle);
                }
                AgentOutput::Connected { .. }
                | AgentOutput::Refused { .. }
                | AgentOutput::Schema { .. }
                | AgentOutput::AuditHead(_)
                | AgentOutput::Promoted(_) => {}
                AgentOutput::Close {
                    retry_after, code, ..
                } => self.closed(at, retry_after, code),
            }
        }
    }

    fn lane_opened(&mut self, at: usize, lane: u32, mark: u64, history: Option<&History>) {
        let epoch = self.epoch(at);
        let fsync_fails = self.faulty && self.chance(40);
        let agent = &mut self.agents[at];
        let opened = agent
            .spool
            .lane_opened(lane, (mark, history), epoch, agent.of, &mut self.oracle);
        if fsync_fails {
            self.faults.fsyncs_failed += 1;
            return self.crash_agent(at);
        }
        agent.spool.sync(&mut self.oracle);
        match opened {
            Opened::Unknown => {}
            Opened::Forked => self.faults.epochs_forked += 1,
            Opened::Resume | Opened::Rewound => {
                self.faults.gaps_reported += u64::from(opened == Opened::Rewound);
                if let Some(link) = &mut agent.link {
                    link.resume(lane, mark);
                }
                self.fork_if_backlog(at, lane);
            }
        }
        self.show_spool(at);
    }

    fn report_forgotten(&mut self, at: usize, lane: u32, range: SeqRange, writers: (u64, u64)) {
        self.faults.gaps_of_gone_lanes += 1;
        let content = Content::Dropped(FORGOTTEN, Arc::new([]));
        let header = batch_header(lane, range, writers, &content);
        if let Some((gateway, session)) = self.agents[at].peer
            && let Some(session) = self.gateways[gateway].sessions.get_mut(&session)
        {
            session.batches.push(Parcel { header, content });
        }
    }

    fn fork_if_backlog(&mut self, at: usize, id: u32) {
        let lanes = &self.agents[at].spool.disk.visible().by_id;
        let Some(row) = lanes.get(&id).map(|lane| lane.row.clone()) else {
            return;
        };
        let epochs = lanes
            .values()
            .filter(|lane| lane.row.stream == row.stream)
            .count();
        if row.active && row.next_seq - 1 - row.committed > BACKLOG && epochs < MAX_EPOCHS {
            let epoch = self.epoch(at);
            let agent = &mut self.agents[at];
            agent.spool.fork_backlog(id, epoch);
            agent.spool.sync(&mut self.oracle);
            self.faults.backlogs_forked += 1;
        }
    }

    fn closed(&mut self, at: usize, retry_after: u64, code: Option<ByeCode>) {
        let mut pause = retry_after + self.jitter(retry_after.max(200));
        if code == Some(ByeCode::Superseded) {
            // somebody lives with this identity, and perhaps with a copy of this spool
            pause += 2_000 + self.jitter(4_000);
            let agent = &self.agents[at];
            let lanes = agent.spool.disk.visible().by_id.iter();
            let shared = lanes.filter(|(id, lane)| lane.row.active && !agent.own.contains(id));
            for id in shared.map(|(id, _)| *id).collect::<Vec<_>>() {
                let epoch = self.epoch(at);
                let agent = &mut self.agents[at];
                agent.spool.fork_backlog(id, epoch);
                agent.spool.sync(&mut self.oracle);
                agent
                    .own
                    .extend(agent.spool.disk.visible().by_id.keys().next_back());
            }
        }
        self.cut_agent(at);
        self.agents[at].dial_at = self.now + pause;
    }

    fn jitter(&mut self, bound: u64) -> u64 {
        rand::RngExt::random_range(&mut self.rng, 0..bound)
    }

    fn settle_sessions(&mut self, gateway: usize) {
        let keys: Vec<usize> = self.gateways[gateway].sessions.keys().copied().collect();
        for key in keys {
            loop {
                let session = self.gateways[gateway].sessions.get_mut(&key);
                let Some(output) = session.and_then(|session| session.link.output()) else {
                    break;
                };
                self.act_session(gateway, key, output);
            }
        }
    }

    fn act_session(&mut self, gateway: usize, key: usize, output: GatewayOutput) {
        let node = &mut self.gateways[gateway];
        let session = node.sessions.get_mut(&key).expect("its own output");
        match output {
            GatewayOutput::Send(message) => session.to_agent.push_back(message),
            GatewayOutput::OpenUpstream {
                lane,
                key: wire,
                next_seq,
            } => {
                let open = |upstream: &&mut super::nodes::Upstream| upstream.link.is_open();
                if let Some(upstream) = node.upstream.as_mut().filter(open) {
                    upstream.next_handle += 1;
                    let handle = upstream.next_handle;
                    upstream.link.open_lane(handle, wire, next_seq);
                    let old: Vec<u32> = upstream
                        .handles
                        .iter()
                        .filter(|(_, owner)| **owner == (key, lane))
                        .map(|(handle, _)| *handle)
                        .collect();
                    for handle in old {
                        upstream.handles.remove(&handle);
                        upstream.credit += upstream.link.close_lane(handle) as isize;
                    }
                    upstream.handles.insert(handle, (key, lane));
                }
            }
            GatewayOutput::Close { bye } => {
                let agent = session.agent;
                self.end_session(gateway, key);
                if self.agents[agent].peer == Some((gateway, key)) {
                    // the last word arrives, or the connection just ends
                    match bye {
                        Some(bye) if !self.chance(3) => {
                            let link = self.agents[agent].link.as_mut().expect("it has a peer");
                            link.receive(self.now, crate::wire::ToAgent::Bye(bye));
                            self.settle_agent(agent);
                        }
                        _ => self.cut_agent(agent),
                    }
                }
            }
            GatewayOutput::AgentUp { .. } | GatewayOutput::WantSchema { .. } => {}
            GatewayOutput::Report(_) => {
                let (agent, session) = (session.link.agent().clone(), session.key);
                if let Some(upstream) = &mut node.upstream {
                    upstream.link.send(agent_message(agent, session));
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

    fn act_aggregator(&mut self, gateway: usize, output: AggregatorOutput<Content>) {
        let upstream = self.gateways[gateway].upstream.as_mut().expect("its own output");
        match output {
            AggregatorOutput::Send(message) => upstream.to_gateway.push_back(message),
            AggregatorOutput::OpenLane { lane, key, .. } => {
                self.center.open_lane(&key, key_of(&key));
                let answer = Answer::Opened { handle: lane, key };
                self.center.answers.push((gateway, upstream.serial, answer));
            }
            AggregatorOutput::Commit {
                key,
                generation,
                header,
                body,
            } => upstream.submitted.push_back((key, generation, header, body)),
            AggregatorOutput::Close { bye } => {
                // a hello that a partition held up is the network's fault, anything else a gateway's
                let late = bye.as_ref().is_none_or(|bye| bye.message == "no hello in time");
                self.oracle
                    .require(late, "bounded", || format!("the aggregator complains: {bye:?}"));
                self.cut_upstream(gateway);
            }
            AggregatorOutput::Agent { agent, session, .. } => self.sighted(gateway, &agent, session),
            AggregatorOutput::Subscribe { .. }
            | AggregatorOutput::FindSchema { .. }
            | AggregatorOutput::Refused { .. }
            | AggregatorOutput::GatewayUp { .. } => {}
        }
    }

    fn sighted(&mut self, gateway: usize, agent: &crate::ids::AgentId, session: SessionKey) {
        let here = super::world::gateway_id(gateway);
        let (at, old) = match self.center.presence.seen(agent, &here, session) {
            Sighting::Current | Sighting::TakesOver { older: None } => return,
            Sighting::TakesOver { older: Some(older) } => older,
            Sighting::Stale => (here, session),
        };
        let number = (0..GATEWAYS).find(|number| super::world::gateway_id(*number) == at);
        if let Some(upstream) = number.and_then(|number| self.gateways[number].upstream.as_mut()) {
            upstream.server.supersede(agent.clone(), old);
        }
    }

    fn act_upstream(&mut self, gateway: usize, output: UpstreamOutput) {
        let node = &mut self.gateways[gateway];
        let upstream = node.upstream.as_mut().expect("its own output");
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
                upstream.credit = limits.max_in_flight as isize;
                for session in node.sessions.values_mut() {
                    session.link.upstream_restored();
                    // what each agent said last, for an aggregator that comes back without knowing it
                    let message = agent_message(session.link.agent().clone(), session.key);
                    upstream.link.send(message);
                }
            }
            UpstreamOutput::LaneOpened(opened) => {
                tell(opened.lane, &|link, lane| {
                    link.lane_opened(LaneOpened {
                        lane,
                        ..opened.clone()
                    })
                });
            }
            UpstreamOutput::Ack { ack, credit } => {
                tell(ack.lane, &|link, lane| link.ack(Ack { lane, ..ack }));
                upstream.credit += credit as isize;
            }
            UpstreamOutput::Refuse { refuse, credit } => {
                tell(refuse.lane, &|link, lane| {
                    link.upstream_refused(Refuse {
                        lane,
                        ..refuse.clone()
                    });
                });
                upstream.credit += credit as isize;
            }
            UpstreamOutput::Superseded { agent, session } => {
                let older =
                    |held: &&mut super::nodes::Session| *held.link.agent() == agent && held.key == session;
                if let Some(older) = node.sessions.values_mut().find(older) {
                    older.link.superseded_elsewhere(session);
                    self.faults.sessions_superseded += 1;
                }
            }
            UpstreamOutput::Schema { .. }
            | UpstreamOutput::SchemaById { .. }
            | UpstreamOutput::AuditHead(_) => {}
            UpstreamOutput::Close { .. } => self.cut_upstream(gateway),
        }
    }

    /// The open group becomes durable, and its answers go out.
    pub fn sync_center(&mut self) {
        if self.faulty && self.chance(30) {
            self.faults.fsyncs_failed += 1;
            return self.crash_center();
        }
        self.center.sync(&mut self.oracle);
        for (gateway, serial, answer) in std::mem::take(&mut self.center.answers) {
            let found = match &answer {
                Answer::Opened { key, .. } => self.find(key),
                Answer::Batch { .. } => None,
            };
            let upstream = self.gateways[gateway].upstream.as_mut();
            let Some(upstream) = upstream.filter(|upstream| upstream.serial == serial) else {
                continue;
            };
            match answer {
                Answer::Opened { handle, .. } => {
                    let Some((lane_no, mark, history)) = found else {
                        continue;
                    };
                    upstream.server.lane_opened(LaneOpened {
                        lane: handle,
                        lane_no,
                        mark,
                        history: Some(history),
                    });
                }
                Answer::Batch {
                    lane,
                    generation,
                    outcome,
                } => upstream.server.answered(lane, generation, outcome),
            }
        }
    }

    fn find(&self, key: &LaneKey) -> Option<(crate::ids::LaneNo, u64, History)> {
        self.center.find(key)
    }

    pub fn cut_agent(&mut self, agent: usize) {
        self.agents[agent].link = None;
        // the gateway notices sooner or later
        if let Some((gateway, session)) = self.agents[agent].peer.take() {
            if self.chance(2) {
                self.end_session(gateway, session);
            } else {
                self.faults.half_open_sessions += 1;
            }
        }
    }

    pub fn end_session(&mut self, gateway: usize, session: usize) {
        let node = &mut self.gateways[gateway];
        node.sessions.remove(&session);
        if let Some(upstream) = &mut node.upstream {
            let owned: Vec<u32> = upstream
                .handles
                .iter()
                .filter(|(_, owner)| owner.0 == session)
                .map(|(handle, _)| *handle)
                .collect();
            for handle in owned {
                upstream.handles.remove(&handle);
                upstream.credit += upstream.link.close_lane(handle) as isize;
            }
        }
    }

    pub fn cut_upstream(&mut self, gateway: usize) {
        let node = &mut self.gateways[gateway];
        if node.upstream.take().is_some() {
            node.waiting.clear();
            let sessions = node.sessions.values_mut();
            sessions.for_each(|session| session.link.upstream_lost());
        }
    }
}

fn agent_message(agent: crate::ids::AgentId, session: SessionKey) -> ToAggregator {
    ToAggregator::Agent {
        agent,
        session,
        remote: String::new(),
        software: String::new(),
        configuration: None,
        report: Some(NodeReport {
            skew_ms: None,
            promoted: Vec::new(),
            now: 0,
            spool_bytes: 0,
            spool_limit: 0,
            lanes: Vec::new(),
            checks: Vec::new(),
        }),
    }
}
