//! Ad-hoc SQL, in SQLite's dialect, over the views' windows and the retained events.
//!
//! Each question gets an in-memory database of its own in which every view and every stream is a virtual table. Views are
//! tables of the schema `main`, streams of the schema `events`; where a view has the name of a stream, the bare
//! name is the view's. Nothing is copied before it is read: windows come from the engine, events from the log.
//!
//! [`run`](run()) blocks: call it on a thread that may. What a question may cost is in [`SqlLimits`]; it can read,
//! and nothing else (an authorizer sees every statement).

mod events;
mod messages;
mod module;
mod run;
mod table;
#[cfg(test)]
mod tests;
mod views;

pub use events::EventTable;
pub use messages::{AnswerColumn, SqlAnswer, SqlError, SqlLimits};
pub use run::run;
pub use table::{Catalog, Chunk, Narrow, Scan, ScanError, Table};
pub use views::ViewTable;
