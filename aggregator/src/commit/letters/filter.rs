//! Which letters: the statement that finds them. Pure.

use rusqlite::types::Value;
use tributary_shared::ids::{AgentId, StreamName};
use tributary_shared::time::Millis;

use super::messages::LetterState;
use super::read::MAX_DEAD_LETTER_PAGE;

/// Which dead letters; all that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadLetterFilter {
    pub stream: Option<StreamName>,
    pub agent: Option<AgentId>,
    /// The rule of any of its reasons, for example `type` or `malformed`, or the path, for example `/temperature`.
    pub reason: Option<String>,
    /// The version of the schema that rejected it.
    pub schema: Option<u32>,
    /// Committed at this time or later.
    pub from: Option<Millis>,
    /// Committed before this time.
    pub to: Option<Millis>,
    pub state: Option<LetterState>,
    /// Only ids below this one: the next page.
    pub before: Option<i64>,
    /// At most [`MAX_DEAD_LETTER_PAGE`]; 0 means that.
    pub limit: u32,
}

impl DeadLetterFilter {
    /// Whether it lets every letter pass, whatever its state.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        let Self {
            stream,
            agent,
            reason,
            schema,
            from,
            to,
            state: _,
            before: _,
            limit: _,
        } = self;
        stream.is_none()
            && agent.is_none()
            && reason.is_none()
            && schema.is_none()
            && from.is_none()
            && to.is_none()
    }
}

/// Where a walk over letters, oldest first, stands: ids above `after`, up to `upto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanFrom {
    pub after: i64,
    pub upto: i64,
}

/// The statement that lists letters newest first, and its values.
pub fn statement(columns: &str, filter: &DeadLetterFilter) -> (String, Vec<Value>) {
    let mut query = Query::begin(columns, filter);
    if let Some(before) = filter.before {
        query.and(&format!("{} < ?", query.id), before);
    }
    let limit = match filter.limit {
        0 => MAX_DEAD_LETTER_PAGE,
        limit => limit.min(MAX_DEAD_LETTER_PAGE),
    };
    query.end("DESC", i64::from(limit))
}

/// The statement that walks over letters oldest first, and its values.
pub fn walk(columns: &str, filter: &DeadLetterFilter, from: ScanFrom, limit: u32) -> (String, Vec<Value>) {
    let mut query = Query::begin(columns, filter);
    query.and(&format!("{} > ?", query.id), from.after);
    query.and(&format!("{} <= ?", query.id), from.upto);
    query.end("ASC", i64::from(limit))
}

struct Query {
    sql: String,
    values: Vec<Value>,
    /// Of the ids, which are the same, the one whose index gives the order.
    id: &'static str,
}

impl Query {
    fn begin(columns: &str, filter: &DeadLetterFilter) -> Self {
        let mut sql = format!("SELECT {columns}");
        let mut values = Vec::new();
        let id = if filter.reason.is_some() { "r.id" } else { "d.id" };
        if let Some(reason) = &filter.reason {
            // the planner then reads the rule's ids in order, and no other letter
            sql.push_str(" JOIN dead_letter_rules r ON r.id = d.id AND r.rule = ?");
            values.push(reason.clone().into());
        }
        sql.push_str(" WHERE true");
        let mut query = Self { sql, values, id };
        query.filter(filter);
        query
    }

    fn filter(&mut self, filter: &DeadLetterFilter) {
        if let Some(stream) = &filter.stream {
            // the plus keeps the scan on dead_letters, in order, instead of collecting and sorting a stream's
            self.and(
                "+d.lane IN (SELECT no FROM lanes WHERE stream = ?)",
                stream.as_str().to_owned(),
            );
        }
        if let Some(agent) = &filter.agent {
            self.and(
                "+d.lane IN (SELECT no FROM lanes WHERE agent = ?)",
                agent.as_str().to_owned(),
            );
        }
        if let Some(version) = filter.schema {
            self.and("d.schema_version = ?", i64::from(version));
        }
        if let Some(from) = filter.from {
            self.and("d.at >= ?", from);
        }
        if let Some(to) = filter.to {
            self.and("d.at < ?", to);
        }
        if let Some(state) = filter.state {
            // with a rule, the order is that of the rule's index
            let state_is = if filter.reason.is_some() {
                "+d.state = ?"
            } else {
                "d.state = ?"
            };
            self.and(state_is, state.tag());
        }
    }

    fn and(&mut self, condition: &str, value: impl Into<Value>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.push(value.into());
    }

    fn end(mut self, order: &str, limit: i64) -> (String, Vec<Value>) {
        self.sql
            .push_str(&format!(" ORDER BY {} {order} LIMIT ?", self.id));
        self.values.push(limit.into());
        (self.sql, self.values)
    }
}
