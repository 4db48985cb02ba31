//! Rows in wire format, brought into the JSON text that the columns are filled from.

use tributary_shared::wire::Reason;

use super::avro::{self, AvroSchema, Resolution};
use super::protobuf::{self, ProtobufSchema};
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
        let Self { kept, text, grown } = self;
        start(text, *grown)?;
        if let Some((_, resolution)) = kept.last() {
            avro::read(resolution, body, text)?;
        }
        *grown += text.len();
        Ok(text)
    }

    /// The text of a row that was written with a Protobuf schema.
    ///
    /// # Errors
    /// Why the row is none of the writer's.
    pub(super) fn protobuf(
        &mut self,
        writer: &ProtobufSchema,
        reader: &StreamSchema,
        body: &[u8],
    ) -> Result<&str, Reason> {
        start(&mut self.text, self.grown)?;
        let reader = match &reader.language {
            Language::Protobuf(reader) => Some(reader),
            Language::Avro(..) | Language::Json => None,
        };
        protobuf::read(writer, reader, body, &mut self.text)?;
        self.grown += self.text.len();
        Ok(&self.text)
    }

    /// The text of a plain JSON object on a stream with a Protobuf schema.
    ///
    /// # Errors
    /// Why the object is no such message.
    pub(super) fn proto_json(&mut self, schema: &ProtobufSchema, text: &str) -> Result<&str, Vec<Reason>> {
        start(&mut self.text, self.grown).map_err(|reason| vec![reason])?;
        protobuf::read_json(schema, text, &mut self.text)?;
        self.grown += self.text.len();
        Ok(&self.text)
    }
}

fn start(text: &mut String, grown: usize) -> Result<(), Reason> {
    text.clear();
    if grown > MAX_GROWN {
        let message = "the events of the batch grow to far more than they are on the wire";
        return Err(reason(String::new(), "too_large", message));
    }
    Ok(())
}

/// Read as what it is, when the stream has gone on to another language.
fn resolve(writer: &AvroSchema, reader: &StreamSchema) -> Resolution {
    match &reader.language {
        Language::Avro(reader, kinds) => Resolution::new(writer, reader, kinds),
        Language::Json | Language::Protobuf(_) => Resolution::new(writer, writer, &[]),
    }
}
