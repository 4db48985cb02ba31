//! Can a Protobuf reader's file read all messages of a writer's? By field number, as the wire format does it
//! (language guide, "Updating A Message Type"), with the registry's rules for oneofs, required fields and
//! removed messages.
//!
//! What is compatible: adding and removing fields, constants, enums and oneofs; adding and moving messages; new
//! names for fields; another package.

use hashbrown::{HashMap, HashSet};
use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};

use super::messages::Incompatibility;
use super::pairs::{Known, Pairs};
use crate::language::ProtobufSchema;

pub(super) fn can_read(reader: &ProtobufSchema, writer: &ProtobufSchema) -> Vec<Incompatibility> {
    let mut check = Check { pairs: Pairs::new() };
    let mut found = Vec::new();
    let (to, from) = (reader.file(), writer.file());
    check.messages(
        to.messages().collect(),
        from.messages().collect(),
        "#",
        &mut found,
    );
    found
}

struct Check {
    /// By full name, the reader's first.
    pairs: Pairs<(String, String)>,
}

fn add(found: &mut Vec<Incompatibility>, kind: &'static str, path: &str, message: String) {
    found.push(Incompatibility::new(kind, path.to_owned(), message));
}

impl Check {
    /// Messages of one scope, by name.
    fn messages(
        &mut self,
        readers: Vec<MessageDescriptor>,
        writers: Vec<MessageDescriptor>,
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        let readers: HashMap<String, MessageDescriptor> = readers
            .into_iter()
            .filter(|message| !message.is_map_entry())
            .map(|message| (message.name().to_owned(), message))
            .collect();
        for from in writers.iter().filter(|message| !message.is_map_entry()) {
            let path = format!("{path}/{}", from.name());
            match readers.get(from.name()) {
                Some(to) => {
                    self.message(to, from, &path, found);
                    let (to, from) = (to.child_messages().collect(), from.child_messages().collect());
                    self.messages(to, from, &path, found);
                }
                None => {
                    let message = format!("the reader has no message {:?}", from.full_name());
                    add(found, "MESSAGE_REMOVED", &path, message);
                }
            }
        }
    }

    /// The fields of two messages; every pair once.
    fn message(
        &mut self,
        to: &MessageDescriptor,
        from: &MessageDescriptor,
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        let pair = (to.full_name().to_owned(), from.full_name().to_owned());
        let (known, place) = self.pairs.begin(&pair);
        if known != Known::New {
            return;
        }
        let before = found.len();
        if self.pairs.enter(path, found) {
            oneofs(to, from, path, found);
            let oneof_names: HashSet<String> = to.oneofs().map(|oneof| oneof.name().to_owned()).collect();
            let numbers: HashSet<u32> = from.fields().map(|field| field.number()).collect();
            for written in from.fields() {
                let path = field_path(path, &written);
                match to.get_field(written.number()) {
                    Some(read) => self.field(&read, &written, &path, found),
                    None => removed(&oneof_names, &written, &path, found),
                }
            }
            for read in to.fields().filter(|field| !numbers.contains(&field.number())) {
                if read.cardinality() == Cardinality::Required {
                    let message = format!(
                        "the required field {:?} is missing in the writer's message",
                        read.name()
                    );
                    add(found, "REQUIRED_FIELD_ADDED", &field_path(path, &read), message);
                }
            }
            self.pairs.leave();
        }
        self.pairs.end(pair, place, found.len() == before);
    }

    fn field(
        &mut self,
        to: &FieldDescriptor,
        from: &FieldDescriptor,
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        if to.is_map() != from.is_map() {
            // a map is a repeated message on the wire, but no type of the file by that name
            let message = format!(
                "the field {:?} is {} for the reader, {} for the writer",
                to.name(),
                shown(to),
                shown(from)
            );
            add(found, "FIELD_KIND_CHANGED", path, message);
            return;
        }
        if let (true, Kind::Message(to), Kind::Message(from)) = (to.is_map(), to.kind(), from.kind()) {
            for (to, from) in [
                (to.map_entry_key_field(), from.map_entry_key_field()),
                (to.map_entry_value_field(), from.map_entry_value_field()),
            ] {
                self.kinds(&to, &from, path, found);
            }
            return;
        }
        self.kinds(to, from, path, found);
        labels(to, from, path, found);
    }

    fn kinds(
        &mut self,
        to: &FieldDescriptor,
        from: &FieldDescriptor,
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        let (read, written) = (to.kind(), from.kind());
        match (&read, &written) {
            (Kind::Message(read), Kind::Message(written)) => {
                if to.is_group() != from.is_group() {
                    let message = format!("the field {:?} is a group on one side only", to.name());
                    add(found, "FIELD_KIND_CHANGED", path, message);
                } else if local_name(read) != local_name(written) {
                    let message = format!(
                        "the field {:?} is a {:?} for the reader, a {:?} for the writer",
                        to.name(),
                        read.full_name(),
                        written.full_name()
                    );
                    add(found, "FIELD_NAMED_TYPE_CHANGED", path, message);
                } else {
                    self.referred(to, read, written, path, found);
                }
            }
            (Kind::Message(_), _) | (_, Kind::Message(_)) => {
                let message = format!(
                    "the field {:?} is {} for the reader, {} for the writer",
                    to.name(),
                    shown(to),
                    shown(from)
                );
                add(found, "FIELD_KIND_CHANGED", path, message);
            }
            (read, written) => {
                let (one, other) = (wire_group(read), wire_group(written));
                if one != other {
                    let message = format!(
                        "the field {:?} is {} for the reader, {} for the writer, which are written differently",
                        to.name(),
                        shown(to),
                        shown(from)
                    );
                    add(found, "FIELD_SCALAR_KIND_CHANGED", path, message);
                }
            }
        }
    }

    /// A message that comes by import is compared through the fields that use it.
    fn referred(
        &mut self,
        field: &FieldDescriptor,
        to: &MessageDescriptor,
        from: &MessageDescriptor,
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        let own = field.parent_message().parent_file();
        if to.parent_file() == own && from.parent_file().name() == own.name() {
            return; // by name, with the other messages of the file
        }
        let before = found.len();
        let inside = format!("#/{}", local_name(to).replace('.', "/"));
        self.message(to, from, &inside, found);
        if found.len() > before {
            let message = format!(
                "the type {:?} of the field {:?} is not compatible",
                to.full_name(),
                field.name()
            );
            add(found, "FIELD_NAMED_TYPE_CHANGED", path, message);
        }
    }
}

/// The place of a field: its number, inside its oneof.
fn field_path(path: &str, field: &FieldDescriptor) -> String {
    match field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) {
        Some(oneof) => format!("{path}/{}/{}", oneof.name(), field.number()),
        None => format!("{path}/{}", field.number()),
    }
}

fn removed(
    oneof_names: &HashSet<String>,
    written: &FieldDescriptor,
    path: &str,
    found: &mut Vec<Incompatibility>,
) {
    if written.cardinality() == Cardinality::Required {
        let message = format!("the reader has no field for the required {:?}", written.name());
        add(found, "REQUIRED_FIELD_REMOVED", path, message);
        return;
    }
    let oneof = written.containing_oneof().filter(|oneof| !oneof.is_synthetic());
    let Some(oneof) = oneof else { return };
    if oneof_names.contains(oneof.name()) {
        let message = format!(
            "the field {:?} is removed from the oneof {:?}: the reader cannot tell it from none",
            written.name(),
            oneof.name()
        );
        add(found, "ONEOF_FIELD_REMOVED", path, message);
    }
}

/// Fields that stood alone and share a oneof now: setting one clears the others.
fn oneofs(to: &MessageDescriptor, from: &MessageDescriptor, path: &str, found: &mut Vec<Incompatibility>) {
    let mut before: HashMap<u32, Option<String>> = HashMap::new();
    for field in from.fields() {
        let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
        before.insert(field.number(), oneof.map(|oneof| oneof.name().to_owned()));
    }
    for oneof in to.oneofs().filter(|oneof| !oneof.is_synthetic()) {
        let (mut moved, mut existing) = (Vec::new(), 0);
        for field in oneof.fields() {
            match before.get(&field.number()) {
                Some(None) => moved.push(field.name().to_owned()),
                Some(Some(_)) => existing += 1,
                None => {}
            }
        }
        let path = format!("{path}/{}", oneof.name());
        if moved.len() > 1 {
            let message = format!(
                "the fields {moved:?} move into the oneof {:?}: only one of them is kept",
                oneof.name()
            );
            add(found, "MULTIPLE_FIELDS_MOVED_TO_ONEOF", &path, message);
        } else if moved.len() == 1 && existing > 0 {
            let message = format!(
                "the field {:?} moves into the oneof {:?}, which others are in",
                moved[0],
                oneof.name()
            );
            add(found, "FIELD_MOVED_TO_EXISTING_ONEOF", &path, message);
        }
    }
}

/// Numbers are packed when they are repeated, which one alone is not; texts and messages read either way.
fn labels(to: &FieldDescriptor, from: &FieldDescriptor, path: &str, found: &mut Vec<Incompatibility>) {
    if to.is_list() != from.is_list() && is_numeric(&to.kind()) && is_numeric(&from.kind()) {
        let label = |field: &FieldDescriptor| if field.is_list() { "repeated" } else { "single" };
        let message = format!(
            "the field {:?} is {} for the reader, {} for the writer",
            to.name(),
            label(to),
            label(from)
        );
        add(found, "FIELD_NUMERIC_LABEL_CHANGED", path, message);
    }
    if to.cardinality() == Cardinality::Required && from.cardinality() != Cardinality::Required {
        let message = format!("the field {:?} becomes required", to.name());
        add(found, "REQUIRED_FIELD_ADDED", path, message);
    }
}

fn is_numeric(kind: &Kind) -> bool {
    !matches!(kind, Kind::Message(_) | Kind::String | Kind::Bytes)
}

/// Types of one group are written the same way.
fn wire_group(kind: &Kind) -> &'static str {
    match kind {
        Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 | Kind::Bool | Kind::Enum(_) => "varint",
        Kind::Sint32 | Kind::Sint64 => "zigzag",
        Kind::String | Kind::Bytes => "length-delimited",
        Kind::Fixed32 | Kind::Sfixed32 => "fixed32",
        Kind::Fixed64 | Kind::Sfixed64 => "fixed64",
        Kind::Float => "float",
        Kind::Double => "double",
        Kind::Message(_) => "message",
    }
}

/// The name without the package: another package is another name for the same message.
fn local_name(message: &MessageDescriptor) -> &str {
    let full = message.full_name();
    let inside = full
        .strip_prefix(message.package_name())
        .and_then(|rest| rest.strip_prefix('.'));
    inside.unwrap_or(full)
}

fn shown(field: &FieldDescriptor) -> String {
    match field.kind() {
        _ if field.is_map() => "a map".to_owned(),
        Kind::Message(message) => format!("message {:?}", message.full_name()),
        Kind::Enum(ty) => format!("enum {:?}", ty.full_name()),
        scalar => format!("{scalar:?}"),
    }
}
