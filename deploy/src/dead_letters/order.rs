//! From the command line to requests. Reads the file of a patch, and nothing else.

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::Refused;
use super::cli::{FilterArgs, ReplayArgs, SelectArgs};

/// Filters as the list takes them.
pub(super) fn query(filter: &FilterArgs) -> Vec<(&'static str, String)> {
    let fields = [
        ("stream", filter.stream.as_ref().map(ToString::to_string)),
        ("agent", filter.agent.as_ref().map(ToString::to_string)),
        ("reason", filter.reason.clone()),
        ("schema", filter.rejected_by.map(|version| version.to_string())),
        ("from", filter.from.clone()),
        ("to", filter.to.clone()),
        ("state", filter.state.clone()),
    ];
    fields
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// Which letters, and by whom, as replays and discards take it; ids are added chunk by chunk.
pub(super) fn selection(select: &SelectArgs) -> Value {
    let mut filter = Map::new();
    for (name, value) in query(&select.filter) {
        let value = match (name, value.parse::<u32>()) {
            ("schema", Ok(version)) => version.into(),
            _ => Value::from(value),
        };
        filter.insert(name.to_owned(), value);
    }
    let by = select.by.clone().unwrap_or_else(user);
    let mut body = json!({ "dry_run": select.dry_run, "by": by });
    if !filter.is_empty() {
        body["filter"] = Value::Object(filter);
    }
    if select.all {
        body["all"] = Value::Bool(true);
    }
    body
}

fn user() -> String {
    let name = std::env::var("USER").ok().filter(|name| !name.trim().is_empty());
    name.unwrap_or_else(|| "tributary dead-letters".to_owned())
}

/// The fix; null when there is none.
pub(super) fn fix(args: &ReplayArgs) -> anyhow::Result<Value> {
    if let Some(sql) = &args.fix_sql {
        return Ok(json!({ "sql": sql }));
    }
    let Some(path) = &args.fix_patch else {
        return Ok(Value::Null);
    };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let patch: Value = serde_json::from_str(&text).map_err(|error| Refused {
        message: format!("{} holds no JSON Patch: {error}", path.display()),
        usage: true,
    })?;
    Ok(json!({ "json_patch": patch }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_what_was_typed() {
        let select = SelectArgs {
            ids: vec![],
            all: false,
            filter: FilterArgs {
                stream: "readings".parse().ok(),
                rejected_by: Some(3),
                ..FilterArgs::default()
            },
            dry_run: true,
            by: Some("ann".to_owned()),
        };
        let expected =
            json!({ "dry_run": true, "by": "ann", "filter": { "stream": "readings", "schema": 3 } });
        assert_eq!(selection(&select), expected);
    }
}
