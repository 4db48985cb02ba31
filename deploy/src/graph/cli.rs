//! What an operator types after `tributary graph` and `tributary impact`.

use clap::Args;
use tributary_shared::ids::StreamName;

use crate::schema::cli::ApiArgs;

#[derive(Debug, Args)]
#[command(after_help = "\
Without a name: everything, each thing with what it leads to. With one: what leads to it, and what it leads to.
Examples:
  tributary graph
  tributary graph stream readings
  tributary graph agent press-7")]
pub struct GraphArgs {
    /// agent, gateway, schema, stream or view
    #[arg(requires = "name", value_parser = ["agent", "gateway", "schema", "stream", "view"])]
    pub kind: Option<String>,
    /// Its name; a schema's is its subject
    pub name: Option<String>,
    #[command(flatten)]
    pub api: ApiArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Without a field: what reads the stream, and who produces it. With one: what would break if events came without it.
Exit code 1 when something would break: a job can ask before a change is made.")]
pub struct ImpactArgs {
    /// The stream
    pub stream: StreamName,
    /// A field at the top of its events
    pub field: Option<String>,
    #[command(flatten)]
    pub api: ApiArgs,
}
