//! Which format an answer has: named in the query string, or the one that `Accept` likes best.

/// What an answer is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Csv,
    Parquet,
}

/// Why there is no such answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("format={0} is not known; there are json, csv and parquet")]
    Unknown(String),
    #[error(
        "none of the accepted types {0:?} can be had; there are application/json, text/csv and \
         application/vnd.apache.parquet"
    )]
    NotAcceptable(String),
}

impl Format {
    pub const ALL: [Self; 3] = [Self::Json, Self::Csv, Self::Parquet];

    /// What `?format=` and `--format` call it; also the ending of a file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }

    /// As IANA has it, with the parameters that an answer bears.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    fn media_type(self) -> (&'static str, &'static str) {
        match self {
            Self::Json => ("application", "json"),
            Self::Csv => ("text", "csv"),
            Self::Parquet => ("application", "vnd.apache.parquet"),
        }
    }

    /// `named` (the query string's) counts before `accept` (RFC 9110, 12.5.1). A tie of `Accept` goes to the more
    /// exact range, then to the order of [`Self::ALL`]; no `Accept` at all means JSON.
    ///
    /// # Errors
    /// [`FormatError`], when nothing fits.
    pub fn choose(named: Option<&str>, accept: Option<&str>) -> Result<Self, FormatError> {
        if let Some(named) = named {
            let found = Self::ALL.into_iter().find(|format| format.name() == named);
            return found.ok_or_else(|| FormatError::Unknown(named.to_owned()));
        }
        let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else {
            return Ok(Self::Json);
        };
        let ranges: Vec<Range<'_>> = accept.split(',').filter_map(Range::parse).collect();
        let mut best: Option<(f32, u8, Self)> = None;
        for format in Self::ALL {
            // the most exact range that fits decides for a type
            let range = ranges
                .iter()
                .filter_map(|range| Some((range.exactness(format)?, range.weight)))
                .max_by_key(|(exactness, _)| *exactness);
            if let Some((exactness, weight)) = range
                && weight > 0.0
                && best.is_none_or(|(known, exact, _)| (known, exact) < (weight, exactness))
            {
                best = Some((weight, exactness, format));
            }
        }
        best.map(|(_, _, format)| format)
            .ok_or_else(|| FormatError::NotAcceptable(accept.to_owned()))
    }
}

/// One element of `Accept`.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    weight: f32,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.trim().parse().ok());
        Some(Self {
            kind,
            subtype,
            weight: weight.unwrap_or(1.0),
        })
    }

    /// How exactly the range names a format; `None` when it does not.
    fn exactness(&self, format: Format) -> Option<u8> {
        let (kind, subtype) = format.media_type();
        if self.kind == "*" && self.subtype == "*" {
            return Some(0);
        }
        if !self.kind.eq_ignore_ascii_case(kind) {
            return None;
        }
        if self.subtype == "*" {
            return Some(1);
        }
        self.subtype.eq_ignore_ascii_case(subtype).then_some(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_liked_type_is_chosen() {
        for (accept, format) in [
            ("text/csv", Format::Csv),
            ("*/*", Format::Json),
            ("text/*", Format::Csv),
            ("application/vnd.apache.parquet", Format::Parquet),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Json),
            ("application/json;q=0.5, text/csv;q=0.9", Format::Csv),
            ("*/*, text/csv", Format::Csv),
            ("application/json;q=0, */*", Format::Csv),
            ("TEXT/CSV; charset=utf-8", Format::Csv),
        ] {
            assert_eq!(Format::choose(None, Some(accept)), Ok(format), "{accept}");
        }
        assert_eq!(Format::choose(None, None), Ok(Format::Json));
        assert_eq!(
            Format::choose(Some("parquet"), Some("text/csv")),
            Ok(Format::Parquet)
        );
        assert!(matches!(
            Format::choose(None, Some("image/png")),
            Err(FormatError::NotAcceptable(_))
        ));
        assert_eq!(
            Format::choose(Some("xlsx"), None),
            Err(FormatError::Unknown("xlsx".to_owned()))
        );
    }
}
