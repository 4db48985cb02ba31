//! Values that are listed, and strings.

use hashbrown::HashSet;
use serde_json::Value;

use super::site::Site;
use super::{add, number};
use crate::compat::messages::Incompatibility;

/// Every value of the writer must be one of the reader's.
pub fn enums(to: &[&Value], from: &[&Value], path: &str, found: &mut Vec<Incompatibility>) {
    let (readers, writers): (HashSet<&Value>, HashSet<&Value>) =
        (to.iter().copied().collect(), from.iter().copied().collect());
    let lost: Vec<String> = from
        .iter()
        .filter(|value| !readers.contains(*value))
        .map(ToString::to_string)
        .collect();
    if lost.is_empty() {
        return;
    }
    let narrowed = readers.is_subset(&writers);
    let kind = if narrowed {
        "ENUM_ARRAY_NARROWED"
    } else {
        "ENUM_ARRAY_CHANGED"
    };
    let message = format!("the reader no longer takes {}", lost.join(", "));
    add(found, kind, &format!("{path}/enum"), message);
}

/// The keywords of strings.
pub fn texts(reader: &Site<'_>, writer: &Site<'_>, path: &str, found: &mut Vec<Incompatibility>) {
    let lengths = ("maxLength", ["MAX_LENGTH_ADDED", "MAX_LENGTH_DECREASED"]);
    number::at_most(reader, writer, lengths, path, found);
    let lengths = ("minLength", ["MIN_LENGTH_ADDED", "MIN_LENGTH_INCREASED"]);
    number::at_least(reader, writer, lengths, path, found);
    let get = |site: &Site<'_>, keyword: &str| {
        site.map()
            .and_then(|map| map.get(keyword))
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let is_rule = |keyword: &str, text: &str| {
        keyword == "pattern" || crate::decode::validation_options().is_known_format(reader.draft, text)
    };
    for (keyword, added, changed) in [
        ("pattern", "PATTERN_ADDED", "PATTERN_CHANGED"),
        ("format", "FORMAT_ADDED", "FORMAT_CHANGED"),
    ] {
        let Some(to) = get(reader, keyword).filter(|text| is_rule(keyword, text)) else {
            continue;
        };
        let path = format!("{path}/{keyword}");
        match get(writer, keyword) {
            Some(from) if from == to => {}
            Some(from) => {
                let message = format!("the reader's {keyword} {to:?} is not the writer's {from:?}");
                add(found, changed, &path, message);
            }
            None => add(
                found,
                added,
                &path,
                format!("the reader asks for the {keyword} {to:?}"),
            ),
        }
    }
}
