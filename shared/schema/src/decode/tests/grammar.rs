//! The scanner takes exactly what `serde_json` takes.

use proptest::prelude::*;
use proptest::sample::select;

use super::reference;
use crate::decode::number::{self, Number};
use crate::decode::reasons::judge;

fn agrees(text: &str) -> Result<(), TestCaseError> {
    let ours = judge(None, text).map_err(|reasons| reasons[0].rule.clone());
    let theirs = reference::object(text.as_bytes())
        .map(drop)
        .map_err(str::to_owned);
    prop_assert_eq!(ours, theirs, "{:?}", text);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn near_misses_of_json(
        pieces in prop::collection::vec(select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"b\":", "\"c\": ", "1", "-", "0", ".5", "e9", "true", "null", " ",
            "\\u00", "\\ud800", "\\udc00", "\\n", "\u{1}", "\u{7f}", "é", "😀", "[]", "{}", "[1,2]", "{\"x\":[{}]}",
        ]), 0..14),
    ) {
        agrees(&format!("{{{}}}", pieces.concat()))?;
    }

    #[test]
    fn damaged_rows(at in 0usize..150, with in any::<u8>(), cut in any::<bool>()) {
        let row = r#"{"ts":"2026-11-21T11:20:00.123Z","n":[{"a\u00e9\\":[1.5e-3,-0,"ü"]},{}, [ ]],"t":21.53,"u":1013,"b":true,"x":null}"#;
        let mut bytes = row.as_bytes().to_vec();
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] = with }
        if let Ok(text) = String::from_utf8(bytes) {
            agrees(&text)?;
        }
    }

    #[test]
    fn strings_stop_where_they_should(before in "[a-z]{0,70}", stop in any::<char>(), after in "[a-z]{0,40}") {
        agrees(&format!("{{\"k\":\"{before}{stop}{after}\"}}"))?;
    }

    #[test]
    fn numbers_have_the_same_value(text in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?") {
        let theirs = serde_json::from_str::<serde_json::Number>(&text).ok();
        match (number::parse(&text, 0), theirs) {
            (Ok((Number::Int(ours), end)), Some(theirs)) => {
                prop_assert_eq!(Some(ours), theirs.as_i64());
                prop_assert_eq!(end, text.len());
            }
            (Ok((Number::Float(ours), end)), Some(theirs)) => {
                prop_assert!(theirs.as_i64().is_none(), "{} is an integer", text);
                prop_assert_eq!(Some(ours.to_bits()), theirs.as_f64().map(f64::to_bits));
                prop_assert_eq!(end, text.len());
            }
            (Err(_), None) => {}
            (ours, theirs) => prop_assert!(false, "{text}: {ours:?} and {theirs:?}"),
        }
    }
}

#[test]
fn nesting_ends_where_serde_json_ends() {
    for (open, close) in [("[", "]"), ("{\"k\":", "}")] {
        for levels in [1, 125, 126, 127, 128, 5000] {
            let text = format!("{{\"a\":{}1{}}}", open.repeat(levels), close.repeat(levels));
            agrees(&text).expect("the same verdict");
        }
    }
}
