//! A JSON Schema proposed from events that were seen. Pure: events go into an [`Observer`], a schema comes out.
//!
//! What is proposed accepts every event that was seen. It is a beginning for a person to edit: what it cannot
//! know (is a field that every event had so far required?) it decides by simple rules, written at each constant.

mod field;
mod observer;
mod text;

pub use observer::{MAX_EVENTS, Observer};
