//! A cursor over one JSON text, exactly as strict as `serde_json`: what it accepts, `serde_json` accepts, and
//! the other way round (property-tested). It exists because validation and columns in one pass need the
//! position of every value, and because a flat row needs no tree.
//!
//! The text is known to be UTF-8, so only ASCII structure is looked at.

use super::number::{self, Number};

/// Objects and arrays within each other, counting the row itself; what `serde_json` takes as well.
pub(super) const MAX_NESTING: usize = 127;

/// What is wrong with a text, and where (byte offset).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScanError {
    pub at: usize,
    pub problem: Problem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    NotAnObject,
    ExpectedKey,
    ExpectedColon,
    ExpectedCommaOrEnd,
    ExpectedValue,
    UnfinishedString,
    ControlCharacter,
    BadEscape,
    LoneSurrogate,
    BadNumber,
    /// Well formed, but beyond what a 64-bit float holds.
    NotFinite,
    TooDeep,
    TrailingBytes,
}

impl Problem {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::NotAnObject => "an event must be a JSON object",
            Self::ExpectedKey => "expected a key in double quotes",
            Self::ExpectedColon => "expected ':' after a key",
            Self::ExpectedCommaOrEnd => "expected ',' or the end of the object or array",
            Self::ExpectedValue => "expected a value",
            Self::UnfinishedString => "the text ends within a string",
            Self::ControlCharacter => "a control character within a string must be escaped",
            Self::BadEscape => "not an escape that JSON knows",
            Self::LoneSurrogate => "half of a surrogate pair stands alone",
            Self::BadNumber => "not a JSON number",
            Self::NotFinite => "the number is beyond the range of a 64-bit float",
            Self::TooDeep => "objects and arrays are nested more than 127 levels deep",
            Self::TrailingBytes => "something follows the object",
        }
    }
}

/// A string as it stands between its quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub raw: &'a str,
    pub escaped: bool,
}

impl<'a> Text<'a> {
    /// The string itself; `scratch` holds it when escapes had to be resolved.
    pub(super) fn decode<'s>(self, scratch: &'s mut String) -> &'s str
    where
        'a: 's,
    {
        if !self.escaped {
            return self.raw;
        }
        scratch.clear();
        unescape(self.raw, scratch);
        scratch
    }
}

#[derive(Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Goes back to a position that [`Self::at`] gave.
    pub(super) fn seek(&mut self, at: usize) {
        self.at = at;
    }

    /// The text from a position that [`Self::at`] gave up to here.
    pub(super) fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    pub(super) fn fail<T>(&self, problem: Problem) -> Result<T, ScanError> {
        Err(ScanError { at: self.at, problem })
    }

    /// The byte here; 0, which no JSON text holds outside strings, at the end.
    #[inline]
    pub(super) fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    pub(super) fn bump(&mut self) {
        self.at += 1;
    }

    /// Steps over `bytes` when they come next. They are whole characters.
    #[inline]
    pub(super) fn eat(&mut self, bytes: &[u8]) -> bool {
        let eaten = self.text.as_bytes()[self.at..].starts_with(bytes);
        if eaten {
            self.at += bytes.len();
        }
        eaten
    }

    #[inline]
    pub(super) fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\t' | b'\r') {
            self.at += 1;
        }
    }

    /// Steps into the row's object.
    #[inline]
    pub(super) fn open_row(&mut self) -> Result<(), ScanError> {
        self.skip_space();
        if self.peek() != b'{' {
            return self.fail(Problem::NotAnObject);
        }
        self.bump();
        self.skip_space();
        Ok(())
    }

    /// Steps to the next key of the row's object; `false` when the object has ended. `first` is whether
    /// this is the first member.
    #[inline]
    pub(super) fn next_member(&mut self, first: bool) -> Result<bool, ScanError> {
        if !first {
            self.skip_space();
            if self.peek() == b',' {
                self.bump();
                self.skip_space();
                return if self.peek() == b'"' {
                    Ok(true)
                } else {
                    self.fail(Problem::ExpectedKey)
                };
            }
        } else if self.peek() == b'"' {
            return Ok(true);
        }
        if self.peek() != b'}' {
            return self.fail(if first {
                Problem::ExpectedKey
            } else {
                Problem::ExpectedCommaOrEnd
            });
        }
        self.bump();
        self.skip_space();
        if self.at == self.text.len() {
            Ok(false)
        } else {
            self.fail(Problem::TrailingBytes)
        }
    }

    /// A key and its colon.
    pub(super) fn key(&mut self) -> Result<Text<'a>, ScanError> {
        if self.peek() != b'"' {
            return self.fail(Problem::ExpectedKey);
        }
        let key = self.string()?;
        self.skip_space();
        if self.peek() != b':' {
            return self.fail(Problem::ExpectedColon);
        }
        self.bump();
        Ok(key)
    }

    /// A string; the cursor stands on its opening quote.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Text<'a>, ScanError> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let mut escaped = false;
        let mut at = start;
        loop {
            at = plain_run(bytes, at);
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    at = escape(bytes, at)?;
                }
                Some(_) => {
                    return Err(ScanError {
                        at,
                        problem: Problem::ControlCharacter,
                    });
                }
                None => {
                    return Err(ScanError {
                        at,
                        problem: Problem::UnfinishedString,
                    });
                }
            }
        }
        self.at = at + 1;
        Ok(Text {
            raw: &self.text[start..at],
            escaped,
        })
    }

    /// A number; the cursor stands on its first byte.
    #[inline]
    pub(super) fn number(&mut self) -> Result<Number, ScanError> {
        let (number, end) = number::parse(self.text, self.at)?;
        self.at = end;
        Ok(number)
    }

    pub(super) fn literal(&mut self, word: &'static str) -> Result<(), ScanError> {
        if self.eat(word.as_bytes()) {
            Ok(())
        } else {
            self.fail(Problem::ExpectedValue)
        }
    }

    /// Checks and steps over any value of a row's member.
    pub(super) fn skip_value(&mut self) -> Result<(), ScanError> {
        match self.peek() {
            b'{' | b'[' => self.skip_nested(),
            _ => self.skip_scalar(),
        }
    }

    fn skip_scalar(&mut self) -> Result<(), ScanError> {
        match self.peek() {
            b'"' => self.string().map(drop),
            b'-' | b'0'..=b'9' => self.number().map(drop),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => self.fail(Problem::ExpectedValue),
        }
    }

    /// An object or array, without recursion: one bit a level tells which of the two it is.
    fn skip_nested(&mut self) -> Result<(), ScanError> {
        let mut objects = 0u128;
        // the row's own object is the first level
        let mut depth = 1;
        loop {
            let object = self.peek() == b'{';
            let nested = object || self.peek() == b'[';
            if nested {
                depth += 1;
                if depth > MAX_NESTING {
                    return self.fail(Problem::TooDeep);
                }
                objects = (objects << 1) | u128::from(object);
                self.bump();
                self.skip_space();
                if self.peek() != if object { b'}' } else { b']' } {
                    if object {
                        self.key()?;
                        self.skip_space();
                    }
                    continue;
                }
            } else {
                self.skip_scalar()?;
            }
            // behind a scalar, or on the end of an empty object or array
            let mut closing = nested;
            loop {
                if !closing {
                    self.skip_space();
                }
                let object = objects & 1 == 1;
                match self.peek() {
                    b',' if !closing => {
                        self.bump();
                        self.skip_space();
                        if object {
                            self.key()?;
                            self.skip_space();
                        }
                        break;
                    }
                    end if end == if object { b'}' } else { b']' } => {
                        self.bump();
                        objects >>= 1;
                        depth -= 1;
                        if depth == 1 {
                            return Ok(());
                        }
                        closing = false;
                    }
                    _ => return self.fail(Problem::ExpectedCommaOrEnd),
                }
            }
        }
    }
}

/// The first position at or after `at` that is not a plain character of a string: a quote, a backslash, a
/// control character, or the end.
#[inline]
fn plain_run(bytes: &[u8], mut at: usize) -> usize {
    // most strings of machine data are short: eight bytes at a time, then, for long text, blocks that the
    // compiler turns into vector instructions
    for _ in 0..3 {
        let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) else {
            return plain_tail(bytes, at);
        };
        match stop_in_word(u64::from_le_bytes(*word)) {
            Some(offset) => return at + offset,
            None => at += 8,
        }
    }
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<32>()) {
        if block.iter().fold(false, |stop, &byte| stop | is_stop(byte)) {
            break;
        }
        at += 32;
    }
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        match stop_in_word(u64::from_le_bytes(*word)) {
            Some(offset) => return at + offset,
            None => at += 8,
        }
    }
    plain_tail(bytes, at)
}

fn plain_tail(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|&byte| is_stop(byte)).unwrap_or(rest.len())
}

#[inline]
fn is_stop(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The first stop among eight bytes. Each of the three tests may set a false high bit, but only above a true
/// one of its own, so the lowest is always right.
#[inline]
fn stop_in_word(word: u64) -> Option<usize> {
    let zero_byte = |x: u64| x.wrapping_sub(ONES) & !x;
    let quote = zero_byte(word ^ (ONES * u64::from(b'"')));
    let backslash = zero_byte(word ^ (ONES * u64::from(b'\\')));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let stops = (quote | backslash | control) & HIGHS;
    (stops != 0).then(|| (stops.trailing_zeros() / 8) as usize)
}

/// Checks the escape at `at` (a backslash) and returns the position behind it.
fn escape(bytes: &[u8], at: usize) -> Result<usize, ScanError> {
    let bad = |problem| Err(ScanError { at, problem });
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match hex4(bytes, at + 2) {
            None => bad(Problem::BadEscape),
            Some(0xdc00..=0xdfff) => bad(Problem::LoneSurrogate),
            Some(0xd800..=0xdbff) => {
                let low = if bytes.get(at + 6..at + 8) == Some(b"\\u") {
                    hex4(bytes, at + 8)
                } else {
                    None
                };
                match low {
                    Some(0xdc00..=0xdfff) => Ok(at + 12),
                    _ => bad(Problem::LoneSurrogate),
                }
            }
            Some(_) => Ok(at + 6),
        },
        _ => bad(Problem::BadEscape),
    }
}

fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |value, &digit| {
        Some(value * 16 + char::from(digit).to_digit(16)?)
    })
}

/// Appends what an already checked string says once its escapes are resolved.
fn unescape(raw: &str, out: &mut String) {
    let mut rest = raw;
    while let Some(slash) = rest.find('\\') {
        out.push_str(&rest[..slash]);
        let bytes = rest.as_bytes();
        let (character, len) = match bytes.get(slash + 1) {
            Some(b'b') => ('\u{8}', 2),
            Some(b'f') => ('\u{c}', 2),
            Some(b'n') => ('\n', 2),
            Some(b'r') => ('\r', 2),
            Some(b't') => ('\t', 2),
            Some(b'u') => {
                let high = hex4(bytes, slash + 2).unwrap_or_default();
                if (0xd800..=0xdbff).contains(&high) {
                    let low = hex4(bytes, slash + 8).unwrap_or_default();
                    let code = 0x1_0000 + ((high & 0x3ff) << 10) + (low & 0x3ff);
                    (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
                } else {
                    (char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), 6)
                }
            }
            Some(&other) => (char::from(other), 2),
            None => return,
        };
        out.push(character);
        rest = &rest[slash + len..];
    }
    out.push_str(rest);
}
