//! `key=value,key=value` with `%XX`, as the OpenTelemetry specification writes lists in variables.

/// `None` when it is none.
pub(super) fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
    let pair = |text: &str| {
        let (key, value) = text.split_once('=')?;
        let key = decoded(key.trim())?;
        (!key.is_empty()).then_some((key, decoded(value.trim())?))
    };
    texts.map(pair).collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, more)) = rest.split_first() {
        rest = more;
        if first == b'%' {
            let (digits, more) = rest.split_at_checked(2)?;
            rest = more;
            bytes.push(digit(digits[0])? << 4 | digit(digits[1])?);
        } else {
            bytes.push(first);
        }
    }
    String::from_utf8(bytes).ok()
}

fn digit(byte: u8) -> Option<u8> {
    let value = char::from(byte).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::pairs;

    #[test]
    fn pairs_are_read_whole_or_not_at_all() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            pairs(" a=b , c=d=e%2C%C3%BC ,,f= "),
            Some(vec![pair("a", "b"), pair("c", "d=e,ü"), pair("f", "")])
        );
        assert_eq!(pairs(""), Some(Vec::new()));
        for text in ["a", "=b", "a=b,c", "a=%", "a=%4", "a=%+4", "a=%ff"] {
            assert_eq!(pairs(text), None, "{text}");
        }
    }
}
