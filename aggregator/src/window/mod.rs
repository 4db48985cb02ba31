//! The window engine: folds committed batches into every view's windows, in event time.
//!
//! Windows are aligned to the Unix epoch and half-open, `[start, end)`. Late data amends its window, however
//! late it is, and raises the row's revision. `final` says that the stream's watermark has passed the window's
//! end by the allowed lateness, `completeness` which share of the stream's active lanes has passed it at all.
//!
//! The state is a function of the log: [`Engine`] has no clock, no disk and no randomness that shows. Every
//! view counts what it did not use ([`ViewCounters`]) and is bounded in groups and in bytes of key texts.
//! [`ViewStore`] keeps definitions and snapshots in `views.db`, each snapshot with its log position in one
//! transaction; what comes behind that position is replayed.

mod actor;
#[cfg(test)]
pub(crate) mod actor_tests;
mod answers;
mod cells;
mod changes;
mod clocks;
mod closed;
mod codec;
mod cold;
#[cfg(test)]
mod crash_tests;
mod engine;
mod explain;
mod fill;
mod filter;
mod gather;
mod groups;
mod handle;
mod keeping;
mod keys;
mod late;
mod live;
mod load;
mod locate;
mod messages;
mod panes;
mod pinned;
mod place;
mod publish;
mod read;
mod restore;
mod rollup;
mod row;
mod saving;
mod sift;
mod since;
mod stamp;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod writer;

pub use actor::{EngineOptions, EngineThread, start};
pub use closed::ClosedWindow;
pub use cold::{ColdError, ColdGroups, WindowFacts};
pub use engine::Engine;
pub use explain::{
    Asked, Basis, Cursor, ExplainError, ExplainQuery, Explanation, Limits, NotKept, Recount, explain,
};
pub use fill::Backfill;
pub use handle::{
    EngineError, EngineHandle, EngineStopped, MAX_VIEWS, PutView, PutViewError, Serves, StreamTimes,
    TimedPage, ViewInfo, WindowsError,
};
pub use live::LiveEvent;
pub use load::VIEWS_FILE;
pub use locate::{Located, NotCounted, WhyNot};
pub use messages::{
    AppliedBatch, EngineConfig, GoneRow, GroupId, GroupName, GroupState, LaneWatermark, LateLine, QueryError,
    ScanPage, ScanPlace, Snapshot, StateError, ViewCounters, ViewSnapshot, ViewStats, WindowChange,
    WindowHit, WindowPage, WindowProgress, WindowQuery, WindowRow, WindowScan,
};
pub use place::PagePlace;
pub use saving::SnapshotSlice;
pub use since::{SincePage, Unknown};
pub use stamp::{EventId, Stamp};
pub use store::{LoadReport, Put, StoreError, ViewFacts, ViewStore, inspect};

/// Rows of one page of windows when the reader names no limit.
pub const DEFAULT_WINDOW_LIMIT: usize = 10_000;
