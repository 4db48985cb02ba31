//! Waiting for what must come.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Between two questions.
const POLL: Duration = Duration::from_millis(50);

/// Asks `probe` until it answers with a value. Its error says what was seen instead.
///
/// # Panics
/// When that does not happen `within` the time: with `what` was waited for and what was seen last.
pub fn wait_until<T>(within: Duration, what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match probe() {
            Ok(value) => return value,
            Err(seen) if started.elapsed() >= within => {
                panic!("{what}: not within {within:?}; last seen: {seen}");
            }
            Err(_) => sleep(POLL),
        }
    }
}
