//! Heads that agents have kept.

use anyhow::Context as _;
use serde::Deserialize;
use tributary_audit::SignedHead;

/// What an agent has kept, and what it has noticed itself.
#[derive(Debug)]
pub struct Kept {
    pub heads: Vec<SignedHead>,
    pub warnings: Vec<String>,
}

/// `/v1/status`, as far as it is needed.
#[derive(Debug, Deserialize)]
struct Status {
    audit: Option<Audit>,
}

#[derive(Debug, Deserialize)]
struct Audit {
    #[serde(default)]
    heads: Vec<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

/// The heads of an agent, by its intake's address.
///
/// # Errors
/// When the agent cannot be asked, or is of a version that keeps none.
pub fn of_agent(base: &str) -> anyhow::Result<Kept> {
    let status: Status = super::get(base, "/v1/status")?;
    let audit = status
        .audit
        .with_context(|| format!("the agent at {base} keeps no heads: it is of an earlier version"))?;
    let heads = audit.heads.iter().map(|text| SignedHead::parse(text));
    Ok(Kept {
        heads: heads
            .collect::<Result<_, _>>()
            .with_context(|| format!("a head that the agent at {base} keeps"))?,
        warnings: audit.warnings,
    })
}
