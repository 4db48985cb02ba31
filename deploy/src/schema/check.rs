//! `tributary schema check`: may this file be the next version? With the registry, or offline against files.

use std::process::ExitCode;

use serde_json::{Value, json};
use tributary_schema::compat::{CompatibilityLevel, UnknownLevel, check};
use tributary_schema::language::{LanguageError, ParsedSchema, parse};
use tributary_shared::program::EXIT_FAILED;

use super::call::{Refused, path, registry};
use super::cli::CheckArgs;
use super::file;
use crate::out;

/// The registry's status for a schema that is none.
const INVALID: u16 = 422;

pub fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let found = match &args.subject {
        Some(subject) => online(args, subject)?,
        None => offline(args)?,
    };
    if args.json {
        out::line(json!({ "ok": found.is_empty(), "messages": found }))?;
    } else if found.is_empty() {
        out::line(format!("{}: ok", args.file.file.display()))?;
    } else {
        for message in &found {
            out::line(format!("{}: {message}", args.file.file.display()))?;
        }
    }
    Ok(if found.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_FAILED)
    })
}

/// What the registry says against it.
fn online(args: &CheckArgs, subject: &str) -> anyhow::Result<Vec<String>> {
    let url = format!("/compatibility/subjects/{}/versions?verbose=true", path(subject));
    match registry::post(&args.registry, &url, &file::body(&args.file)?) {
        Ok(answer) => {
            let messages = answer["messages"].as_array().map_or(&[][..], Vec::as_slice);
            Ok(messages
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect())
        }
        // that is what the check is for
        Err(error) => match error.downcast::<Refused>() {
            Ok(refused) if refused.status == INVALID => Ok(vec![refused.message]),
            Ok(refused) => Err(refused.into()),
            Err(error) => Err(error),
        },
    }
}

/// What the older files say against it.
fn offline(args: &CheckArgs) -> anyhow::Result<Vec<String>> {
    let level: CompatibilityLevel =
        args.level
            .to_ascii_uppercase()
            .parse()
            .map_err(|error: UnknownLevel| Refused {
                message: error.to_string(),
                usage: true,
                status: 0,
            })?;
    let format = file::format(&args.file.file, args.file.kind)?;
    let new = match parse(format, &file::read(&args.file.file)?, &[]) {
        Ok(new) => new,
        Err(error) => return Ok(vec![error.to_string()]),
    };
    let older: Vec<ParsedSchema> = args
        .against
        .iter()
        .map(|file| {
            let format = file::format(file, args.file.kind)?;
            let broken = |error: LanguageError| anyhow::anyhow!("{}: {error}", file.display());
            parse(format, &file::read(file)?, &[]).map_err(broken)
        })
        .collect::<anyhow::Result<_>>()?;
    let broken = check(level, &new, &older);
    Ok(broken
        .iter()
        .flat_map(|(index, found)| {
            let place = args.against.get(*index).map(|file| file.display().to_string());
            let place = place.unwrap_or_default();
            found.iter().map(move |one| format!("{one} ({place})"))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::schema::cli::SchemaCommand;

    const OLD: &str = r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#;
    const WIDER: &str = r#"{"type":"object","properties":{"n":{"type":"number"}}}"#;

    /// What an offline check says of files `new.json` and `old.json`.
    fn checked(new: &str, old: &str, level: &str) -> anyhow::Result<Vec<String>> {
        let dir = tempfile::tempdir()?;
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).map(|()| path.display().to_string())
        };
        let (new, old) = (file("new.json", new)?, file("old.json", old)?);
        let typed = [
            "tributary",
            "schema",
            "check",
            &new,
            "--against",
            &old,
            "--level",
            level,
        ];
        match Cli::try_parse_from(typed)?.command {
            Command::Schema(SchemaCommand::Check(args)) => offline(&args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn files_are_compared_without_a_server() {
        assert_eq!(
            checked(WIDER, OLD, "backward").expect("checked"),
            Vec::<String>::new()
        );
        let broken = checked(OLD, WIDER, "BACKWARD").expect("checked");
        assert!(
            broken[0].contains("#/properties/n") && broken[0].contains("old.json"),
            "{broken:?}"
        );
        assert!(checked(WIDER, OLD, "NONE").expect("checked").is_empty());
        let invalid = checked(r#"{"type":"nummer"}"#, OLD, "NONE").expect("checked");
        assert!(invalid[0].contains("/type"), "{invalid:?}");
        let level = checked(OLD, OLD, "SOME").expect_err("wrong usage");
        assert!(
            level
                .downcast_ref::<Refused>()
                .is_some_and(|refused| refused.usage)
        );
        let old = checked(OLD, "{", "FULL").expect_err("the old file is broken");
        assert!(old.to_string().contains("old.json"), "{old}");
    }
}
