//! The aggregator: commits what gateways forward, folds it into the views' windows, and answers everyone who
//! asks.
//!
//! The way of a batch: [`session`] (from a gateway, put in order) → [`commit`] (one transaction: log, marks,
//! dead letters, ledger) → [`window`] (views, compiled by [`view`]) → [`api`] and [`page`].

pub mod agents;
pub mod api;
pub mod audit;
pub mod backup;
mod beside;
pub mod commit;
pub mod config;
pub mod export;
pub mod metadata;
pub mod openlineage;
pub mod page;
pub mod registry;
pub mod replay;
mod run;
pub mod search;
mod session;
pub mod sql;
pub mod throughput;
pub mod view;
pub mod window;

pub use run::run;
