//! Schemas that are wrong, huge or made to do harm: each ends in an error that says where and why, and soon.

use std::time::{Duration, Instant};

use tributary_schema::compat::can_read;
use tributary_schema::language::{
    Dependency, LanguageError, MAX_DEPENDENCIES, MAX_TEXT_BYTES, ParsedSchema, SchemaFormat, parse,
};

use SchemaFormat::{Avro, Json, Protobuf};

/// What one schema may take in a debug build on a busy machine; the worst of them take a tenth of it.
const SOON: Duration = Duration::from_secs(20);
/// The stack of a thread of a blocking pool: what parses must live with it.
const STACK: usize = 2 << 20;

fn read(format: SchemaFormat, text: &str) -> Result<ParsedSchema, LanguageError> {
    parse(format, text, &[])
}

fn refused(format: SchemaFormat, text: &str) -> String {
    let shown: String = text.chars().take(200).collect();
    match read(format, text) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("taken: {shown}"),
    }
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

/// Runs on a small stack, and soon.
fn small_and_soon<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let began = Instant::now();
    let thread = std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(work)
        .expect("a thread");
    let result = thread.join().expect("no panic");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    result
}

#[test]
fn limits_hold_before_anything_is_parsed() {
    for format in [Avro, Json, Protobuf] {
        assert_eq!(
            read(format, &"[".repeat(MAX_TEXT_BYTES + 1)).expect_err("too large"),
            LanguageError::TooLarge {
                len: MAX_TEXT_BYTES + 1
            }
        );
        let one = Dependency {
            name: "a",
            text: "true",
        };
        let many = vec![one; MAX_DEPENDENCIES + 1];
        assert!(matches!(
            parse(format, "true", &many),
            Err(LanguageError::TooManyReferences { .. })
        ));
        let text = " ".repeat(MAX_TEXT_BYTES);
        let heavy = vec![
            Dependency {
                name: "a",
                text: &text
            };
            5
        ];
        assert!(matches!(
            parse(format, "true", &heavy),
            Err(LanguageError::ReferencesTooLarge { .. })
        ));
    }
}

#[test]
fn mistakes_are_named_with_their_place() {
    says(&refused(Json, "{\n  \"type\": }"), &["line 2, column 11"]);
    says(
        &refused(Json, r#"{"properties":{"t":{"type":"nummer"}}}"#),
        &["/properties/t/type"],
    );
    says(&refused(Json, "[]"), &["expected an object"]);
    says(
        &refused(Json, r#"{"$schema":"https://example.com/own"}"#),
        &["/$schema", "draft"],
    );
    says(
        &refused(Json, r#"{"type":"string","type":"object"}"#),
        &["\"type\" is there twice"],
    );
    let field = |inner: &str| format!(r#"{{"type":"record","name":"R","fields":[{inner}]}}"#);
    says(
        &refused(Avro, &field(r#"{"name":"a","type":"nummer"}"#)),
        &["/fields/0/type", "\"nummer\" is not defined"],
    );
    says(
        &refused(Avro, &field(r#"{"name":"a b","type":"int"}"#)),
        &["/fields/0", "no name for a field"],
    );
    says(
        &refused(
            Avro,
            &field(r#"{"name":"a","type":"int"},{"name":"a","type":"int"}"#),
        ),
        &["/fields/1", "twice"],
    );
    says(
        &refused(Avro, &field(r#"{"name":"a","type":"int","default":"x"}"#)),
        &["R.a", "default", "int"],
    );
    says(
        &refused(Avro, &field(r#"{"name":"a","type":["int","int"]}"#)),
        &["/fields/0/type/1", "twice"],
    );
    says(
        &refused(Avro, r#"{"type":"enum","name":"E","symbols":["A","A"]}"#),
        &["/symbols/1", "twice"],
    );
    says(
        &refused(Avro, r#"{"type":"fixed","name":"F","size":-1}"#),
        &["/size"],
    );
    says(
        &refused(Avro, r#"{"type":"record","name":"int","fields":[]}"#),
        &["built-in"],
    );
    says(&refused(Avro, "{"), &["not JSON", "line 1"]);
    says(
        &refused(Protobuf, "syntax = \"proto3\";\nmessage M { strin a = 1; }"),
        &["line 2", "strin"],
    );
    says(
        &refused(Protobuf, "syntax = \"proto3\";\nmessage M {\n  string a = ;\n}"),
        &["line 3"],
    );
    says(&refused(Protobuf, "message M { string a = 1; }"), &["line 1"]);
}

#[test]
fn nothing_is_ever_fetched() {
    for reference in [
        "https://example.com/a.json",
        "file:///etc/passwd",
        "other.json",
        "http://127.0.0.1:1/x",
    ] {
        let text = format!(r#"{{"properties":{{"t":{{"$ref":"{reference}"}}}}}}"#);
        says(&refused(Json, &text), &["only references that are registered"]);
    }
    says(&refused(Json, r##"{"$ref":"#/$defs/none"}"##), &["none"]);
    let import = "syntax = \"proto3\"; import \"other.proto\"; message M {}";
    says(
        &refused(Protobuf, import),
        &["\"other.proto\"", "imported, and not registered"],
    );
    refused(
        Protobuf,
        "syntax = \"proto3\"; import \"/etc/passwd\"; message M {}",
    );
    says(
        &refused(Avro, r#"{"type":"array","items":"x.Other"}"#),
        &["x.Other", "not defined"],
    );
}

#[test]
fn references_must_hold_up_themselves() {
    let one = |format, text, name, dependency| {
        parse(
            format,
            text,
            &[Dependency {
                name,
                text: dependency,
            }],
        )
        .expect_err("refused")
        .to_string()
    };
    let json = one(Json, r#"{"$ref":"a.json"}"#, "a.json", r#"{"type":"nummer"}"#);
    says(&json, &["\"a.json\"", "/type"]);
    let avro = one(Avro, r#""x.I""#, "x.I", r#"{"type":"record","name":"I"}"#);
    says(&avro, &["\"x.I\"", "fields"]);
    let text = "syntax = \"proto3\"; import \"a.proto\"; message M { A a = 1; }";
    says(
        &one(Protobuf, text, "a.proto", "message {"),
        &["\"a.proto\"", "line 1"],
    );
    let twice = [
        Dependency {
            name: "a.proto",
            text: "syntax = \"proto3\"; message A {}",
        },
        Dependency {
            name: "a.proto",
            text: "syntax = \"proto3\"; message B {}",
        },
    ];
    says(
        &parse(Protobuf, text, &twice).expect_err("refused").to_string(),
        &["given twice"],
    );
}

#[test]
fn imports_that_form_a_circle_are_refused() {
    let import = |name: &str| format!("syntax = \"proto3\"; import \"{name}\";");
    let (a, b) = (import("b.proto"), import("a.proto"));
    let both = [
        Dependency {
            name: "a.proto",
            text: &a,
        },
        Dependency {
            name: "b.proto",
            text: &b,
        },
    ];
    let error = parse(Protobuf, &import("a.proto"), &both)
        .expect_err("refused")
        .to_string();
    says(&error, &["circle", "a.proto -> b.proto -> a.proto"]);
    let own = parse(Protobuf, &import("schema.proto"), &[])
        .expect_err("refused")
        .to_string();
    says(&own, &["schema.proto"]);
}

#[test]
fn names_twice_are_refused() {
    says(
        &refused(Protobuf, "syntax = \"proto3\"; message M {} message M {}"),
        &["M"],
    );
    says(
        &refused(
            Protobuf,
            "syntax = \"proto3\"; message M { string a = 1; int32 b = 1; }",
        ),
        &["1"],
    );
    says(
        &refused(Protobuf, "syntax = \"proto3\"; enum E { A = 1; }"),
        &["must be 0"],
    );
    let a = "syntax = \"proto3\"; package p; message A {}";
    let text = "syntax = \"proto3\"; package p; import \"a.proto\"; message A {}";
    let error = parse(
        Protobuf,
        text,
        &[Dependency {
            name: "a.proto",
            text: a,
        }],
    )
    .expect_err("refused");
    says(&error.to_string(), &["p.A"]);
    let record = r#"{"type":"record","name":"R","fields":[]}"#;
    says(
        &refused(
            Avro,
            &format!(r#"["null",{record},{{"type":"map","values":{record}}}]"#),
        ),
        &["\"R\"", "twice"],
    );
}

#[test]
fn deep_texts_end_in_an_error() {
    let cases = [
        (
            Json,
            format!("{}true{}", r#"{"not":"#.repeat(100_000), "}".repeat(100_000)),
        ),
        (
            Avro,
            format!(
                "{}\"int\"{}",
                r#"{"type":"array","items":"#.repeat(40_000),
                "}".repeat(40_000)
            ),
        ),
        (Avro, "[".repeat(MAX_TEXT_BYTES)),
        (
            Protobuf,
            format!(
                "syntax = \"proto3\"; {}{}",
                "message M { ".repeat(40_000),
                "}".repeat(40_000)
            ),
        ),
        (
            Protobuf,
            format!("syntax = \"proto3\"; option (x) = {}", "{ a: ".repeat(100_000)),
        ),
        (
            Protobuf,
            format!("syntax = \"proto3\"; option (x) = {{ a: {}", "[".repeat(500_000)),
        ),
    ];
    for (format, text) in cases {
        small_and_soon(move || refused(format, &text));
    }
    let option = |depth: usize| {
        format!(
            "syntax = \"proto2\"; import \"google/protobuf/descriptor.proto\"; message R {{ optional R a = 1; }}\n\
             extend google.protobuf.FileOptions {{ optional R x = 50000; }} // don't nest {{{{\n\
             option (x) = {}{};",
            "{ a: ".repeat(depth),
            "{}".to_owned() + &"}".repeat(depth)
        )
    };
    small_and_soon(move || {
        says(&refused(Protobuf, &option(100_000)), &["line 3", "nests deeper"]);
        read(Protobuf, &option(50)).expect("a deep option");
    });
}

#[test]
fn long_chains_of_references_do_not_exhaust_the_stack() {
    small_and_soon(|| {
        let chain = |length: usize| {
            let link = |n| {
                format!(
                    r##""d{n}":{{"properties":{{"x":{{"$ref":"#/$defs/d{}"}}}}}}"##,
                    n + 1
                )
            };
            let links: Vec<String> = (0..length).map(link).collect();
            format!(
                r##"{{"$ref":"#/$defs/d0","$defs":{{{},"d{length}":{{"type":"string"}}}}}}"##,
                links.join(",")
            )
        };
        says(&refused(Json, &chain(15_000)), &["deep", "limit"]);
        let taken = read(Json, &chain(120)).expect("a long chain");
        assert_eq!(can_read(&taken, &taken), []);
        let avro = |length: usize, kind: &str| {
            let first =
                format!(r#"{{"type":"record","name":"R0","fields":[{{"name":"x","type":"{kind}"}}]}}"#);
            let link = |n: usize| {
                format!(
                    r#"{{"type":"record","name":"R{n}","fields":[{{"name":"x","type":"R{}"}}]}}"#,
                    n - 1
                )
            };
            let links: Vec<String> = std::iter::once(first).chain((1..length).map(link)).collect();
            // the last one stands first in a union of records, so that the whole chain is compared through it
            format!("[{}]", links.join(","))
        };
        let (old, new) = (
            read(Avro, &avro(9_000, "int")).expect("valid"),
            read(Avro, &avro(9_000, "string")).expect("valid"),
        );
        let found = can_read(&new, &old);
        assert!(!found.is_empty() && found.len() <= 200, "{}", found.len());
        let message = |length: usize| {
            let link = |n| format!("message M{n} {{ M{} x = 1; }}\n", n + 1);
            let links: String = (0..length).map(link).collect();
            format!("syntax = \"proto3\";\n{links}message M{length} {{ string x = 1; }}")
        };
        let taken = read(Protobuf, &message(5_000)).expect("valid");
        assert_eq!(can_read(&taken, &taken), []);
    });
}

#[test]
fn schemas_that_lead_to_themselves_in_place_are_refused() {
    for text in [
        r##"{"$ref":"#"}"##,
        r##"{"allOf":[{"$ref":"#"}]}"##,
        r##"{"not":{"anyOf":[{"type":"string"},{"$ref":"#"}]}}"##,
        r##"{"properties":{"a":{"$ref":"#/$defs/x"}},"$defs":{"x":{"$ref":"#/$defs/y"},"y":{"oneOf":[{"$ref":"#/$defs/x"}]}}}"##,
        r##"{"if":{"$ref":"#"},"then":true}"##,
    ] {
        says(&refused(Json, text), &["leads to itself"]);
    }
    // with a step into the document they are common
    let tree = r##"{"properties":{"children":{"type":"array","items":{"$ref":"#"}}}}"##;
    let tree = read(Json, tree).expect("a tree");
    assert_eq!(can_read(&tree, &tree), []);
    let list = r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}"#;
    let list = read(Avro, list).expect("a list");
    assert_eq!(can_read(&list, &list), []);
}

#[test]
fn patterns_that_backtrack_or_grow_are_read_soon() {
    says(
        &refused(Json, r#"{"properties":{"t":{"pattern":"("}}}"#),
        &["/properties/t/pattern"],
    );
    small_and_soon(|| {
        // the first is nothing to a linear engine; the others are judged with a bound on their steps
        for pattern in ["^(a+)+$", "^(?=(a+)+b)a*$", r"^((a|a)+)+\\1$"] {
            let text = format!(r#"{{"properties":{{"t":{{"type":"string","pattern":"{pattern}"}}}}}}"#);
            let schema = read(Json, &text).expect("taken");
            assert_eq!(can_read(&schema, &schema), []);
        }
    });
    small_and_soon(|| {
        says(
            &refused(Json, r#"{"pattern":"(((a{100}){100}){100}){100}"}"#),
            &["/pattern"],
        );
        let many = |n: usize| {
            let properties: Vec<String> = (0..n)
                .map(|n| format!(r#""p{n}":{{"pattern":"^\\p{{L}}{{5}}$"}}"#))
                .collect();
            format!(r#"{{"properties":{{{}}}}}"#, properties.join(","))
        };
        says(&refused(Json, &many(15_000)), &["pattern"]);
        read(Json, &many(20)).expect("a schema with patterns");
    });
}

/// A text as long as one may be.
fn wide(head: &str, each: &dyn Fn(usize) -> String, tail: &str) -> String {
    let mut text = head.to_owned();
    let mut n = 0;
    while text.len() + 100 < MAX_TEXT_BYTES {
        if n > 0 {
            text.push(',');
        }
        text.push_str(&each(n));
        n += 1;
    }
    text + tail
}

/// Old and new versions that are as wide as they may be, and differ everywhere.
fn wide_pairs() -> Vec<(SchemaFormat, String, String)> {
    vec![
        (
            Json,
            wide("{\"allOf\":[", &|n| format!(r#"{{"minimum":-{n}}}"#), "]}"),
            wide("{\"allOf\":[", &|n| format!(r#"{{"minimum":{n}}}"#), "]}"),
        ),
        (
            Json,
            wide("{\"oneOf\":[", &|n| format!(r#"{{"const":{n}}}"#), "]}"),
            wide("{\"oneOf\":[", &|n| format!(r#"{{"const":-{n}}}"#), "]}"),
        ),
        (
            Json,
            wide("{\"enum\":[", &|n| n.to_string(), "]}"),
            wide("{\"enum\":[", &|n| format!("-{}", n + 1), "]}"),
        ),
        (
            Json,
            wide(
                "{\"properties\":{",
                &|n| format!(r#""p{n}":{{"type":"string"}}"#),
                "}}",
            ),
            wide(
                "{\"additionalProperties\":false,\"properties\":{",
                &|n| format!(r#""q{n}":{{"type":"string"}}"#),
                "}}",
            ),
        ),
        (
            Avro,
            wide(
                "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[",
                &|n| format!("\"A{n}\""),
                "]}",
            ),
            wide(
                "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[",
                &|n| format!("\"B{n}\""),
                "]}",
            ),
        ),
        (
            Avro,
            wide(
                "[",
                &|n| format!(r#"{{"type":"fixed","name":"A{n}","size":1}}"#),
                "]",
            ),
            wide(
                "[",
                &|n| format!(r#"{{"type":"fixed","name":"B{n}","size":1}}"#),
                "]",
            ),
        ),
        (
            Avro,
            wide(
                "{\"type\":\"record\",\"name\":\"R\",\"fields\":[",
                &|n| format!(r#"{{"name":"a{n}","type":"int"}}"#),
                "]}",
            ),
            wide(
                "{\"type\":\"record\",\"name\":\"R\",\"fields\":[",
                &|n| format!(r#"{{"name":"b{n}","type":"int"}}"#),
                "]}",
            ),
        ),
    ]
}

#[test]
fn wide_schemas_are_read_and_compared_soon() {
    let mut pairs = wide_pairs();
    let messages = |letter: &str| {
        let each: String = (0..20_000)
            .map(|n| format!("message {letter}{n} {{ int32 a = 1; }}\n"))
            .collect();
        format!("syntax = \"proto3\";\n{each}")
    };
    pairs.push((Protobuf, messages("A"), messages("B")));
    for (format, old, new) in pairs {
        let head: String = old.chars().take(30).collect();
        small_and_soon(move || {
            let read = |text: &str| match read(format, text) {
                Ok(schema) => schema,
                Err(error) => panic!("{head}: {error}"),
            };
            let (old, new) = (read(&old), read(&new));
            let found = can_read(&new, &old);
            assert!(!found.is_empty() && found.len() <= 200, "{head}: {}", found.len());
            assert!(found.iter().all(|one| one.message.len() < 2_000), "{head}");
        });
    }
}

#[test]
fn unions_that_explode_when_compared_end_as_too_complex() {
    // every level compares both branches of the one below with both of the other schema's
    let nested = |letter: &str| {
        let mut text = "\"string\"".to_owned();
        for level in 0..20 {
            let record = |side: &str, inner: &str| {
                format!(
                    r#"{{"type":"record","name":"{letter}{side}{level}","fields":[{{"name":"f","type":{inner}}}]}}"#
                )
            };
            let other = if level == 0 {
                "\"int\"".to_owned()
            } else {
                format!("[\"{letter}l{}\",\"{letter}r{}\"]", level - 1, level - 1)
            };
            text = format!("[{},{}]", record("l", &text), record("r", &other));
        }
        text
    };
    let (old, new) = (nested("a"), nested("b"));
    small_and_soon(move || {
        let (old, new) = (read(Avro, &old).expect("valid"), read(Avro, &new).expect("valid"));
        assert!(!can_read(&new, &old).is_empty());
    });
}

#[test]
fn base64_that_is_no_descriptor_is_refused() {
    says(&refused(Protobuf, "AAAA"), &["FileDescriptorProto"]);
    says(&refused(Protobuf, "abc"), &["base64"]);
    says(&refused(Protobuf, "CgZhLnByb3Rv////"), &["FileDescriptorProto"]);
}
