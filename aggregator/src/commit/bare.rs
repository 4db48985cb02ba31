//! Log entries without lineage, so that `tributary bench lineage` can measure what lineage costs a commit. Nobody can
//! read such a log: what is left of a header is what the books need.

use serde::Serialize;
use tributary_shared::ids::{LaneNo, Seq};
use tributary_shared::wire::{BatchContent, CommitHeader, SchemaRef, WireError};

#[derive(Serialize)]
struct BareHeader<'a> {
    lane: LaneNo,
    first_seq: Seq,
    count: u32,
    writer: u64,
    content: &'a BatchContent,
    dead_seqs: &'a [Seq],
    schema: Option<SchemaRef>,
    columns_len: u32,
    body_crc: u32,
}

/// A header without the way of its batch: no segments, origins, gateway, times, or trace.
pub(super) fn encode_header(header: &CommitHeader) -> Result<Vec<u8>, WireError> {
    let bare = BareHeader {
        lane: header.lane,
        first_seq: header.first_seq,
        count: header.count,
        writer: header.writer,
        content: &header.content,
        dead_seqs: &header.dead_seqs,
        schema: header.schema,
        columns_len: header.columns_len,
        body_crc: header.body_crc,
    };
    rmp_serde::to_vec_named(&bare).map_err(|error| WireError::Encode {
        what: "header",
        reason: error.to_string(),
    })
}
