//! What an operator types after `tributary query`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::{DEFAULT_API, api_url};

#[derive(Debug, Args)]
#[command(after_help = "\
Views are tables, and so are streams with their retained events (schema `events` where a view has the
same name). The dialect is SQLite's; only reading is allowed, for 10 seconds. Examples:
  tributary query \"SELECT * FROM host_cpu ORDER BY window_start DESC LIMIT 20\"
  tributary query \"SELECT * FROM events.readings\" --output readings.parquet
Exit codes: 0 done, 1 failed while running, 2 the query or the command line is wrong")]
pub struct QueryArgs {
    /// One SELECT; `-` reads it from standard input
    #[arg(value_name = "SQL")]
    pub sql: String,
    /// How to write the answer [default: the ending of --output, else table]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// URL of the aggregator's API
    #[arg(long, alias = "http", value_name = "URL", default_value = DEFAULT_API, value_parser = api_url)]
    pub url: String,
    /// Write the answer to this file, whole or not at all
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// At most this many rows [default: what the format allows: 10,000, or 50,000 for csv and parquet]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Csv,
    Json,
    Parquet,
}

impl Format {
    /// What the API is asked for.
    pub(super) fn accept(self) -> &'static str {
        match self {
            Self::Table | Self::Json => "application/json",
            Self::Csv => "text/csv",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

impl QueryArgs {
    /// The format that is meant.
    pub(super) fn format(&self) -> Format {
        let ending = self.output.as_ref().and_then(|path| path.extension());
        let named = ending.and_then(|ending| Format::from_str(ending.to_str()?, true).ok());
        self.format.or(named).unwrap_or(Format::Table)
    }
}
