//! What the simulated agents do in a step: produce, make room, connect, ship.

use rand::RngExt;

use super::nodes::{Parcel, Session};
use super::oracle::EventNo;
use super::spool::Content;
use super::world::{GATEWAYS, STREAMS, World, gateway_id, limits, stream};
use crate::ids::SeqRange;
use crate::protocol::{AgentLink, FreshShare, GatewayLink, LaneView, Priority, RetiredLane};
use crate::wire::{BatchContent, BatchHeader, ByeCode, SessionKey, ToAgent};

/// Events that a simulated spool holds before it is full.
const SPOOL_LIMIT: usize = 300;

impl World {
    pub(super) fn produce(&mut self, agent: usize) {
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
    pub(super) fn make_room(&mut self, agent: usize, to: u32) -> bool {
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

    pub(super) fn show_spool(&mut self, agent: usize) {
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

    pub(super) fn connect(&mut self, agent: usize) {
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

    pub(super) fn ship(&mut self, agent: usize) {
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

    pub(super) fn sync_spools(&mut self) {
        for agent in &mut self.agents {
            agent.spool.sync(&mut self.oracle);
        }
    }
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
        contexts: Default::default(),
        attempts: Default::default(),
    }
}
