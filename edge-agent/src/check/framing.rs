//! Rows that name the schema that wrote them: a zero byte, the registry's id as four bytes (big endian), the payload.

use tributary_shared::wire::Reason;

/// No JSON text begins with it.
const MAGIC: u8 = 0;
const HEADER: usize = 5;

/// A row in two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Framed<'a> {
    pub schema_id: u32,
    pub payload: &'a [u8],
}

/// `None` when the row names no schema.
pub(super) fn framed(row: &[u8]) -> Option<Result<Framed<'_>, Reason>> {
    if row.first() != Some(&MAGIC) {
        return None;
    }
    let Some((header, payload)) = row
        .split_first_chunk::<HEADER>()
        .filter(|(_, payload)| !payload.is_empty())
    else {
        return Some(Err(Reason {
            path: String::new(),
            rule: "framing".to_owned(),
            message: format!(
                "the row has {} bytes; one that begins with a zero byte needs a schema id of four bytes and a payload",
                row.len()
            ),
        }));
    };
    let [_, a, b, c, d] = *header;
    let schema_id = u32::from_be_bytes([a, b, c, d]);
    Some(Ok(Framed { schema_id, payload }))
}
