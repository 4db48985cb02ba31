//! From text to descriptors.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hashbrown::{HashMap, HashSet};
use prost::Message;
use prost_reflect::{DescriptorError, DescriptorPool};
use prost_types::FileDescriptorProto;
use protox_parse::ParseError;

use super::super::messages::{Dependency, LanguageError, MAX_DEPTH};
use super::{ProtobufSchema, known, print};

/// The name of the schema's own file, which has none when it comes as text.
const OWN_NAME: &str = "schema.proto";

pub fn parse(text: &str, dependencies: &[Dependency<'_>]) -> Result<ProtobufSchema, LanguageError> {
    let mut own = read_file(OWN_NAME, text)?;
    if own.proto.name().is_empty()
        || own
            .proto
            .dependency
            .iter()
            .any(|import| import == own.proto.name())
    {
        own.rename(OWN_NAME);
    }
    let mut loader = Loader {
        texts: HashMap::new(),
        pool: DescriptorPool::new(),
        loaded: HashSet::new(),
        open: vec![own.proto.name().to_owned()],
    };
    for dependency in dependencies {
        let known = loader.texts.insert(dependency.name, dependency.text);
        if known.is_some_and(|text| text != dependency.text) {
            return Err(reference(
                dependency.name,
                "it is given twice, with different texts".to_owned(),
            ));
        }
    }
    for import in &own.proto.dependency {
        loader.load(import)?;
    }
    if own.proto.syntax() == "editions" {
        return Err(invalid("editions are not supported; use proto2 or proto3"));
    }
    let name = own.proto.name().to_owned();
    own.add(&mut loader.pool).map_err(|error| wrong(&error))?;
    let file = loader
        .pool
        .get_file_by_name(&name)
        .ok_or_else(|| invalid("the file was not kept"))?;
    let canonical = print::print(&file, print::Form::Canonical);
    Ok(ProtobufSchema { file, canonical })
}

/// One file before it is linked.
struct SourceFile {
    proto: FileDescriptorProto,
    /// As it came, when it came in base64: it may hold options that only the linked pool can read.
    encoded: Option<Vec<u8>>,
}

impl SourceFile {
    fn rename(&mut self, name: &str) {
        self.proto.name = Some(name.to_owned());
        if let Some(encoded) = &mut self.encoded {
            // the last of several values of a field counts, so the name is overridden at the end
            let name = FileDescriptorProto {
                name: Some(name.to_owned()),
                ..FileDescriptorProto::default()
            };
            encoded.extend(name.encode_to_vec());
        }
    }

    /// Links without source positions, which are large; they are used for the place of a mistake only.
    fn add(mut self, pool: &mut DescriptorPool) -> Result<(), Box<DescriptorError>> {
        if let Some(encoded) = self.encoded {
            return pool
                .decode_file_descriptor_proto(encoded.as_slice())
                .map_err(Box::new);
        }
        let positions = self.proto.source_code_info.take();
        let Err(error) = pool.add_file_descriptor_proto(self.proto.clone()) else {
            return Ok(());
        };
        self.proto.source_code_info = positions;
        let placed = pool.clone().add_file_descriptor_proto(self.proto).err();
        Err(Box::new(placed.unwrap_or(error)))
    }
}

fn invalid(message: &str) -> LanguageError {
    LanguageError::Invalid {
        path: String::new(),
        message: message.to_owned(),
    }
}

fn reference(name: &str, message: String) -> LanguageError {
    LanguageError::Reference {
        name: name.to_owned(),
        message,
    }
}

/// Imported files, each after those that it imports itself.
struct Loader<'a> {
    texts: HashMap<&'a str, &'a str>,
    pool: DescriptorPool,
    loaded: HashSet<String>,
    /// The files that are being loaded, each imported by the one before. No longer than there are references.
    open: Vec<String>,
}

impl Loader<'_> {
    fn load(&mut self, name: &str) -> Result<(), LanguageError> {
        if self.loaded.contains(name) {
            return Ok(());
        }
        if self.open.iter().any(|open| open == name) {
            let chain = format!("{} -> {name}", self.open.join(" -> "));
            return Err(reference(name, format!("the imports form a circle: {chain}")));
        }
        let file = match known::file(name) {
            Some(proto) => SourceFile { proto, encoded: None },
            None => match self.texts.get(name) {
                Some(text) => {
                    let mut file =
                        read_file(name, text).map_err(|error| reference(name, error.to_string()))?;
                    file.rename(name);
                    file
                }
                None => {
                    let message =
                        "it is imported, and not registered; register it and refer to it by this name";
                    return Err(reference(name, message.to_owned()));
                }
            },
        };
        self.open.push(name.to_owned());
        for import in &file.proto.dependency {
            self.load(import)?;
        }
        self.open.pop();
        file.add(&mut self.pool)
            .map_err(|error| reference(name, wrong(&error).to_string()))?;
        self.loaded.insert(name.to_owned());
        Ok(())
    }
}

fn wrong(error: &DescriptorError) -> LanguageError {
    let (line, column) = (error.line(), error.column());
    match (line, column) {
        (Some(line), Some(column)) => malformed(line + 1, column + 1, error.to_string()),
        _ => invalid(&error.to_string()),
    }
}

fn malformed(line: usize, column: usize, message: String) -> LanguageError {
    LanguageError::Malformed {
        expected: "valid Protobuf",
        line,
        column,
        message,
    }
}

fn read_file(name: &str, text: &str) -> Result<SourceFile, LanguageError> {
    let text = text.trim_end();
    if is_base64(text) {
        let bytes = STANDARD
            .decode(text)
            .map_err(|error| invalid(&format!("neither a .proto file nor base64: {error}")))?;
        let proto = FileDescriptorProto::decode(bytes.as_slice())
            .map_err(|error| invalid(&format!("the base64 holds no FileDescriptorProto: {error}")))?;
        return Ok(SourceFile {
            proto,
            encoded: Some(bytes),
        });
    }
    check_depth(text)?;
    let proto = protox_parse::parse(name, text).map_err(|error| misread(text, &error))?;
    Ok(SourceFile { proto, encoded: None })
}

/// No `.proto` file is made of these characters alone.
fn is_base64(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    !text.is_empty() && text.bytes().all(plain)
}

/// Bounds the recursion of the parsers: those of messages are bounded, those of options are not.
fn check_depth(text: &str) -> Result<(), LanguageError> {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0usize, 0);
    while let Some(&byte) = bytes.get(at) {
        at += match byte {
            b'"' | b'\'' => quoted_len(&bytes[at..]),
            b'/' if bytes.get(at + 1) == Some(&b'/') => until(&bytes[at..], b"\n"),
            b'/' if bytes.get(at + 1) == Some(&b'*') => until(&bytes[at..], b"*/"),
            _ => 1,
        };
        match byte {
            b'{' | b'[' | b'<' => depth += 1,
            b'}' | b']' | b'>' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(malformed_at(
                text,
                at,
                format!("it nests deeper than {MAX_DEPTH} levels"),
            ));
        }
    }
    Ok(())
}

/// The bytes of a string literal at the beginning, quotes included; at least one.
fn quoted_len(bytes: &[u8]) -> usize {
    let mut escaped = false;
    for (at, byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'\n' => return at,
            byte if *byte == bytes[0] => return at + 1,
            _ => {}
        }
    }
    bytes.len()
}

/// The bytes up to an end, which is included.
fn until(bytes: &[u8], end: &[u8]) -> usize {
    let found = memchr::memmem::find(bytes, end);
    found.map_or(bytes.len(), |at| at + end.len())
}

fn misread(text: &str, error: &ParseError) -> LanguageError {
    let at = error.span().map_or(text.len(), |span| span.start.min(text.len()));
    malformed_at(text, at, error.to_string())
}

fn malformed_at(text: &str, at: usize, message: String) -> LanguageError {
    let before = &text.as_bytes()[..at];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    malformed(line, column, message)
}
