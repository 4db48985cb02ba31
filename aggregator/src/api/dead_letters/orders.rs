//! The bodies of replays and discards, checked.

use actix_web::HttpRequest;
use serde::Deserialize;
use serde_json::Value;
use tributary_shared::ids::{AgentId, StreamName};
use tributary_shared::time::Millis;

use super::super::{ApiError, query};
use super::parse_state;
use crate::commit::DeadLetterFilter;
use crate::replay::{DiscardOrder, Fix, MAX_IDS, ReplayOrder, Selection};

/// Who asked, and why: a line, not a text.
const MAX_WORDS: usize = 200;

/// Filter fields, under `filter` or beside it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterBody {
    stream: Option<String>,
    reason: Option<String>,
    agent: Option<String>,
    /// The version that rejected the letters.
    schema: Option<u32>,
    from: Option<Value>,
    to: Option<Value>,
    state: Option<String>,
}

/// `POST /dead-letters/replay`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayBody {
    ids: Option<Vec<i64>>,
    filter: Option<FilterBody>,
    stream: Option<String>,
    reason: Option<String>,
    agent: Option<String>,
    from: Option<Value>,
    to: Option<Value>,
    state: Option<String>,
    #[serde(default)]
    all: bool,
    /// The version to judge by: a number, or `latest`.
    schema: Option<Value>,
    fix: Option<Value>,
    #[serde(default)]
    dry_run: bool,
    by: Option<String>,
    after: Option<i64>,
    limit: Option<u64>,
}

/// `POST /dead-letters/discard`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiscardBody {
    ids: Option<Vec<i64>>,
    filter: Option<FilterBody>,
    stream: Option<String>,
    /// Why they are given up. What the letters were rejected for is `filter.reason`.
    reason: Option<String>,
    agent: Option<String>,
    from: Option<Value>,
    to: Option<Value>,
    state: Option<String>,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    dry_run: bool,
    by: Option<String>,
    after: Option<i64>,
    limit: Option<u64>,
}

/// Who asks, when the body does not say.
pub fn asker(request: &HttpRequest) -> String {
    let from = request.peer_addr().map(|peer| peer.ip().to_string());
    format!("http {}", from.as_deref().unwrap_or("(unknown)"))
}

impl ReplayBody {
    pub fn order(self, asker: String) -> Result<ReplayOrder, ApiError> {
        let beside = FilterBody {
            stream: self.stream,
            reason: self.reason,
            agent: self.agent,
            schema: None,
            from: self.from,
            to: self.to,
            state: self.state,
        };
        let selection = selection(self.ids, self.filter, beside, self.all)?;
        let schema = self.schema.map_or(Ok(None), version)?;
        if let (Selection::Matching(filter), Some(_)) = (&selection, schema)
            && filter.stream.is_none()
        {
            let message = "a version belongs to one stream: say which, as stream";
            return Err(ApiError::bad_request("several_streams", message));
        }
        Ok(ReplayOrder {
            selection,
            schema,
            fix: self.fix.map(Fix::parse).transpose()?,
            dry_run: self.dry_run,
            by: self.by.map_or(Ok(asker), |by| words("by", by))?,
            after: self.after.unwrap_or(i64::MIN),
            limit: limit(self.limit)?,
        })
    }
}

impl DiscardBody {
    pub fn order(self, asker: String) -> Result<DiscardOrder, ApiError> {
        let beside = FilterBody {
            stream: self.stream,
            reason: None,
            agent: self.agent,
            schema: None,
            from: self.from,
            to: self.to,
            state: self.state,
        };
        let Some(reason) = self.reason else {
            let message = "reason is missing: say in a few words why the letters are given up";
            return Err(ApiError::bad_request("reason_missing", message));
        };
        Ok(DiscardOrder {
            selection: selection(self.ids, self.filter, beside, self.all)?,
            by: self.by.map_or(Ok(asker), |by| words("by", by))?,
            reason: words("reason", reason)?,
            dry_run: self.dry_run,
            after: self.after.unwrap_or(i64::MIN),
            limit: limit(self.limit)?,
        })
    }
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::bad_request("invalid_selection", message)
}

/// Which letters a body names: by ids, or by a filter that leaves something out, or all of them on purpose.
fn selection(
    ids: Option<Vec<i64>>,
    filter: Option<FilterBody>,
    beside: FilterBody,
    all: bool,
) -> Result<Selection, ApiError> {
    let beside = beside.filter()?;
    let is_filtered = beside != DeadLetterFilter::default();
    if filter.is_some() && is_filtered {
        return Err(invalid(
            "filter fields stand under filter and beside it; put them in one place",
        ));
    }
    if let Some(ids) = ids {
        if filter.is_some() || is_filtered || all {
            return Err(invalid("ids and a filter exclude each other; give one of them"));
        }
        return match ids.len() {
            0 => Err(invalid("ids is empty: name at least one dead letter")),
            count if count > MAX_IDS => {
                let message = format!("{count} ids are too many for one request; the limit is {MAX_IDS}");
                Err(invalid(format!("{message}. Use a filter for more")))
            }
            _ => Ok(Selection::Ids(ids)),
        };
    }
    let filter = filter.map_or(Ok(beside), FilterBody::filter)?;
    if filter.is_everything() != all {
        let message = if all {
            "all and a filter exclude each other; leave all out to keep to the filter"
        } else {
            "neither ids nor a filter: name letters by ids, stream, reason, agent, schema, from or to, or say \
             \"all\": true to mean every one"
        };
        return Err(ApiError::bad_request("empty_selection", message));
    }
    Ok(Selection::Matching(Box::new(filter)))
}

impl FilterBody {
    fn filter(self) -> Result<DeadLetterFilter, ApiError> {
        let wrong = |error: tributary_shared::ids::InvalidId| invalid(error.to_string());
        Ok(DeadLetterFilter {
            stream: self
                .stream
                .map(|name| StreamName::new(&name))
                .transpose()
                .map_err(wrong)?,
            agent: self
                .agent
                .map(|name| AgentId::new(&name))
                .transpose()
                .map_err(wrong)?,
            reason: self.reason,
            schema: self.schema,
            from: self.from.map(|value| time("from", &value)).transpose()?,
            to: self.to.map(|value| time("to", &value)).transpose()?,
            state: self.state.as_deref().map(parse_state).transpose()?,
            before: None,
            limit: 0,
        })
    }
}

fn time(name: &str, value: &Value) -> Result<Millis, ApiError> {
    match value {
        Value::String(text) => query::time(name, text),
        other => query::time(name, &other.to_string()),
    }
}

fn version(value: Value) -> Result<Option<u32>, ApiError> {
    let number = match &value {
        Value::String(text) if text == "latest" => return Ok(None),
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().and_then(|number| u32::try_from(number).ok()),
    };
    let number = number.filter(|number| *number > 0).ok_or_else(|| {
        let message = format!("schema {value} is not a version: use a number from 1, or \"latest\"");
        ApiError::bad_request("invalid_version", message)
    })?;
    Ok(Some(number))
}

fn words(name: &str, text: String) -> Result<String, ApiError> {
    let text = text.trim().to_owned();
    if text.is_empty() || text.len() > MAX_WORDS || text.chars().any(char::is_control) {
        let message = format!("{name} is one line of at most {MAX_WORDS} bytes");
        return Err(ApiError::bad_request("invalid_words", message));
    }
    Ok(text)
}

fn limit(limit: Option<u64>) -> Result<Option<u64>, ApiError> {
    match limit {
        Some(0) => Err(invalid(
            "limit 0 looks at nothing; use 1 or more, or leave it out",
        )),
        limit => Ok(limit),
    }
}
