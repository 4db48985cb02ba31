//! From descriptors to the text that the registry stores: types by their full names, one layout for all.

use std::fmt::Write;

use hashbrown::{HashMap, HashSet};
use prost_reflect::{
    Cardinality, DynamicMessage, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, FileDescriptor, Kind,
    MessageDescriptor, ServiceDescriptor, Syntax,
};
use prost_types::FieldDescriptorProto;

use super::options::{options, quoted};

/// Which text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In the order of the text.
    Canonical,
    /// Imports and options by name, fields and constants by number. Messages keep their order, which the wire
    /// format counts by.
    Normalized,
}

/// The largest field number; an extension range up to it ends in `max`.
const MAX_NUMBER: u32 = (1 << 29) - 1;

pub fn print(file: &FileDescriptor, form: Form) -> String {
    let mut printer = Printer {
        form,
        out: String::new(),
        depth: 0,
    };
    printer.file(file);
    printer.out
}

struct Printer {
    form: Form,
    out: String,
    depth: usize,
}

impl Printer {
    fn line(&mut self, text: &str) {
        if !text.is_empty() {
            self.out.push_str(&"  ".repeat(self.depth));
            self.out.push_str(text);
        }
        self.out.push('\n');
    }

    fn open(&mut self, head: &str) {
        self.line(&format!("{head} {{"));
        self.depth += 1;
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.line("}");
    }

    /// An empty line between blocks, not after an opening brace.
    fn gap(&mut self) {
        if !self.out.ends_with("{\n") {
            self.out.push('\n');
        }
    }

    fn file(&mut self, file: &FileDescriptor) {
        let proto = file.file_descriptor_proto();
        let syntax = if file.syntax() == Syntax::Proto3 {
            "proto3"
        } else {
            "proto2"
        };
        self.line(&format!("syntax = \"{syntax}\";"));
        if !file.package_name().is_empty() {
            self.line(&format!("package {};", file.package_name()));
        }
        let mut imports: Vec<String> = Vec::new();
        for (index, name) in (0i32..).zip(&proto.dependency) {
            let how = if proto.public_dependency.contains(&index) {
                "public "
            } else if proto.weak_dependency.contains(&index) {
                "weak "
            } else {
                ""
            };
            imports.push(format!("import {how}{};", quoted(name.as_bytes())));
        }
        if self.form == Form::Normalized {
            imports.sort();
        }
        self.block(&imports);
        let lines = self.option_lines(&file.options(), &[]);
        self.block(&lines);
        for message in file.messages() {
            self.message(&message, file.syntax());
        }
        for ty in file.enums() {
            self.enumeration(&ty);
        }
        self.extensions(&file.extensions().collect::<Vec<_>>(), file.syntax());
        for service in file.services() {
            self.service(&service);
        }
    }

    fn block(&mut self, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        self.gap();
        for line in lines {
            self.line(line);
        }
    }

    fn options(&self, message: &DynamicMessage, skip: &[&str]) -> Vec<(String, String)> {
        let mut found = options(message, skip);
        if self.form == Form::Normalized {
            found.sort();
        }
        found
    }

    fn option_lines(&self, message: &DynamicMessage, skip: &[&str]) -> Vec<String> {
        let found = self.options(message, skip);
        found
            .into_iter()
            .map(|(name, value)| format!("option {name} = {value};"))
            .collect()
    }

    fn message(&mut self, message: &MessageDescriptor, syntax: Syntax) {
        self.gap();
        self.open(&format!("message {}", message.name()));
        self.message_body(message, syntax);
        self.close();
    }

    fn message_body(&mut self, message: &MessageDescriptor, syntax: Syntax) {
        let lines = self.option_lines(&message.options(), &["map_entry"]);
        self.block(&lines);
        let reserved = message
            .reserved_ranges()
            .map(|range| numbers(range.start, range.end - 1));
        let reserved: Vec<String> = reserved.collect();
        let names = message
            .reserved_names()
            .map(|name| quoted(name.as_bytes()))
            .collect();
        self.reserved(reserved, names);
        let extensions = message
            .extension_ranges()
            .map(|range| numbers(range.start, range.end - 1));
        let lines: Vec<String> = extensions.map(|range| format!("extensions {range};")).collect();
        self.block(&lines);

        self.gap();
        let mut fields: Vec<FieldDescriptor> = in_order(message);
        if self.form == Form::Normalized {
            fields.sort_by_key(FieldDescriptor::number);
        }
        let mut printed: HashSet<String> = HashSet::new();
        for field in &fields {
            match field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) {
                None => self.field(field, syntax, false),
                Some(oneof) if printed.contains(oneof.name()) => {}
                Some(oneof) => {
                    printed.insert(oneof.name().to_owned());
                    self.open(&format!("oneof {}", oneof.name()));
                    for line in self.option_lines(&oneof.options(), &[]) {
                        self.line(&line);
                    }
                    let mut inside: Vec<FieldDescriptor> = oneof.fields().collect();
                    if self.form == Form::Normalized {
                        inside.sort_by_key(FieldDescriptor::number);
                    }
                    for field in &inside {
                        self.field(field, syntax, true);
                    }
                    self.close();
                }
            }
        }
        let groups: HashSet<String> = group_types(message);
        for child in message.child_messages() {
            if !child.is_map_entry() && !groups.contains(child.full_name()) {
                self.message(&child, syntax);
            }
        }
        for ty in message.child_enums() {
            self.enumeration(&ty);
        }
        self.extensions(&message.child_extensions().collect::<Vec<_>>(), syntax);
    }

    fn reserved(&mut self, ranges: Vec<String>, names: Vec<String>) {
        let mut lines = Vec::new();
        for mut list in [ranges, names] {
            if self.form == Form::Normalized {
                list.sort();
            }
            if !list.is_empty() {
                lines.push(format!("reserved {};", list.join(", ")));
            }
        }
        self.block(&lines);
    }

    fn field(&mut self, field: &FieldDescriptor, syntax: Syntax, in_oneof: bool) {
        let proto = field.field_descriptor_proto();
        let label = match field.cardinality() {
            _ if field.is_map() || in_oneof => "",
            Cardinality::Repeated => "repeated ",
            Cardinality::Required => "required ",
            Cardinality::Optional if syntax == Syntax::Proto2 || proto.proto3_optional() => "optional ",
            Cardinality::Optional => "",
        };
        let notes = self.notes(proto, &field.options());
        self.field_like(
            label,
            field.name(),
            field.number(),
            &field.kind(),
            field.is_group(),
            &notes,
            syntax,
        );
    }

    /// A field, or an extension.
    #[allow(clippy::too_many_arguments)] // the parts of one line
    fn field_like(
        &mut self,
        label: &str,
        name: &str,
        number: u32,
        kind: &Kind,
        is_group: bool,
        notes: &str,
        syntax: Syntax,
    ) {
        match kind {
            Kind::Message(group) if is_group => {
                self.open(&format!("{label}group {} = {number}{notes}", group.name()));
                self.message_body(group, syntax);
                self.close();
            }
            kind => self.line(&format!("{label}{} {name} = {number}{notes};", type_name(kind))),
        }
    }

    /// What stands in brackets after a field.
    fn notes(&self, proto: &FieldDescriptorProto, options: &DynamicMessage) -> String {
        let mut notes = Vec::new();
        if let Some(default) = &proto.default_value {
            use prost_types::field_descriptor_proto::Type;
            let text = match proto.r#type() {
                Type::String => quoted(default.as_bytes()),
                // the descriptor holds bytes escaped already
                Type::Bytes => format!("\"{default}\""),
                _ => default.clone(),
            };
            notes.push(("default".to_owned(), text));
        }
        if let Some(json) = proto
            .json_name
            .as_deref()
            .filter(|json| *json != json_name(proto.name()))
        {
            notes.push(("json_name".to_owned(), quoted(json.as_bytes())));
        }
        notes.extend(self.options(options, &[]));
        bracketed(&notes)
    }

    fn extensions(&mut self, extensions: &[ExtensionDescriptor], syntax: Syntax) {
        let mut targets: Vec<(String, Vec<&ExtensionDescriptor>)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for extension in extensions {
            let target = extension.containing_message().full_name().to_owned();
            let place = *places.entry(target.clone()).or_insert(targets.len());
            if place == targets.len() {
                targets.push((target, Vec::new()));
            }
            targets[place].1.push(extension);
        }
        for (target, extensions) in targets {
            self.gap();
            self.open(&format!("extend .{target}"));
            for extension in extensions {
                let proto = extension.field_descriptor_proto();
                let label = match extension.cardinality() {
                    Cardinality::Repeated => "repeated ",
                    _ if syntax == Syntax::Proto2 || proto.proto3_optional() => "optional ",
                    _ => "",
                };
                let notes = self.notes(proto, &extension.options());
                let (number, kind) = (extension.number(), extension.kind());
                self.field_like(
                    label,
                    extension.name(),
                    number,
                    &kind,
                    extension.is_group(),
                    &notes,
                    syntax,
                );
            }
            self.close();
        }
    }

    fn enumeration(&mut self, ty: &EnumDescriptor) {
        self.gap();
        self.open(&format!("enum {}", ty.name()));
        let lines = self.option_lines(&ty.options(), &[]);
        self.block(&lines);
        let reserved = ty
            .reserved_ranges()
            .map(|range| constants(*range.start(), *range.end()))
            .collect();
        let names = ty.reserved_names().map(|name| quoted(name.as_bytes())).collect();
        self.reserved(reserved, names);
        let proto = ty.enum_descriptor_proto();
        let mut lines: Vec<(i32, String)> = Vec::new();
        for value in &proto.value {
            let described = ty.get_value_by_name(value.name());
            let notes = described
                .map(|value| self.options(&value.options(), &[]))
                .unwrap_or_default();
            let number = value.number();
            lines.push((
                number,
                format!("{} = {number}{};", value.name(), bracketed(&notes)),
            ));
        }
        if self.form == Form::Normalized {
            lines.sort();
        }
        for (_, line) in lines {
            self.line(&line);
        }
        self.close();
    }

    fn service(&mut self, service: &ServiceDescriptor) {
        self.gap();
        self.open(&format!("service {}", service.name()));
        let lines = self.option_lines(&service.options(), &[]);
        self.block(&lines);
        for method in service.methods() {
            let stream = |yes| if yes { "stream " } else { "" };
            let head = format!(
                "rpc {} ({}.{}) returns ({}.{})",
                method.name(),
                stream(method.is_client_streaming()),
                method.input().full_name(),
                stream(method.is_server_streaming()),
                method.output().full_name(),
            );
            let lines = self.option_lines(&method.options(), &[]);
            if lines.is_empty() {
                self.line(&format!("{head};"));
                continue;
            }
            self.open(&head);
            self.block(&lines);
            self.close();
        }
        self.close();
    }
}

/// Fields in the order of the text.
fn in_order(message: &MessageDescriptor) -> Vec<FieldDescriptor> {
    let proto = message.descriptor_proto();
    proto
        .field
        .iter()
        .filter_map(|field| message.get_field_by_name(field.name()))
        .collect()
}

fn group_types(message: &MessageDescriptor) -> HashSet<String> {
    let fields = message
        .fields()
        .filter(FieldDescriptor::is_group)
        .map(|field| field.kind());
    let extensions = message
        .child_extensions()
        .filter(|field| field.is_group())
        .map(|field| field.kind());
    let types = fields.chain(extensions);
    types
        .filter_map(|kind| kind.as_message().map(|group| group.full_name().to_owned()))
        .collect()
}

fn type_name(kind: &Kind) -> String {
    match kind {
        Kind::Message(entry) if entry.is_map_entry() => {
            let key = type_name(&entry.map_entry_key_field().kind());
            format!("map<{key}, {}>", type_name(&entry.map_entry_value_field().kind()))
        }
        Kind::Message(message) => format!(".{}", message.full_name()),
        Kind::Enum(ty) => format!(".{}", ty.full_name()),
        scalar => format!("{scalar:?}"),
    }
}

fn bracketed(notes: &[(String, String)]) -> String {
    let mut out = String::new();
    for (index, (name, value)) in notes.iter().enumerate() {
        let _ = write!(out, "{}{name} = {value}", if index == 0 { " [" } else { ", " });
    }
    if !out.is_empty() {
        out.push(']');
    }
    out
}

fn numbers(first: u32, last: u32) -> String {
    match last {
        last if last == first => first.to_string(),
        MAX_NUMBER => format!("{first} to max"),
        last => format!("{first} to {last}"),
    }
}

fn constants(first: i32, last: i32) -> String {
    match last {
        last if last == first => first.to_string(),
        i32::MAX => format!("{first} to max"),
        last => format!("{first} to {last}"),
    }
}

/// The name that JSON uses unless the field says another.
fn json_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut raise = false;
    for char in name.chars() {
        match char {
            '_' => raise = true,
            char if raise => {
                out.push(char.to_ascii_uppercase());
                raise = false;
            }
            char => out.push(char),
        }
    }
    out
}
