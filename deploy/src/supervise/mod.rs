//! Running roles as child processes of this program, and keeping them running.
//!
//! A child is told its life by two things: SIGTERM asks it to drain and end, and its standard input is a pipe
//! whose other end this process holds. When this process dies, however it dies, the pipe closes and the child
//! drains and ends as well, so that nothing is orphaned. Children have process groups of their own: Ctrl-C on
//! a terminal reaches only this process, which stops them in order.

mod backoff;
mod child;
mod keeper;
pub mod ready;

pub use child::{Child, ChildSpec, DRAIN, StartError};
pub use keeper::{Keeper, Restarted};
