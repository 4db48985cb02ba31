//! A row's bytes, read by a resolution into JSON text. Every declared size is held against what is there, and
//! what little bytes may grow to is bounded.

use std::fmt::Write;

use tributary_shared::wire::Reason;

use super::logical::{convert, write_base64, write_date, write_time, write_timestamp};
use super::resolve::{BytesAs, Node, NodeId, Resolution, Step, TextAs};
use crate::decode::framing::WIRE_FORMAT;
use crate::decode::reasons::{pointer, reason};
use crate::decode::scan::MAX_NESTING;
use crate::decode::time::TimeUnit;

/// What a row may grow to: names of fields stand in it, and an array of nulls has no bytes at all.
const GROWTH: usize = 64;
const FREE_GROWTH: usize = 64 << 10;
const MAX_GROWN: usize = 8 << 20;

/// What is written for an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberAs {
    Number,
    Date,
    TimeOfDay(TimeUnit),
    /// For a column of times.
    Stamp {
        from: TimeUnit,
        to: TimeUnit,
    },
    Text {
        unit: TimeUnit,
        local: bool,
    },
}

impl NumberAs {
    /// `None` for a value that is no such date or time.
    pub(super) fn write(self, out: &mut String, value: i64) -> Option<()> {
        match self {
            Self::Number => write!(out, "{value}").ok(),
            Self::Stamp { from, to } => write!(out, "{}", convert(value, from, to)?).ok(),
            Self::Date => write_date(out, i32::try_from(value).ok()?),
            Self::TimeOfDay(unit) => write_time(out, value, unit),
            Self::Text { unit, local } => write_timestamp(out, value, unit, local),
        }
    }
}

/// What is wrong with a row. Its path is found on the way back.
struct Bad {
    rule: &'static str,
    message: String,
    /// The innermost first.
    path: Vec<String>,
}

fn bad<T>(rule: &'static str, message: impl Into<String>) -> Result<T, Bad> {
    Err(Bad {
        rule,
        message: message.into(),
        path: Vec::new(),
    })
}

/// Appends a row's JSON text to `out`.
///
/// # Errors
/// Why the bytes are no such row; `out` then holds a part of it.
pub(in super::super) fn read(resolution: &Resolution, body: &[u8], out: &mut String) -> Result<(), Reason> {
    let limit = (FREE_GROWTH + GROWTH * body.len()).min(MAX_GROWN);
    let mut reader = Reader {
        nodes: &resolution.nodes,
        body,
        at: 0,
        limit: out.len() + limit,
        out,
    };
    let outcome = reader.node(resolution.root, 1).and_then(|()| {
        let left = body.len() - reader.at;
        if left == 0 {
            Ok(())
        } else {
            bad(WIRE_FORMAT, format!("{left} bytes follow the end of the event"))
        }
    });
    outcome.map_err(|bad| {
        let path: Vec<String> = bad.path.into_iter().rev().collect();
        reason(path.concat(), bad.rule, bad.message)
    })
}

struct Reader<'r> {
    nodes: &'r [Node],
    body: &'r [u8],
    at: usize,
    /// The longest that `out` may become.
    limit: usize,
    out: &'r mut String,
}

impl<'r> Reader<'r> {
    fn take(&mut self, len: usize) -> Result<&'r [u8], Bad> {
        let body: &'r [u8] = self.body;
        let Some(bytes) = body[self.at..].get(..len) else {
            return bad(
                WIRE_FORMAT,
                format!(
                    "byte {}: {len} bytes are declared, the event ends after {}",
                    self.at,
                    body.len() - self.at
                ),
            );
        };
        self.at += len;
        Ok(bytes)
    }

    /// A zigzag variable-length integer of at most 64 bits.
    #[inline]
    fn long(&mut self) -> Result<i64, Bad> {
        let mut value = 0u64;
        for shift in 0..10 {
            let Some(&byte) = self.body.get(self.at) else {
                return bad(
                    WIRE_FORMAT,
                    format!("byte {}: the event ends within a number", self.at),
                );
            };
            self.at += 1;
            if shift == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * shift);
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        bad(
            WIRE_FORMAT,
            format!("byte {}: a number has more than 64 bits", self.at),
        )
    }

    fn len(&mut self) -> Result<usize, Bad> {
        let len = self.long()?;
        usize::try_from(len).or_else(|_| {
            bad(
                WIRE_FORMAT,
                format!("byte {}: the length {len} is negative", self.at),
            )
        })
    }

    fn node(&mut self, id: NodeId, depth: usize) -> Result<(), Bad> {
        if self.out.len() > self.limit {
            return bad("too_large", "the event grows to far more than it is on the wire");
        }
        let nodes: &'r [Node] = self.nodes;
        match &nodes[id] {
            Node::Array(items) => self.blocks(*items, depth, false),
            Node::Map(values) => self.blocks(*values, depth, true),
            Node::Union(branches) => {
                let index = self.long()?;
                match usize::try_from(index).ok().and_then(|index| branches.get(index)) {
                    // a union is never a branch of one
                    Some(branch) => self.node(*branch, depth),
                    None => bad(WIRE_FORMAT, format!("the union has no branch number {index}")),
                }
            }
            Node::Record { steps, defaults } => self.record(steps, defaults, depth),
            Node::Mismatch(message) => bad("type", message.as_str()),
            scalar => self.scalar(scalar),
        }
    }

    fn record(&mut self, steps: &[Step], defaults: &str, depth: usize) -> Result<(), Bad> {
        self.deeper(depth)?;
        self.out.push('{');
        for (at, step) in steps.iter().enumerate() {
            if at > 0 {
                self.out.push(',');
            }
            self.out.push_str(&step.key);
            self.node(step.node, depth + 1).map_err(|mut bad| {
                bad.path.push(pointer(&step.name));
                bad
            })?;
        }
        if !defaults.is_empty() {
            if !steps.is_empty() {
                self.out.push(',');
            }
            self.out.push_str(defaults);
        }
        self.out.push('}');
        Ok(())
    }

    /// A value without others in it.
    fn scalar(&mut self, node: &Node) -> Result<(), Bad> {
        match node {
            Node::Boolean => match self.take(1)? {
                [0] => self.out.push_str("false"),
                [1] => self.out.push_str("true"),
                other => return bad(WIRE_FORMAT, format!("a boolean is 0 or 1, not {}", other[0])),
            },
            Node::Int(write) => {
                let value = self.long()?;
                if i32::try_from(value).is_err() {
                    let message = format!("{value} is no int: it has more than 32 bits");
                    return bad(WIRE_FORMAT, message);
                }
                self.number(*write, value)?;
            }
            Node::Long(write) => {
                let value = self.long()?;
                self.number(*write, value)?;
            }
            Node::Float => {
                let bytes = self.take(4)?.try_into().unwrap_or_default();
                let value = f32::from_le_bytes(bytes);
                self.float(value.is_finite(), format_args!("{value:?}"))?;
            }
            Node::Double => {
                let bytes = self.take(8)?.try_into().unwrap_or_default();
                let value = f64::from_le_bytes(bytes);
                self.float(value.is_finite(), format_args!("{value:?}"))?;
            }
            Node::Bytes(write) => {
                let len = self.len()?;
                let bytes = self.take(len)?;
                self.bytes(*write, bytes)?;
            }
            Node::Fixed(size, write) => {
                let bytes = self.take(*size)?;
                self.bytes(*write, bytes)?;
            }
            Node::Text(write) => {
                let text = self.text()?;
                match write {
                    TextAs::Text => write_text(self.out, text),
                    TextAs::Base64 => write_base64(self.out, text.as_bytes()),
                }
            }
            Node::Enum(symbols) => {
                let index = self.long()?;
                match usize::try_from(index).ok().and_then(|index| symbols.get(index)) {
                    Some(Ok(text)) => self.out.push_str(text),
                    Some(Err(message)) => return bad("enum", message.as_str()),
                    None => return bad(WIRE_FORMAT, format!("the enum has no symbol number {index}")),
                }
            }
            Node::Null => self.out.push_str("null"),
            Node::Array(_) | Node::Map(_) | Node::Union(_) | Node::Record { .. } | Node::Mismatch(_) => {
                return bad(WIRE_FORMAT, "a value with others in it stands where none can");
            }
        }
        Ok(())
    }

    fn bytes(&mut self, write: BytesAs, bytes: &[u8]) -> Result<(), Bad> {
        match write.write(self.out, bytes) {
            Some(()) => Ok(()),
            None => {
                let message = format!("{} bytes are no value of the reader's type", bytes.len());
                bad("malformed", message)
            }
        }
    }

    fn deeper(&self, depth: usize) -> Result<(), Bad> {
        if depth > MAX_NESTING {
            return bad("malformed", "the event is nested more than 127 levels deep");
        }
        Ok(())
    }

    fn number(&mut self, write: NumberAs, value: i64) -> Result<(), Bad> {
        match write.write(self.out, value) {
            Some(()) => Ok(()),
            None => bad(
                "out_of_range",
                format!("{value} is no date or time that can be written"),
            ),
        }
    }

    fn float(&mut self, finite: bool, text: std::fmt::Arguments<'_>) -> Result<(), Bad> {
        if !finite {
            return bad("out_of_range", format!("{text} is not a finite number"));
        }
        // writing to memory cannot fail
        let _ = self.out.write_fmt(text);
        Ok(())
    }

    fn text(&mut self) -> Result<&'r str, Bad> {
        let len = self.len()?;
        let start = self.at;
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).or_else(|error| {
            bad(
                "malformed",
                format!("byte {}: not UTF-8", start + error.valid_up_to()),
            )
        })
    }

    /// The items of an array or a map: blocks of a count and as many items, until a count of zero.
    fn blocks(&mut self, inner: NodeId, depth: usize, map: bool) -> Result<(), Bad> {
        self.deeper(depth)?;
        self.out.push(if map { '{' } else { '[' });
        let mut index = 0u64;
        loop {
            let count = self.long()?;
            if count == 0 {
                break;
            }
            if count < 0 {
                // the block's size in bytes follows, for those who skip it
                self.long()?;
            }
            for _ in 0..count.unsigned_abs() {
                if index > 0 {
                    self.out.push(',');
                }
                let key = if map { Some(self.text()?) } else { None };
                if let Some(key) = key {
                    write_text(self.out, key);
                    self.out.push(':');
                }
                self.node(inner, depth + 1).map_err(|mut bad| {
                    bad.path.push(match key {
                        Some(key) => pointer(key),
                        None => format!("/{index}"),
                    });
                    bad
                })?;
                index += 1;
            }
        }
        self.out.push(if map { '}' } else { ']' });
        Ok(())
    }
}

/// Appends a JSON string.
pub(in super::super) fn write_text(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest
        .bytes()
        .position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\')
    {
        out.push_str(&rest[..at]);
        // an ASCII byte, so both sides of it are text
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            other => drop(write!(out, "\\u{other:04x}")),
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}
