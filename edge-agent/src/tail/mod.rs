//! Tails files: each line of the files that the globs name becomes one event of the entry's stream.
pub mod follow;
pub mod lines;
pub mod messages;
#[cfg(test)]
mod model_tests;
pub use messages::*;
pub use follow::*;
