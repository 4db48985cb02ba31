//! placeholder
pub mod commit;
pub mod config;
pub mod registry;
