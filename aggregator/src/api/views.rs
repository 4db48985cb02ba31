//! Views and their windows.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tributary_schema::decode::StreamSchema;
use tributary_shared::time::to_rfc3339;

use super::export::{self, Facts};
use super::{ApiError, ApiState, query};
use crate::commit::LogPos;
use crate::export::{Format, RowColumns, Sheet};
use crate::metadata::known_columns;
use crate::view::{ViewOptions, ViewPlan};
use crate::window::{PagePlace, PutViewError, QueryError, ViewInfo, WindowPage, WindowQuery, WindowRow};

/// Rows of an answer when the request names no limit, and the most that it may ask for.
const DEFAULT_LIMIT: usize = 1_000;
const MAX_LIMIT: usize = 10_000;

pub fn configure(service: &mut web::ServiceConfig) {
    service
        .route("/views", web::get().to(list))
        .route("/views/{name}", web::put().to(put))
        .route("/views/{name}", web::get().to(get))
        .route("/views/{name}", web::delete().to(delete))
        .route("/views/{name}/windows", web::get().to(windows));
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PutBody {
    sql: String,
    allowed_lateness: Option<String>,
    retention: Option<String>,
    max_groups: Option<u64>,
}

async fn list(state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    let views = state.engine.views().await?;
    Ok(HttpResponse::Ok().json(json!({ "views": views })))
}

async fn put(
    state: web::Data<ApiState>,
    name: web::Path<String>,
    body: web::Json<PutBody>,
) -> Result<HttpResponse, ApiError> {
    let body = body.into_inner();
    let (lateness, retention) = (body.allowed_lateness.as_deref(), body.retention.as_deref());
    let options = ViewOptions::read(lateness, retention, body.max_groups)?;
    check_columns(&state, &name, &body.sql).await?;
    let put = state
        .engine
        .put_view_with(name.into_inner(), body.sql, options)
        .await?;
    let status = if put.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(HttpResponse::build(status).json(put.view))
}

/// Refuses what no event of the stream can have, as far as its schema tells: names that are not among its fields where
/// it allows no others, and operations on values of the wrong type. A roll-up's columns are its source's, which the
/// engine checks; so it does with whatever does not compile at all.
async fn check_columns(state: &ApiState, name: &str, sql: &str) -> Result<(), ApiError> {
    let Ok(plan) = ViewPlan::compile(name, sql) else {
        return Ok(());
    };
    let Some(info) = state.schemas.cache().latest(plan.stream()) else {
        return Ok(());
    };
    let checked = web::block(move || match StreamSchema::compile(&info) {
        Ok(schema) => plan.check_columns(&known_columns(&schema)),
        // no gateway can judge events by it either, and says so
        Err(_) => Ok(()),
    });
    Ok(checked.await?.map_err(PutViewError::Sql)?)
}

async fn get(state: web::Data<ApiState>, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(find(&state, &name).await?))
}

async fn delete(state: web::Data<ApiState>, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let name = name.into_inner();
    if !state.engine.drop_view(name.clone()).await? {
        return Err(QueryError::UnknownView(name).into());
    }
    Ok(HttpResponse::NoContent().finish())
}

/// The view of this name.
pub(super) async fn find(state: &ApiState, name: &str) -> Result<ViewInfo, ApiError> {
    let views = state.engine.views().await?;
    let view = views.into_iter().find(|view| view.name == name);
    Ok(view.ok_or_else(|| QueryError::UnknownView(name.to_owned()))?)
}

async fn windows(
    state: web::Data<ApiState>,
    name: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let mut pairs = query::pairs(&request)?;
    let named = query::take(&mut pairs, "format")?;
    let format = export::format(&request, named.as_deref())?;
    let changes = query::take(&mut pairs, "changes")?;
    let changes = query::flag("changes", changes.as_deref())?;
    let name = name.into_inner();
    if format == Format::Json {
        let query = window_query(pairs, DEFAULT_LIMIT, MAX_LIMIT)?;
        let page = state.engine.windows(name, query).await?;
        let mut answer = HttpResponse::Ok();
        answer.insert_header((header::VARY, "accept"));
        if !changes {
            return Ok(answer.json(page));
        }
        let changed_at = changed_at(&state, &page).await?;
        return Ok(answer.json(PageWithChanges { page, changed_at }));
    }
    let query = window_query(pairs, export::MAX_ROWS, export::MAX_ROWS)?;
    let place = export::place(&state).await?;
    let (sheet, next) = sheet(&state, &name, query).await?;
    let facts = Facts {
        name,
        truncated: next.is_some(),
        next: next.map(|next| next.to_text()),
    };
    export::answer(sheet, format, &facts, place)
}

/// A page, and beside its rows when each was last changed.
#[derive(Debug, Serialize)]
struct PageWithChanges {
    #[serde(flatten)]
    page: WindowPage,
    /// For each row the time at which the batch that changed it last was committed; null when the log no longer has it.
    changed_at: Vec<Option<String>>,
}

async fn changed_at(state: &ApiState, page: &WindowPage) -> Result<Vec<Option<String>>, ApiError> {
    let mut positions: Vec<LogPos> = page.rows.iter().map(|row| row.changed_at).collect();
    positions.sort_unstable();
    // one batch changes many rows
    positions.dedup();
    let asked = positions.clone();
    let times = state.read(move |log| log.commit_times(&asked)).await?;
    let time = |row: &WindowRow| {
        let at = positions.binary_search(&row.changed_at).ok()?;
        times[at].map(to_rfc3339)
    };
    Ok(page.rows.iter().map(time).collect())
}

/// Reads page after page, so that the engine has time for its own work between them.
async fn sheet(
    state: &ApiState,
    view: &str,
    mut query: WindowQuery,
) -> Result<(Sheet, Option<PagePlace>), ApiError> {
    let limit = query.limit;
    let mut rows = Vec::new();
    loop {
        query.limit = (limit - rows.len()).min(MAX_LIMIT);
        let page = state.engine.windows(view.to_owned(), query.clone()).await?;
        let columns = RowColumns::of(&page.columns);
        rows.extend(page.rows.iter().map(|row| columns.values(row)));
        if rows.len() == limit || page.next.is_none() {
            let columns = columns.columns().to_vec();
            return Ok((Sheet { columns, rows }, page.next));
        }
        query.after = page.next;
    }
}

/// `from`, `to`, `limit` and `next` are ours; every other name is a filter, which the engine checks.
fn window_query(pairs: Vec<(String, String)>, usual: usize, max: usize) -> Result<WindowQuery, ApiError> {
    let mut query = WindowQuery {
        limit: usual,
        ..WindowQuery::default()
    };
    for (name, value) in pairs {
        match name.as_str() {
            "from" => query.from = Some(query::time("from", &value)?),
            "to" => query.to = Some(query::time("to", &value)?),
            "limit" => query.limit = query::count("limit", &value, max)?,
            "next" => query.after = Some(place(&value)?),
            _ => query.filters.push((name, value)),
        }
    }
    if let (Some(from), Some(to)) = (query.from, query.to)
        && from > to
    {
        let message = "from is after to; no window starts in between";
        return Err(ApiError::bad_request("invalid_query", message).with("parameter", "from"));
    }
    Ok(query)
}

fn place(text: &str) -> Result<PagePlace, ApiError> {
    PagePlace::parse(text).ok_or_else(|| {
        let message = format!("next={text} was given by no page; take it from an answer, or leave it out");
        ApiError::bad_request("invalid_query", message).with("parameter", "next")
    })
}
