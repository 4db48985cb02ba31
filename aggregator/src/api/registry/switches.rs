//! The switches of a query string. As the registry that this API comes from, unknown ones are passed over.

use std::collections::HashMap;

use actix_web::HttpRequest;
use actix_web::web::Query;

use super::{Refusal, bare};
use crate::registry::{Deleted, Page, Version};

/// What stands before a prefix to ask for all contexts; there is one.
const ALL_CONTEXTS: &str = ":*:";

/// The decoded query string; of a name that comes twice, the last.
#[derive(Debug)]
pub struct Switches(HashMap<String, String>);

impl Switches {
    pub fn of(request: &HttpRequest) -> Result<Self, Refusal> {
        Query::from_query(request.query_string())
            .map(|query: Query<HashMap<String, String>>| Self(query.into_inner()))
            .map_err(|error| Refusal::plain(400, format!("the query string cannot be read: {error}")))
    }

    /// Whether a switch is on. Clients write `true` in several ways.
    pub fn on(&self, name: &str) -> Result<bool, Refusal> {
        match self
            .0
            .get(name)
            .map(|value| value.to_ascii_lowercase())
            .as_deref()
        {
            None | Some("" | "false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Refusal::plain(
                400,
                format!("{name}={other} is neither true nor false"),
            )),
        }
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    /// A negative limit means none.
    pub fn page(&self) -> Result<Page, Refusal> {
        let offset = self.number("offset")?.unwrap_or(0);
        let limit = self.number("limit")?;
        Ok(Page {
            offset: u64::try_from(offset).unwrap_or(0),
            limit: limit.and_then(|limit| u64::try_from(limit).ok()),
        })
    }

    fn number(&self, name: &str) -> Result<Option<i64>, Refusal> {
        self.text(name)
            .map(|text| {
                text.parse()
                    .map_err(|_| Refusal::plain(400, format!("{name}={text} is not a whole number")))
            })
            .transpose()
    }

    /// `deleted` and `deletedOnly`.
    pub fn deleted(&self) -> Result<Deleted, Refusal> {
        let (with, only) = (self.on("deleted")?, self.on("deletedOnly")?);
        Ok(match (with, only) {
            (_, true) => Deleted::Only,
            (true, false) => Deleted::With,
            (false, false) => Deleted::Without,
        })
    }

    pub fn prefix(&self) -> String {
        let prefix = self.text("subjectPrefix").unwrap_or_default();
        bare(prefix.strip_prefix(ALL_CONTEXTS).unwrap_or(prefix)).to_owned()
    }
}

/// A number from 1, or `latest`, which some clients write as -1.
pub fn version(text: &str) -> Result<Version, Refusal> {
    match text {
        "latest" | "-1" => Ok(Version::Latest),
        _ => text
            .parse()
            .ok()
            .filter(|number| (1..=i32::MAX.unsigned_abs()).contains(number))
            .map(Version::Number)
            .ok_or_else(|| {
                let message = format!("{text:?} is not a version: use a number from 1, or latest");
                Refusal::new(42202, message)
            }),
    }
}
