//! Regular expressions of views. The engine is linear in the length of the text, and its programs are bounded.

use regex::{Regex, RegexBuilder, Replacer};

use super::kinds::StaticKind;
use super::scalar::Scalar;

/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 1_000;
/// Bytes of a compiled program, and of the automaton that is built while it matches.
const MAX_PROGRAM: usize = 1 << 20;
/// Parentheses within each other.
const MAX_NESTING: u32 = 50;

/// A compiled regular expression.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: String,
    ignore_case: bool,
    regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        (&self.source, self.ignore_case) == (&other.source, other.ignore_case)
    }
}

/// What is done with a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegexJob {
    /// Does it occur?
    Matches,
    /// How often?
    Count,
    /// Its first occurrence, or what the first parentheses hold of it. NULL when there is none.
    Substring,
    /// Its first occurrence.
    Whole,
    Replace {
        with: Replacement,
        all: bool,
    },
}

impl RegexJob {
    pub(super) fn kind(&self) -> StaticKind {
        match self {
            Self::Matches => StaticKind::Bool,
            Self::Count => StaticKind::Count,
            Self::Substring | Self::Whole | Self::Replace { .. } => StaticKind::Text,
        }
    }
}

/// Text that takes a match's place: literal pieces and numbers of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Group(usize),
}

impl Replacement {
    /// `\1` to `\9` stand for groups, `\&` for the whole match, `\\` for a backslash.
    pub fn parse(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let group = match c {
                '\\' => match chars.next() {
                    Some('&') => 0,
                    Some(digit @ '1'..='9') => digit as usize - '0' as usize,
                    Some('\\') | None => {
                        plain.push('\\');
                        continue;
                    }
                    Some(other) => {
                        plain.extend(['\\', other]);
                        continue;
                    }
                },
                c => {
                    plain.push(c);
                    continue;
                }
            };
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(Piece::Group(group));
        }
        pieces.push(Piece::Text(plain));
        Self(pieces)
    }
}

/// Writes a match's replacement, but not beyond the bound.
struct Bounded<'a> {
    pieces: &'a [Piece],
    over: bool,
}

impl Replacer for &mut Bounded<'_> {
    fn replace_append(&mut self, found: &regex::Captures<'_>, to: &mut String) {
        for piece in self.pieces {
            let text = match piece {
                Piece::Text(text) => text,
                Piece::Group(at) => found.get(*at).map_or("", |group| group.as_str()),
            };
            self.over |= to.len() + text.len() > super::texts::MAX_TEXT;
            if !self.over {
                to.push_str(text);
            }
        }
    }
}

impl Pattern {
    /// # Errors
    /// What is wrong with the pattern or the flags, in words.
    pub fn compile(source: &str, flags: &str) -> Result<Self, String> {
        if source.len() > MAX_PATTERN {
            return Err(format!(
                "the pattern has {} bytes, more than {MAX_PATTERN}",
                source.len()
            ));
        }
        let ignore_case = flags.contains('i');
        if let Some(flag) = flags.chars().find(|flag| !matches!(flag, 'i' | 'g' | 'c')) {
            return Err(format!("there is no flag {flag:?}"));
        }
        let regex = RegexBuilder::new(&translate(source))
            .case_insensitive(ignore_case)
            .dot_matches_new_line(true)
            .size_limit(MAX_PROGRAM)
            .dfa_size_limit(MAX_PROGRAM)
            .nest_limit(MAX_NESTING)
            .build()
            .map_err(|error| reason(&error))?;
        Ok(Self {
            source: source.to_owned(),
            ignore_case,
            regex,
        })
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// `None` when the result would be too long.
    pub(super) fn apply(&self, job: &RegexJob, text: &str) -> Option<Scalar> {
        Some(match job {
            RegexJob::Matches => Scalar::Bool(self.is_match(text)),
            RegexJob::Count => Scalar::Int(self.regex.find_iter(text).count() as i64),
            RegexJob::Substring => {
                let found = self.regex.captures(text);
                let group = found.and_then(|found| found.get(usize::from(found.len() > 1)));
                group.map_or(Scalar::Null, |group| group.as_str().into())
            }
            RegexJob::Whole => self
                .regex
                .find(text)
                .map_or(Scalar::Null, |found| found.as_str().into()),
            RegexJob::Replace { with, all } => {
                let mut replacer = Bounded {
                    pieces: &with.0,
                    over: false,
                };
                let times = usize::from(!all);
                let replaced = self.regex.replacen(text, times, &mut replacer);
                if replacer.over {
                    return None;
                }
                super::texts::bounded(&replaced)?
            }
        })
    }
}

/// PostgreSQL's escapes for places, where ours are spelled otherwise.
fn translate(source: &str) -> String {
    let mut ours = String::with_capacity(source.len());
    let mut chars = source.chars();
    let mut brackets = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('m') if !brackets => ours.push_str(r"\b{start}"),
                Some('M') if !brackets => ours.push_str(r"\b{end}"),
                Some('y') if !brackets => ours.push_str(r"\b"),
                Some('Y') if !brackets => ours.push_str(r"\B"),
                Some('Z') if !brackets => ours.push_str(r"\z"),
                Some(other) => ours.extend(['\\', other]),
                None => ours.push('\\'),
            },
            c => {
                brackets = match c {
                    '[' => true,
                    ']' => false,
                    _ => brackets,
                };
                ours.push(c);
            }
        }
    }
    ours
}

/// The library draws the pattern over several lines; the last one says what is wrong.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "the pattern is too large once it is compiled".to_owned(),
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(pattern: &str, flags: &str, job: &RegexJob, text: &str) -> Scalar {
        let pattern = Pattern::compile(pattern, flags).expect("compiles");
        pattern.apply(job, text).expect("fits")
    }

    #[test]
    fn patterns_find_count_cut_and_replace() {
        let is = |pattern, flags, text| job(pattern, flags, &RegexJob::Matches, text) == Scalar::Bool(true);
        assert!(is("^sen.or", "", "sensor-7"));
        assert!(!is("^SEN", "", "sensor-7") && is("^SEN", "i", "sensor-7"));
        assert!(is(r"\msensor\M", "", "a sensor b") && !is(r"\msens\M", "", "a sensor b"));
        assert!(is("a.b", "", "a\nb"), "a dot is any character");
        assert!(!is("^b", "", "a\nb"), "a text is not looked at line by line");
        let all = |with: &str| RegexJob::Replace {
            with: Replacement::parse(with),
            all: true,
        };
        assert_eq!(job("[0-9]+", "", &RegexJob::Count, "a1b22c333"), Scalar::Int(3));
        assert_eq!(job("[0-9]+", "", &RegexJob::Substring, "a1b22"), "1".into());
        assert_eq!(job("b([0-9])", "", &RegexJob::Substring, "a1b22"), "2".into());
        assert_eq!(job("x", "", &RegexJob::Substring, "a1b22"), Scalar::Null);
        assert_eq!(
            job("([a-z])([0-9])", "", &all(r"\2\1$1\\"), "a1b2"),
            r"1a$1\2b$1\".into()
        );
        assert_eq!(job("[a-z]", "", &all(r"<\&>"), "a1b"), "<a>1<b>".into());
        let first = RegexJob::Replace {
            with: Replacement::parse("-"),
            all: false,
        };
        assert_eq!(job("[a-z]", "", &first, "a1b"), "-1b".into());
    }

    #[test]
    fn patterns_are_bounded() {
        for (pattern, flags, says) in [
            ("(", "", "unclosed group"),
            (r"(a)\1", "", "backreferences"),
            ("a", "x", "no flag 'x'"),
            ("(((a{100}){100}){100})", "", "too large"),
            (&"a".repeat(2_000), "", "bytes"),
            (&"(".repeat(200), "", ""),
        ] {
            let error = Pattern::compile(pattern, flags).expect_err(pattern);
            assert!(error.contains(says) && !error.contains('\n'), "{error}");
        }
        let grow = RegexJob::Replace {
            with: Replacement::parse(&r"\&".repeat(9)),
            all: true,
        };
        let pattern = Pattern::compile(".*", "").expect("compiles");
        assert_eq!(pattern.apply(&grow, &"x".repeat(300_000)), None);
    }
}
