//! JSON Patch (RFC 6902).

use json_patch::{Patch, PatchOperation};
use serde_json::Value;
use tributary_shared::wire::MAX_EVENT_BYTES;

use super::FixError;

/// Operations of one patch: more than a person writes.
const MAX_OPERATIONS: usize = 1_000;

/// Reads a patch.
///
/// # Errors
/// [`FixError::Patch`] naming what is wrong.
pub(super) fn parse(value: Value) -> Result<Patch, FixError> {
    let patch: Patch = serde_json::from_value(value).map_err(|error| FixError::Patch(error.to_string()))?;
    match patch.0.len() {
        0 => Err(FixError::Patch("it has no operation".to_owned())),
        count if count > MAX_OPERATIONS => Err(FixError::Patch(format!(
            "it has {count} operations; the limit is {MAX_OPERATIONS}"
        ))),
        _ => Ok(patch),
    }
}

#[derive(Debug)]
pub(in super::super) struct Patcher {
    patch: Patch,
}

impl Patcher {
    pub fn new(patch: Patch) -> Self {
        Self { patch }
    }

    pub fn fix(&self, payload: &[u8]) -> Result<Vec<u8>, String> {
        let mut document: Value =
            serde_json::from_slice(payload).map_err(|error| format!("the payload is not JSON: {error}"))?;
        for (at, operation) in self.patch.0.iter().enumerate() {
            json_patch::patch(&mut document, std::slice::from_ref(operation))
                .map_err(|error| format!("operation {at} of the patch does not apply: {error}"))?;
            // each copy may double the document
            if matches!(operation, PatchOperation::Copy(_)) && size(&document) > MAX_EVENT_BYTES {
                return Err(format!(
                    "operation {at} makes the event larger than {MAX_EVENT_BYTES} bytes"
                ));
            }
        }
        if !document.is_object() {
            return Err("the patch leaves no JSON object".to_owned());
        }
        serde_json::to_vec(&document).map_err(|error| error.to_string())
    }
}

/// About how many bytes a value takes, and never much less.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| size(item) + 1).sum::<usize>() + 2,
        Value::Object(fields) => {
            fields
                .iter()
                .map(|(key, value)| key.len() + size(value) + 4)
                .sum::<usize>()
                + 2
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fixed(patch: Value, payload: &str) -> Result<String, String> {
        let patcher = Patcher::new(parse(patch).expect("a patch"));
        patcher
            .fix(payload.as_bytes())
            .map(|bytes| String::from_utf8(bytes).expect("text"))
    }

    #[test]
    fn a_patch_changes_the_payload_or_says_which_operation_does_not_apply() {
        let patch =
            json!([{ "op": "test", "path": "/unit", "value": "F" }, { "op": "remove", "path": "/unit" }]);
        assert_eq!(
            fixed(patch.clone(), r#"{"unit":"F","t":1}"#).expect("applies"),
            r#"{"t":1}"#
        );
        let error = fixed(patch, r#"{"unit":"C"}"#).expect_err("the test fails");
        assert!(error.starts_with("operation 0 "), "{error}");
        let whole = fixed(json!([{ "op": "replace", "path": "", "value": 7 }]), "{}").expect_err("no object");
        assert!(whole.contains("no JSON object"), "{whole}");
    }

    #[test]
    fn copies_that_double_the_event_end() {
        let double = |n: u32| json!({ "op": "copy", "from": "", "path": format!("/copy{n}") });
        let patch = (0..60).map(double).collect();
        let error = fixed(patch, r#"{"a":"0123456789"}"#).expect_err("too large");
        assert!(error.contains("larger than"), "{error}");
    }

    #[test]
    fn broken_patches_are_refused() {
        for broken in [
            json!({}),
            json!([]),
            json!([{ "op": "nonsense", "path": "/a" }]),
            json!([{ "op": "add" }]),
        ] {
            assert!(
                matches!(parse(broken.clone()), Err(FixError::Patch(_))),
                "{broken}"
            );
        }
    }
}
