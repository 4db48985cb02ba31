//! What went wrong in a run, counted: a run without faults proves nothing.

macro_rules! faults {
    ($($name:ident: $help:literal;)*) => {
        /// Counters of what happened, by kind.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct Faults {
            $(#[doc = $help] pub $name: u64,)*
        }

        impl Faults {
            /// Name and count of each kind, in a fixed order.
            #[must_use]
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }

            /// Adds another run's counts.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

faults! {
    connections_cut: "A connection was lost with everything on it.";
    half_open_sessions: "Only one end noticed that a connection was gone.";
    partitions: "Nothing passed between an agent and its gateway, or a gateway and the aggregator, for a while.";
    batches_reordered: "A batch overtook an older one.";
    batches_trimmed: "Events arrived that were committed already.";
    agent_crashes: "An agent died.";
    gateway_crashes: "A gateway died.";
    gateways_stopped: "A gateway stood still for a while, and went on as if nothing had happened.";
    aggregator_crashes: "The aggregator died.";
    disk_writes_lost: "A write that was not synced was lost in a crash.";
    disk_writes_torn: "A crash left a half-written page on disk: its checksum tells.";
    commits_rolled_back: "A crash left some pages of a commit on disk: none of it may count.";
    disk_writes_reordered: "A crash left a later write on disk and not an earlier one.";
    fsyncs_failed: "A sync failed, and nothing was known of what came before it.";
    credits_overdrawn: "A gateway lost batches, and sent more of those behind them than it may.";
    stashes_full: "The aggregator held as many early batches of a gateway as it may.";
    spools_full: "An agent's disk was full: events were refused.";
    events_dropped: "Events were dropped by the policy of a full spool.";
    store_refusals: "The aggregator could not store just now.";
    schema_changes: "A batch was judged by a schema that was no longer the newest.";
    clock_jumps: "A clock jumped, forwards or backwards.";
    hellos_turned_away: "A gateway told an agent to come back later.";
    sessions_superseded: "A session was closed because the agent had a newer one.";
    backlogs_forked: "Live data moved to a new epoch, away from a backlog.";
    agents_restored: "An agent's disk was replaced by an older image of itself.";
    twins_started: "A second agent began to live with a copy of a spool and its identity.";
    writers_clashed: "A batch was refused because another copy of its spool had numbered other events alike.";
    epochs_forked: "A spool found itself behind its own past.";
    aggregators_restored: "The aggregator's disk was replaced by an older backup of itself.";
    gaps_reported: "An agent told the ledger what a restored aggregator had forgotten.";
    gaps_of_gone_lanes: "An agent told the ledger what a restored aggregator had forgotten of a lane that was drained and gone.";
    views_replayed: "The views were rebuilt from a snapshot and the log behind it.";
}
