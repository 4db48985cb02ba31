//! Turns request bodies into rows of events. Pure: no sockets, no limits of time.
//!
//! What is checked here is what a producer can be told at once: each event is one JSON object, in UTF-8, not
//! too large and not too deep. Everything else (types, ranges, fields) is the schema's business, and the
//! gateway's. Payloads are kept byte for byte, but for white space around them.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tributary_shared::wire::Reason;
use tributary_shared::wire::rows::push_row;

use crate::check::{Check, Tally};

/// The deepest nesting of an event. What reads the event later recurses, and refuses more than this.
pub const MAX_DEPTH: usize = 127;

/// Events as the spool takes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Events {
    /// As [`push_row`] writes them.
    pub rows: Vec<u8>,
    pub count: u32,
    /// What the stream's check found in them.
    pub tally: Tally,
}

/// Where in a request an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// From 1; 0 in a body that is no text.
    pub line: u64,
    /// Of the array's element or of the binary event, from 0.
    pub index: Option<u64>,
}

impl Place {
    /// In a body that is no text.
    #[must_use]
    pub fn of_index(index: u64) -> Self {
        Self {
            line: 0,
            index: Some(index),
        }
    }
}

/// Why a body is not taken. Nothing of it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    #[error("{place}: {reason}")]
    Malformed { place: Place, reason: String },
    #[error("{place}: the event is larger than {limit} bytes")]
    EventTooLarge { place: Place, limit: usize },
    /// By the stream's schema, where the stream's policy is to reject.
    #[error("{place}: {}{}{}", reason.path, if reason.path.is_empty() { "" } else { ": " }, reason.message)]
    Invalid { place: Place, reason: Box<Reason> },
    #[error("the body holds no event")]
    Empty,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (0, Some(index)) = (self.line, self.index) {
            return write!(f, "event {index}");
        }
        write!(f, "line {}", self.line)?;
        self.index.map_or(Ok(()), |index| write!(f, ", element {index}"))
    }
}

/// Reads `application/x-ndjson` in chunks of any size, so that a request is in memory once.
#[derive(Debug)]
pub struct LineBody {
    events: Events,
    /// The line that is not finished yet.
    started: Vec<u8>,
    line: u64,
    max_event: usize,
    check: Option<Check>,
}

impl LineBody {
    /// `expected` is the length of the body, where it is known.
    #[must_use]
    pub fn new(max_event: usize, expected: usize, check: Option<Check>) -> Self {
        // a long line's length takes a byte more than its newline did
        let rows = Vec::with_capacity(if expected == 0 {
            0
        } else {
            expected + expected / 64 + 8
        });
        Self {
            events: Events {
                rows,
                ..Events::default()
            },
            started: Vec::new(),
            line: 0,
            max_event,
            check,
        }
    }

    /// # Errors
    /// [`PayloadError`] for the first line that cannot be taken.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), PayloadError> {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', chunk) {
            let piece = &chunk[start..end];
            start = end + 1;
            if self.started.is_empty() {
                self.take(piece)?;
            } else {
                self.started.extend_from_slice(piece);
                let whole = std::mem::take(&mut self.started);
                self.take(&whole)?;
            }
        }
        self.started.extend_from_slice(&chunk[start..]);
        if self.started.trim_ascii().len() > self.max_event {
            let place = Place {
                line: self.line + 1,
                index: None,
            };
            return Err(PayloadError::EventTooLarge {
                place,
                limit: self.max_event,
            });
        }
        Ok(())
    }

    /// The body has ended; its last line needs no newline.
    ///
    /// # Errors
    /// As [`Self::feed`], and [`PayloadError::Empty`].
    pub fn finish(mut self) -> Result<Events, PayloadError> {
        let last = std::mem::take(&mut self.started);
        self.take(&last)?;
        if self.events.count == 0 {
            return Err(PayloadError::Empty);
        }
        self.events.tally = self.check.map(Check::into_tally).unwrap_or_default();
        Ok(self.events)
    }

    fn take(&mut self, line: &[u8]) -> Result<(), PayloadError> {
        self.line += 1;
        let payload = line.trim_ascii();
        if payload.is_empty() {
            return Ok(());
        }
        let place = Place {
            line: self.line,
            index: None,
        };
        self.events
            .push(payload, self.max_event, place, self.check.as_mut())
    }
}

/// Reads `application/json`: one object, or an array of objects.
///
/// # Errors
/// [`PayloadError`] for the first thing that cannot be taken.
pub fn document(body: &[u8], max_event: usize, mut check: Option<Check>) -> Result<Events, PayloadError> {
    let mut events = Events {
        rows: Vec::with_capacity(body.len() + body.len() / 64 + 8),
        ..Events::default()
    };
    let text = std::str::from_utf8(body).map_err(|error| {
        let place = Place {
            line: line_of(body, error.valid_up_to()),
            index: None,
        };
        PayloadError::Malformed {
            place,
            reason: NOT_UTF8.to_owned(),
        }
    })?;
    let leading = body.len() - body.trim_ascii_start().len();
    match body.trim_ascii().first() {
        None => return Err(PayloadError::Empty),
        Some(b'[') => {
            let mut refused = None;
            let mut json = serde_json::Deserializer::from_str(text);
            let elements = Elements {
                events: &mut events,
                body: text,
                max_event,
                check: check.as_mut(),
                refused: &mut refused,
            };
            let outcome = elements.deserialize(&mut json).and_then(|()| json.end());
            if let Some(refused) = refused {
                return Err(refused);
            }
            outcome.map_err(|error| {
                let place = Place {
                    line: error.line() as u64,
                    index: None,
                };
                PayloadError::Malformed {
                    place,
                    reason: reason(&error),
                }
            })?;
        }
        Some(_) => {
            let place = Place {
                line: line_of(body, leading),
                index: None,
            };
            events.push(body.trim_ascii(), max_event, place, check.as_mut())?;
        }
    }
    if events.count == 0 {
        return Err(PayloadError::Empty);
    }
    events.tally = check.map(Check::into_tally).unwrap_or_default();
    Ok(events)
}

const NOT_UTF8: &str = "the text is not UTF-8";

/// The line, from 1, on which a byte stands.
fn line_of(body: &[u8], at: usize) -> u64 {
    memchr::memchr_iter(b'\n', &body[..at]).count() as u64 + 1
}

/// What serde_json says, without its place, which is relative to the event.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(reason) => format!("{reason} (column {})", error.column()),
        None => text,
    }
}

impl Events {
    /// Checks one trimmed payload that begins at `place` and takes it.
    fn push(
        &mut self,
        payload: &[u8],
        max_event: usize,
        place: Place,
        check: Option<&mut Check>,
    ) -> Result<(), PayloadError> {
        if payload.len() > max_event {
            return Err(PayloadError::EventTooLarge {
                place,
                limit: max_event,
            });
        }
        check_object(payload).map_err(|(below, reason)| {
            let place = Place {
                line: place.line + below,
                ..place
            };
            PayloadError::Malformed { place, reason }
        })?;
        if let Some(check) = check {
            check.see(payload).map_err(|reason| PayloadError::Invalid {
                place,
                reason: Box::new(reason),
            })?;
        }
        push_row(&mut self.rows, payload);
        self.count += 1;
        Ok(())
    }
}

/// One JSON object and nothing else? If not: on which line of it (from 0), and why.
fn check_object(payload: &[u8]) -> Result<(), (u64, String)> {
    let text = std::str::from_utf8(payload)
        .map_err(|error| (line_of(payload, error.valid_up_to()) - 1, NOT_UTF8.to_owned()))?;
    if payload.first() != Some(&b'{') {
        return Err((0, "expected a JSON object".to_owned()));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let checked = json.deserialize_map(AnyObject).and_then(|()| json.end());
    checked.map_err(|error| (error.line().saturating_sub(1) as u64, reason(&error)))?;
    let too_deep =
        memchr::memchr2_iter(b'{', b'[', payload).nth(MAX_DEPTH).is_some() && depth(payload) > MAX_DEPTH;
    if too_deep {
        Err((0, format!("the event is nested deeper than {MAX_DEPTH} levels")))
    } else {
        Ok(())
    }
}

/// The deepest nesting of valid JSON.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Looks at an object's syntax without building it. Values are skipped without recursion.
struct AnyObject;

impl<'de> Visitor<'de> for AnyObject {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// Takes an array's elements one by one, as the text that they are.
struct Elements<'a> {
    events: &'a mut Events,
    body: &'a str,
    max_event: usize,
    check: Option<&'a mut Check>,
    /// Why an element was not taken; serde's errors cannot carry it.
    refused: &'a mut Option<PayloadError>,
}

impl<'de> DeserializeSeed<'de> for Elements<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of JSON objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        // lines are counted from element to element, not from the beginning each time
        let (mut counted, mut line, mut index) = (0, 1, 0);
        while let Some(element) = seq.next_element::<&RawValue>()? {
            let payload = element.get();
            // the element is a part of the body, so the distance is its offset
            let at = (payload.as_ptr() as usize).saturating_sub(self.body.as_ptr() as usize);
            line += line_of(
                self.body.as_bytes().get(counted..at).unwrap_or_default(),
                at.saturating_sub(counted),
            ) - 1;
            counted = at;
            let place = Place {
                line,
                index: Some(index),
            };
            let taken = self.events.push(
                payload.as_bytes(),
                self.max_event,
                place,
                self.check.as_deref_mut(),
            );
            if let Err(error) = taken {
                *self.refused = Some(error);
                return Err(serde::de::Error::custom("refused"));
            }
            index += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tributary_shared::wire::rows::Rows;

    use super::*;

    fn texts(events: &Events) -> Vec<String> {
        let rows: Vec<_> = Rows::new(&events.rows)
            .map(|row| String::from_utf8(row.expect("row").to_vec()).expect("UTF-8"))
            .collect();
        assert_eq!(rows.len(), events.count as usize);
        rows
    }

    fn lines(body: &[u8]) -> Result<Vec<String>, PayloadError> {
        let mut reader = LineBody::new(100, body.len(), None);
        reader.feed(body)?;
        reader.finish().map(|events| texts(&events))
    }

    fn malformed(error: PayloadError) -> (u64, Option<u64>, String) {
        match error {
            PayloadError::Malformed { place, reason } => (place.line, place.index, reason),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn lines_are_kept_as_they_came() {
        let body = b"\n {\"b\" : 1e999, \"b\":2} \r\n\r\n{\"text\":\"\\u00e9 \xc3\xa9\"}";
        assert_eq!(
            lines(body).expect("good"),
            ["{\"b\" : 1e999, \"b\":2}", "{\"text\":\"\\u00e9 é\"}"]
        );
        assert_eq!(lines(b" \n\r\n"), Err(PayloadError::Empty));
        assert_eq!(lines(b""), Err(PayloadError::Empty));
    }

    #[test]
    fn a_bad_line_is_named() {
        for (bad, why) in [
            (&b"{\"a\":}"[..], "expected value (column 6)"),
            (b"{\"a\":1} {\"a\":2}", "trailing characters (column 9)"),
            (b"[1]", "expected a JSON object"),
            (b"{\"a\":1", "EOF while parsing an object (column 6)"),
            (b"{\"a\":\"\xff\"}", NOT_UTF8),
        ] {
            let body = [b"{}\n\n", bad, b"\n{}"].concat();
            assert_eq!(
                malformed(lines(&body).expect_err("bad")),
                (3, None, why.to_owned())
            );
        }
    }

    #[test]
    fn size_and_depth_are_limited() {
        let long = format!("{{}}\n{{\"a\":\"{}\"}}", "x".repeat(100));
        let place = Place { line: 2, index: None };
        assert_eq!(
            lines(long.as_bytes()),
            Err(PayloadError::EventTooLarge { place, limit: 100 })
        );

        let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert_eq!(check_object(nested(MAX_DEPTH - 1).as_bytes()), Ok(()));
        assert!(check_object(nested(MAX_DEPTH).as_bytes()).is_err_and(|(_, why)| why.contains("nested")));
        assert!(
            check_object(nested(500_000).as_bytes()).is_err(),
            "and the stack survives"
        );
        let flat = format!("{{\"a\":\"{}\\\"{{\"}}", "[".repeat(500));
        assert_eq!(
            check_object(flat.as_bytes()),
            Ok(()),
            "brackets in text do not nest"
        );
    }

    #[test]
    fn a_document_is_an_object_or_an_array_of_objects() {
        let read = |body: &str| document(body.as_bytes(), 100, None).map(|events| texts(&events));
        assert_eq!(read(" {\"a\":\n 1}\n").expect("good"), ["{\"a\":\n 1}"]);
        assert_eq!(
            read("[ {\"a\":1} ,\n{\"b\": [2]}]").expect("good"),
            ["{\"a\":1}", "{\"b\": [2]}"]
        );
        assert_eq!(read("[]"), Err(PayloadError::Empty));
        assert_eq!(read("  "), Err(PayloadError::Empty));
        let (line, index, why) = malformed(read("[\n{},\n{},\n\n 7]").expect_err("bad"));
        assert_eq!(
            (line, index, why.as_str()),
            (5, Some(2), "expected a JSON object")
        );
        let (line, index, _) = malformed(read("[{},\n{\"a\":,}]").expect_err("bad"));
        assert_eq!((line, index), (2, None), "the array itself is broken there");
        assert_eq!(malformed(read("\n\n{\"a\":\n]}").expect_err("bad")).0, 4);
        assert_eq!(malformed(read("\n7").expect_err("bad")).0, 2);
        assert_eq!(malformed(read("[{}] x").expect_err("bad")).0, 1);
        let error = document(b"{}\n\xff", 100, None).expect_err("bad");
        assert_eq!(malformed(error), (2, None, NOT_UTF8.to_owned()));
    }

    proptest! {
        #[test]
        fn chunks_make_no_difference(sizes in prop::collection::vec(1usize..9, 1..5), bad: bool) {
            let body = format!("{{\"a\":1}}\r\n\n{{\"b\":\"é\"}}\n{}\n{{}}", if bad { "{" } else { "" });
            let mut reader = LineBody::new(100, 0, None);
            let mut rest = body.as_bytes();
            let fed = sizes.iter().cycle().try_for_each(|size| {
                let (chunk, behind) = rest.split_at(rest.len().min(*size));
                rest = behind;
                reader.feed(chunk).map_err(Some)?;
                if rest.is_empty() { Err(None) } else { Ok(()) }
            });
            let chunked = match fed {
                Err(Some(error)) => Err(error),
                _ => reader.finish().map(|events| texts(&events)),
            };
            prop_assert_eq!(chunked, lines(body.as_bytes()));
        }
    }
}
