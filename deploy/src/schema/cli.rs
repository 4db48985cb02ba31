//! What an operator types after `tributary schema`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use tributary_shared::ids::StreamName;

use crate::cli::{DEFAULT_API, api_url};

/// Where `up` serves the registry unless told otherwise.
const DEFAULT_REGISTRY: &str = "http://127.0.0.1:8081";

#[derive(Debug, Subcommand)]
pub enum SchemaCommand {
    /// List subjects: newest version, owner, what waits for approval
    List(ApiArgs),
    /// Show a subject with its versions and their states, or the schema of one version
    Show(ShowArgs),
    /// Register a schema file as the next version of a subject
    Register(RegisterArgs),
    /// Check that a schema file is valid and may follow a subject's versions; for CI
    Check(CheckArgs),
    /// Mark a version as deprecated: still accepted, warned about, counted
    Deprecate(StepArgs),
    /// Retire a version: events that are written with it become dead letters
    Retire(RetireArgs),
    /// Approve a version that waits as a draft
    Approve(StepArgs),
    /// Turn down a version that waits as a draft
    Reject(StepArgs),
    /// Take a deprecated or retired version back into use
    Activate(StepArgs),
    /// Say whose a subject is, and who approves its versions
    Govern(GovernArgs),
    /// Who still sends events of which version
    Usage(SubjectArgs),
    /// Who changed what, when and why, newest first
    Changes(ChangesArgs),
    /// What changed from one version to another
    Diff(DiffArgs),
    /// Propose a JSON Schema from the events of a stream that the log still holds
    Infer(InferArgs),
}

#[derive(Debug, Clone, Args)]
pub struct ApiArgs {
    /// URL of the aggregator's API
    #[arg(long, alias = "url", value_name = "URL", default_value = DEFAULT_API, value_parser = api_url)]
    pub http: String,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct RegistryArgs {
    /// URL of the schema registry
    #[arg(long, value_name = "URL", default_value = DEFAULT_REGISTRY, value_parser = api_url)]
    pub registry: String,
}

/// A version's number, or `latest`.
fn version(text: &str) -> Result<String, String> {
    let number = text.parse::<u32>().is_ok_and(|number| number > 0);
    (number || text == "latest")
        .then(|| text.to_owned())
        .ok_or_else(|| "write a number from 1, or latest".to_owned())
}

/// NAME=SUBJECT:VERSION.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceArg {
    pub name: String,
    pub subject: String,
    pub version: i64,
}

fn reference(text: &str) -> Result<ReferenceArg, String> {
    let hint = "write NAME=SUBJECT:VERSION, for example place.json=place-value:1";
    let (name, place) = text.split_once('=').ok_or(hint)?;
    let (subject, number) = place.rsplit_once(':').ok_or(hint)?;
    let number = match number {
        "latest" => -1,
        _ => i64::from(number.parse::<u32>().map_err(|_| hint)?),
    };
    if name.is_empty() || subject.is_empty() || number == 0 {
        return Err(hint.to_owned());
    }
    Ok(ReferenceArg {
        name: name.to_owned(),
        subject: subject.to_owned(),
        version: number,
    })
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The subject: the stream's name with -value at its end
    pub subject: String,
    /// Print the schema of this version alone: a number, or latest
    #[arg(long, value_parser = version)]
    pub version: Option<String>,
    #[command(flatten)]
    pub api: ApiArgs,
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// The language of a schema file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Type {
    Json,
    Avro,
    Protobuf,
}

#[derive(Debug, Args)]
pub struct FileArgs {
    /// The schema: .json, .avsc or .proto
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Its language [default: by the file's name]
    #[arg(long = "type", value_enum)]
    pub kind: Option<Type>,
    /// What it refers to; repeat for more
    #[arg(long = "reference", value_name = "NAME=SUBJECT:VERSION", value_parser = reference)]
    pub references: Vec<ReferenceArg>,
}

#[derive(Debug, Args)]
pub struct RegisterArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// The subject: the stream's name with -value at its end
    #[arg(long)]
    pub subject: String,
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("with").required(true).args(["subject", "against"]), after_help = "\
Exit codes: 0 it may be registered, 1 it may not (and why), 2 wrong usage. With --against, no server is asked:
  tributary schema check schemas/readings.json --against main/schemas/readings.json --level FULL")]
pub struct CheckArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// Check with the registry, by this subject's versions and level
    #[arg(long)]
    pub subject: Option<String>,
    /// Check offline, as the version after this file; repeat for more, oldest first
    #[arg(long, value_name = "FILE", conflicts_with = "references")]
    pub against: Vec<PathBuf>,
    /// By which rules, with --against
    #[arg(long, default_value = "BACKWARD", requires = "against")]
    pub level: String,
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct SignArgs {
    /// Who asks [default: the user who types]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// In which role; an approval needs the one that the subject names
    #[arg(long)]
    pub role: Option<String>,
    /// Why; kept with the change
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
}

#[derive(Debug, Args)]
pub struct StepArgs {
    /// The subject
    pub subject: String,
    /// The version
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub version: u32,
    #[command(flatten)]
    pub sign: SignArgs,
    #[command(flatten)]
    pub api: ApiArgs,
}

#[derive(Debug, Args)]
pub struct RetireArgs {
    #[command(flatten)]
    pub step: StepArgs,
    /// Retire it though agents still send it, or though it is the last one
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct GovernArgs {
    /// The subject
    pub subject: String,
    /// Who is responsible
    #[arg(long)]
    pub owner: Option<String>,
    /// How to reach them
    #[arg(long)]
    pub contact: Option<String>,
    /// What the events are
    #[arg(long)]
    pub description: Option<String>,
    /// New versions wait until somebody of this role approves them; an empty role: they do not
    #[arg(long, value_name = "ROLE")]
    pub approver: Option<String>,
    #[command(flatten)]
    pub sign: SignArgs,
    #[command(flatten)]
    pub api: ApiArgs,
}

#[derive(Debug, Args)]
pub struct SubjectArgs {
    /// The subject
    pub subject: String,
    #[command(flatten)]
    pub api: ApiArgs,
}

#[derive(Debug, Args)]
pub struct ChangesArgs {
    /// Of this subject [default: of all]
    pub subject: Option<String>,
    /// How many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub limit: u32,
    #[command(flatten)]
    pub api: ApiArgs,
}

#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The subject
    pub subject: String,
    /// The earlier version
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub from: u32,
    /// The later version
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub to: u32,
    #[command(flatten)]
    pub api: ApiArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The proposal accepts every event that was looked at. Read it before you register it:
  tributary schema infer --stream readings > readings.json
  tributary schema register readings.json --subject readings-value")]
pub struct InferArgs {
    /// The stream
    #[arg(long)]
    pub stream: StreamName,
    /// Look at so many events at most, the newest
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub events: u32,
    /// Make the smallest and largest numbers that were seen a rule
    #[arg(long)]
    pub ranges: bool,
    #[command(flatten)]
    pub api: ApiArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read() {
        let expected = ReferenceArg {
            name: "a:b=".trim_end_matches('=').to_owned(),
            subject: "s:t".to_owned(),
            version: 3,
        };
        assert_eq!(reference("a:b=s:t:3"), Ok(expected));
        assert_eq!(reference("a=s:latest").map(|found| found.version), Ok(-1));
        for bad in ["a", "a=s", "a=s:x", "=s:1", "a=:1", "a=s:0"] {
            assert!(reference(bad).is_err(), "{bad}");
        }
        assert!(version("latest").is_ok() && version("7").is_ok());
        assert!(version("0").is_err() && version("newest").is_err());
    }
}
