//! The functions of single values that need nothing but their arguments' values.

use std::fmt;

use super::kinds::StaticKind;
use super::scalar::Scalar;
use super::{numbers, texts, times};

/// What a function does with its arguments. `None` when there is no result, which is NULL and counted.
pub(super) type Eval = fn(&[Scalar]) -> Option<Scalar>;

/// What an argument must be, where that is known before there is data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    Any,
    Text,
    Number,
    Int,
    /// Times, and what is read as one.
    Time,
}

/// A function by its name.
#[derive(Clone, Copy)]
pub struct Function {
    pub name: &'static str,
    /// The last one stands for all that follow.
    pub takes: &'static [Takes],
    pub least: usize,
    pub most: usize,
    /// `None`: what the first argument is.
    pub(super) gives: Option<StaticKind>,
    /// Whether a NULL among the arguments is the result.
    pub(super) strict: bool,
    pub(super) eval: Eval,
}

impl fmt::Debug for Function {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Function {
    pub fn find(name: &str) -> Option<&'static Self> {
        FUNCTIONS.iter().find(|function| function.name == name)
    }

    /// What the argument at this place must be.
    pub fn takes(&self, at: usize) -> Takes {
        let last = self.takes.last().copied().unwrap_or(Takes::Any);
        self.takes.get(at).copied().unwrap_or(last)
    }

    pub(super) fn call(&self, args: &[Scalar]) -> Option<Scalar> {
        if self.strict && args.iter().any(Scalar::is_null) {
            return Some(Scalar::Null);
        }
        (self.eval)(args)
    }
}

/// More would be a mistake.
pub(super) const MAX_ARGS: usize = 32;

const INT: Option<StaticKind> = Some(StaticKind::Count);
const NUMBER: Option<StaticKind> = Some(StaticKind::Number);
const TEXT: Option<StaticKind> = Some(StaticKind::Text);
const BOOL: Option<StaticKind> = Some(StaticKind::Bool);
const TIME: Option<StaticKind> = Some(StaticKind::Time);
/// What the first argument is.
const SAME: Option<StaticKind> = None;

const fn strict(
    name: &'static str,
    takes: &'static [Takes],
    least: usize,
    gives: Option<StaticKind>,
    eval: Eval,
) -> Function {
    Function {
        name,
        takes,
        least,
        most: takes.len(),
        gives,
        strict: true,
        eval,
    }
}

const fn lenient(name: &'static str, takes: &'static [Takes], least: usize, eval: Eval) -> Function {
    Function {
        name,
        takes,
        least,
        most: MAX_ARGS,
        gives: TEXT,
        strict: false,
        eval,
    }
}

use Takes::{Any, Int, Number, Text};

/// Every function, by group. Names that mean the same stand for themselves.
pub static FUNCTIONS: &[Function] = &[
    // texts
    strict("lower", &[Text], 1, TEXT, texts::lower),
    strict("upper", &[Text], 1, TEXT, texts::upper),
    strict("initcap", &[Text], 1, TEXT, texts::initcap),
    strict("length", &[Text], 1, INT, texts::length),
    strict("char_length", &[Text], 1, INT, texts::length),
    strict("character_length", &[Text], 1, INT, texts::length),
    strict("octet_length", &[Text], 1, INT, texts::octet_length),
    lenient("concat", &[Any], 1, texts::concat),
    lenient("concat_ws", &[Text, Any], 2, texts::concat_ws),
    strict("left", &[Text, Int], 2, TEXT, texts::left),
    strict("right", &[Text, Int], 2, TEXT, texts::right),
    strict("substr", &[Text, Int, Int], 2, TEXT, texts::substring),
    strict("substring", &[Text, Int, Int], 2, TEXT, texts::substring),
    strict("btrim", &[Text, Text], 1, TEXT, texts::btrim),
    strict("trim", &[Text, Text], 1, TEXT, texts::btrim),
    strict("ltrim", &[Text, Text], 1, TEXT, texts::ltrim),
    strict("rtrim", &[Text, Text], 1, TEXT, texts::rtrim),
    strict("replace", &[Text, Text, Text], 3, TEXT, texts::replace),
    strict("translate", &[Text, Text, Text], 3, TEXT, texts::translate),
    strict("split_part", &[Text, Text, Int], 3, TEXT, texts::split_part),
    strict("strpos", &[Text, Text], 2, INT, texts::strpos),
    strict("starts_with", &[Text, Text], 2, BOOL, texts::starts_with),
    strict("reverse", &[Text], 1, TEXT, texts::reverse),
    strict("repeat", &[Text, Int], 2, TEXT, texts::repeat),
    strict("lpad", &[Text, Int, Text], 2, TEXT, texts::lpad),
    strict("rpad", &[Text, Int, Text], 2, TEXT, texts::rpad),
    strict("ascii", &[Text], 1, INT, texts::ascii),
    strict("chr", &[Int], 1, TEXT, texts::chr),
    // numbers
    strict("abs", &[Number], 1, SAME, numbers::abs),
    strict("ceil", &[Number], 1, NUMBER, numbers::ceil),
    strict("ceiling", &[Number], 1, NUMBER, numbers::ceil),
    strict("floor", &[Number], 1, NUMBER, numbers::floor),
    strict("round", &[Number, Int], 1, NUMBER, numbers::round),
    strict("trunc", &[Number, Int], 1, NUMBER, numbers::trunc),
    strict("sign", &[Number], 1, NUMBER, numbers::sign),
    strict("sqrt", &[Number], 1, NUMBER, numbers::sqrt),
    strict("cbrt", &[Number], 1, NUMBER, numbers::cbrt),
    strict("power", &[Number, Number], 2, NUMBER, numbers::power),
    strict("pow", &[Number, Number], 2, NUMBER, numbers::power),
    strict("exp", &[Number], 1, NUMBER, numbers::exp),
    strict("ln", &[Number], 1, NUMBER, numbers::ln),
    strict("log", &[Number, Number], 1, NUMBER, numbers::log),
    strict("log10", &[Number], 1, NUMBER, numbers::log10),
    strict("div", &[Number, Number], 2, NUMBER, numbers::div),
    strict(
        "width_bucket",
        &[Number, Number, Number, Int],
        4,
        INT,
        numbers::width_bucket,
    ),
    strict("pi", &[], 0, NUMBER, numbers::pi),
    strict("degrees", &[Number], 1, NUMBER, numbers::degrees),
    strict("radians", &[Number], 1, NUMBER, numbers::radians),
    strict("sin", &[Number], 1, NUMBER, numbers::sin),
    strict("cos", &[Number], 1, NUMBER, numbers::cos),
    strict("tan", &[Number], 1, NUMBER, numbers::tan),
    strict("asin", &[Number], 1, NUMBER, numbers::asin),
    strict("acos", &[Number], 1, NUMBER, numbers::acos),
    strict("atan", &[Number], 1, NUMBER, numbers::atan),
    strict("atan2", &[Number, Number], 2, NUMBER, numbers::atan2),
    // times
    strict("to_timestamp", &[Number], 1, TIME, to_timestamp),
    // JSON
    strict("jsonb_array_length", &[Text], 1, INT, json_array_length),
    strict("json_array_length", &[Text], 1, INT, json_array_length),
    strict("jsonb_typeof", &[Any], 1, TEXT, json_typeof),
    strict("json_typeof", &[Any], 1, TEXT, json_typeof),
];

/// Operators that are calls; their names are no one's to write.
pub(super) static CONCAT: Function = strict("||", &[Any, Any], 2, TEXT, texts::concat);
pub(super) static BIT_AND: Function = strict("&", &[Int, Int], 2, INT, numbers::bit_and);
pub(super) static BIT_OR: Function = strict("|", &[Int, Int], 2, INT, numbers::bit_or);
pub(super) static BIT_XOR: Function = strict("#", &[Int, Int], 2, INT, numbers::bit_xor);
pub(super) static SHIFT_LEFT: Function = strict("<<", &[Int, Int], 2, INT, numbers::shift_left);
pub(super) static SHIFT_RIGHT: Function = strict(">>", &[Int, Int], 2, INT, numbers::shift_right);

fn to_timestamp(args: &[Scalar]) -> Option<Scalar> {
    let Some(seconds) = args[0].as_f64() else {
        return Some(Scalar::Null);
    };
    let millis = (seconds * 1_000.0).round();
    // a float beyond the range of integers becomes its end, which is no time either
    times::in_range(millis as i64).map(Scalar::Time)
}

/// NULL for what is no JSON array.
fn json_array_length(args: &[Scalar]) -> Option<Scalar> {
    let Scalar::Text(text) = &args[0] else {
        return Some(Scalar::Null);
    };
    let items = serde_json::from_str::<Vec<serde::de::IgnoredAny>>(text);
    Some(items.map_or(Scalar::Null, |items| Scalar::Int(items.len() as i64)))
}

fn json_typeof(args: &[Scalar]) -> Option<Scalar> {
    let name = match &args[0] {
        Scalar::Null => return Some(Scalar::Null),
        Scalar::Bool(_) => "boolean",
        Scalar::Int(_) | Scalar::Float(_) => "number",
        Scalar::Time(_) => "string",
        Scalar::Text(text) => match text.trim_start().as_bytes().first() {
            Some(b'{') if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => "object",
            Some(b'[') if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => "array",
            _ => "string",
        },
    };
    Some(name.into())
}
