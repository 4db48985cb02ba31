//! What an operator types after `tributary trace`.

use clap::Args;
use tributary_shared::ids::StreamName;

use crate::schema::cli::ApiArgs;

#[derive(Debug, Args)]
#[command(after_help = "\
Names an event by its lineage id, as agent/stream/epoch/seq, or by what it says:
  tributary trace edge-1/orders/3/77
  tributary trace --stream orders --where order_id=17 --from 2026-01-31T12:00:00Z
Dead letters are found as well. Several events are listed, one is drawn.
Exit codes: 0 done, 1 failed, or nothing was found, 2 the command line is wrong, or there is no such event")]
pub struct TraceArgs {
    /// The event: its lineage id, or agent/stream/epoch/seq
    #[arg(value_name = "EVENT", required_unless_present = "stream", conflicts_with_all = ["stream", "fields", "from", "to", "limit"])]
    pub event: Option<String>,
    /// Look for events of this stream
    #[arg(long, requires = "fields")]
    pub stream: Option<StreamName>,
    /// ... whose field has this value; repeat for more fields, all must hold
    #[arg(long = "where", value_name = "FIELD=VALUE", value_parser = field, requires = "stream")]
    pub fields: Vec<(String, String)>,
    /// ... that happened at this time or later (RFC 3339, or Unix milliseconds)
    #[arg(long, value_name = "TIME", requires = "stream")]
    pub from: Option<String>,
    /// ... and before this time
    #[arg(long, value_name = "TIME", requires = "stream")]
    pub to: Option<String>,
    /// List so many at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub limit: u64,
    #[command(flatten)]
    pub api: ApiArgs,
}

fn field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((field, value)) if !field.is_empty() => Ok((field.to_owned(), value.to_owned())),
        _ => Err(
            "write FIELD=VALUE, for example order_id=17, or order.id=17 for a field of an object".to_owned(),
        ),
    }
}
