//! placeholder
pub mod commit;
pub mod config;
pub mod registry;
pub mod agents;
pub mod throughput;
pub mod view;
pub mod window;
pub mod api;
pub mod page;
