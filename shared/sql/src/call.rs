//! Calls of functions of single values, by name.

use std::sync::Arc;

use sqlparser::ast::{Expr as Sql, FunctionArg, FunctionArgExpr};

use super::expr::{ArithOp, Expr, ScalarFn};
use super::functions::{FUNCTIONS, Function, MAX_ARGS, Takes};
use super::json::Step;
use super::lower::{Lowering, Refused, Scope, start_of};
use super::messages::ViewError;
use super::regexes::{Pattern, RegexJob, Replacement};
use super::scalar::Scalar;
use super::times::{Span, Unit, as_time};

/// Functions whose arguments are more than values: name, least and greatest number of arguments.
pub(super) const SPECIAL: &[(&str, usize, usize)] = &[
    ("coalesce", 1, MAX_ARGS),
    ("nullif", 2, 2),
    ("greatest", 1, MAX_ARGS),
    ("least", 1, MAX_ARGS),
    ("mod", 2, 2),
    ("date_trunc", 2, 3),
    ("date_part", 2, 2),
    ("date_bin", 2, 3),
    ("regexp_like", 2, 3),
    ("regexp_count", 2, 2),
    ("regexp_substr", 2, 2),
    ("regexp_replace", 3, 4),
    ("jsonb_extract_path", 2, MAX_ARGS),
    ("json_extract_path", 2, MAX_ARGS),
    ("jsonb_extract_path_text", 2, MAX_ARGS),
    ("json_extract_path_text", 2, MAX_ARGS),
];

/// What views do not have, and how to say it instead.
const INSTEAD: &[(&[&str], &str)] = &[
    (
        &[
            "now",
            "current_timestamp",
            "current_date",
            "current_time",
            "localtime",
            "localtimestamp",
            "transaction_timestamp",
            "statement_timestamp",
            "clock_timestamp",
        ],
        "a view is a function of the log, not of the hour at which it is computed: choose windows when you read them",
    ),
    (
        &["random", "gen_random_uuid", "uuidv4", "uuidv7"],
        "a view is a function of the log: it gives the same numbers whenever it is computed",
    ),
    (
        &["age", "timestampdiff", "datediff", "date_diff"],
        "write extract(epoch FROM a) - extract(epoch FROM b), which is in seconds",
    ),
    (
        &["dateadd", "date_add", "date_sub"],
        "write ts + INTERVAL '1 hour'",
    ),
    (
        &["to_char", "date_format", "strftime", "format"],
        "times are RFC 3339 texts as x::text; date_trunc and extract take them apart",
    ),
    (
        &["to_date", "strptime", "make_timestamp", "make_date"],
        "cast RFC 3339 texts: x::timestamp, or x::date",
    ),
    (&["timezone", "convert_tz"], "views compute in UTC"),
    (&["ifnull", "nvl", "isnull"], "write coalesce(x, 0)"),
    (
        &["if", "iif", "decode"],
        "write CASE WHEN condition THEN x ELSE y END",
    ),
    (&["len"], "write length(x)"),
    (&["instr", "charindex", "locate"], "write strpos(text, part)"),
    (&["ucase"], "write upper(x)"),
    (&["lcase"], "write lower(x)"),
    (
        &["contains"],
        "write strpos(text, part) > 0, or text LIKE '%part%'",
    ),
    (&["ends_with"], "write text LIKE '%end'"),
    (&["overlay", "insert"], "write left(x, n) || y || substr(x, m)"),
    (
        &["regexp_match", "regexp_matches", "regexp_extract"],
        "write substring(text FROM 'pattern'): parentheses choose the part",
    ),
    (
        &["regexp_matches_like", "rlike", "regexp"],
        "write text ~ 'pattern'",
    ),
    (
        &[
            "regexp_split_to_array",
            "regexp_split_to_table",
            "string_to_array",
            "unnest",
        ],
        "write split_part(text, separator, n)",
    ),
    (
        &[
            "json_extract",
            "json_value",
            "jsonb_path_query",
            "json_extract_string",
        ],
        "write doc -> 'a' -> 'b', or doc ->> 'a'",
    ),
    (&["truncate"], "write trunc(x, n)"),
    (
        &["rand"],
        "a view is a function of the log: it gives the same numbers whenever it is computed",
    ),
    (
        &[
            "year",
            "month",
            "day",
            "hour",
            "minute",
            "second",
            "dayofweek",
            "week",
            "quarter",
        ],
        "write extract(hour FROM ts)",
    ),
    (
        &["row_number", "rank", "dense_rank", "lag", "lead", "ntile"],
        "views have no window over rows: their windows stand in FROM",
    ),
];

/// The refusal of a function that a view cannot have, whatever its arguments.
pub(super) fn refusal(name: &str, found: (u64, u64)) -> Option<ViewError> {
    let (_, hint) = INSTEAD.iter().find(|(names, _)| names.contains(&name))?;
    let message = format!("{name} has no place in a view");
    Some(ViewError::new(found, message, *hint))
}

/// The function that was perhaps meant.
fn unknown(name: &str, written: &str, found: (u64, u64)) -> ViewError {
    let names = FUNCTIONS
        .iter()
        .map(|f| f.name)
        .chain(SPECIAL.iter().map(|s| s.0));
    let near = names.map(|known| (distance(name, known), known)).min();
    let hint = match near {
        Some((away, known)) if away <= 2 && known.len() > 3 => format!("did you mean {known}?"),
        _ => "docs/sql.md lists all functions".to_owned(),
    };
    ViewError::new(found, format!("there is no function {written}"), hint)
}

/// Single letters to add, leave out or change.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            let changed = corner + usize::from(x != *y);
            row[j + 1] = changed.min(above + 1).min(row[j] + 1);
            corner = above;
        }
    }
    row.last().copied().unwrap_or_default()
}

impl Lowering {
    /// A function that is no aggregate.
    pub(super) fn call(
        &mut self,
        name: &str,
        written: &str,
        args: &[FunctionArg],
        scope: Scope,
        found: (u64, u64),
    ) -> Refused<Expr> {
        let special = SPECIAL.iter().find(|(known, ..)| *known == name);
        let plain = Function::find(name);
        let (least, most) = match (special, plain) {
            (Some((_, least, most)), _) => (*least, *most),
            (None, Some(function)) => (function.least, function.most),
            (None, None) => return Err(unknown(name, written, found)),
        };
        if !(least..=most).contains(&args.len()) {
            let takes = match (least, most) {
                (0, 0) => "no arguments".to_owned(),
                (1, 1) => "one argument".to_owned(),
                (a, b) if a == b => format!("{a} arguments"),
                (a, MAX_ARGS) => format!("{a} or more arguments, up to {MAX_ARGS}"),
                (a, b) => format!("{a} to {b} arguments"),
            };
            let message = format!("{name} does not take {} arguments", args.len());
            return Err(ViewError::new(found, message, format!("{name} takes {takes}")));
        }
        let args = args.iter().map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(sql)) => Ok(sql),
            _ => Err(ViewError::new(
                found,
                format!("{name} takes plain arguments"),
                "write them without names",
            )),
        });
        let args = args.collect::<Refused<Vec<&Sql>>>()?;
        match plain {
            Some(function) => self.plain_call(function, &args, scope),
            None => self.special_call(name, &args, scope),
        }
    }

    pub(super) fn plain_call(
        &mut self,
        function: &'static Function,
        args: &[&Sql],
        scope: Scope,
    ) -> Refused<Expr> {
        let mut lowered = Vec::with_capacity(args.len());
        for (at, sql) in args.iter().enumerate() {
            let expr = self.lower(sql, scope)?;
            self.check_argument(function.name, function.takes(at), sql, &expr)?;
            lowered.push(expr);
        }
        Ok(Expr::Call(ScalarFn::Of(function), lowered))
    }

    fn special_call(&mut self, name: &str, args: &[&Sql], scope: Scope) -> Refused<Expr> {
        match name {
            "coalesce" => self.one_of(name, ScalarFn::Coalesce, args, scope),
            "greatest" => self.one_of(name, ScalarFn::Greatest, args, scope),
            "least" => self.one_of(name, ScalarFn::Least, args, scope),
            "nullif" => {
                let (a, b) = (self.lower(args[0], scope)?, self.lower(args[1], scope)?);
                let (a, b) = self.alike((args[0], a), (args[1], b))?;
                Ok(Expr::Call(ScalarFn::NullIf, vec![a, b]))
            }
            "mod" => {
                let (a, b) = (self.number(args[0], scope)?, self.number(args[1], scope)?);
                Ok(Expr::Arith(ArithOp::Rem, Box::new(a), Box::new(b)))
            }
            "date_trunc" => {
                if let Some(zone) = args.get(2) {
                    self.utc(zone, scope)?;
                }
                let unit = self.unit(args[0], scope)?;
                if !unit.truncates() {
                    return Err(ViewError::new(
                        start_of(args[0]),
                        format!("date_trunc does not cut to {}", args[0]),
                        UNITS,
                    ));
                }
                let time = self.time(name, args[1], scope)?;
                Ok(Expr::Call(ScalarFn::DateTrunc(unit), vec![time]))
            }
            "date_part" => {
                let unit = self.unit(args[0], scope)?;
                self.part(unit, args[1], scope)
            }
            "date_bin" => self.date_bin(args, scope),
            "regexp_like" => {
                let flags = self.optional_text(args.get(2), "flags", scope)?;
                self.regex(args[0], args[1], &flags, RegexJob::Matches, scope)
            }
            "regexp_count" => self.regex(args[0], args[1], "", RegexJob::Count, scope),
            "regexp_substr" => self.regex(args[0], args[1], "", RegexJob::Whole, scope),
            "regexp_replace" => {
                let flags = self.optional_text(args.get(3), "flags", scope)?;
                let with = self.text_literal(args[2], "the replacement", scope)?;
                let job = RegexJob::Replace {
                    with: Replacement::parse(&with),
                    all: flags.contains('g'),
                };
                self.regex(args[0], args[1], &flags, job, scope)
            }
            _ => {
                let of = self.boxed(args[0], scope)?;
                let steps = args[1..].iter().map(|sql| {
                    self.text_literal(sql, "a step of a path", scope)
                        .map(|name| Step::Field(name.as_ref().to_owned()))
                });
                let steps = steps.collect::<Refused<Arc<[Step]>>>()?;
                let as_text = name.ends_with("_text");
                Ok(Expr::Path { of, steps, as_text })
            }
        }
    }

    /// One of several values of one type.
    fn one_of(&mut self, name: &str, function: ScalarFn, args: &[&Sql], scope: Scope) -> Refused<Expr> {
        let lowered = args.iter().map(|sql| self.lower(sql, scope));
        let lowered = lowered.collect::<Refused<Vec<Expr>>>()?;
        let parts: Vec<_> = args.iter().copied().zip(&lowered).collect();
        self.check_common(name, &parts)?;
        Ok(Expr::Call(function, lowered))
    }

    pub(super) fn text_literal(&mut self, sql: &Sql, what: &str, scope: Scope) -> Refused<Arc<str>> {
        match self.lower(sql, scope)? {
            Expr::Literal(Scalar::Text(text)) => Ok(text),
            _ => Err(ViewError::new(
                start_of(sql),
                format!("{what} must be a text in quotes"),
                "write it as 'text'",
            )),
        }
    }

    fn optional_text(&mut self, sql: Option<&&Sql>, what: &str, scope: Scope) -> Refused<Arc<str>> {
        sql.map_or_else(|| Ok("".into()), |sql| self.text_literal(sql, what, scope))
    }

    pub(super) fn regex(
        &mut self,
        text: &Sql,
        pattern: &Sql,
        flags: &str,
        job: RegexJob,
        scope: Scope,
    ) -> Refused<Expr> {
        let value = self.lower(text, scope)?;
        self.check_argument("a regular expression", Takes::Text, text, &value)?;
        let source = self.text_literal(pattern, "a regular expression", scope)?;
        let pattern = Pattern::compile(&source, flags)
            .map_err(|why| ViewError::new(start_of(pattern), format!("the regular expression: {why}"), ""))?;
        Ok(Expr::Regex {
            text: Box::new(value),
            pattern: Arc::new(pattern),
            job,
        })
    }

    fn unit(&mut self, sql: &Sql, scope: Scope) -> Refused<Unit> {
        let text = self.text_literal(sql, "the unit", scope)?;
        unit(&text, start_of(sql))
    }

    /// A time, or what is read as one.
    pub(super) fn time(&mut self, name: &str, sql: &Sql, scope: Scope) -> Refused<Expr> {
        let expr = self.lower(sql, scope)?;
        self.check_argument(name, Takes::Time, sql, &expr)?;
        Ok(match &expr {
            Expr::Literal(value) => match as_time(value) {
                Ok(Some(time)) => Expr::Literal(Scalar::Time(time)),
                _ => expr,
            },
            _ => expr,
        })
    }

    fn date_bin(&mut self, args: &[&Sql], scope: Scope) -> Refused<Expr> {
        let text = match args[0] {
            Sql::Interval(interval) => super::literal::span(args[0], interval)?,
            other => {
                let text = self.text_literal(other, "the width of a bin", scope)?;
                let span = Span::parse(&text, None);
                span.map_err(|why| ViewError::new(start_of(other), why, "write it like '15 minutes'"))?
            }
        };
        if text.months != 0 || text.millis <= 0 {
            return Err(ViewError::new(
                start_of(args[0]),
                "a bin has a fixed length that is greater than nothing",
                "write it like '15 minutes'; date_trunc cuts to months and years",
            ));
        }
        let time = self.time("date_bin", args[1], scope)?;
        let origin = match args.get(2) {
            Some(sql) => self.time("date_bin", sql, scope)?,
            None => Expr::Literal(Scalar::Time(0)),
        };
        Ok(Expr::Call(ScalarFn::DateBin(text.millis), vec![time, origin]))
    }
}

const UNITS: &str = "units are millisecond, second, minute, hour, day, week, month, quarter, year, decade, century \
                     and millennium; extract also has dow, isodow, doy, isoyear and epoch";

pub(super) fn unit(name: &str, found: (u64, u64)) -> Refused<Unit> {
    Unit::parse(name).ok_or_else(|| ViewError::new(found, format!("{name} is not a unit of time"), UNITS))
}
