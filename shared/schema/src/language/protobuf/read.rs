//! From text to descriptors.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hashbrown::{HashMap, HashSet};
use prost::Message;
use prost_reflect::{DescriptorError, DescriptorPool};
use prost_types::FileDescriptorProto;
use protox_parse::ParseError;

use super::super::messages::{Dependency, LanguageError};
use super::{ProtobufSchema, known, print};

/// The name of the schema's own file, which has none when it comes as text.
const OWN_NAME: &str = "schema.proto";

pub fn parse(text: &str, dependencies: &[Dependency<'_>]) -> Result<ProtobufSchema, LanguageError> {
    let mut own = read_file(OWN_NAME, text)?;
    if own.name().is_empty() || own.dependency.iter().any(|import| import == own.name()) {
        own.name = Some(OWN_NAME.to_owned());
    }
    let mut loader = Loader {
        texts: HashMap::new(),
        pool: DescriptorPool::new(),
        loaded: HashSet::new(),
        open: Vec::new(),
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
    let imports = own.dependency.clone();
    for import in &imports {
        loader.load(import)?;
    }
    let name = own.name().to_owned();
    add(&mut loader.pool, own).map_err(|error| wrong(&error))?;
    let file = loader
        .pool
        .get_file_by_name(&name)
        .ok_or_else(|| invalid("the file was not kept"))?;
    if matches!(file.file_descriptor_proto().syntax(), "editions") {
        return Err(invalid("editions are not supported; use proto2 or proto3"));
    }
    let canonical = print::print(&file, print::Form::Canonical);
    Ok(ProtobufSchema { file, canonical })
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
            Some(file) => file,
            None => match self.texts.get(name) {
                Some(text) => {
                    let mut file =
                        read_file(name, text).map_err(|error| reference(name, error.to_string()))?;
                    file.name = Some(name.to_owned());
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
        for import in &file.dependency {
            self.load(import)?;
        }
        self.open.pop();
        add(&mut self.pool, file).map_err(|error| reference(name, wrong(&error).to_string()))?;
        self.loaded.insert(name.to_owned());
        Ok(())
    }
}

/// Adds a file without its source positions, which are large; they are used for the place of a mistake only.
fn add(pool: &mut DescriptorPool, mut file: FileDescriptorProto) -> Result<(), Box<DescriptorError>> {
    let positions = file.source_code_info.take();
    let Err(error) = pool.add_file_descriptor_proto(file.clone()) else {
        return Ok(());
    };
    file.source_code_info = positions;
    Err(Box::new(
        pool.clone()
            .add_file_descriptor_proto(file)
            .err()
            .unwrap_or(error),
    ))
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

fn read_file(name: &str, text: &str) -> Result<FileDescriptorProto, LanguageError> {
    let text = text.trim_end();
    if is_base64(text) {
        let bytes = STANDARD
            .decode(text)
            .map_err(|error| invalid(&format!("neither a .proto file nor base64: {error}")))?;
        return FileDescriptorProto::decode(bytes.as_slice())
            .map_err(|error| invalid(&format!("the base64 holds no FileDescriptorProto: {error}")));
    }
    protox_parse::parse(name, text).map_err(|error| misread(text, &error))
}

/// No `.proto` file is made of these characters alone.
fn is_base64(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    !text.is_empty() && text.bytes().all(plain)
}

fn misread(text: &str, error: &ParseError) -> LanguageError {
    let at = error.span().map_or(text.len(), |span| span.start.min(text.len()));
    let before = &text.as_bytes()[..at];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    malformed(line, column, error.to_string())
}
