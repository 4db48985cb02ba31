//! Ad-hoc SQL, in SQLite's dialect, over the views' windows and the retained events.
//!
//! Each question gets an in-memory database of its own in which every view and every stream is a virtual table. Views are
//! tables of the schema `main`, streams of the schema `events`; where a view has the name of a stream, the bare
//! name is the view's. Nothing is copied before it is read: windows come from the engine, events from the log.
//!
//! [`run`](run()) blocks: call it by [`on_own_thread`], whose thread gives way to all others. What a question may cost
//! is in [`SqlLimits`] and its [`Deadline`]; it can read, and nothing else (an authorizer sees every statement).
//! The engine answers a question's reads between two batches, so a question that reads on and on while events come in
//! lets nine times as long pass between two pages as the last one took: it takes a tenth of the engine at most.

mod events;
mod messages;
mod module;
mod run;
mod table;
#[cfg(test)]
mod tests;
mod thread;
mod views;

pub use events::EventTable;
pub use messages::{Deadline, MAX_TIME, SqlAnswer, SqlError, SqlLimits};
pub use run::run;
pub use table::{Catalog, Chunk, Narrow, Scan, ScanError, Table};
pub use thread::on_own_thread;
pub use views::ViewTable;
