//! Functions of texts. They count characters, from 1 on, as PostgreSQL does. What is no text gives NULL.

use std::cmp::Ordering;

use tributary_shared::time::to_rfc3339;

use super::scalar::Scalar;

/// The longest text that an expression makes, in bytes: a view must not turn a small event into a large group.
pub(super) const MAX_TEXT: usize = 1 << 20;

type Result = Option<Scalar>;

/// NULL, because an argument has the wrong type.
const MISFIT: Result = Some(Scalar::Null);

/// The text as a value, unless it is too long.
pub(super) fn bounded(text: &str) -> Result {
    (text.len() <= MAX_TEXT).then(|| text.into())
}

/// A value as `::text` and `||` write it.
pub(super) fn written(value: &Scalar) -> Scalar {
    match value {
        Scalar::Null | Scalar::Text(_) => value.clone(),
        Scalar::Bool(value) => if *value { "true" } else { "false" }.into(),
        Scalar::Int(value) => value.to_string().as_str().into(),
        Scalar::Float(value) => value.to_string().as_str().into(),
        Scalar::Time(value) => to_rfc3339(*value).as_str().into(),
    }
}

fn one(args: &[Scalar], map: impl FnOnce(&str) -> Result) -> Result {
    match args {
        [Scalar::Text(text)] => map(text),
        _ => MISFIT,
    }
}

pub(super) fn lower(args: &[Scalar]) -> Result {
    one(args, |text| bounded(&text.to_lowercase()))
}

pub(super) fn upper(args: &[Scalar]) -> Result {
    one(args, |text| bounded(&text.to_uppercase()))
}

pub(super) fn initcap(args: &[Scalar]) -> Result {
    one(args, |text| {
        let mut capped = String::with_capacity(text.len());
        let mut inside = false;
        for c in text.chars() {
            if inside {
                capped.extend(c.to_lowercase());
            } else {
                capped.extend(c.to_uppercase());
            }
            inside = c.is_alphanumeric();
        }
        bounded(&capped)
    })
}

pub(super) fn length(args: &[Scalar]) -> Result {
    one(args, |text| Some(Scalar::Int(text.chars().count() as i64)))
}

pub(super) fn octet_length(args: &[Scalar]) -> Result {
    one(args, |text| Some(Scalar::Int(text.len() as i64)))
}

pub(super) fn reverse(args: &[Scalar]) -> Result {
    one(args, |text| bounded(&text.chars().rev().collect::<String>()))
}

pub(super) fn ascii(args: &[Scalar]) -> Result {
    one(args, |text| {
        let first = text.chars().next().map_or(0, u32::from);
        Some(Scalar::Int(first.into()))
    })
}

pub(super) fn chr(args: &[Scalar]) -> Result {
    let [Scalar::Int(code)] = args else { return MISFIT };
    let code = u32::try_from(*code).ok().filter(|code| *code > 0);
    let c = code.and_then(char::from_u32)?;
    bounded(c.encode_utf8(&mut [0; 4]))
}

/// Passes over NULLs.
pub(super) fn concat(args: &[Scalar]) -> Result {
    join("", args)
}

pub(super) fn concat_ws(args: &[Scalar]) -> Result {
    match &args[0] {
        Scalar::Text(separator) => join(separator, &args[1..]),
        _ => MISFIT,
    }
}

fn join(separator: &str, parts: &[Scalar]) -> Result {
    let mut whole = String::new();
    let mut first = true;
    for part in parts {
        let Scalar::Text(part) = written(part) else {
            continue;
        };
        if !first {
            whole.push_str(separator);
        }
        first = false;
        whole.push_str(&part);
        if whole.len() > MAX_TEXT {
            return None;
        }
    }
    bounded(&whole)
}

/// The text before the character at this place; the whole text when it is shorter.
fn head(text: &str, characters: usize) -> &str {
    text.char_indices()
        .nth(characters)
        .map_or(text, |(end, _)| &text[..end])
}

/// The text from the character at this place on.
fn tail(text: &str, characters: usize) -> &str {
    text.char_indices()
        .nth(characters)
        .map_or("", |(start, _)| &text[start..])
}

/// A count of characters where a negative one means all but so many.
fn count(text: &str, n: i64) -> usize {
    if n >= 0 {
        return usize::try_from(n).unwrap_or(usize::MAX);
    }
    let all = text.chars().count();
    all.saturating_sub(usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX))
}

pub(super) fn left(args: &[Scalar]) -> Result {
    let [Scalar::Text(text), Scalar::Int(n)] = args else {
        return MISFIT;
    };
    bounded(head(text, count(text, *n)))
}

pub(super) fn right(args: &[Scalar]) -> Result {
    let [Scalar::Text(text), Scalar::Int(n)] = args else {
        return MISFIT;
    };
    let all = text.chars().count();
    bounded(tail(text, all.saturating_sub(count(text, *n))))
}

/// A start before the text uses up length. A negative length has no result.
pub(super) fn substring(args: &[Scalar]) -> Result {
    let (Some(Scalar::Text(text)), Some(Scalar::Int(start))) = (args.first(), args.get(1)) else {
        return MISFIT;
    };
    let end = match args.get(2) {
        None => i64::MAX,
        Some(Scalar::Int(length)) if *length < 0 => return None,
        Some(Scalar::Int(length)) => start.saturating_add(*length),
        Some(_) => return MISFIT,
    };
    let places = |n: i64| usize::try_from(n.max(1) - 1).unwrap_or(usize::MAX);
    let (from, to) = (places(*start), places(end));
    bounded(head(tail(text, from), to.saturating_sub(from)))
}

fn trimmed(args: &[Scalar], cut: fn(&str, &dyn Fn(char) -> bool) -> String) -> Result {
    match args {
        [Scalar::Text(text)] => bounded(&cut(text, &|c| c == ' ')),
        [Scalar::Text(text), Scalar::Text(these)] => bounded(&cut(text, &|c| these.contains(c))),
        _ => MISFIT,
    }
}

pub(super) fn btrim(args: &[Scalar]) -> Result {
    trimmed(args, |text, is| text.trim_matches(is).to_owned())
}

pub(super) fn ltrim(args: &[Scalar]) -> Result {
    trimmed(args, |text, is| text.trim_start_matches(is).to_owned())
}

pub(super) fn rtrim(args: &[Scalar]) -> Result {
    trimmed(args, |text, is| text.trim_end_matches(is).to_owned())
}

pub(super) fn replace(args: &[Scalar]) -> Result {
    let [Scalar::Text(text), Scalar::Text(from), Scalar::Text(to)] = args else {
        return MISFIT;
    };
    if from.is_empty() {
        return bounded(text);
    }
    // the length first: each of many matches may become a long text
    let times = text.matches(&**from).count();
    let length = (text.len() - times * from.len()).saturating_add(times.saturating_mul(to.len()));
    if length > MAX_TEXT {
        return None;
    }
    bounded(&text.replace(&**from, to))
}

/// Each character of `from` becomes the one at the same place of `to`, or nothing.
pub(super) fn translate(args: &[Scalar]) -> Result {
    let [Scalar::Text(text), Scalar::Text(from), Scalar::Text(to)] = args else {
        return MISFIT;
    };
    let map = |c: char| match from.chars().position(|known| known == c) {
        Some(at) => to.chars().nth(at),
        None => Some(c),
    };
    bounded(&text.chars().filter_map(map).collect::<String>())
}

/// Parts count from 1, or from the end with negative numbers; there is no part 0.
pub(super) fn split_part(args: &[Scalar]) -> Result {
    let [Scalar::Text(text), Scalar::Text(separator), Scalar::Int(n)] = args else {
        return MISFIT;
    };
    let at = usize::try_from(n.unsigned_abs()).ok()?.checked_sub(1)?;
    let part = match (separator.is_empty(), n.cmp(&0)) {
        // nothing separates: the whole text is the first and last part
        (true, _) => (at == 0).then_some(&**text),
        (false, Ordering::Less) => text.rsplit(&**separator).nth(at),
        (false, _) => text.split(&**separator).nth(at),
    };
    bounded(part.unwrap_or_default())
}

/// 0 when it does not occur.
pub(super) fn strpos(args: &[Scalar]) -> Result {
    let [Scalar::Text(text), Scalar::Text(part)] = args else {
        return MISFIT;
    };
    let place = text.find(&**part).map_or(0, |at| text[..at].chars().count() + 1);
    Some(Scalar::Int(place as i64))
}

pub(super) fn starts_with(args: &[Scalar]) -> Result {
    let [Scalar::Text(text), Scalar::Text(start)] = args else {
        return MISFIT;
    };
    Some(Scalar::Bool(text.starts_with(&**start)))
}

pub(super) fn repeat(args: &[Scalar]) -> Result {
    let [Scalar::Text(text), Scalar::Int(times)] = args else {
        return MISFIT;
    };
    let times = usize::try_from((*times).max(0)).ok()?;
    if text.len().checked_mul(times)? > MAX_TEXT {
        return None;
    }
    bounded(&text.repeat(times))
}

/// What fills a text up to a length, and the text cut to it.
fn padding(args: &[Scalar]) -> Option<Option<(String, &str)>> {
    let (text, length, fill) = match args {
        [Scalar::Text(text), Scalar::Int(length)] => (text, *length, " "),
        [Scalar::Text(text), Scalar::Int(length), Scalar::Text(fill)] => (text, *length, &**fill),
        _ => return Some(None),
    };
    let length = usize::try_from(length.max(0)).ok()?;
    let text = head(text, length);
    let missing = length - text.chars().count();
    if missing > MAX_TEXT {
        return None;
    }
    Some(Some((fill.chars().cycle().take(missing).collect(), text)))
}

pub(super) fn lpad(args: &[Scalar]) -> Result {
    match padding(args)? {
        Some((fill, text)) => bounded(&(fill + text)),
        None => MISFIT,
    }
}

pub(super) fn rpad(args: &[Scalar]) -> Result {
    match padding(args)? {
        Some((fill, text)) => bounded(&(text.to_owned() + &fill)),
        None => MISFIT,
    }
}
