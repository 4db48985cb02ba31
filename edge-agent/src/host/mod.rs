//! Metrics of the host itself, as events of the stream [`host`](tributary_shared::host_schema::HOST_STREAM):
//! a mesh shows something living before anybody wires an input to it.
//!
//! A [`Probe`](probe) reads the system, [`reading`] makes an event of two readings (pure), and the
//! [actor](HostMetrics) does so at a steady pace. While the spool is full the pace falters: the event that
//! waits is not replaced, those that would have followed are never made.

mod actor;
mod probe;
mod reading;

pub use actor::{HostMetrics, run};
pub use reading::{HostEvent, Load, Reading};
