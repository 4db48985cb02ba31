//! The suite's schemas with small damage: each is refused with an error, or is a schema that keeps its promises.

use std::panic::catch_unwind;

use serde_json::Value;
use tributary_schema::compat::{can_read, diff};
use tributary_schema::language::{Dependency, SchemaFormat, parse};

/// Of each schema.
const MUTATIONS: usize = 12;

/// splitmix64: the same damage in each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound.max(1) as u64).expect("below a usize")
    }
}

fn damaged(chance: &mut Chance, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=chance.below(3) {
        let at = chance.below(chars.len());
        match chance.below(5) {
            _ if chars.is_empty() => chars.push('{'),
            0 => chars[at] = ['0', '-', '"', '{', ']', '\u{0}', 'é', ' '][chance.below(8)],
            1 => drop(chars.drain(at..(at + chance.below(12)).min(chars.len()))),
            2 => chars.insert(at, ['1', 'a', '#', '}', '\\', ';'][chance.below(6)]),
            3 => {
                let piece: Vec<char> = chars[at..(at + chance.below(24)).min(chars.len())].to_vec();
                let to = chance.below(chars.len());
                chars.splice(to..to, piece);
            }
            _ => {
                let other = chance.below(chars.len());
                chars.swap(at, other);
            }
        }
    }
    chars.into_iter().collect()
}

fn text(schema: &Value, format: SchemaFormat) -> String {
    match schema {
        Value::Array(lines) if format == SchemaFormat::Protobuf => lines
            .iter()
            .map(|line| line.as_str().expect("a line"))
            .collect::<Vec<_>>()
            .join("\n"),
        Value::String(text) if format == SchemaFormat::Protobuf => text.clone(),
        other => other.to_string(),
    }
}

/// Panics when a promise is broken; says whether the text is a schema.
fn keeps_its_promises(format: SchemaFormat, text: &str, dependencies: &[Dependency<'_>]) -> bool {
    let schema = match parse(format, text, dependencies) {
        Ok(schema) => schema,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    assert_eq!(can_read(&schema, &schema), []);
    assert_eq!(diff(&schema, &schema), []);
    let again = parse(format, schema.canonical(), dependencies).expect("the canonical form is a schema");
    assert_eq!(again.canonical(), schema.canonical());
    assert_eq!(can_read(&again, &schema), []);
    parse(format, &schema.normalized(), dependencies).expect("the normalized form is a schema");
    true
}

fn run(format: SchemaFormat, suite: &str) {
    let cases: Vec<Value> = serde_json::from_str(suite).expect("the suite");
    let (mut taken, mut refused) = (0, 0);
    for (seed, case) in (0u64..).zip(&cases) {
        let chance = &mut Chance(seed);
        for side in ["old", "new"] {
            let references = case.get(format!("{side}_references")).and_then(Value::as_array);
            let references: Vec<(&str, String)> = references
                .into_iter()
                .flatten()
                .map(|one| {
                    (
                        one["name"].as_str().expect("a name"),
                        text(&one["schema"], format),
                    )
                })
                .collect();
            let dependencies: Vec<Dependency<'_>> = references
                .iter()
                .map(|(name, text)| Dependency { name, text })
                .collect();
            let whole = text(&case[side], format);
            for _ in 0..MUTATIONS {
                let damaged = damaged(chance, &whole);
                let result = catch_unwind(|| keeps_its_promises(format, &damaged, &dependencies));
                match result {
                    Ok(true) => taken += 1,
                    Ok(false) => refused += 1,
                    Err(_) => panic!("case {}: {damaged}", case["name"]),
                }
            }
        }
    }
    assert!(taken > 50 && refused > 500, "{taken} taken, {refused} refused");
}

#[test]
fn damaged_json_schemas_are_refused_or_hold() {
    run(SchemaFormat::Json, include_str!("compat/json.json"));
}

#[test]
fn damaged_avro_schemas_are_refused_or_hold() {
    run(SchemaFormat::Avro, include_str!("compat/avro.json"));
}

#[test]
fn damaged_protobuf_schemas_are_refused_or_hold() {
    run(SchemaFormat::Protobuf, include_str!("compat/protobuf.json"));
}
