//! Expressions with a syntax of their own, and operators beyond arithmetic and comparison.

use sqlparser::ast::{
    AccessExpr, BinaryOperator, CaseWhen, DataType, Expr as Sql, Ident, Subscript, TrimWhereField,
    UnaryOperator, Value,
};

use super::call::unit;
use super::expr::{ArithOp, CastType, CompareOp, Expr, ScalarFn};
use super::functions::{self, Function, Takes};
use super::json::Step;
use super::kinds::StaticKind;
use super::literal;
use super::lower::{Lowering, Refused, Scope, negate, not, shorten, start_of, unsupported};
use super::messages::ViewError;
use super::regexes::RegexJob;
use super::scalar::Scalar;
use super::times::{Span, Unit};

/// A list of computed values is a chain of comparisons.
const MAX_COMPUTED: usize = 32;

impl Lowering {
    /// What [`Lowering::lower`] does not know itself.
    pub(super) fn special_syntax(&mut self, sql: &Sql, scope: Scope) -> Refused<Expr> {
        match sql {
            Sql::Like { .. } | Sql::ILike { .. } => self.like(sql, scope),
            Sql::Extract { field, expr, .. } => {
                let unit = unit(&field.to_string(), start_of(sql))?;
                self.part(unit, expr, scope)
            }
            Sql::Position { expr, r#in } => self.named("strpos", &[r#in, expr], scope),
            Sql::Substring {
                expr,
                substring_from,
                substring_for,
                ..
            } => self.substring(
                sql,
                expr,
                substring_from.as_deref(),
                substring_for.as_deref(),
                scope,
            ),
            Sql::Trim {
                trim_where,
                trim_what,
                expr,
                trim_characters,
            } => {
                let name = match trim_where {
                    None | Some(TrimWhereField::Both) => "btrim",
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                };
                let listed = trim_characters.as_ref().and_then(|list| list.first());
                match trim_what.as_deref().or(listed) {
                    Some(what) => self.named(name, &[expr, what], scope),
                    None => self.named(name, &[expr], scope),
                }
            }
            Sql::AnyOp {
                left,
                compare_op,
                right,
                ..
            } => self.any_or_all(sql, (left, compare_op, right), true, scope),
            Sql::AllOp {
                left,
                compare_op,
                right,
            } => self.any_or_all(sql, (left, compare_op, right), false, scope),
            Sql::AtTimeZone { timestamp, time_zone } => {
                self.utc(time_zone, scope)?;
                let time = self.time("AT TIME ZONE", timestamp, scope)?;
                Ok(Expr::Cast(Box::new(time), CastType::Time))
            }
            other => Err(refusal(other)),
        }
    }

    pub(super) fn cast(&mut self, sql: &Sql, value: &Sql, to: &DataType, scope: Scope) -> Refused<Expr> {
        let inner = self.lower(value, scope)?;
        let from = self.kind(&inner);
        let cast = literal::cast(sql, inner, to)?;
        let hint = match (from, self.kind(&cast)) {
            (StaticKind::Time, StaticKind::Count | StaticKind::Number | StaticKind::Bool) => {
                "write extract(epoch FROM x), which is in seconds"
            }
            (StaticKind::Bool, StaticKind::Number | StaticKind::Time) => {
                "write CASE WHEN x THEN 1 ELSE 0 END"
            }
            (StaticKind::Number, StaticKind::Bool) => "compare it, as in x <> 0",
            (StaticKind::Number, StaticKind::Time) => "write to_timestamp(seconds)",
            _ => return Ok(cast),
        };
        let message = format!("{} cannot be cast to {to}", shorten(value));
        Err(ViewError::new(start_of(value), message, hint))
    }

    pub(super) fn in_list(&mut self, expr: &Sql, list: &[Sql], scope: Scope) -> Refused<Expr> {
        let operand = self.lower(expr, scope)?;
        let mut values = Vec::new();
        let mut computed: Vec<(&Sql, Expr)> = Vec::new();
        for item in list {
            let value = self.lower(item, scope)?;
            let (kept, value) = self.alike((expr, operand.clone()), (item, value))?;
            match value {
                Expr::Literal(value) if kept == operand => values.push(value),
                value => computed.push((item, value)),
            }
        }
        let listed = Expr::In(Box::new(operand.clone()), values);
        if computed.is_empty() {
            return Ok(listed);
        }
        if let Some((item, _)) = computed.get(MAX_COMPUTED) {
            let message = format!("a list may have {MAX_COMPUTED} values that are no literals");
            return Err(ViewError::new(start_of(item), message, "use fewer"));
        }
        let mut any = listed;
        for (item, value) in computed {
            let (a, b) = self.alike((expr, operand.clone()), (item, value))?;
            let equal = Expr::Compare(CompareOp::Eq, Box::new(a), Box::new(b));
            any = Expr::Or(Box::new(any), Box::new(equal));
        }
        Ok(any)
    }

    /// `= ANY (ARRAY[...])` and `<> ALL (ARRAY[...])` are IN and NOT IN.
    fn any_or_all(
        &mut self,
        sql: &Sql,
        (left, op, right): (&Sql, &BinaryOperator, &Sql),
        any: bool,
        scope: Scope,
    ) -> Refused<Expr> {
        let list = match right {
            Sql::Array(array) => Some(&array.elem),
            Sql::Tuple(items) => Some(items),
            Sql::Nested(inner) => match inner.as_ref() {
                Sql::Array(array) => Some(&array.elem),
                _ => None,
            },
            _ => None,
        };
        match (list, op, any) {
            (Some(list), BinaryOperator::Eq, true) => self.in_list(left, list, scope),
            (Some(list), BinaryOperator::NotEq, false) => self.in_list(left, list, scope).map(not),
            _ => Err(unsupported(
                start_of(sql),
                &format!("{op} {}", if any { "ANY" } else { "ALL" }),
                "write x = ANY (ARRAY[1, 2]), x <> ALL (ARRAY[1, 2]), or comparisons with AND and OR",
            )),
        }
    }

    fn like(&mut self, sql: &Sql, scope: Scope) -> Refused<Expr> {
        let (negated, any, expr, pattern, escape, ignore_case) = match sql {
            Sql::Like {
                negated,
                any,
                expr,
                pattern,
                escape_char,
            } => (negated, any, expr, pattern, escape_char, false),
            Sql::ILike {
                negated,
                any,
                expr,
                pattern,
                escape_char,
            } => (negated, any, expr, pattern, escape_char, true),
            other => return Err(refusal(other)),
        };
        if *any {
            return Err(unsupported(
                start_of(sql),
                "LIKE ANY",
                "chain them: x LIKE 'a%' OR x LIKE 'b%'",
            ));
        }
        let escape = match escape.as_deref() {
            None => None,
            Some(sql) => Some(self.text_literal(sql, "ESCAPE", scope)?),
        };
        let like = self.like_pattern((expr, pattern), escape.as_deref(), ignore_case, scope)?;
        Ok(negate(like, *negated))
    }

    fn like_pattern(
        &mut self,
        (expr, pattern): (&Sql, &Sql),
        escape: Option<&str>,
        ignore_case: bool,
        scope: Scope,
    ) -> Refused<Expr> {
        let text = self.lower(expr, scope)?;
        self.check_argument("LIKE", Takes::Text, expr, &text)?;
        let Expr::Literal(Scalar::Text(source)) = self.lower(pattern, scope)? else {
            return Err(unsupported(
                start_of(pattern),
                "LIKE with anything but a text in quotes",
                "write starts_with(a, b), or strpos(a, b) > 0",
            ));
        };
        let pattern = literal::like_pattern(&source, escape).map_err(|why| {
            ViewError::new(
                start_of(pattern),
                why,
                "write the escape character twice for itself",
            )
        })?;
        Ok(Expr::Like {
            text: Box::new(text),
            pattern,
            ignore_case,
        })
    }

    /// `substring(text from start for length)`, or `substring(text from 'pattern')`.
    fn substring(
        &mut self,
        sql: &Sql,
        text: &Sql,
        from: Option<&Sql>,
        length: Option<&Sql>,
        scope: Scope,
    ) -> Refused<Expr> {
        let one = Sql::value(Value::Number("1".to_owned(), false));
        match (from, length) {
            (Some(from), None) => {
                if let Expr::Literal(Scalar::Text(_)) = self.lower(from, scope)? {
                    return self.regex(text, from, "", RegexJob::Substring, scope);
                }
                self.named("substring", &[text, from], scope)
            }
            (from, Some(length)) => self.named("substring", &[text, from.unwrap_or(&one), length], scope),
            (None, None) => Err(ViewError::new(
                start_of(sql),
                "substring needs a place",
                "write substring(text FROM 2 FOR 3)",
            )),
        }
    }

    /// `extract(unit FROM time)`. Of a difference of two times only its length in seconds.
    pub(super) fn part(&mut self, unit: Unit, time: &Sql, scope: Scope) -> Refused<Expr> {
        let mut inner = time;
        while let Sql::Nested(nested) = inner {
            inner = nested;
        }
        if let Sql::BinaryOp {
            left,
            op: BinaryOperator::Minus,
            right,
        } = inner
            && !matches!(right.as_ref(), Sql::Interval(_))
        {
            if unit != Unit::Epoch {
                return Err(unsupported(
                    start_of(time),
                    "a part of a difference of times",
                    "write extract(epoch FROM a - b), which is in seconds",
                ));
            }
            let (a, b) = (self.part(unit, left, scope)?, self.part(unit, right, scope)?);
            return Ok(Expr::Arith(ArithOp::Sub, Box::new(a), Box::new(b)));
        }
        let time = self.time("extract", time, scope)?;
        Ok(Expr::Call(ScalarFn::DatePart(unit), vec![time]))
    }

    /// Views compute in UTC.
    pub(super) fn utc(&mut self, zone: &Sql, scope: Scope) -> Refused<()> {
        let name = self.text_literal(zone, "a time zone", scope)?;
        if ["utc", "z", "gmt", "etc/utc"].contains(&name.to_ascii_lowercase().as_str()) {
            return Ok(());
        }
        Err(unsupported(
            start_of(zone),
            &format!("the time zone {name} in an expression"),
            "expressions compute in UTC; windows of whole days take a zone",
        ))
    }

    /// A time with `+` or `-` and an interval. `None` when there is no interval.
    pub(super) fn interval_arithmetic(
        &mut self,
        op: ArithOp,
        left: &Sql,
        right: &Sql,
        scope: Scope,
    ) -> Refused<Option<Expr>> {
        let (time, interval) = match (left, right) {
            (_, Sql::Interval(interval)) => (left, literal::span(right, interval)?),
            (Sql::Interval(interval), _) => (right, literal::span(left, interval)?),
            _ => return Ok(None),
        };
        let span = match (op, right) {
            (ArithOp::Add, _) => interval,
            (ArithOp::Sub, Sql::Interval(_)) => Span::negated(interval),
            _ => {
                let found = start_of(if matches!(left, Sql::Interval(_)) {
                    left
                } else {
                    right
                });
                return Err(unsupported(
                    found,
                    "arithmetic with intervals beside time + interval and time - interval",
                    "write the interval out, or compute in seconds: to_timestamp(extract(epoch FROM ts) + n * 60)",
                ));
            }
        };
        let time = self.time("+ or - of an interval", time, scope)?;
        Ok(Some(Expr::Shift(Box::new(time), span)))
    }

    /// Operators of texts, JSON, regular expressions and bits.
    pub(super) fn operator(
        &mut self,
        whole: &Sql,
        left: &Sql,
        op: &BinaryOperator,
        right: &Sql,
        scope: Scope,
    ) -> Refused<Expr> {
        use BinaryOperator as Op;
        let find = |this: &mut Self, flags: &str| this.regex(left, right, flags, RegexJob::Matches, scope);
        let call =
            |this: &mut Self, function: &'static Function| this.plain_call(function, &[left, right], scope);
        match op {
            Op::PGRegexMatch => find(self, ""),
            Op::PGRegexIMatch => find(self, "i"),
            Op::PGRegexNotMatch => find(self, "").map(not),
            Op::PGRegexNotIMatch => find(self, "i").map(not),
            Op::PGLikeMatch => self.like_pattern((left, right), None, false, scope),
            Op::PGILikeMatch => self.like_pattern((left, right), None, true, scope),
            Op::PGNotLikeMatch => self.like_pattern((left, right), None, false, scope).map(not),
            Op::PGNotILikeMatch => self.like_pattern((left, right), None, true, scope).map(not),
            Op::PGStartsWith => self.named("starts_with", &[left, right], scope),
            Op::PGExp => self.named("power", &[left, right], scope),
            Op::StringConcat => call(self, &functions::CONCAT),
            Op::BitwiseAnd => call(self, &functions::BIT_AND),
            Op::BitwiseOr => call(self, &functions::BIT_OR),
            Op::PGBitwiseXor => call(self, &functions::BIT_XOR),
            Op::PGBitwiseShiftLeft => call(self, &functions::SHIFT_LEFT),
            Op::PGBitwiseShiftRight => call(self, &functions::SHIFT_RIGHT),
            Op::Arrow | Op::LongArrow | Op::HashArrow | Op::HashLongArrow => self.path(whole, scope),
            Op::Question => Err(unsupported(
                start_of(whole),
                "the operator ?",
                format!("write {} -> 'field' IS NOT NULL", shorten(left)).as_str(),
            )),
            other => Err(unsupported(start_of(whole), &format!("the operator {other}"), "")),
        }
    }

    /// A field inside a column: `a.b`, `a[0]`, `a -> 'b' ->> 0`, `a #>> '{b,0}'`.
    pub(super) fn path(&mut self, sql: &Sql, scope: Scope) -> Refused<Expr> {
        let mut steps = Vec::new();
        let mut as_text = None;
        let root = self.steps(sql, &mut steps, &mut as_text, scope)?;
        let (of, steps) = match root {
            // a path that goes on is one path
            Expr::Path {
                of,
                steps: first,
                as_text: false,
            } => (of, first.iter().cloned().chain(steps).collect()),
            root => (Box::new(root), steps.into()),
        };
        if self.kind(&of) != StaticKind::Text
            && !matches!(self.kind(&of), StaticKind::Unknown | StaticKind::Null)
        {
            return Err(ViewError::new(
                start_of(sql),
                "there are no fields inside numbers, booleans and times",
                "",
            ));
        }
        Ok(Expr::Path {
            of,
            steps,
            as_text: as_text.unwrap_or(false),
        })
    }

    /// Collects the steps behind a value, and lowers the value.
    fn steps(
        &mut self,
        sql: &Sql,
        steps: &mut Vec<Step>,
        as_text: &mut Option<bool>,
        scope: Scope,
    ) -> Refused<Expr> {
        match sql {
            Sql::CompoundIdentifier(parts) => {
                let root = parts
                    .first()
                    .cloned()
                    .map_or_else(|| sql.clone(), Sql::Identifier);
                let root = self.lower(&root, scope)?;
                steps.extend(
                    parts[1..]
                        .iter()
                        .map(|Ident { value, .. }| Step::Field(value.clone())),
                );
                Ok(root)
            }
            Sql::CompoundFieldAccess { root, access_chain } => {
                let root = self.lower(root, scope)?;
                for access in access_chain {
                    steps.push(match access {
                        AccessExpr::Dot(Sql::Identifier(name)) => Step::Field(name.value.clone()),
                        AccessExpr::Subscript(Subscript::Index { index }) => self.step(index, scope)?,
                        AccessExpr::Dot(_) | AccessExpr::Subscript(_) => {
                            return Err(unsupported(
                                start_of(sql),
                                "a step of this kind",
                                "write a -> 'b' -> 0",
                            ));
                        }
                    });
                }
                Ok(root)
            }
            Sql::BinaryOp { left, op, right } => {
                let words = matches!(op, BinaryOperator::HashArrow | BinaryOperator::HashLongArrow);
                let text = matches!(op, BinaryOperator::LongArrow | BinaryOperator::HashLongArrow);
                as_text.get_or_insert(text);
                let root = self.lower(left, scope)?;
                if words {
                    let list = self.text_literal(right, "a path", scope)?;
                    steps.extend(words_of(&list, start_of(right))?);
                } else {
                    steps.push(self.step(right, scope)?);
                }
                Ok(root)
            }
            other => Err(refusal(other)),
        }
    }

    fn step(&mut self, sql: &Sql, scope: Scope) -> Refused<Step> {
        match self.lower(sql, scope)? {
            Expr::Literal(Scalar::Text(name)) => Ok(Step::Field(name.as_ref().to_owned())),
            Expr::Literal(Scalar::Int(at)) => Ok(Step::Index(at)),
            _ => Err(ViewError::new(
                start_of(sql),
                "a step into JSON is a name in quotes or a number",
                "write a -> 'b', or a -> 0",
            )),
        }
    }

    pub(super) fn case(
        &mut self,
        operand: Option<&Sql>,
        conditions: &[CaseWhen],
        otherwise: Option<&Sql>,
        scope: Scope,
    ) -> Refused<Expr> {
        let mut arms = Vec::with_capacity(conditions.len());
        for CaseWhen { condition, result } in conditions {
            let when = match operand {
                Some(operand) => self.compare(CompareOp::Eq, operand, condition, scope)?,
                None => self.condition(condition, scope)?,
            };
            arms.push((when, self.lower(result, scope)?));
        }
        let last = match otherwise {
            Some(sql) => self.lower(sql, scope)?,
            None => Expr::Literal(Scalar::Null),
        };
        let results = conditions
            .iter()
            .map(|arm| &arm.result)
            .zip(arms.iter().map(|arm| &arm.1));
        let parts: Vec<_> = results.chain(otherwise.map(|sql| (sql, &last))).collect();
        self.check_common("CASE", &parts)?;
        Ok(Expr::Case {
            arms,
            otherwise: Box::new(last),
        })
    }
}

/// The words of `'{a,b,0}'`.
fn words_of(list: &str, found: (u64, u64)) -> Refused<Vec<Step>> {
    let inside = list
        .trim()
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    let Some(inside) = inside.filter(|inside| !inside.contains(['"', '{', '\\'])) else {
        return Err(ViewError::new(
            found,
            format!("'{list}' is not a path"),
            "write it like '{a,b,0}', or as a -> 'b' -> 0",
        ));
    };
    let words = inside.split(',').map(str::trim).filter(|word| !word.is_empty());
    Ok(words.map(|word| Step::Field(word.to_owned())).collect())
}

/// Why a view cannot say this.
fn refusal(sql: &Sql) -> ViewError {
    let found = start_of(sql);
    match sql {
        Sql::Subquery(_) | Sql::InSubquery { .. } | Sql::Exists { .. } => ViewError::new(
            found,
            "a subquery has no place in a view",
            "a view reads one stream",
        ),
        Sql::SimilarTo { .. } => unsupported(found, "SIMILAR TO", "write text ~ '^pattern$'"),
        Sql::RLike { .. } => unsupported(found, "RLIKE", "write text ~ 'pattern'"),
        Sql::Overlay { .. } => unsupported(found, "OVERLAY", "write left(x, n) || y || substr(x, m)"),
        Sql::Collate { .. } => unsupported(found, "COLLATE", "texts compare by their bytes; write lower(x)"),
        Sql::Interval(_) => unsupported(
            found,
            "an interval by itself",
            "it stands beside + or - of a time: ts + INTERVAL '1 hour'",
        ),
        Sql::Array(_) => unsupported(found, "an array", "write x = ANY (ARRAY[1, 2]), or x IN (1, 2)"),
        Sql::Tuple(_) => unsupported(found, "a row of values", "compare each of them"),
        Sql::UnaryOp {
            op: UnaryOperator::BangNot,
            ..
        } => unsupported(found, "!", "write NOT"),
        Sql::Cast { .. } | Sql::Convert { .. } => {
            unsupported(found, "this spelling of a cast", "write CAST(x AS bigint)")
        }
        _ => unsupported(found, &format!("the expression {}", shorten(sql)), ""),
    }
}
