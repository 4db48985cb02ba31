//! Asking the aggregator's API and the registry's port.

use serde_json::Value;

use crate::http;

/// An answer that was no success.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    pub message: String,
    /// What was asked for is wrong, as opposed to: it is not allowed now, or it failed.
    pub usage: bool,
    pub status: u16,
}

/// A name as a part of a path.
pub fn path(name: &str) -> String {
    let mut path = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

/// The JSON of a good answer. Both servers' errors are understood.
pub fn answer(response: &mut ureq::http::Response<ureq::Body>) -> anyhow::Result<Value> {
    let text = http::text(response)?;
    let status = response.status();
    let json: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    if status.is_success() {
        return Ok(json);
    }
    let told = json["error"]["message"].as_str().or(json["message"].as_str());
    let place = match (&json["error"]["line"], &json["error"]["column"]) {
        (Value::Number(line), Value::Number(column)) => format!(" at line {line}, column {column}"),
        _ => String::new(),
    };
    let hint = json["error"]["hint"].as_str().filter(|hint| !hint.is_empty());
    let hint = hint.map_or_else(String::new, |hint| format!("; {hint}"));
    let message = format!("{}{place}{hint} (status {status})", told.unwrap_or(&text));
    // 403 and 409: the question was a good one
    let usage = status.is_client_error() && ![403, 409].contains(&status.as_u16());
    let status = status.as_u16();
    Err(Refused {
        message,
        usage,
        status,
    }
    .into())
}

fn unreachable(what: &str, url: &str, key: &str) -> String {
    format!("no {what} can be reached at {url}: is it running, and is this its `{key}` address?")
}

/// The aggregator's API.
pub mod api {
    use anyhow::Context as _;

    use super::{Value, answer, http, unreachable};
    use crate::schema::cli::ApiArgs;

    pub fn get(api: &ApiArgs, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        let mut request = http::client().get(format!("{}{path}", api.http));
        for (name, value) in query {
            request = request.query(name, value);
        }
        answer(&mut request.call().with_context(|| lost(api))?)
    }

    pub fn post(api: &ApiArgs, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = http::client().post(format!("{}{path}", api.http));
        answer(&mut request.send_json(body).with_context(|| lost(api))?)
    }

    pub fn put(api: &ApiArgs, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = http::client().put(format!("{}{path}", api.http));
        answer(&mut request.send_json(body).with_context(|| lost(api))?)
    }

    pub fn delete(api: &ApiArgs, path: &str) -> anyhow::Result<Value> {
        let request = http::client().delete(format!("{}{path}", api.http));
        answer(&mut request.call().with_context(|| lost(api))?)
    }

    pub fn patch(api: &ApiArgs, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = http::client().patch(format!("{}{path}", api.http));
        answer(&mut request.send_json(body).with_context(|| lost(api))?)
    }

    fn lost(api: &ApiArgs) -> String {
        unreachable("aggregator", &api.http, "http")
    }
}

/// The registry's port.
pub mod registry {
    use anyhow::Context as _;

    use super::{Value, answer, http, unreachable};
    use crate::schema::cli::RegistryArgs;

    pub fn get(registry: &RegistryArgs, path: &str) -> anyhow::Result<Value> {
        let request = http::client().get(format!("{}{path}", registry.registry));
        answer(&mut request.call().with_context(|| lost(registry))?)
    }

    pub fn post(registry: &RegistryArgs, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = http::client().post(format!("{}{path}", registry.registry));
        answer(&mut request.send_json(body).with_context(|| lost(registry))?)
    }

    fn lost(registry: &RegistryArgs) -> String {
        unreachable("schema registry", &registry.registry, "registry")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_as_a_part_of_a_path() {
        assert_eq!(path("a/b c-value_1.x~"), "a%2Fb%20c-value_1.x~");
        assert_eq!(path("値?"), "%E5%80%A4%3F");
    }
}
