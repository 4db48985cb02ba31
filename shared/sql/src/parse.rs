//! From SQL text to one SELECT over one window function, with everything else refused by place.

use sqlparser::ast::{Expr as Sql, ObjectName, ObjectNamePart, Query, Select, SetExpr, Spanned, Statement};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer, TokenizerError};

use super::from::{From, from_clause};
use super::messages::{MAX_SQL, ViewError};

/// Bounds the depth of the parsed tree, which the parser's library walks recursively.
const MAX_TOKENS: usize = 1_000;

const DIALECT: PostgreSqlDialect = PostgreSqlDialect {};

type Refused<T> = Result<T, ViewError>;

/// The first line and column of a part of the query.
pub(super) fn place(part: &impl Spanned) -> (u64, u64) {
    at(part.span())
}

pub(super) fn at(span: Span) -> (u64, u64) {
    (span.start.line, span.start.column)
}

/// There is no such thing here, and something to write in its place.
pub(super) fn not_supported(place: (u64, u64), what: &str, instead: &str) -> ViewError {
    ViewError::new(place, format!("{what} is not supported"), instead)
}

pub(super) fn not_in_views(place: (u64, u64), what: &str, instead: &str) -> ViewError {
    ViewError::new(place, format!("{what} has no place in a view"), instead)
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
pub(super) fn parse_select(sql: &str) -> Refused<(Select, From)> {
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
    let source = from_clause(&select)?;
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
