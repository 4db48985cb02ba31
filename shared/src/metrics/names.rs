//! Every metric that Tributary exposes. Counters get `_total` appended in the exposition.

macro_rules! metric_names {
    ($($variant:ident = $name:literal : $help:literal;)*) => {
        /// The name of a metric.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum MetricName { $($variant),* }

        impl MetricName {
            /// All names, for documentation and tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => $help),* }
            }
        }
    };
}

metric_names! {
    // agent
    IntakeEvents = "tributary_intake_events": "Events accepted by an input, by input and stream";
    IntakeRejected = "tributary_intake_rejected_requests": "Intake requests refused, by error code";
    IntakeBadTraceContexts = "tributary_intake_bad_trace_contexts": "Intake requests whose traceparent header was none, and was ignored";
    CheckInvalid = "tributary_check_invalid_events": "Events taken that the agent's own check found invalid, by stream and rule";
    SpoolBytes = "tributary_spool_bytes": "Bytes of the spool on disk, WAL included";
    SpoolHeldEvents = "tributary_spool_held_events": "Events in the spool that are not yet committed by the aggregator";
    SpoolRenumbered = "tributary_spool_renumbered_events": "Events that got new seqs because a copy of the spool had used theirs";
    SpoolDropped = "tributary_spool_dropped_events": "Events dropped at the edge, by reason";
    SpoolHealthy = "tributary_spool_healthy": "1 while the spool takes events, 0 while its disk does not let it";
    SpoolFailures = "tributary_spool_failures": "Failures of the spool's database, by trouble (disk_full, read_only, damaged, io)";
    SpoolCommitSeconds = "tributary_spool_commit_seconds": "Duration of a spool group commit";
    ShipperConnected = "tributary_shipper_connected": "1 while a session with a gateway is open";
    ShipperBatches = "tributary_shipper_batches": "Batches sent to a gateway";
    ShipperBytes = "tributary_shipper_bytes": "Batch body bytes sent to a gateway";
    ShipperReconnects = "tributary_shipper_connect_attempts": "Attempts to reach a gateway, by outcome";
    // gateway
    GatewaySessions = "tributary_gateway_sessions": "Open agent sessions";
    GatewaySessionsOpened = "tributary_gateway_sessions_opened": "Agent sessions begun since the gateway started";
    GatewayBatches = "tributary_gateway_batches": "Batches admitted";
    GatewayValid = "tributary_gateway_valid_events": "Events that fit their schema, by stream";
    GatewayRejected = "tributary_gateway_rejected_events": "Events sent to the dead letters, by stream";
    GatewayRefused = "tributary_gateway_refused": "Connections and batches refused, by reason";
    GatewayDecodeSeconds = "tributary_gateway_decode_seconds": "Duration of decoding and validating one batch";
    // aggregator
    CommitBatches = "tributary_commit_batches": "Batches committed";
    CommitEvents = "tributary_commit_events": "Events committed, by verdict (valid, dead, dropped)";
    CommitDuplicates = "tributary_commit_duplicate_events": "Events trimmed because their lane's mark had passed them";
    CommitGaps = "tributary_commit_gaps": "Batches refused because they start after mark+1";
    CommitSeconds = "tributary_commit_seconds": "Duration of a group commit";
    ApplySeconds = "tributary_apply_seconds": "Duration of folding one batch into every view";
    AppliedPosition = "tributary_applied_position": "Log position up to which the views are current";
    CommittedPosition = "tributary_committed_position": "Newest log position";
    OpenlineagePosted = "tributary_openlineage_posted_events": "OpenLineage events that were posted";
    OpenlineageNotPosted = "tributary_openlineage_not_posted_events": "OpenLineage events that were given up, by reason (queue_full, refused, stopped)";
    DeadLettersOpen = "tributary_dead_letters_open": "Dead letters that can be replayed";
    DeadLettersSettled = "tributary_dead_letters_settled": "Dead letters that were settled, by outcome (replayed, discarded, expired)";
    LogFloor = "tributary_log_floor_position": "Log position up to which retention has deleted entries";
    LogFailing = "tributary_log_failing": "1 while the log cannot store, and batches are refused";
    WindowRows = "tributary_window_rows": "Window rows, in memory and on disk, by view";
    WindowBytes = "tributary_window_bytes": "Memory of the window rows that are in memory, in bytes";
    OverflowedEvents = "tributary_view_overflowed_events": "Events in the overflow groups of windows, by view";
    FutureEvents = "tributary_future_events": "Events too far ahead of their commit to move a watermark";
    AgentClockSkew = "tributary_agent_clock_skew_seconds": "The agent's clock minus its gateway's, by agent";
    SnapshotSeconds = "tributary_snapshot_seconds": "Duration of a window snapshot";
    AggregatorRefused = "tributary_aggregator_refused": "Gateway connections and batches refused, by reason";
    SchemaDeprecatedEvents = "tributary_schema_deprecated_events": "Events judged by a schema version that is deprecated, by subject";
    // all roles
    ActorRestarts = "tributary_actor_restarts": "Actors restarted by their supervisor, by actor";
    TelemetryRecorded = "tributary_telemetry_recorded": "Telemetry items handed to the export, by signal (metrics: requests)";
    TelemetryExported = "tributary_telemetry_exported": "Telemetry items that a receiver has taken, by signal (metrics: requests)";
    TelemetryDropped = "tributary_telemetry_dropped": "Telemetry items that could not be exported, by signal (metrics: requests)";
}
