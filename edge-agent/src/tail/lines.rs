//! Splits a byte stream into lines. Pure: the caller reads, this says where lines begin and end.

use std::ops::ControlFlow;

/// What the bytes up to (and with) one newline are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A line with something in it, without its line end (LF or CRLF). Any bytes: the gateway judges them.
    Line(&'a [u8]),
    /// A line longer than allowed, with its length in bytes (up to the newline).
    TooLong(u64),
    /// Nothing but white space.
    Blank,
}

/// The splitter's memory between two chunks: whether it is inside an over-long line.
#[derive(Debug, Clone)]
pub struct LineSplitter {
    max_line: usize,
    /// Bytes of the over-long line seen so far.
    skipping: Option<u64>,
}

impl LineSplitter {
    /// `max_line` is the longest line in bytes, its line end not counted.
    #[must_use]
    pub fn new(max_line: usize) -> Self {
        Self {
            max_line,
            skipping: None,
        }
    }

    /// Gives each complete line of `chunk` to `take`, with the number of bytes of `chunk` up to and with its
    /// newline, until the chunk or `take`'s appetite ends. Returns how many bytes are done with: the caller
    /// presents the rest again, with more behind it. What is left over is never longer than `max_line` + 1.
    pub fn split(
        &mut self,
        chunk: &[u8],
        mut take: impl FnMut(Piece<'_>, usize) -> ControlFlow<()>,
    ) -> usize {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', chunk) {
            let piece = self.finish_line(&chunk[start..end]);
            start = end + 1;
            if take(piece, start).is_break() {
                return start;
            }
        }
        let rest = &chunk[start..];
        // one byte more than allowed may be the CR of a CRLF that is still to come
        let over = self.skipping.is_some() || rest.len() > self.max_line + 1;
        if over && !rest.is_empty() {
            self.skipping = Some(self.skipping.unwrap_or(0) + rest.len() as u64);
            return chunk.len();
        }
        start
    }

    /// The end of the file, for good: what `rest` holds is a line without a newline. `None` when there is none.
    pub fn finish<'a>(&mut self, rest: &'a [u8]) -> Option<Piece<'a>> {
        let empty = rest.is_empty() && self.skipping.is_none();
        (!empty).then(|| self.finish_line(rest))
    }

    /// Is the splitter inside an over-long line?
    #[must_use]
    pub fn is_skipping(&self) -> bool {
        self.skipping.is_some()
    }

    fn finish_line<'a>(&mut self, bytes: &'a [u8]) -> Piece<'a> {
        let line = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        if let Some(seen) = self.skipping.take() {
            return Piece::TooLong(seen + bytes.len() as u64);
        }
        if line.len() > self.max_line {
            return Piece::TooLong(bytes.len() as u64);
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            Piece::Blank
        } else {
            Piece::Line(line)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq)]
    enum Owned {
        Line(Vec<u8>),
        TooLong(u64),
    }

    fn owned(piece: Piece<'_>) -> Option<Owned> {
        match piece {
            Piece::Line(line) => Some(Owned::Line(line.to_vec())),
            Piece::TooLong(len) => Some(Owned::TooLong(len)),
            Piece::Blank => None,
        }
    }

    /// Feeds `text` in pieces of the given sizes, stopping after each line when `hungry` is false.
    fn feed(text: &[u8], sizes: &[usize], max_line: usize, hungry: bool) -> Vec<Owned> {
        let mut splitter = LineSplitter::new(max_line);
        let mut out = Vec::new();
        let (mut held, mut fed, mut n) = (Vec::new(), 0, 0);
        while fed < text.len() {
            let size = sizes[n % sizes.len()].min(text.len() - fed);
            n += 1;
            held.extend_from_slice(&text[fed..fed + size]);
            fed += size;
            loop {
                let mut took = false;
                let done = splitter.split(&held, |piece, _| {
                    took = true;
                    out.extend(owned(piece));
                    if hungry {
                        ControlFlow::Continue(())
                    } else {
                        ControlFlow::Break(())
                    }
                });
                held.drain(..done);
                assert!(
                    held.len() <= max_line + 1 || !hungry,
                    "what is left over is bounded"
                );
                if hungry || !took {
                    break;
                }
            }
        }
        out.extend(splitter.finish(&held).and_then(owned));
        out
    }

    /// The same, said plainly.
    fn oracle(text: &[u8], max_line: usize) -> Vec<Owned> {
        let plain = |whole: &[u8]| {
            let line = whole.strip_suffix(b"\r").unwrap_or(whole);
            if line.len() > max_line {
                return Some(Owned::TooLong(whole.len() as u64));
            }
            (!line.trim_ascii().is_empty()).then(|| Owned::Line(line.to_vec()))
        };
        text.split(|b| *b == b'\n').filter_map(plain).collect()
    }

    #[test]
    fn line_ends_blank_lines_and_over_long_lines() {
        let long = "x".repeat(12);
        let text = format!("one\r\n\n  \r\ntwo \u{c3}\n{long}\r\nthree\nrest");
        let want = [
            Owned::Line(b"one".to_vec()),
            Owned::Line("two \u{c3}".as_bytes().to_vec()),
            Owned::TooLong(13),
            Owned::Line(b"three".to_vec()),
            Owned::Line(b"rest".to_vec()),
        ];
        for sizes in [&[1][..], &[3], &[100]] {
            assert_eq!(
                feed(text.as_bytes(), sizes, 10, true),
                want,
                "in chunks of {sizes:?}"
            );
        }
    }

    #[test]
    fn a_line_of_exactly_the_limit_passes_whatever_its_end() {
        for text in ["0123456789\n", "0123456789\r\n", "0123456789"] {
            assert_eq!(
                feed(text.as_bytes(), &[1], 10, true),
                [Owned::Line(b"0123456789".to_vec())]
            );
        }
        assert_eq!(feed(b"0123456789a\n", &[1], 10, true), [Owned::TooLong(11)]);
    }

    proptest! {
        #[test]
        fn chunking_never_changes_the_lines(
            text in prop::collection::vec(prop::sample::select(&b"ab \r\n\n"[..]), 0..200),
            sizes in prop::collection::vec(1usize..20, 1..6),
            max_line in 1usize..12,
            hungry: bool,
        ) {
            prop_assert_eq!(feed(&text, &sizes, max_line, hungry), oracle(&text, max_line));
        }
    }
}
