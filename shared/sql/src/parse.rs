//! From SQL text to one SELECT over one window function, with everything else refused by place.

use sqlparser::ast::{
    Expr as Sql, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, Query, Select, SetExpr,
    Spanned, Statement, TableFactor, TableFunctionArgs, Value,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer, TokenizerError};
use tributary_shared::ids::StreamName;
use tributary_shared::time::Millis;

use super::interval::parse_interval;
use super::messages::{MAX_SQL, ViewError};

/// Bounds the depth of the parsed tree, which the parser's library walks recursively.
const MAX_TOKENS: usize = 1_000;

const DIALECT: PostgreSqlDialect = PostgreSqlDialect {};

type Refused<T> = Result<T, ViewError>;

/// The first line and column of a part of the query.
pub(super) fn place(part: &impl Spanned) -> (u64, u64) {
    at(part.span())
}

fn at(span: Span) -> (u64, u64) {
    (span.start.line, span.start.column)
}

/// A later version brings what is asked for.
pub(super) fn not_yet(place: (u64, u64), what: &str, instead: &str) -> ViewError {
    ViewError::new(
        place,
        format!("{what} is not supported yet; it arrives in a later version"),
        instead,
    )
}

fn not_in_views(place: (u64, u64), what: &str, instead: &str) -> ViewError {
    ViewError::new(place, format!("{what} has no place in a view"), instead)
}

/// How events fall into windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowKind {
    /// Windows of one size that follow each other without gap, aligned to the Unix epoch.
    Tumble { size: Millis },
}

/// The FROM clause.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub stream: StreamName,
    pub time: Ident,
    pub window: WindowKind,
}

/// The words and signs of a text of bounded length, and where it ends.
fn tokens(sql: &str) -> Refused<(Vec<TokenWithSpan>, (u64, u64))> {
    if sql.len() > MAX_SQL {
        let message = format!("the SQL has {} bytes, more than {MAX_SQL}", sql.len());
        return Err(ViewError::new((1, 1), message, ""));
    }
    let tokens = Tokenizer::new(&DIALECT, sql)
        .tokenize_with_location()
        .map_err(tokenizer_error)?;
    let solid: Vec<_> = tokens
        .iter()
        .filter(|t| !matches!(t.token, Token::Whitespace(_)))
        .collect();
    if let Some(token) = solid.get(MAX_TOKENS) {
        return Err(ViewError::new(
            at(token.span),
            "the SQL is too long",
            "a view may have 1000 words and signs",
        ));
    }
    let end = solid
        .iter()
        .rev()
        .find(|t| t.token != Token::EOF)
        .map_or((1, 1), |t| (t.span.end.line, t.span.end.column));
    if solid
        .iter()
        .all(|t| matches!(t.token, Token::EOF | Token::SemiColon))
    {
        return Err(ViewError::new((1, 1), "the SQL is empty", EXAMPLE));
    }
    Ok((tokens, end))
}

/// Parses one condition over the columns of a row.
pub(super) fn parse_condition(sql: &str) -> Refused<Sql> {
    let (tokens, end) = tokens(sql)?;
    let mut parser = Parser::new(&DIALECT).with_tokens_with_locations(tokens);
    let condition = parser.parse_expr().map_err(|error| parser_error(&error, end))?;
    let behind = parser.peek_token();
    if behind.token == Token::EOF {
        return Ok(condition);
    }
    Err(ViewError::new(
        at(behind.span),
        format!("{} does not belong to the condition", behind.token),
        "write one condition, as in min_value <= max_value",
    ))
}

/// Parses the text and checks its outline.
pub(super) fn parse_select(sql: &str) -> Refused<(Select, Source)> {
    let (tokens, end) = tokens(sql)?;
    let mut statements = Parser::new(&DIALECT)
        .with_tokens_with_locations(tokens)
        .parse_statements()
        .map_err(|error| parser_error(&error, end))?
        .into_iter();
    let query = match (statements.next(), statements.next()) {
        (Some(Statement::Query(query)), None) => *query,
        (Some(_), Some(second)) => {
            return Err(not_in_views(
                place(&second),
                "a second statement",
                "write one SELECT",
            ));
        }
        _ => return Err(ViewError::new((1, 1), "a view is one SELECT", EXAMPLE)),
    };
    let select = outline(query)?;
    let source = source(&select)?;
    Ok((select, source))
}

const EXAMPLE: &str = "for example: SELECT window_start, site, count(*) AS n \
                       FROM TUMBLE(readings, ts, INTERVAL '1 minute') GROUP BY window_start, site";

/// Refuses the clauses around the SELECT.
fn outline(query: Query) -> Refused<Select> {
    let start = place(&query);
    if let Some(with) = &query.with {
        return Err(not_in_views(
            place(with),
            "WITH",
            "write one SELECT over TUMBLE(...)",
        ));
    }
    if let Some(order) = &query.order_by {
        return Err(not_in_views(
            place(order),
            "ORDER BY",
            "windows are ordered by time when they are read",
        ));
    }
    if query.limit_clause.is_some() || query.fetch.is_some() {
        return Err(not_in_views(
            start,
            "LIMIT",
            "give limit= when you read the windows",
        ));
    }
    if !query.locks.is_empty() || query.for_clause.is_some() || !query.pipe_operators.is_empty() {
        return Err(not_in_views(start, "a clause behind the SELECT", "remove it"));
    }
    match *query.body {
        SetExpr::Select(select) => check_select(*select),
        other => Err(not_in_views(
            place(&other),
            "anything but one plain SELECT",
            EXAMPLE,
        )),
    }
}

/// Refuses the clauses within the SELECT that a view does not have.
fn check_select(select: Select) -> Refused<Select> {
    let start = at(select.select_token.0.span);
    if select.distinct.is_some() {
        return Err(not_in_views(
            start,
            "SELECT DISTINCT",
            "GROUP BY the columns instead",
        ));
    }
    if let Some(window) = select.named_window.first() {
        return Err(not_in_views(
            place(window),
            "WINDOW",
            "the window stands in FROM: TUMBLE(stream, ts, INTERVAL '1 minute')",
        ));
    }
    if let Some(qualify) = &select.qualify {
        return Err(not_in_views(place(qualify), "QUALIFY", "remove it"));
    }
    if select.into.is_some() {
        return Err(not_in_views(start, "SELECT INTO", "the view is named by its URL"));
    }
    let other = select.top.is_some()
        || select.exclude.is_some()
        || select.prewhere.is_some()
        || select.select_modifiers.is_some()
        || select.value_table_mode.is_some()
        || !select.lateral_views.is_empty()
        || !select.connect_by.is_empty()
        || !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty();
    if other {
        return Err(not_in_views(start, "a clause of another SQL dialect", EXAMPLE));
    }
    Ok(select)
}

/// Reads `FROM TUMBLE(stream, time column, INTERVAL '...')`.
fn source(select: &Select) -> Refused<Source> {
    let start = at(select.select_token.0.span);
    let [table] = select.from.as_slice() else {
        let found = select.from.get(1).map_or(start, place);
        return Err(ViewError::new(
            found,
            "a view reads exactly one stream",
            "FROM TUMBLE(stream, ts, INTERVAL '1 minute')",
        ));
    };
    if let Some(join) = table.joins.first() {
        return Err(not_in_views(place(join), "JOIN", "a view reads one stream"));
    }
    let TableFactor::Table {
        name,
        args,
        alias,
        sample,
        with_ordinality,
        ..
    } = &table.relation
    else {
        return Err(ViewError::new(
            place(&table.relation),
            "FROM must name a window function",
            FROM_HINT,
        ));
    };
    if alias.is_some() || sample.is_some() || *with_ordinality {
        return Err(not_in_views(
            place(&table.relation),
            "an alias or modifier behind the window function",
            "remove it",
        ));
    }
    let Some(args) = args else {
        let message = format!("{name} must be read through a window function");
        return Err(ViewError::new(
            place(name),
            message,
            format!("FROM TUMBLE({name}, ts, INTERVAL '1 minute')"),
        ));
    };
    match function_name(name).as_str() {
        "tumble" => tumble(name, args),
        // seam: overlapping and data-driven windows become further kinds of window
        kind @ ("hop" | "session") => {
            let what = format!("the window function {}", kind.to_uppercase());
            Err(not_yet(
                place(name),
                &what,
                "use TUMBLE(stream, ts, INTERVAL '1 minute')",
            ))
        }
        _ => Err(ViewError::new(
            place(name),
            format!("there is no window function {name}"),
            FROM_HINT,
        )),
    }
}

const FROM_HINT: &str = "write FROM TUMBLE(stream, ts, INTERVAL '1 minute')";

fn tumble(name: &ObjectName, args: &TableFunctionArgs) -> Refused<Source> {
    let [stream, time, size] = args.args.as_slice() else {
        let message = format!("TUMBLE has 3 arguments, here are {}", args.args.len());
        return Err(ViewError::new(place(name), message, FROM_HINT));
    };
    let stream = identifier(stream, place(name), "the stream")?;
    let time = identifier(time, place(name), "the time column")?;
    let quoted = format!("{stream}");
    let stream_name = StreamName::new(&stream.value).map_err(|error| {
        ViewError::new(
            at(stream.span),
            format!("{quoted} is not a stream: {}", error.rule),
            "",
        )
    })?;
    let size = interval(size, place(name))?;
    Ok(Source {
        stream: stream_name,
        time,
        window: WindowKind::Tumble { size },
    })
}

fn identifier(arg: &FunctionArg, fallback: (u64, u64), what: &str) -> Refused<Ident> {
    let found = match place(arg) {
        (0, _) => fallback,
        found => found,
    };
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Sql::Identifier(ident))) => Ok(ident.clone()),
        _ => {
            let message = format!("{what} must be a name");
            Err(ViewError::new(
                found,
                message,
                "quote names with dots or dashes: \"plant-7.readings\"",
            ))
        }
    }
}

fn interval(arg: &FunctionArg, fallback: (u64, u64)) -> Refused<Millis> {
    let found = match place(arg) {
        (0, _) => fallback,
        found => found,
    };
    let hint = "write it like INTERVAL '1 minute'";
    let wrong = || ViewError::new(found, "the window's size must be an interval", hint);
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(Sql::Interval(interval))) = arg else {
        return Err(wrong());
    };
    if interval.last_field.is_some() || interval.leading_precision.is_some() {
        return Err(wrong());
    }
    let Sql::Value(value) = interval.value.as_ref() else {
        return Err(wrong());
    };
    let (Value::SingleQuotedString(text) | Value::Number(text, _)) = &value.value else {
        return Err(wrong());
    };
    let unit = interval.leading_field.as_ref().map(ToString::to_string);
    parse_interval(text, unit.as_deref()).map_err(|message| ViewError::new(found, message, hint))
}

/// A function's name in lower case; empty when it is qualified or computed.
pub(super) fn function_name(name: &ObjectName) -> String {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => ident.value.to_ascii_lowercase(),
        _ => String::new(),
    }
}

fn tokenizer_error(error: TokenizerError) -> ViewError {
    let place = (error.location.line, error.location.column);
    ViewError::new(
        place,
        format!("the SQL cannot be read: {}", error.message),
        "check quotes and stray characters",
    )
}

/// The parser tells the place only in its message, and none at the end of the text.
fn parser_error(error: &ParserError, end: (u64, u64)) -> ViewError {
    let text = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => {
            return ViewError::new(end, "the SQL is nested too deeply", "");
        }
    };
    let number = |key: &str| -> Option<u64> {
        let digits = &text[text.rfind(key)? + key.len()..];
        digits
            .chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
            .parse()
            .ok()
    };
    let found = number("Line: ")
        .zip(number("Column: "))
        .filter(|(line, _)| *line > 0);
    let message = text.rfind(" at Line: ").map_or(text, |cut| &text[..cut]);
    ViewError::new(
        found.unwrap_or(end),
        format!("the SQL cannot be read: {message}"),
        "",
    )
}
