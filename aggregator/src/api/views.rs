//! Views and their windows.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use super::{ApiError, ApiState, query};
use crate::view::ViewOptions;
use crate::window::{QueryError, ViewInfo, WindowQuery};

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
    let query = window_query(query::pairs(&request)?)?;
    Ok(HttpResponse::Ok().json(state.engine.windows(name.into_inner(), query).await?))
}

/// `from`, `to` and `limit` are ours; every other name is a column, which the engine checks.
fn window_query(pairs: Vec<(String, String)>) -> Result<WindowQuery, ApiError> {
    let mut query = WindowQuery {
        limit: DEFAULT_LIMIT,
        ..WindowQuery::default()
    };
    for (name, value) in pairs {
        match name.as_str() {
            "from" => query.from = Some(query::time("from", &value)?),
            "to" => query.to = Some(query::time("to", &value)?),
            "limit" => query.limit = query::count("limit", &value, MAX_LIMIT)?,
            _ => query.filters.push((name, value)),
        }
    }
    Ok(query)
}
