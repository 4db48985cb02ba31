//! The agent's configuration as the centre shows it: what it takes in, and what becomes of that. Paths of keys and
//! secrets stay at home.

use serde_json::{Map, Value, json};
use tributary_shared::config::{format_duration, format_size};
use tributary_shared::host_schema::HOST_STREAM;
use tributary_shared::wire::MAX_CONFIGURATION;

use crate::config::AgentConfig;
use crate::spool::{Priority, StreamPolicy, WhenFull};
use crate::tail::ReadFrom;

/// Every setting by its key, as JSON text. `None` when it is longer than what may be told: then somebody lists
/// hundreds of inputs.
#[must_use]
pub fn shown(config: &AgentConfig) -> Option<String> {
    let text = Value::Object(settings(config)).to_string();
    if text.len() > MAX_CONFIGURATION {
        tracing::warn!(
            bytes = text.len(),
            limit = MAX_CONFIGURATION,
            "the configuration is too long to be shown at the centre"
        );
        return None;
    }
    Some(text)
}

fn settings(config: &AgentConfig) -> Map<String, Value> {
    let mut ships: Vec<Value> = config
        .files
        .iter()
        .map(|files| {
            let from = match files.read_from {
                ReadFrom::Beginning => "beginning",
                ReadFrom::End => "end",
            };
            json!({
                "stream": files.stream, "input": "file", "paths": files.paths,
                "max_line": format_size(files.max_line as u64), "read_from": from,
            })
        })
        .collect();
    if config.host_metrics.enabled {
        let every = format_duration(config.host_metrics.every);
        ships.push(json!({ "stream": HOST_STREAM, "input": "host", "every": every }));
    }
    let mut settings = Map::new();
    let mut set = |key: &str, value: Value| drop(settings.insert(key.to_owned(), value));
    set("gateways", json!(config.gateways));
    set("ships", ships.into());
    set("intake.listen", config.intake.listen.to_string().into());
    set(
        "intake.max_request",
        format_size(config.intake.max_request as u64).into(),
    );
    set("spool.limit", format_size(config.spool.limit).into());
    set("spool.policy", policy(&config.spool.default_policy));
    for (stream, own) in &config.spool.streams {
        set(&format!("streams.{stream}.policy"), policy(own));
    }
    for (stream, check) in &config.checks {
        set(&format!("streams.{stream}.check"), check.as_str().into());
    }
    set("ship.fresh_share", config.ship.fresh_share.into());
    let backlog = &config.ship.backlog;
    set(
        "ship.backlog",
        json!({
            "events": backlog.events, "bytes": format_size(backlog.bytes), "age": format_duration(backlog.age),
        }),
    );
    settings
}

fn policy(policy: &StreamPolicy) -> Value {
    let (when_full, thin_keep) = match policy.when_full {
        WhenFull::Block => ("block", None),
        WhenFull::Reject => ("reject", None),
        WhenFull::DropOldest => ("drop_oldest", None),
        WhenFull::DropNewest => ("drop_newest", None),
        WhenFull::Thin { keep } => ("thin", Some(keep)),
    };
    let priority = match policy.priority {
        Priority::Low => "low",
        Priority::Normal => "normal",
        Priority::High => "high",
    };
    json!({
        "when_full": when_full,
        "thin_keep": thin_keep,
        "priority": priority,
        "max_age": policy.max_age.map(format_duration),
    })
}

#[cfg(test)]
mod tests {
    use tributary_shared::config::parse;

    use super::*;

    #[test]
    fn what_an_agent_ships_is_shown_and_its_keys_are_not() {
        let text = "id = 'press-7'\ndir = '/d'\ngateways = ['g:1']\n
            [tls]\nca = '/secret/ca.pem'\ncert = '/secret/c.pem'\nkey = '/secret/k.pem'\n
            [streams.readings]\nwhen_full = 'drop_oldest'\nmax_age = '2h'\ncheck = 'tag'\n
            [[files]]\nstream = 'readings'\npaths = ['/var/log/*.ndjson']\n";
        let config = parse("agent.toml", text, AgentConfig::from_section).expect("valid");
        let text = shown(&config).expect("short");
        let told: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(told["ships"][0]["stream"], "readings");
        assert_eq!(told["ships"][0]["paths"][0], "/var/log/*.ndjson");
        assert_eq!(told["ships"][1]["input"], "host");
        assert_eq!(told["streams.readings.policy"]["when_full"], "drop_oldest");
        assert_eq!(told["streams.readings.policy"]["max_age"], "2h");
        assert_eq!(told["streams.readings.check"], "tag");
        assert!(!text.contains("secret"), "{text}");
        let many = AgentConfig {
            gateways: vec!["gateway.example:8602".to_owned(); 1_000],
            ..config
        };
        assert_eq!(shown(&many), None);
    }
}
