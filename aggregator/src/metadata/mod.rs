//! What there is in the mesh, and how it hangs together: streams, schemas, views, agents, gateways.
//!
//! Most of it others know: the log its lanes, the registry its schemas, the engine its views. What nobody else keeps
//! is here, in `metadata.db`: which agents and gateways were ever seen, with which program and configuration, and which
//! way each agent's streams came. From all that, [`graph`] is drawn when somebody asks for it, and
//! [`impact`] says what would break without a stream or a field. Both are pure.
//!
//! Sessions write into memory only; a task makes it durable every few seconds. A crash forgets the last seconds of it,
//! and no commit ever waits.

mod book;
mod fields;
mod graph;
mod impact;
mod messages;
mod plans;
mod store;
#[cfg(test)]
mod tests;

pub use book::{METADATA_FILE, Metadata};
pub use fields::{SchemaFacts, known_columns};
pub use graph::{around, draw};
pub use impact::{Impact, ViewImpact, impact};
pub use messages::{
    ConfigurationChange, Edge, EdgeKind, Graph, Known, MetadataError, Node, NodeKind, NodeRecord, Reported,
    Route, Subject, ViewFacts,
};
pub use plans::compile_all;
