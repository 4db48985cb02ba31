//! What was found in the log, by lane, gateway and schema.

use std::collections::BTreeMap;

use tributary_shared::ids::{AgentId, GatewayId, LaneKey, LaneNo, Seq};
use tributary_shared::telemetry::SpanCtx;
use tributary_shared::wire::SchemaRef;

use super::messages::{AgentPart, GatewayPart, LanePart, RangePart, SchemaPart};
use crate::commit::{Committed, EntryHeader};

/// Events that were found, and where.
#[derive(Debug, Default)]
pub(in super::super) struct Tally {
    lanes: BTreeMap<LaneNo, (LaneKey, Vec<RangePart>)>,
    pub events: u64,
    /// Runs of one log entry each.
    pub runs: usize,
}

impl Tally {
    /// Adds events of an entry, in order.
    pub fn add(&mut self, entry: &Committed, found: &[Seq]) {
        let (Some(first_seq), Some(last_seq)) = (found.first(), found.last()) else {
            return;
        };
        let events = found.len() as u64;
        let (gateway, replayed) = match &entry.header {
            EntryHeader::Batch(header) => (Some(header.gateway.clone()), false),
            EntryHeader::Replay(_) => (None, true),
        };
        let range = RangePart {
            first_seq: *first_seq,
            last_seq: *last_seq,
            events,
            position: entry.pos,
            committed_at: entry.committed_at,
            gateway,
            schema: entry.header.schema(),
            trace_id: entry.header.traceparent().and_then(trace_id),
            replayed,
        };
        let lane = self.lanes.entry(entry.header.lane());
        let (_, ranges) = lane.or_insert_with(|| (entry.key.clone(), Vec::new()));
        ranges.push(range);
        self.events += events;
        self.runs += 1;
    }

    /// Takes what another one found in the same entries.
    pub fn merge(&mut self, other: Self) {
        for (lane, (key, ranges)) in other.lanes {
            let (_, own) = self.lanes.entry(lane).or_insert_with(|| (key, Vec::new()));
            for range in ranges {
                match own.iter_mut().find(|known| known.position == range.position) {
                    Some(known) => {
                        known.first_seq = known.first_seq.min(range.first_seq);
                        known.last_seq = known.last_seq.max(range.last_seq);
                        known.events += range.events;
                    }
                    None => own.push(range),
                }
            }
            own.sort_by_key(|range| range.position);
        }
        self.events += other.events;
    }

    pub fn agents(&self) -> Vec<AgentPart> {
        let mut agents: BTreeMap<&AgentId, u64> = BTreeMap::new();
        for (key, ranges) in self.lanes.values() {
            *agents.entry(&key.agent).or_default() += sum(ranges);
        }
        let part = |(agent, events): (&AgentId, u64)| AgentPart {
            agent: agent.clone(),
            events,
        };
        agents.into_iter().map(part).collect()
    }

    pub fn gateways(&self) -> Vec<GatewayPart> {
        let mut gateways: BTreeMap<Option<&GatewayId>, u64> = BTreeMap::new();
        for range in self.all() {
            *gateways.entry(range.gateway.as_ref()).or_default() += range.events;
        }
        let part = |(gateway, events): (Option<&GatewayId>, u64)| GatewayPart {
            gateway: gateway.cloned(),
            events,
        };
        gateways.into_iter().map(part).collect()
    }

    pub fn schemas(&self) -> Vec<SchemaPart> {
        let mut schemas: BTreeMap<Option<(u32, u32)>, u64> = BTreeMap::new();
        let name = |schema: SchemaRef| (schema.version, schema.id);
        for range in self.all() {
            *schemas.entry(range.schema.map(name)).or_default() += range.events;
        }
        let part = |(schema, events): (Option<(u32, u32)>, u64)| SchemaPart {
            id: schema.map(|(_, id)| id),
            version: schema.map(|(version, _)| version),
            events,
        };
        schemas.into_iter().map(part).collect()
    }

    pub fn lanes(self) -> Vec<LanePart> {
        let part = |(lane, (key, ranges)): (LaneNo, (LaneKey, Vec<RangePart>))| LanePart {
            lane,
            agent: key.agent,
            stream: key.stream,
            epoch: key.epoch,
            first_seq: ranges.iter().map(|range| range.first_seq).min().unwrap_or(0),
            last_seq: ranges.iter().map(|range| range.last_seq).max().unwrap_or(0),
            events: sum(&ranges),
            ranges,
        };
        self.lanes.into_iter().map(part).collect()
    }

    #[cfg(test)]
    pub fn ranges(&self) -> impl Iterator<Item = (LaneNo, &RangePart)> {
        self.lanes
            .iter()
            .flat_map(|(lane, (_, ranges))| ranges.iter().map(|range| (*lane, range)))
    }

    fn all(&self) -> impl Iterator<Item = &RangePart> {
        self.lanes.values().flat_map(|(_, ranges)| ranges)
    }
}

fn sum(ranges: &[RangePart]) -> u64 {
    ranges.iter().map(|range| range.events).sum()
}

fn trace_id(traceparent: &str) -> Option<String> {
    SpanCtx::parse(traceparent).map(|context| context.trace_id())
}
