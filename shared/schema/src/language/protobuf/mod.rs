//! Protobuf schemas: one `.proto` file with everything that it imports.
//!
//! A text is a `.proto` file, or a `FileDescriptorProto` in base64, which is how Python's serializers register
//! theirs. Imports come from the references and from the files that every registry knows; never from a disk.

mod known;
mod options;
mod print;
mod read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{FileDescriptor, MessageDescriptor};

pub(super) use read::parse;

/// A `.proto` file whose imports are resolved.
#[derive(Debug, Clone)]
pub struct ProtobufSchema {
    file: FileDescriptor,
    canonical: String,
}

impl ProtobufSchema {
    /// The file; its pool holds all that it imports. A message's indexes in the Confluent wire format are its
    /// place in `messages()`, and in `child_messages()` of the message around it.
    #[must_use]
    pub fn file(&self) -> &FileDescriptor {
        &self.file
    }

    /// The file as a `FileDescriptorProto` in base64 (`format=serialized` in the registry's API).
    #[must_use]
    pub fn serialized(&self) -> String {
        STANDARD.encode(self.file.encode_to_vec())
    }

    pub(super) fn canonical(&self) -> &str {
        &self.canonical
    }

    pub(super) fn normalized(&self) -> String {
        print::print(&self.file, print::Form::Normalized)
    }

    pub(super) fn message_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for message in self.file.messages() {
            collect_names(&message, &mut names);
        }
        names
    }
}

/// Nests no deeper than the parser allows.
fn collect_names(message: &MessageDescriptor, names: &mut Vec<String>) {
    if message.is_map_entry() {
        return;
    }
    names.push(message.full_name().to_owned());
    for child in message.child_messages() {
        collect_names(&child, names);
    }
}
