//! Dead letters as JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tributary_shared::ids::LineageId;
use tributary_shared::time::to_rfc3339;

use crate::commit::{LetterCount, LetterState, Settlement, StoredDeadLetter};

/// One dead letter of a list. A payload that is not UTF-8 is shown with replacement characters, and says so.
pub fn letter_json(letter: &StoredDeadLetter) -> Value {
    let text = String::from_utf8_lossy(&letter.payload);
    let mut shown = json!({
        "id": letter.id,
        "lineage_id": LineageId::new(letter.lane_no, letter.seq).to_string(),
        "stream": letter.stream,
        "agent": letter.agent,
        "seq": letter.seq,
        "at": to_rfc3339(letter.at),
        "schema": letter.schema,
        "state": letter.state(),
        "reasons": letter.reasons,
        "payload": text,
    });
    if matches!(text, Cow::Owned(_)) {
        shown["payload_is_text"] = Value::Bool(false);
    }
    shown
}

/// A whole record: the original bytes, and what became of them.
pub fn record_json(letter: &StoredDeadLetter) -> Value {
    let mut shown = letter_json(letter);
    shown["payload_bytes"] = json!(letter.payload.len());
    if std::str::from_utf8(&letter.payload).is_err() {
        shown["payload"] = Value::Null;
        shown["payload_base64"] = Value::String(STANDARD.encode(&letter.payload));
    }
    shown["position"] = json!(letter.pos);
    shown["replays"] = Value::Array(replays(letter));
    shown["discarded"] = match &letter.settled {
        Some(Settlement::Discarded { at, by, reason }) => {
            json!({ "at": to_rfc3339(*at), "by": by, "reason": reason })
        }
        _ => Value::Null,
    };
    shown
}

fn replays(letter: &StoredDeadLetter) -> Vec<Value> {
    let Some(Settlement::Replayed {
        at,
        by,
        pos,
        schema,
        fix,
    }) = &letter.settled
    else {
        return Vec::new();
    };
    vec![json!({
        "at": to_rfc3339(*at),
        "by": by,
        "position": pos,
        "schema": schema,
        "fix": fix_json(fix.as_deref()),
    })]
}

/// A fix as it was asked for.
pub fn fix_json(fix: Option<&str>) -> Value {
    fix.map_or(Value::Null, |text| {
        serde_json::from_str(text).unwrap_or_else(|_| text.into())
    })
}

/// One stream's letters in one state.
#[derive(Default)]
struct CountRow<'a> {
    count: u64,
    bytes: u64,
    reasons: BTreeMap<&'a str, u64>,
}

/// By stream and state: how many, bytes, and how many break each rule.
pub fn counts_json(counts: &[LetterCount]) -> Value {
    let mut rows: BTreeMap<(&str, LetterState), CountRow<'_>> = BTreeMap::new();
    let mut totals = BTreeMap::from(LetterState::ALL.map(|state| (state.as_str(), 0u64)));
    for count in counts {
        let row = rows.entry((count.stream.as_str(), count.state)).or_default();
        match &count.rule {
            Some(rule) => {
                row.reasons.insert(rule, count.count);
            }
            None => {
                (row.count, row.bytes) = (count.count, count.bytes);
                *totals.entry(count.state.as_str()).or_default() += count.count;
            }
        }
    }
    let rows = rows.into_iter().map(|((stream, state), row)| {
        let CountRow {
            count,
            bytes,
            reasons,
        } = row;
        json!({ "stream": stream, "state": state, "count": count, "bytes": bytes, "reasons": reasons })
    });
    json!({ "counts": rows.collect::<Vec<_>>(), "totals": totals })
}
