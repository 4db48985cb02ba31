//! The agent's end of the agent-gateway hop.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::classes::{Priority, Turns};
use super::retired::{Forgotten, RetiredChecks, RetiredLane};
use super::told_head::MAX_AUDIT_HEAD;
use super::{ACK_TIMEOUT, FreshShare, HEARTBEAT_EVERY, HELLO_TIMEOUT, SILENCE_TIMEOUT, Tick};
use crate::ids::{AgentId, Epoch, LaneNo, Seq, SeqRange, StreamName};
use crate::time::Millis;
use crate::wire::history::differ;
use crate::wire::{
    Ack, Bye, ByeCode, CheckReport, Hello, History, LaneOpened, LaneReport, Limits, MAX_PROMOTED,
    MIN_VERSION, NodeReport, OpenLane, Refuse, RefuseCode, SCHEMAS_TO_AGENTS, SchemaInfo, SessionKey,
    ToAgent, ToGateway, VERSION, Welcome,
};

/// After so many refusals as malformed at one seq, the batch there is given up and reported as dropped: the
/// bytes on disk are damaged, and everything behind them waits.
const MALFORMED_TRIES: u32 = 5;
/// A lane that was opened again because of a refusal, and that its spool took for its own all the same, waits so long:
/// the two do not agree, and must not ask each other in a loop.
const REOPEN_AFTER: Tick = 1_000;
/// One part in so many of the credit is kept for live data while there are both kinds of lanes.
const KEPT_FOR_LIVE: usize = 4;
/// What such a drop is called in the ledger.
pub const UNDELIVERABLE: &str = "undeliverable";
/// Reason of events that the aggregator had committed and forgot (it was restored from an older copy), and that
/// their agent has already deleted.
pub const FORGOTTEN: &str = "forgotten_by_aggregator";

/// A lane as the spool shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneView {
    /// The spool's own number of the lane; also its handle in the session.
    pub lane: u32,
    pub stream: StreamName,
    pub epoch: Epoch,
    /// The seq that the next event will get.
    pub next_seq: Seq,
    pub committed_seq: Seq,
    /// Who numbered its seqs.
    pub history: History,
    pub held_events: u64,
    pub held_bytes: u64,
    /// New events of the stream go here; the other lanes of the stream are backlog.
    pub fresh: bool,
    /// That of its stream: of live data, and of backlog, the higher goes first.
    pub priority: Priority,
}

/// The next batch to read from the spool and send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shipment {
    pub lane: u32,
    pub from_seq: Seq,
    /// The batch there cannot be delivered: report it as dropped instead.
    pub give_up: bool,
    /// Live data: the transport should let it pass by backlog that waits.
    pub fresh: bool,
}

/// What the caller must do.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentOutput {
    Send(ToGateway),
    /// Welcomed: batches may flow.
    Connected {
        gateway: String,
        limits: Limits,
        gateway_now: Millis,
    },
    /// Everything of the lane up to `mark` is committed: the spool may forget it.
    Committed {
        lane: u32,
        mark: Seq,
    },
    /// The aggregator has committed the lane up to `mark`, as `history` says where it knows. The spool decides
    /// whether that is its own past: answer with [`AgentLink::resume`] to ship from there, or give the lane a new
    /// epoch and let it vanish from the views.
    LaneOpened {
        lane: u32,
        mark: Seq,
        history: Option<History>,
    },
    /// The aggregator has forgotten these seqs of a lane that the spool has let go of: send a batch on this handle
    /// that reports them as dropped, for the reason [`FORGOTTEN`].
    ReportForgotten {
        lane: u32,
        range: SeqRange,
        writer: u64,
        after_writer: u64,
    },
    /// The aggregator has forgotten the seqs from `from` on of a lane that the spool has let go of, and has other
    /// events under them now: the spool must report the loss under new seqs. `no` is the retired lane's number.
    ForgottenAndTaken {
        no: u64,
        from: Seq,
    },
    /// The gateway refused a batch; the link already goes on from where it must.
    Refused {
        lane: u32,
        /// What was sent from this seq on is sent again.
        expected: Seq,
        code: RefuseCode,
        message: String,
    },
    /// The newest schema of a stream; `None` when it has none. Keep it, for the time without a gateway.
    Schema {
        stream: StreamName,
        schema: Option<SchemaInfo>,
    },
    /// A signed head of the aggregator's audit: keep it, so that a tail that is cut off there is noticed.
    AuditHead(String),
    /// The gateway exports these traces whatever the sampler said: so should this process.
    Promoted(Vec<String>),
    /// The session is over. Come back after `retry_after` ms at the earliest. `code` is the gateway's word, when
    /// it closed with one.
    Close {
        reason: String,
        retry_after: Tick,
        code: Option<ByeCode>,
    },
}

#[derive(Debug)]
struct Lane {
    view: LaneView,
    /// The aggregator's number for it, once it is opened.
    no: Option<LaneNo>,
    state: LaneState,
    /// Batches sent and not acknowledged, in seq order.
    in_flight: VecDeque<SeqRange>,
    sent_up_to: Seq,
    not_before: Tick,
    malformed: (Seq, u32),
}

#[derive(Debug, PartialEq, Eq)]
enum LaneState {
    Opening,
    /// Waits for the spool's word on the mark.
    Resuming,
    Open,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    AwaitWelcome { until: Tick },
    Open,
    Closed,
}

/// One session with one gateway, from connect to close. Made anew for each connection: what must survive a
/// session is in the spool.
#[derive(Debug)]
pub struct AgentLink {
    state: State,
    lanes: BTreeMap<u32, Lane>,
    /// How many lanes were opened in this session: each has a handle of its own.
    opened: usize,
    retired: RetiredChecks,
    /// Marks of retired lanes that wait until the credit has room for a report; at most one a handle.
    retired_marks: VecDeque<(u32, Seq, Option<History>)>,
    limits: Limits,
    schedule: FreshShare,
    /// Among lanes of live data, and among those of backlog.
    live: Turns,
    backlog: Turns,
    spool: (u64, u64),
    /// The schemas that the agent keeps, by stream.
    kept: BTreeMap<StreamName, u32>,
    checks: Vec<CheckReport>,
    /// Traces that the gateway is to hear of with the next report.
    promoted: Vec<String>,
    /// The streams that the agent checks.
    wanted: BTreeSet<StreamName>,
    next_report: Tick,
    last_progress: Tick,
    last_heard: Tick,
    outputs: VecDeque<AgentOutput>,
}

impl AgentLink {
    /// A session over a connection that was just established.
    #[must_use]
    pub fn new(
        agent: &AgentId,
        software: &str,
        session: SessionKey,
        schedule: FreshShare,
        now: Tick,
    ) -> Self {
        let hello = Hello {
            min_version: MIN_VERSION,
            max_version: VERSION,
            node: agent.to_string(),
            software: software.to_owned(),
            instance: session.instance,
            session: session.session,
            configuration: None,
        };
        Self {
            state: State::AwaitWelcome {
                until: now + HELLO_TIMEOUT,
            },
            lanes: BTreeMap::new(),
            opened: 0,
            retired: RetiredChecks::default(),
            retired_marks: VecDeque::new(),
            limits: Limits::default(),
            schedule,
            live: Turns::default(),
            backlog: Turns::default(),
            spool: (0, 0),
            kept: BTreeMap::new(),
            checks: Vec::new(),
            promoted: Vec::new(),
            wanted: BTreeSet::new(),
            next_report: now,
            last_progress: now,
            last_heard: now,
            outputs: VecDeque::from([AgentOutput::Send(ToGateway::Hello(hello))]),
        }
    }

    /// What the aggregator is told, with the hello, of how this agent is set up. To be called before the first output is
    /// taken.
    pub fn configured(&mut self, configuration: Option<String>) {
        if let Some(AgentOutput::Send(ToGateway::Hello(hello))) = self.outputs.front_mut() {
            hello.configuration = configuration;
        }
    }

    /// The schemas that the agent keeps from before this session: those are not sent again. Before the first lane.
    pub fn keeps(&mut self, schemas: impl IntoIterator<Item = (StreamName, u32)>) {
        self.kept.extend(schemas);
    }

    /// The streams that the agent checks: their schemas are asked for, so that even a stream's first events can be
    /// judged. Before the session begins.
    pub fn wants(&mut self, streams: impl IntoIterator<Item = StreamName>) {
        self.wanted.extend(streams);
    }

    /// What the agent's own checks have found, for the next report.
    pub fn checked(&mut self, checks: Vec<CheckReport>) {
        self.checks = checks;
    }

    /// Traces that this process exports whatever the sampler said, for the next report.
    pub fn promoted(&mut self, traces: impl IntoIterator<Item = String>) {
        let room = MAX_PROMOTED - self.promoted.len();
        self.promoted.extend(traces.into_iter().take(room));
    }

    /// The spool changed: new lanes are opened, drained ones are let go.
    pub fn spool_changed(&mut self, now: Tick, views: &[LaneView], spool_bytes: u64, spool_limit: u64) {
        self.spool = (spool_bytes, spool_limit);
        self.lanes
            .retain(|lane, _| views.iter().any(|view| view.lane == *lane));
        for view in views {
            match self.lanes.get_mut(&view.lane) {
                Some(lane) => lane.view = view.clone(),
                None => self.add_lane(now, view),
            }
        }
    }

    /// The lanes that the spool has drained and let go of, ascending.
    pub fn retired(&mut self, now: Tick, lanes: &Arc<[RetiredLane]>) {
        self.retired.known(lanes);
        self.ask_retired(now);
    }

    /// Opens retired lanes, once all lanes that hold something are open.
    fn ask_retired(&mut self, now: Tick) {
        let opening = |lane: &Lane| lane.state == LaneState::Opening;
        if self.state != State::Open || self.lanes.values().any(opening) {
            return;
        }
        let room = (self.limits.max_lanes as usize).saturating_sub(self.opened);
        while let Some(open) = self.retired.next(now, room) {
            if !self.waits() {
                self.last_progress = now;
            }
            self.outputs
                .push_back(AgentOutput::Send(ToGateway::OpenLane(open)));
        }
    }

    /// Judges the marks of retired lanes, within the credit: what is missing takes a batch.
    fn judge_retired(&mut self) {
        // one more may be on its way from the spool
        let credit = (self.limits.max_in_flight as usize).saturating_sub(1).max(1);
        while self.in_flight() < credit
            && let Some((lane, mark, history)) = self.retired_marks.pop_front()
        {
            let forgotten = self.retired.opened(lane, mark, history.as_ref());
            self.report_forgotten(lane, forgotten);
        }
    }

    fn report_forgotten(&mut self, lane: u32, forgotten: Option<Forgotten>) {
        self.outputs.extend(forgotten.map(|forgotten| match forgotten {
            Forgotten::Taken { no, from } => AgentOutput::ForgottenAndTaken { no, from },
            Forgotten::Gone(claim) => AgentOutput::ReportForgotten {
                lane,
                range: claim.range,
                writer: claim.writer,
                after_writer: claim.after_writer,
            },
        }));
    }

    /// Whether every retired lane is known to be there, or what is missing of it is reported.
    #[must_use]
    pub fn retired_are_settled(&self) -> bool {
        self.state == State::Open && self.retired.done()
    }

    fn add_lane(&mut self, now: Tick, view: &LaneView) {
        if !self.waits() {
            self.last_progress = now;
        }
        let lane = Lane {
            view: view.clone(),
            no: None,
            state: LaneState::Opening,
            in_flight: VecDeque::new(),
            sent_up_to: view.committed_seq,
            not_before: now,
            malformed: (0, 0),
        };
        if self.state == State::Open {
            self.opened += 1;
            self.outputs.push_back(open_message(&lane.view, &self.kept));
        }
        self.lanes.insert(view.lane, lane);
    }

    /// A message from the gateway.
    pub fn receive(&mut self, now: Tick, message: ToAgent) {
        self.last_heard = self.last_heard.max(now);
        match (message, &self.state) {
            (_, State::Closed) => {}
            (ToAgent::Bye(bye), _) => self.dismissed(bye),
            (ToAgent::Welcome(welcome), State::AwaitWelcome { .. }) => self.welcomed(now, welcome),
            (_, State::AwaitWelcome { .. }) => {
                self.close("the gateway did not begin with a welcome".to_owned(), 0);
            }
            (ToAgent::Welcome(_), State::Open) => self.close("the gateway welcomed twice".to_owned(), 0),
            (ToAgent::LaneOpened(opened), State::Open) => self.lane_opened(now, opened),
            (ToAgent::Ack(ack), State::Open) => self.acked(now, ack),
            (ToAgent::Refuse(refuse), State::Open) => self.refused(now, refuse),
            (ToAgent::Schema { stream, schema }, State::Open) => self.told_schema(stream, schema),
            (ToAgent::Drain(drain), State::Open) => {
                self.close(
                    "the gateway is draining".to_owned(),
                    Tick::from(drain.retry_after_ms),
                );
            }
            (
                ToAgent::Heartbeat {
                    audit_head,
                    mut promoted,
                    ..
                },
                State::Open,
            ) => {
                let head = audit_head.filter(|head| head.len() <= MAX_AUDIT_HEAD);
                self.outputs.extend(head.map(AgentOutput::AuditHead));
                promoted.truncate(MAX_PROMOTED);
                let promoted = Some(promoted).filter(|promoted| !promoted.is_empty());
                self.outputs.extend(promoted.map(AgentOutput::Promoted));
            }
        }
    }

    /// A schema of a stream that this agent does not have is none of its business.
    fn told_schema(&mut self, stream: StreamName, schema: Option<SchemaInfo>) {
        let own = |lane: &Lane| lane.view.stream == stream;
        if self.wanted.contains(&stream) || self.lanes.values().any(own) {
            match &schema {
                Some(schema) => drop(self.kept.insert(stream.clone(), schema.id)),
                None => drop(self.kept.remove(&stream)),
            }
            self.outputs.push_back(AgentOutput::Schema { stream, schema });
        }
    }

    fn dismissed(&mut self, bye: Bye) {
        let Bye {
            code,
            message,
            retry_after_ms,
        } = bye;
        self.state = State::Closed;
        self.outputs.push_back(AgentOutput::Close {
            reason: format!("the gateway closed the session ({code:?}): {message}"),
            retry_after: Tick::from(retry_after_ms),
            code: Some(code),
        });
    }

    fn welcomed(&mut self, now: Tick, welcome: Welcome) {
        if !(MIN_VERSION..=VERSION).contains(&welcome.version) {
            self.close(
                format!(
                    "the gateway chose protocol {}, which was not offered",
                    welcome.version
                ),
                0,
            );
            return;
        }
        self.state = State::Open;
        self.limits = welcome.limits;
        self.last_progress = now;
        self.outputs.push_back(AgentOutput::Connected {
            gateway: welcome.node,
            limits: welcome.limits,
            gateway_now: welcome.now,
        });
        if welcome.version >= SCHEMAS_TO_AGENTS {
            let ask = self.wanted.iter().map(|stream| {
                AgentOutput::Send(ToGateway::WantSchema {
                    stream: stream.clone(),
                    schema_id: self.kept.get(stream).copied(),
                })
            });
            self.outputs.extend(ask);
        }
        // those that should send first are asked about, and so answered, first
        let mut lanes: Vec<&LaneView> = self.lanes.values().map(|lane| &lane.view).collect();
        lanes.sort_by_key(|view| std::cmp::Reverse((view.fresh, view.priority)));
        self.opened = lanes.len();
        let open = lanes.into_iter().map(|view| open_message(view, &self.kept));
        self.outputs.extend(open);
        self.ask_retired(now);
        // with the next tick, which knows the wall clock
        self.next_report = now;
    }

    fn lane_opened(&mut self, now: Tick, opened: LaneOpened) {
        let LaneOpened {
            lane: id,
            lane_no,
            mark,
            history,
        } = opened;
        if RetiredChecks::owns(id) {
            self.last_progress = now;
            if self.retired.is_open(id) {
                self.retired_marks.push_back((id, mark, history));
                self.judge_retired();
            } else {
                self.retired.begin_again();
            }
        } else if let Some(lane) = self.lanes.get_mut(&id) {
            match lane.state {
                LaneState::Opening => self.last_progress = now,
                // the aggregator was away and is back, perhaps from an older copy: the spool judges anew
                LaneState::Open => {
                    lane.in_flight.clear();
                    self.retired.begin_again();
                }
                LaneState::Resuming => return,
            }
            lane.no = Some(lane_no);
            lane.state = LaneState::Resuming;
            self.outputs.push_back(AgentOutput::LaneOpened {
                lane: id,
                mark,
                history,
            });
        } else {
            // drained and let go of, in this session
            self.retired.begin_again();
        }
        self.ask_retired(now);
    }

    /// The spool knows the mark as its own: the lane goes on behind it.
    pub fn resume(&mut self, lane: u32, mark: Seq) {
        if let Some(lane) = self.lanes.get_mut(&lane)
            && lane.state == LaneState::Resuming
        {
            lane.state = LaneState::Open;
            lane.sent_up_to = mark;
        }
    }

    fn acked(&mut self, now: Tick, ack: Ack) {
        if RetiredChecks::owns(ack.lane) {
            self.last_progress = now;
            let rest = self.retired.acked(ack.lane, ack.mark, ack.writer);
            self.report_forgotten(ack.lane, rest);
            self.judge_retired();
            self.ask_retired(now);
            return;
        }
        let Some(lane) = self.lanes.get_mut(&ack.lane) else {
            return;
        };
        // of another process with this identity, on the way when the lane was opened
        let foreign = differ(ack.writer, lane.view.history.writer_at(ack.mark));
        if lane.state != LaneState::Open || foreign {
            return;
        }
        self.last_progress = now;
        if ack.mark >= lane.view.next_seq && ack.mark > lane.sent_up_to {
            // somebody else writes this lane: only the spool can tell, so it is asked as on opening
            lane.state = LaneState::Resuming;
            self.outputs.push_back(AgentOutput::LaneOpened {
                lane: ack.lane,
                mark: ack.mark,
                history: None,
            });
            return;
        }
        // an earlier session's batches may be committed behind this one's back: the mark is right all the same
        lane.sent_up_to = lane.sent_up_to.max(ack.mark);
        while lane.in_flight.front().is_some_and(|range| range.last <= ack.mark) {
            lane.in_flight.pop_front();
        }
        self.outputs.push_back(AgentOutput::Committed {
            lane: ack.lane,
            mark: ack.mark,
        });
        self.judge_retired();
    }

    fn refused(&mut self, now: Tick, refuse: Refuse) {
        if RetiredChecks::owns(refuse.lane) {
            let retry_after = Tick::from(refuse.retry_after_ms);
            self.retired.refused(now, refuse.lane, retry_after);
            self.judge_retired();
            return;
        }
        let Some(lane) = self.lanes.get_mut(&refuse.lane) else {
            return;
        };
        if lane.state != LaneState::Open || refuse.expected == 0 {
            return;
        }
        self.last_progress = now;
        lane.sent_up_to = refuse.expected - 1;
        lane.in_flight.retain(|range| range.last < refuse.expected);
        lane.not_before = now + Tick::from(refuse.retry_after_ms);
        lane.malformed = match refuse.code {
            RefuseCode::Malformed if lane.malformed.0 == refuse.expected => {
                (refuse.expected, lane.malformed.1 + 1)
            }
            RefuseCode::Malformed => (refuse.expected, 1),
            RefuseCode::Gap
            | RefuseCode::SchemaChanged
            | RefuseCode::Unavailable
            | RefuseCode::Throttled
            | RefuseCode::OtherWriter => (0, 0),
        };
        if refuse.code == RefuseCode::OtherWriter {
            // the spool sees from the whole history where the two part
            lane.state = LaneState::Opening;
            lane.in_flight.clear();
            lane.not_before = now + REOPEN_AFTER;
            self.outputs.push_back(open_message(&lane.view, &self.kept));
        }
        let Refuse {
            lane,
            expected,
            code,
            message,
            ..
        } = refuse;
        self.outputs.push_back(AgentOutput::Refused {
            lane,
            expected,
            code,
            message,
        });
        self.judge_retired();
    }

    /// The next batch that may be sent now, within the gateway's credit: live lanes up to their share, then
    /// backlog; among lanes of a kind a higher priority first, and those of one priority in turn.
    pub fn next_shipment(&mut self, now: Tick) -> Option<Shipment> {
        if self.state != State::Open || !self.retired_marks.is_empty() {
            return None;
        }
        let live = self.next_ready(true, now);
        let backlog = self.next_ready(false, now);
        let contended = live.is_some() && backlog.is_some();
        let fresh = self.schedule.live_first(live.is_some(), backlog.is_some())?;
        let id = if fresh { live? } else { backlog? };
        self.schedule.contended(contended);
        let lane = self.lanes.get(&id)?;
        let turns = if fresh { &mut self.live } else { &mut self.backlog };
        turns.given(id, lane.view.priority, ready(&self.lanes, fresh, now));
        let from_seq = lane.sent_up_to + 1;
        Some(Shipment {
            lane: id,
            from_seq,
            give_up: lane.malformed.0 == from_seq && lane.malformed.1 >= MALFORMED_TRIES,
            fresh,
        })
    }

    /// The lane of a kind whose turn it is, if the credit has room for it. A part of the credit is kept for live
    /// data, or its first batch would wait for an answer to the backlog's.
    fn next_ready(&self, fresh: bool, now: Tick) -> Option<u32> {
        let credit = self.limits.max_in_flight as usize;
        let both = || self.lanes.values().any(|lane| lane.view.fresh);
        let kept = if !fresh && both() {
            credit / KEPT_FOR_LIVE
        } else {
            0
        };
        if self.in_flight() >= credit - kept {
            return None;
        }
        let turns = if fresh { &self.live } else { &self.backlog };
        turns.next(ready(&self.lanes, fresh, now))
    }

    /// Whether a shipment is still the next of its lane, asked when it was read from the spool: meanwhile a refusal
    /// may have sent the lane back, and what lies behind it must not go out before it.
    #[must_use]
    pub fn is_next(&self, now: Tick, shipment: &Shipment) -> bool {
        self.lanes.get(&shipment.lane).is_some_and(|lane| {
            lane.state == LaneState::Open
                && now >= lane.not_before
                && lane.sent_up_to + 1 == shipment.from_seq
        })
    }

    /// A batch of this range, with a body of so many bytes, was handed to the transport.
    pub fn shipped(&mut self, now: Tick, lane: u32, range: SeqRange, bytes: u64) {
        let idle = self.in_flight() == 0;
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.sent_up_to = lane.sent_up_to.max(range.last);
            lane.in_flight.push_back(range);
            let view = &lane.view;
            self.schedule.sent(view.fresh, bytes);
            let turns = if view.fresh {
                &mut self.live
            } else {
                &mut self.backlog
            };
            turns.sent(view.priority, bytes);
        }
        if idle {
            self.last_progress = now;
        }
    }

    /// The highest seq of the lane that this session has sent, or knows to be committed.
    #[must_use]
    pub fn sent_up_to(&self, lane: u32) -> Seq {
        self.lanes.get(&lane).map_or(0, |lane| lane.sent_up_to)
    }

    /// Batches sent and not yet acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        let lanes = self.lanes.values().map(|lane| lane.in_flight.len());
        lanes.sum::<usize>() + self.retired.in_flight()
    }

    /// The aggregator's number for the lane, once it is opened.
    #[must_use]
    pub fn lane_no(&self, lane: u32) -> Option<LaneNo> {
        self.lanes.get(&lane).and_then(|lane| lane.no)
    }

    /// The lane as the spool last showed it.
    #[must_use]
    pub fn lane(&self, lane: u32) -> Option<&LaneView> {
        self.lanes.get(&lane).map(|lane| &lane.view)
    }

    /// Time passed; `wall` goes into the report.
    pub fn tick(&mut self, now: Tick, wall: Millis) {
        match self.state {
            State::Closed => {}
            State::AwaitWelcome { until } => {
                if now >= until {
                    self.close("the gateway did not answer the hello in time".to_owned(), 0);
                }
            }
            State::Open => {
                if now >= self.last_heard + SILENCE_TIMEOUT {
                    self.close("the gateway has gone silent".to_owned(), 0);
                } else if self.waits() && now >= self.last_progress + ACK_TIMEOUT {
                    let reason = "the gateway answers neither batches nor the opening of lanes";
                    self.close(reason.to_owned(), 0);
                } else if now >= self.next_report {
                    self.report(now, wall);
                }
                self.judge_retired();
                self.ask_retired(now);
            }
        }
    }

    /// Something is asked that only the aggregator can answer.
    fn waits(&self) -> bool {
        let opening = |lane: &Lane| lane.state == LaneState::Opening;
        self.in_flight() > 0 || self.retired.waits() || self.lanes.values().any(opening)
    }

    fn report(&mut self, now: Tick, wall: Millis) {
        self.next_report = now + HEARTBEAT_EVERY;
        let lanes = self.lanes.values().map(|lane| LaneReport {
            stream: lane.view.stream.clone(),
            epoch: lane.view.epoch,
            next_seq: lane.view.next_seq,
            committed_seq: lane.view.committed_seq,
            held_events: lane.view.held_events,
            held_bytes: lane.view.held_bytes,
        });
        let (spool_bytes, spool_limit) = self.spool;
        let report = NodeReport {
            skew_ms: None,
            now: wall,
            spool_bytes,
            spool_limit,
            lanes: lanes.collect(),
            checks: std::mem::take(&mut self.checks),
            promoted: std::mem::take(&mut self.promoted),
        };
        self.outputs
            .push_back(AgentOutput::Send(ToGateway::Report(report)));
    }

    /// When [`AgentLink::tick`] or [`AgentLink::next_shipment`] has something to do at the latest.
    #[must_use]
    pub fn next_timeout(&self, now: Tick) -> Tick {
        match self.state {
            State::Closed => Tick::MAX,
            State::AwaitWelcome { until } => until,
            State::Open => {
                let waiting = self
                    .lanes
                    .values()
                    .map(|lane| lane.not_before)
                    .filter(|at| *at > now);
                let waiting = waiting.chain(self.retired.next_timeout(now));
                waiting.min().unwrap_or(Tick::MAX).min(self.next_report)
            }
        }
    }

    /// The agent stops.
    pub fn goodbye(&mut self) {
        if self.state == State::Open {
            self.outputs.push_back(AgentOutput::Send(ToGateway::Goodbye));
        }
    }

    fn close(&mut self, reason: String, retry_after: Tick) {
        self.state = State::Closed;
        self.outputs.push_back(AgentOutput::Close {
            reason,
            retry_after,
            code: None,
        });
    }

    /// What to do next, in order.
    pub fn output(&mut self) -> Option<AgentOutput> {
        self.outputs.pop_front()
    }
}

/// The lanes of a kind that have something to send and may send it now, ascending.
fn ready(
    lanes: &BTreeMap<u32, Lane>,
    fresh: bool,
    now: Tick,
) -> impl Iterator<Item = (u32, Priority)> + Clone {
    let ready = move |lane: &Lane| {
        lane.view.fresh == fresh
            && lane.state == LaneState::Open
            && now >= lane.not_before
            && lane.sent_up_to + 1 < lane.view.next_seq
    };
    lanes
        .iter()
        .filter(move |(_, lane)| ready(lane))
        .map(|(id, lane)| (*id, lane.view.priority))
}

fn open_message(view: &LaneView, kept: &BTreeMap<StreamName, u32>) -> AgentOutput {
    AgentOutput::Send(ToGateway::OpenLane(OpenLane {
        lane: view.lane,
        stream: view.stream.clone(),
        epoch: view.epoch,
        next_seq: view.next_seq,
        schema_id: kept.get(&view.stream).copied(),
    }))
}
