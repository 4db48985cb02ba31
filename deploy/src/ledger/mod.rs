//! `tributary ledger`: where every event is, and whether the books balance.
//!
//! The aggregator says what it knows; [`check`] adds it up again, so that a fault in the aggregator's own sums
//! shows as well.

pub mod check;
mod messages;
mod table;

use std::process::ExitCode;

use anyhow::Context as _;
pub use messages::{Dropped, Lane, Ledger, Totals};
use serde_json::{Value, json};
use tributary_shared::program::EXIT_FAILED;

use crate::cli::LedgerArgs;
use crate::{http, out};

/// Prints the ledger. The exit code is 1 when an invariant does not hold.
///
/// # Errors
/// When the aggregator cannot be reached, or answers something else.
pub fn run(args: &LedgerArgs) -> anyhow::Result<ExitCode> {
    let answer = fetch(&args.http)?;
    let ledger: Ledger = serde_json::from_value(answer.clone())
        .with_context(|| format!("{} answered, but not with a ledger", args.http))?;
    let violations = check::violations(&ledger);
    if args.json {
        out::line(as_json(answer, &violations))?;
    } else {
        out::line(table::render(&ledger, &violations))?;
    }
    Ok(if violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_FAILED)
    })
}

fn fetch(base: &str) -> anyhow::Result<Value> {
    let url = format!("{base}/api/v1/ledger");
    let mut response = http::client().get(&url).call().with_context(|| {
        format!("no aggregator can be reached at {base}: is it running, and is this its `http` address?")
    })?;
    http::json(&url, &mut response)
}

/// The aggregator's answer, with this program's verdict in place of its own.
fn as_json(mut answer: Value, violations: &[String]) -> Value {
    answer["violations"] = json!(violations);
    answer["balanced"] = json!(violations.is_empty());
    answer
}
