//! What the simulated gateways do in a step: take from agents, send to the aggregator.

use rand::RngExt;

use super::nodes::Upstream;
use super::world::{World, gateway_id, limits};
use crate::ids::LaneNo;
use crate::protocol::{AggregatorLink, UpstreamLink};
use crate::wire::{BatchHeader, CommitHeader};

impl World {
    pub(super) fn upstream_reachable(&self, gateway: usize) -> bool {
        let node = &self.gateways[gateway];
        self.now >= node.stopped_until && self.now >= node.cut_off_until
    }

    pub(super) fn dial_upstream(&mut self, gateway: usize) {
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

    /// One of the gateway's sessions, if there are any and the gateway runs.
    pub(super) fn some_session(&mut self, gateway: usize) -> Option<usize> {
        let len = self.gateways[gateway].sessions.len();
        if len == 0 || self.now < self.gateways[gateway].stopped_until {
            return None;
        }
        let at = self.pick(len);
        self.gateways[gateway].sessions.keys().nth(at).copied()
    }

    pub(super) fn deliver_all_control(&mut self, gateway: usize) {
        if self.now < self.gateways[gateway].stopped_until {
            return;
        }
        let keys: Vec<usize> = self.gateways[gateway].sessions.keys().copied().collect();
        keys.into_iter()
            .for_each(|key| self.deliver_control(gateway, key));
    }

    pub(super) fn deliver_control(&mut self, gateway: usize, key: usize) {
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

    pub(super) fn deliver_batch(&mut self, gateway: usize) {
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

    pub(super) fn forward(&mut self, gateway: usize) {
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
    pub(super) fn overdraw(&mut self, gateway: usize) {
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

    pub(super) fn send_upstream(&mut self, gateway: usize, at: usize) {
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

    pub(super) fn deliver_upstream(&mut self, gateway: usize) {
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
        contexts: Default::default(),
        attempts: Default::default(),
        usage: Vec::new(),
    }
}
