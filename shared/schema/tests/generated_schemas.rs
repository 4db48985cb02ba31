//! What must hold for every schema and every change, on generated ones. Seeds are fixed; a failure names its
//! own.

use serde_json::{Map, Value, json};
use tributary_schema::compat::{can_read, diff};
use tributary_schema::language::{ParsedSchema, SchemaFormat, parse};

/// splitmix64: enough chance for tests, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn small(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).expect("small")
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.small(items.len())]
    }
}

const NAMES: [&str; 5] = ["a", "b", "c", "x_1", "x_2"];

/// A JSON Schema of everything that the checks look at.
fn schema(chance: &mut Chance, depth: u32) -> Value {
    let leaf = depth == 0;
    match chance.below(if leaf { 7 } else { 12 }) {
        0 => bounded(chance, "string", ["minLength", "maxLength"]),
        1 => bounded(chance, "integer", ["minimum", "maximum"]),
        2 => bounded(chance, "number", ["exclusiveMinimum", "exclusiveMaximum"]),
        3 => json!({ "type": "boolean" }),
        4 => {
            let values: Vec<Value> = (0..1 + chance.small(3))
                .map(|_| instance_of_anything(chance, 0))
                .collect();
            let mut distinct: Vec<Value> = Vec::new();
            for value in values {
                if !distinct.contains(&value) {
                    distinct.push(value);
                }
            }
            json!({ "enum": distinct })
        }
        5 => chance
            .pick(&[
                json!(true),
                json!({}),
                json!({ "type": ["string", "null"] }),
                json!({"type": "null"}),
            ])
            .clone(),
        6 => json!({ "type": "integer", "multipleOf": 1 + chance.below(4) }),
        7 => {
            let mut array = json!({ "type": "array", "items": schema(chance, depth - 1) });
            if chance.one_in(2) {
                array["minItems"] = json!(chance.below(2));
            }
            if chance.one_in(3) {
                array["prefixItems"] = json!([schema(chance, depth - 1)]);
            }
            array
        }
        8 => json!({ "anyOf": [schema(chance, depth - 1), schema(chance, depth - 1)] }),
        9 => {
            json!({ "allOf": [schema(chance, depth - 1), { "not": { "const": instance_of_anything(chance, 0) } }] })
        }
        _ => object(chance, depth),
    }
}

fn bounded(chance: &mut Chance, kind: &str, [least, most]: [&str; 2]) -> Value {
    let mut schema = json!({ "type": kind });
    if chance.one_in(2) {
        schema[least] = json!(chance.below(3));
    }
    if chance.one_in(2) {
        schema[most] = json!(3 + chance.below(4));
    }
    schema
}

fn object(chance: &mut Chance, depth: u32) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for name in NAMES {
        if chance.one_in(2) {
            properties.insert(name.to_owned(), schema(chance, depth - 1));
            if chance.one_in(3) {
                required.push(json!(name));
            }
        }
    }
    let mut object = json!({ "type": "object", "properties": properties, "required": required });
    match chance.below(4) {
        0 => {}
        1 => object["additionalProperties"] = schema(chance, 0),
        _ => object["additionalProperties"] = json!(false),
    }
    if chance.one_in(5) {
        object["patternProperties"] = json!({ "^x_": schema(chance, 0) });
    }
    if chance.one_in(6) {
        object["dependentRequired"] = json!({ "a": ["b"] });
    }
    if chance.one_in(6) {
        object["maxProperties"] = json!(2 + chance.below(3));
    }
    object
}

/// A schema like another one: something somewhere is wider, narrower or else.
fn changed(chance: &mut Chance, old: &Value) -> Value {
    let Value::Object(map) = old else {
        return schema(chance, 1);
    };
    let mut map = map.clone();
    let Some(key) = map.keys().nth(chance.small(map.len().max(1))).cloned() else {
        return schema(chance, 0);
    };
    let replaced = match (key.as_str(), &map[&key]) {
        (_, Value::Number(number)) => {
            json!((number.as_i64().unwrap_or(0) + [-1, 1, 2][chance.small(3)]).max(1))
        }
        ("properties", Value::Object(properties)) => {
            let mut properties = properties.clone();
            let name = (*chance.pick(&NAMES)).to_owned();
            match properties.get(&name).cloned() {
                Some(_) if chance.one_in(3) => {
                    properties.remove(&name);
                }
                Some(inner) => {
                    properties.insert(name, changed(chance, &inner));
                }
                None => {
                    properties.insert(name, schema(chance, 0));
                }
            }
            Value::Object(properties)
        }
        ("required", Value::Array(required)) => {
            let mut required = required.clone();
            let name = json!(chance.pick(&NAMES));
            match required.iter().position(|other| *other == name) {
                Some(at) => drop(required.remove(at)),
                None if chance.one_in(2) => required.push(name),
                None => drop(required.pop()),
            }
            Value::Array(required)
        }
        ("enum", Value::Array(values)) => {
            let mut values = values.clone();
            let value = instance_of_anything(chance, 0);
            if !values.contains(&value) {
                values.push(value);
            }
            Value::Array(values)
        }
        ("anyOf" | "allOf" | "prefixItems", Value::Array(schemas)) => {
            let mut schemas = schemas.clone();
            let at = chance.small(schemas.len());
            schemas[at] = changed(chance, &schemas[at].clone());
            if chance.one_in(3) {
                schemas.push(schema(chance, 0));
            }
            Value::Array(schemas)
        }
        ("type", Value::String(kind)) if kind == "integer" => json!("number"),
        ("type", Value::String(kind)) if !["object", "array", "null"].contains(&kind.as_str()) => {
            json!([kind, "null"])
        }
        ("items" | "additionalProperties", inner) => changed(chance, &inner.clone()),
        ("patternProperties" | "dependentRequired", _) => {
            map.remove(&key);
            return Value::Object(map);
        }
        (_, same) => same.clone(),
    };
    map.insert(key, replaced);
    Value::Object(map)
}

fn instance_of_anything(chance: &mut Chance, depth: u32) -> Value {
    match chance.below(if depth == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => json!(chance.one_in(2)),
        2 => json!(chance.below(8)),
        3 => json!(chance.below(16) as f64 / 2.0 + 0.25),
        4 | 5 => json!("é".repeat(chance.small(6))),
        6 => (0..chance.small(3))
            .map(|_| instance_of_anything(chance, depth - 1))
            .collect(),
        _ => {
            let names = NAMES
                .iter()
                .chain(&["other"])
                .filter(|_| chance.one_in(2))
                .copied()
                .collect::<Vec<_>>();
            let mut map = Map::new();
            for name in names {
                map.insert(name.to_owned(), instance_of_anything(chance, depth - 1));
            }
            Value::Object(map)
        }
    }
}

/// A value that a schema probably takes.
fn instance(chance: &mut Chance, schema: &Value) -> Value {
    let Value::Object(map) = schema else {
        return instance_of_anything(chance, 1);
    };
    let number = |key: &str, or: u64| map.get(key).and_then(Value::as_u64).unwrap_or(or);
    if let Some(values) = map.get("enum").and_then(Value::as_array) {
        return chance.pick(values).clone();
    }
    for keyword in ["anyOf", "allOf"] {
        if let Some(schemas) = map.get(keyword).and_then(Value::as_array) {
            let at = if keyword == "allOf" {
                0
            } else {
                chance.small(schemas.len())
            };
            return instance(chance, &schemas[at]);
        }
    }
    match map.get("type").and_then(Value::as_str) {
        Some("string") => {
            json!("é".repeat(usize::try_from(number("minLength", 0) + chance.below(3)).expect("small")))
        }
        Some("integer") => json!((number("minimum", 0) + chance.below(4)) * number("multipleOf", 1)),
        Some("number") => json!(number("exclusiveMinimum", 0) as f64 + 0.5 * chance.below(6) as f64),
        Some("boolean") => json!(chance.one_in(2)),
        Some("null") => Value::Null,
        Some("array") => {
            let count = number("minItems", 0) + chance.below(3);
            let prefix = map
                .get("prefixItems")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            (0..usize::try_from(count).expect("small"))
                .map(|at| instance(chance, prefix.get(at).unwrap_or(&map["items"])))
                .collect()
        }
        Some("object") => {
            let mut object = Map::new();
            let required = map["required"].as_array().cloned().unwrap_or_default();
            for (name, inner) in map["properties"].as_object().expect("an object") {
                if required.contains(&json!(name)) || chance.one_in(2) {
                    object.insert(name.clone(), instance(chance, inner));
                }
            }
            for name in ["x_1", "x_2", "other"] {
                if chance.one_in(4) && !object.contains_key(name) {
                    object.insert(name.to_owned(), instance_of_anything(chance, 0));
                }
            }
            Value::Object(object)
        }
        _ => instance_of_anything(chance, 1),
    }
}

fn read(schema: &Value) -> ParsedSchema {
    parse(SchemaFormat::Json, &schema.to_string(), &[]).unwrap_or_else(|error| panic!("{error}: {schema}"))
}

#[test]
fn what_a_compatible_writer_writes_the_reader_takes() {
    let (mut compatible, mut broken, mut judged) = (0, 0, 0);
    for seed in 0..3_000 {
        let chance = &mut Chance(seed);
        let old = schema(chance, 3);
        let mut new = changed(chance, &old);
        for _ in 0..chance.below(3) {
            new = changed(chance, &new);
        }
        let (writer, reader) = if chance.one_in(2) { (old, new) } else { (new, old) };
        if reader == writer {
            continue;
        }
        let found = can_read(&read(&reader), &read(&writer));
        if !found.is_empty() {
            broken += 1;
            continue;
        }
        compatible += 1;
        let [takes, writes] = [&reader, &writer].map(|schema| {
            jsonschema::options()
                .should_validate_formats(true)
                .build(schema)
                .expect("compiles")
        });
        for _ in 0..40 {
            let value = instance(chance, &writer);
            if writes.is_valid(&value) {
                judged += 1;
                assert!(
                    takes.is_valid(&value),
                    "seed {seed}: {value} is valid for the writer only\nwriter {writer}\nreader {reader}"
                );
            }
        }
    }
    // the test says something only when all of this happens
    assert!(
        compatible > 500 && broken > 500 && judged > 5_000,
        "{compatible} {broken} {judged}"
    );
}

#[test]
fn every_json_schema_reads_its_own_data() {
    for seed in 0..1_500 {
        let schema = read(&schema(&mut Chance(seed), 4));
        assert_eq!(
            can_read(&schema, &schema),
            [],
            "seed {seed}: {}",
            schema.canonical()
        );
        assert_eq!(diff(&schema, &schema), [], "seed {seed}");
        let again = parse(SchemaFormat::Json, schema.canonical(), &[]).expect("canonical");
        assert_eq!(again.canonical(), schema.canonical());
        assert_eq!(again.normalized(), schema.normalized());
    }
}

/// An Avro type; `names` are those defined so far.
fn avro(chance: &mut Chance, depth: u32, names: &mut Vec<String>) -> Value {
    let primitives = [
        "null", "boolean", "int", "long", "float", "double", "bytes", "string",
    ];
    match chance.below(if depth == 0 { 4 } else { 9 }) {
        0 | 1 => json!(chance.pick(&primitives)),
        2 => json!({ "type": "long", "logicalType": "timestamp-millis" }),
        3 if !names.is_empty() => json!(chance.pick(names)),
        3 => json!("string"),
        4 => json!({ "type": "array", "items": avro(chance, depth - 1, names) }),
        5 => json!({ "type": "map", "values": avro(chance, depth - 1, names) }),
        6 => {
            names.push(format!("n.E{}", names.len()));
            json!({ "type": "enum", "name": names[names.len() - 1], "symbols": ["A", "B"], "default": "A" })
        }
        7 => json!(["null", avro_record(chance, depth - 1, names)]),
        _ => avro_record(chance, depth - 1, names),
    }
}

fn avro_record(chance: &mut Chance, depth: u32, names: &mut Vec<String>) -> Value {
    let name = format!("n.R{}", names.len());
    names.push(name.clone());
    let mut fields = Vec::new();
    for field in NAMES.iter().take(chance.small(4)) {
        fields.push(json!({ "name": field, "type": avro(chance, depth, names) }));
    }
    fields.push(json!({ "name": "next", "type": ["null", name], "default": null }));
    json!({ "type": "record", "name": name, "fields": fields })
}

#[test]
fn every_avro_schema_reads_its_own_data_and_that_of_fewer_fields() {
    for seed in 0..1_500 {
        let chance = &mut Chance(seed);
        let text = avro_record(chance, 4, &mut Vec::new());
        let read = |text: &str| {
            parse(SchemaFormat::Avro, text, &[])
                .unwrap_or_else(|error| panic!("seed {seed}: {error}: {text}"))
        };
        let schema = read(&text.to_string());
        assert_eq!(can_read(&schema, &schema), [], "seed {seed}");
        assert_eq!(diff(&schema, &schema), [], "seed {seed}");
        let again = read(schema.canonical());
        assert_eq!(again.canonical(), schema.canonical(), "seed {seed}");
        assert_eq!(can_read(&again, &schema), [], "seed {seed}");
        let normal = read(&schema.normalized());
        assert_eq!(normal.normalized(), schema.normalized(), "seed {seed}");
        let mut more = text.clone();
        let fields = more["fields"].as_array_mut().expect("fields");
        fields.insert(
            chance.small(fields.len()),
            json!({ "name": "more", "type": "int", "default": 1 }),
        );
        let more = read(&more.to_string());
        assert_eq!(can_read(&more, &schema), [], "seed {seed}: a default is enough");
        assert_eq!(
            can_read(&schema, &more),
            [],
            "seed {seed}: a reader skips what it does not know"
        );
        assert_eq!(diff(&schema, &more).len(), 1, "seed {seed}");
    }
}

fn protobuf(chance: &mut Chance) -> (String, String) {
    let mut text = "syntax = \"proto3\";\npackage p;\n".to_owned();
    let messages = 1 + chance.small(4);
    let mut more = text.clone();
    for n in 0..messages {
        let mut fields = String::new();
        for number in 1..=chance.below(6) {
            let scalar = *chance.pick(&[
                "int32", "sint64", "string", "bytes", "double", "bool", "fixed32", "E",
            ]);
            let message = format!("M{}", chance.small(messages));
            let line = match chance.below(5) {
                0 => format!("repeated {scalar} f{number} = {number};"),
                1 => format!("{message} f{number} = {number};"),
                2 => format!("map<string, {message}> f{number} = {number};"),
                3 => format!(
                    "oneof o{number} {{ {scalar} f{number} = {number}; string g{number} = {}; }}",
                    number + 20
                ),
                _ => format!("optional {scalar} f{number} = {number};"),
            };
            fields.push_str(&format!("  {line}\n"));
        }
        text.push_str(&format!("message M{n} {{\n{fields}}}\n"));
        more.push_str(&format!("message M{n} {{\n{fields}  string more = 100;\n}}\n"));
    }
    let end = "enum E { X = 0; Y = 1; }\n";
    (text + end, more + end)
}

#[test]
fn every_protobuf_schema_reads_its_own_data_and_that_of_other_fields() {
    for seed in 0..400 {
        let (text, more) = protobuf(&mut Chance(seed));
        let read = |text: &str| {
            parse(SchemaFormat::Protobuf, text, &[])
                .unwrap_or_else(|error| panic!("seed {seed}: {error}: {text}"))
        };
        let (schema, more) = (read(&text), read(&more));
        assert_eq!(can_read(&schema, &schema), [], "seed {seed}");
        let again = read(schema.canonical());
        assert_eq!(again.canonical(), schema.canonical(), "seed {seed}");
        assert_eq!(
            read(&schema.normalized()).normalized(),
            schema.normalized(),
            "seed {seed}"
        );
        let binary = schema.protobuf().expect("Protobuf").serialized();
        assert_eq!(read(&binary).canonical(), schema.canonical(), "seed {seed}");
        assert_eq!(can_read(&more, &schema), [], "seed {seed}");
        assert_eq!(can_read(&schema, &more), [], "seed {seed}");
        assert!(!diff(&schema, &more).is_empty(), "seed {seed}");
    }
}
