//! What an operator types.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};
use tributary_shared::ids::{AgentId, StreamName};

use crate::audit::cli::AuditCommand;
use crate::dead_letters::cli::DeadLettersCommand;
use crate::explain::cli::ExplainArgs;
use crate::graph::cli::{GraphArgs, ImpactArgs};
use crate::query::cli::QueryArgs;
use crate::role::{self, Role};
use crate::schema::cli::SchemaCommand;
use crate::top::cli::TopArgs;
use crate::trace::cli::TraceArgs;
use crate::up::configs::Tail;
use crate::views::cli::ViewsCommand;
use crate::workload::Workload;

const EXAMPLES: &str = "\
Examples:
  tributary up                                  a mesh on this host, page on port 8600
  tributary up --tail app='/var/log/app/*.log'  the same, following files of JSON lines
  tributary check --config agent.toml           every problem of a configuration at once
  tributary load --intake http://127.0.0.1:8603 --stream readings --events 100000
  tributary bench e2e                           how fast this machine is, end to end
  tributary query 'SELECT * FROM host_cpu'       windows and events in SQL
  tributary trace edge-1/orders/1/77            the path of one event
  tributary ledger                              where every event is; exit code 1 when the books do not balance
  tributary soak --minutes 1 --rate 5000        whether faults lose or double anything here

Exit codes: 0 done, 1 failed while running, 2 wrong usage or configuration";

/// Edge-to-cloud event mesh: agents spool and ship, gateways validate, aggregators keep live windows
#[derive(Debug, Parser)]
#[command(name = "tributary", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole mesh on this host: agent, gateway and aggregator
    Up(UpArgs),
    /// Run an agent: takes events in, spools them, ships them to a gateway
    Agent(RunArgs),
    /// Run a gateway: validates the events of agents and forwards them to the aggregator
    Gateway(RunArgs),
    /// Run an aggregator: commits events, keeps windows, serves the API and the page
    Aggregator(RunArgs),
    /// Check a configuration file and print every problem
    Check(CheckArgs),
    /// Look at an agent's spool, check it, copy events out, give events up; the agent must not run
    #[command(subcommand)]
    Spool(SpoolCommand),
    /// Post generated events to an agent's intake
    Load(LoadArgs),
    /// Prove on this machine that faults of every kind lose nothing and double nothing
    Soak(SoakArgs),
    /// Measure a mesh on this machine
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Ask in SQL, over views and retained events
    Query(QueryArgs),
    /// Follow one event: where it was taken in, all that happened to it, the windows that it changed
    Trace(TraceArgs),
    /// Throughput, lag and views, live in the terminal
    Top(TopArgs),
    /// Live views: list, show, make, delete
    #[command(subcommand)]
    Views(ViewsCommand),
    /// From a window back to the events that built it: agents, lanes, gateways, schemas
    Explain(ExplainArgs),
    /// Show where every event is, and check that nothing left without a line
    Ledger(LedgerArgs),
    /// What schemas rejected: list it, repair and replay it, or give it up
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Schemas: list, show, register, check, deprecate, retire, approve, compare, propose
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// The record of acts and of what was received: list it, verify it, fetch proofs of it
    #[command(subcommand)]
    Audit(AuditCommand),
    /// How agents, gateways, schemas, streams and views hang together
    Graph(GraphArgs),
    /// What reads a stream, and what would break if a field of it went away
    Impact(ImpactArgs),
    /// Copy an aggregator's log, views and schemas, while it runs
    Backup(BackupArgs),
    /// Put a backup into the directory of a stopped aggregator
    Restore(RestoreArgs),
    /// Simulate a whole mesh under faults, seed by seed, and check every promise after each step
    Sim(SimArgs),
    /// Make a certificate authority, and certificates for roles
    #[command(subcommand)]
    Cert(CertCommand),
    /// Make a directory to copy to another host, with all that an agent needs to join
    AgentBundle(AgentBundleArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Port 0 picks a free port and keeps it for this --dir. Tailed files hold one JSON object a line.
A gateway for agents on other hosts: --gateway 0.0.0.0:8602, then `tributary agent-bundle`.")]
pub struct UpArgs {
    /// Where certificates, configurations and data are kept
    #[arg(long, default_value = ".tributary")]
    pub dir: PathBuf,
    /// Address of the page and the API
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8600")]
    pub http: SocketAddr,
    /// Address of the schema registry
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    pub registry: SocketAddr,
    /// Address (QUIC, UDP) at which the gateway takes agents
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8602")]
    pub gateway: SocketAddr,
    /// Address at which the agent takes events over HTTP
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8603")]
    pub intake: SocketAddr,
    /// Address (QUIC, UDP) at which the aggregator takes gateways
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub aggregator: SocketAddr,
    /// Follow files into a stream; repeat for more
    #[arg(long, value_name = "STREAM=GLOB", value_parser = Tail::parse)]
    pub tail: Vec<Tail>,
    /// Write addresses, process ids and directories here, as JSON, once everything serves
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Do not collect this host's own metrics
    #[arg(long)]
    pub no_host_metrics: bool,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// The role's configuration
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Stop when standard input is closed: how `up` makes sure that nothing outlives it
    #[arg(long, hide = true)]
    pub parent_pipe: bool,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration to check
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Whose configuration it is; found out from its keys when not given
    #[arg(long, value_parser = role::parser())]
    pub role: Option<Role>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The schemas of the workloads are at `tributary load --print-schema sensor` and `... text`.
A full spool is waited for, as long as the agent says. With --rate, events are spread evenly.")]
pub struct LoadArgs {
    /// Print the JSON Schema of a workload, and nothing else
    #[arg(long, value_name = "WORKLOAD", exclusive = true)]
    pub print_schema: Option<Workload>,
    /// URL of the agent's intake
    #[arg(long, value_name = "URL", required_unless_present = "print_schema")]
    pub intake: Option<String>,
    /// Stream to post to
    #[arg(long, required_unless_present = "print_schema")]
    pub stream: Option<StreamName>,
    /// How many events
    #[arg(long, value_name = "N", required_unless_present = "print_schema", value_parser = clap::value_parser!(u64).range(1..))]
    pub events: Option<u64>,
    /// Events per second [default: as fast as they are taken]
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,
    /// What the events look like
    #[arg(long, value_enum, default_value = "sensor")]
    pub workload: Workload,
    /// Events are the same for the same seed, but for their times
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub seed: u64,
}

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// From a tailed file to a queryable window: events/s, latency, CPU, memory, wire and disk bytes
    E2e(E2eArgs),
    /// The window engine alone, on one thread: rows/s, bytes and time per group, query time
    Engine(EngineArgs),
    /// The record of where events came from: how fast it is looked up, and what it costs a commit
    Lineage(LineageArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Makes a log of so many events in batches of 1,000: about 17 bytes of disk an event, and as much memory as the
views of an aggregator have. The figures count only from a release build on an otherwise idle machine.")]
pub struct LineageArgs {
    /// Events in the record
    #[arg(long, value_name = "N", default_value_t = 100_000_000, value_parser = clap::value_parser!(u64).range(16_000..))]
    pub events: u64,
    /// Events to look up
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(10..))]
    pub lookups: u64,
    /// Batches that are committed with lineage, and as many without
    #[arg(long, value_name = "N", default_value_t = 8_192, value_parser = clap::value_parser!(u64).range(512..))]
    pub cost_batches: u64,
    /// Events that a whole mesh takes, to say what share of its throughput that cost is
    #[arg(long, value_name = "N", default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    pub mesh_events: u64,
    /// Where to make the temporary directories [default: the system's]
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Columns go in, windows come out; nothing is received, decoded or stored. Takes memory for a million
groups. The figures count only from a release build on an otherwise idle machine.")]
pub struct EngineArgs {
    /// How many rows; a quarter of them for the view with sketches
    #[arg(long, value_name = "N", default_value_t = 20_000_000, value_parser = clap::value_parser!(u64).range(10_000..))]
    pub rows: u64,
    /// The largest number of groups
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=1_000_000))]
    pub max_groups: u64,
    /// How many queries
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(10..))]
    pub queries: u64,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Everything is durable, as in production. The mesh lives in a temporary directory: choose the disk
to measure with --dir. The figures count only from a release build on an otherwise idle machine.")]
pub struct E2eArgs {
    /// How many events, all agents together
    #[arg(long, value_name = "N", default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    pub events: u64,
    /// How many agents
    #[arg(long, value_name = "A", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub agents: u64,
    /// What the events look like
    #[arg(long, value_enum, default_value = "text")]
    pub workload: Workload,
    /// Events are the same for the same seed, but for their times
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub seed: u64,
    /// Where to make the temporary directory [default: the system's]
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
mark = valid + dead + dropped, for each lane, or the exit code is 1. Held is what the agent last
reported beyond the mark; `?` when it has not reported since the aggregator started.")]
pub struct LedgerArgs {
    /// URL of the aggregator's API
    #[arg(long, value_name = "URL", default_value = DEFAULT_API, value_parser = api_url)]
    pub http: String,
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is started, read or written: processes, disks, clocks and networks are models, the protocol
is the real one. A broken promise is printed with its seed, which shows it again, and ends with exit code 1.")]
pub struct SimArgs {
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub from: u64,
    /// Steps with faults in each run; then faults end and everything must arrive
    #[arg(long, value_name = "K", default_value_t = tributary_shared::sim::DEFAULT_STEPS, value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: u64,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("source").required(true).args(["http", "dir"]), after_help = "\
The copy is of one moment: windows after a restore are what the log says. It is checked before the
command ends. It needs as much room as log.db, and the log's WAL grows while it is copied.")]
pub struct BackupArgs {
    /// URL of the API of a running aggregator on this host
    #[arg(long, value_name = "URL", value_parser = api_url)]
    pub http: Option<String>,
    /// Directory of an aggregator, stopped or running
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Where to write the backup; made when missing
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Write over an earlier backup in --out
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Stop the aggregator first. With --force, the databases that are there are moved aside, not deleted.
Agents that deleted what the backup does not have report the gap, and it is counted in the ledger.")]
pub struct RestoreArgs {
    /// The backup
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// The aggregator's directory (key `dir` of its configuration; `up` keeps it in DIR/aggregator)
    #[arg(long)]
    pub dir: PathBuf,
    /// Move aside what is in --dir
    #[arg(long)]
    pub force: bool,
}

/// Where `up` serves the API unless told otherwise.
pub(crate) const DEFAULT_API: &str = "http://127.0.0.1:8600";

/// A base URL, without a slash at its end.
pub(crate) fn api_url(text: &str) -> Result<String, String> {
    let hint = "write the API's base URL, for example http://127.0.0.1:8600";
    let rest = text.strip_prefix("http://").ok_or(hint)?.trim_end_matches('/');
    if rest.is_empty() || rest.contains(['/', '?', '#', ' ']) {
        return Err(hint.to_owned());
    }
    Ok(format!("http://{rest}"))
}

#[derive(Debug, Args)]
#[command(after_help = "\
Starts two agents, two gateways and an aggregator, posts events at the rate, and kills, stops and cuts
them off at random. At the end every accepted event must be counted exactly once or be named in the
ledger. Exits 1 when it is not, and keeps the directory with all logs and databases.")]
pub struct SoakArgs {
    /// How long events are posted
    #[arg(long, value_name = "M", default_value_t = 10.0)]
    pub minutes: f64,
    /// Events per second, all agents together
    #[arg(long, value_name = "R", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(40..))]
    pub rate: u64,
    /// Seconds from one fault to the next
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub fault_every: u64,
    /// The same seed gives the same faults in the same order
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub seed: u64,
    /// Keep the directory, with all logs and databases, also when nothing is wrong
    #[arg(long)]
    pub keep: bool,
    /// Write a report in Markdown here
    #[arg(long, value_name = "FILE.md")]
    pub report: Option<PathBuf>,
    /// Where to make the temporary directory [default: the system's]
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum SpoolCommand {
    /// What it holds: lanes, seqs, events, bytes, drops
    Stat(SpoolDir),
    /// Check every structure, block and lane; exits 1 and says what is wrong, and repairs nothing
    Fsck(SpoolDir),
    /// Print held events with their identities, one JSON object a line
    Export {
        #[command(flatten)]
        dir: SpoolDir,
        /// Only this stream
        #[arg(long)]
        stream: Option<StreamName>,
    },
    /// Give held events up for ever; the ledger will name them, with the reason `operator`
    Drop(SpoolDropArgs),
}

#[derive(Debug, Args)]
pub struct SpoolDir {
    /// The agent's directory: `dir` of its configuration
    #[arg(long)]
    pub dir: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Without --yes it only says what it would give up, and exits 1. Events lie in blocks: a block that goes on beyond
--to stays whole. To keep a copy, run `tributary spool export` first.")]
pub struct SpoolDropArgs {
    #[command(flatten)]
    pub dir: SpoolDir,
    /// Events of this stream
    #[arg(long)]
    pub stream: StreamName,
    /// Of this epoch [default: of every epoch]
    #[arg(long, value_name = "E")]
    pub epoch: Option<u64>,
    /// Up to this seq [default: all]
    #[arg(long, value_name = "SEQ")]
    pub to: Option<u64>,
    /// Do it
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// Make a certificate authority in a directory
    Ca {
        /// Where to write ca.pem and ca.key
        #[arg(long)]
        dir: PathBuf,
    },
    /// Issue a certificate
    Issue {
        /// The directory of the certificate authority
        #[arg(long)]
        dir: PathBuf,
        /// What the holder may be
        #[arg(long, value_parser = role::parser())]
        role: Role,
        /// The holder's id: the name of its events' source
        #[arg(long)]
        id: AgentId,
        /// Where to write cert.pem, key.pem and ca.pem
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Copy the directory to the other host and run there, in it: edge-agent --config agent.toml
The gateway must be reachable from there: `tributary up --gateway 0.0.0.0:8602` on this host.")]
pub struct AgentBundleArgs {
    /// The directory of the `tributary up` to join
    #[arg(long, default_value = ".tributary")]
    pub dir: PathBuf,
    /// The new agent's id: no other agent may have it
    #[arg(long)]
    pub id: AgentId,
    /// Where the other host reaches the gateway; repeat for more
    #[arg(long, value_name = "HOST:PORT", required = true)]
    pub gateway: Vec<String>,
    /// Where to write cert.pem, key.pem, ca.pem and agent.toml
    #[arg(long)]
    pub out: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn wrong_usage_is_told() {
        let bad: [&[&str]; 26] = [
            &["query"],
            &["query", "SELECT 1", "--format", "xlsx"],
            &["views", "put", "name"],
            &["trace"],
            &["trace", "--stream", "orders"],
            &["trace", "--stream", "orders", "--where", "order_id"],
            &["backup", "--out", "o"],
            &["backup", "--dir", "d", "--http", "http://h:1", "--out", "o"],
            &["restore", "--from", "d"],
            &["ledger", "--http", "nowhere"],
            &["ledger", "--http", "http://host:1/api"],
            &["ledger", "surplus"],
            &["graph", "stream"],
            &["graph", "king", "a"],
            &["impact"],
            &["dead-letters", "discard", "--stream", "s"],
            &[
                "dead-letters",
                "replay",
                "--fix-sql",
                "payload",
                "--fix-patch",
                "f",
            ],
            &["dead-letters", "list", "--state", "dead"],
            &["up", "--http", "nowhere"],
            &["up", "--tail", "app"],
            &["load", "--stream", "s", "--events", "1"],
            &["bench", "e2e", "--agents", "0"],
            &["bench", "engine", "--rows", "0"],
            &["bench", "lineage", "--events", "10"],
            &["bench", "engine", "--max-groups", "10000000"],
            &[
                "cert", "issue", "--dir", "d", "--role", "king", "--id", "a", "--out", "o",
            ],
        ];
        for args in bad {
            let error = Cli::try_parse_from(["tributary"].iter().chain(args)).expect_err("wrong usage");
            assert_eq!(error.exit_code(), 2, "{args:?}");
        }
    }
}
