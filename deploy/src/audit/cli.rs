//! What is typed behind `tributary audit`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use crate::cli::{DEFAULT_API, api_url};

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List what was recorded, newest first
    List(ListArgs),
    /// Check the whole audit: every leaf, every node, every signed head
    Verify(VerifyArgs),
    /// Fetch a proof, to be checked by `tributary-audit-verify` or anybody else
    Prove(ProveArgs),
    /// Write the whole audit into a file
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// URL of the aggregator's API
    #[arg(long, value_name = "URL", default_value = DEFAULT_API, value_parser = api_url)]
    pub http: String,
    /// Kind of leaf: view, schema, refusal ...; `acts`: all but commit groups; `all`
    #[arg(long, default_value = "acts")]
    pub kind: String,
    /// Leaves to show
    #[arg(long, default_value_t = 50)]
    pub limit: u64,
    /// Only leaves before this one
    #[arg(long, value_name = "LEAF")]
    pub before: Option<u64>,
    /// Print the API's JSON, one leaf a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("source").required(true).args(["http", "dir", "file"]),
    after_help = "\
The key and the heads that you have kept elsewhere are what makes this a proof: without --key, the audit is checked by
the key that lies beside it. Exit codes: 0 all is right, 1 something is wrong, 2 wrong usage."
)]
pub struct VerifyArgs {
    /// URL of the API of a running aggregator
    #[arg(long, value_name = "URL", value_parser = api_url)]
    pub http: Option<String>,
    /// Directory of an aggregator, stopped or running
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// A file that `tributary audit export` wrote
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// A public key that is trusted (a copy of audit.pub); repeat for more
    #[arg(long, value_name = "FILE")]
    pub key: Vec<PathBuf>,
    /// A head that you have kept; repeat for more
    #[arg(long, value_name = "FILE")]
    pub head: Vec<PathBuf>,
    /// URL of an agent: the heads that it has kept must fit; repeat for more
    #[arg(long, value_name = "URL", value_parser = api_url)]
    pub agent: Vec<String>,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["event", "leaf", "from"]))]
pub struct ProveArgs {
    /// URL of the aggregator's API
    #[arg(long, value_name = "URL", default_value = DEFAULT_API, value_parser = api_url)]
    pub http: String,
    /// That an event was received: its lineage id, or agent/stream/epoch/seq
    #[arg(long, value_name = "EVENT")]
    pub event: Option<String>,
    /// That a leaf is in the tree
    #[arg(long)]
    pub leaf: Option<u64>,
    /// That the tree continues the one of a head of so many leaves
    #[arg(long, value_name = "SIZE")]
    pub from: Option<u64>,
    /// By the head of so many leaves; by the newest one when not given
    #[arg(long, value_name = "SIZE")]
    pub size: Option<u64>,
    /// Where to write the proof; standard output when not given
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("source").required(true).args(["http", "dir"]))]
pub struct ExportArgs {
    /// URL of the API of a running aggregator
    #[arg(long, value_name = "URL", value_parser = api_url)]
    pub http: Option<String>,
    /// Directory of an aggregator, stopped or running
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}
