//! Where a page of windows ended, as an opaque text for whoever reads on.
//!
//! A place is the last row's own identity, its window and key, and not a number of rows: rows that come in meanwhile
//! shift nothing, so that no row is read twice or left out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tributary_shared::time::Millis;
use tributary_shared::wire::frame::checksum;

use super::codec::{KEY_FORMAT, Reader, put_scalar, put_u64};
use crate::view::{MAX_KEYS, Scalar};

/// A place between two rows of a view: newest window first, and by key within a window.
#[derive(Debug, Clone, PartialEq)]
pub struct PagePlace {
    pub(super) window_start: Millis,
    pub(super) key: Vec<Scalar>,
    /// Which definition of the view it belongs to.
    pub(super) definition: u32,
}

/// A definition, as places tell it.
pub(super) fn definition(sql: &str) -> u32 {
    checksum(sql.as_bytes())
}

impl PagePlace {
    /// The text that [`Self::parse`] reads, fit for a query string.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut bytes = vec![KEY_FORMAT];
        put_u64(&mut bytes, u64::from(self.definition));
        put_u64(&mut bytes, self.window_start.cast_unsigned());
        put_u64(&mut bytes, self.key.len() as u64);
        self.key.iter().for_each(|value| put_scalar(&mut bytes, value));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// `None` for a text that no page gave.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (mut reader, _) = Reader::new(&bytes, &[KEY_FORMAT]).ok()?;
        let definition = u32::try_from(reader.u64().ok()?).ok()?;
        let window_start = reader.u64().ok()?.cast_signed();
        let keys = reader.u64().ok().filter(|keys| *keys <= MAX_KEYS as u64 + 1)?;
        let key = (0..keys).map(|_| reader.scalar().ok()).collect::<Option<_>>()?;
        reader.end().ok()?;
        Some(Self {
            window_start,
            key,
            definition,
        })
    }
}

impl serde::Serialize for PagePlace {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_its_text_and_nonsense_is_none() {
        let place = PagePlace {
            window_start: -60_000,
            key: vec![
                "käse/…".into(),
                Scalar::Null,
                Scalar::Int(-1),
                Scalar::Float(0.5),
                Scalar::Bool(true),
            ],
            definition: definition("SELECT 1"),
        };
        let text = place.to_text();
        assert!(
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        );
        assert_eq!(PagePlace::parse(&text), Some(place));
        for nonsense in [
            "",
            "AA",
            "?",
            "AQ",
            &text[..text.len() - 4],
            &format!("{text}AAAA"),
        ] {
            assert_eq!(PagePlace::parse(nonsense), None, "{nonsense}");
        }
    }
}
