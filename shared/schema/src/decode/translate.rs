//! Rows in wire format, brought into the JSON text that the columns are filled from.

use tributary_shared::wire::Reason;

use super::avro::{self, AvroSchema, Resolution};
use super::reasons::reason;
use super::schema::{Language, StreamSchema};

/// Pairs of schemas whose resolution one decoder keeps.
const MAX_KEPT: usize = 16;
/// What all rows of a batch may grow to together, in bytes: enough for the largest batch of machine data, and
/// far from what offsets of text can address.
const MAX_GROWN: usize = 256 << 20;

/// Translates row after row of a batch.
#[derive(Debug, Default)]
pub(super) struct Translator {
    /// By writer and reader, the most recently used last.
    kept: Vec<((u64, u64), Resolution)>,
    text: String,
    grown: usize,
}

impl Translator {
    pub(super) fn start_batch(&mut self) {
        self.grown = 0;
    }

    /// The text of a row that was written with the Avro schema of `writer`.
    ///
    /// # Errors
    /// Why the row is none of the writer's, or none that the reader takes.
    pub(super) fn avro(
        &mut self,
        (writer, schema): (&StreamSchema, &AvroSchema),
        reader: &StreamSchema,
        body: &[u8],
    ) -> Result<&str, Reason> {
        if self.grown > MAX_GROWN {
            let message = "the events of the batch grow to far more than they are on the wire";
            return Err(reason(String::new(), "too_large", message));
        }
        let pair = (writer.unique, reader.unique);
        match self.kept.iter().position(|(kept, _)| *kept == pair) {
            Some(at) => self.kept[at..].rotate_left(1),
            None => {
                if self.kept.len() == MAX_KEPT {
                    self.kept.remove(0);
                }
                self.kept.push((pair, resolve(schema, reader)));
            }
        }
        self.text.clear();
        if let Some((_, resolution)) = self.kept.last() {
            avro::read(resolution, body, &mut self.text)?;
        }
        self.grown += self.text.len();
        Ok(&self.text)
    }
}

/// Read as what it is, when the stream has gone on to another language.
fn resolve(writer: &AvroSchema, reader: &StreamSchema) -> Resolution {
    match &reader.language {
        Language::Avro(reader, kinds) => Resolution::new(writer, reader, kinds),
        Language::Json => Resolution::new(writer, writer, &[]),
    }
}
