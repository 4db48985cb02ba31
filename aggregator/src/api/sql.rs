//! Ad-hoc SQL over HTTP.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::export::{self, Facts};
use super::{ApiError, ApiState};
use crate::commit::StreamRow;
use crate::export::{Format, Sheet};
use crate::sql::{
    Catalog, Deadline, EventTable, MAX_TIME, SqlAnswer, SqlError, SqlLimits, Table, ViewTable, on_own_thread,
    run,
};

/// How long a question waits for one of the places.
const WAIT: Duration = Duration::from_secs(10);

pub fn configure(service: &mut web::ServiceConfig) {
    service.route("/sql", web::post().to(sql));
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SqlBody {
    query: String,
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    format: Option<String>,
}

async fn sql(
    state: web::Data<ApiState>,
    parameters: web::Query<Parameters>,
    body: web::Json<SqlBody>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let format = export::format(&request, parameters.format.as_deref())?;
    let body = body.into_inner();
    let limits = SqlLimits {
        rows: rows(body.limit, format)?,
        ..SqlLimits::default()
    };
    if format == Format::Json {
        let answer = ask(&state, body.query, limits).await?;
        return Ok(HttpResponse::Ok()
            .insert_header((header::VARY, "accept"))
            .json(answer));
    }
    let place = export::place(&state).await?;
    let SqlAnswer {
        columns,
        rows,
        truncated,
    } = ask(&state, body.query, limits).await?;
    let facts = Facts {
        name: "answer".to_owned(),
        truncated,
        next: None,
    };
    export::answer(Sheet { columns, rows }, format, &facts, place)
}

fn rows(wanted: Option<usize>, format: Format) -> Result<usize, ApiError> {
    let (usual, max) = match format {
        Format::Json => (SqlLimits::default().rows, SqlLimits::default().rows),
        Format::Csv | Format::Parquet => (export::MAX_ROWS, export::MAX_ROWS),
    };
    let wanted = wanted.unwrap_or(usual);
    if (1..=max).contains(&wanted) {
        return Ok(wanted);
    }
    let message =
        format!("limit {wanted} is not a number from 1 to {max}, which is the most for this format");
    Err(ApiError::bad_request("invalid_query", message).with("parameter", "limit"))
}

async fn ask(state: &ApiState, query: String, limits: SqlLimits) -> Result<SqlAnswer, ApiError> {
    let busy = || {
        let message = "other queries take all places; try again in a moment";
        ApiError::unavailable("busy", message)
    };
    let place = tokio::time::timeout(WAIT, Arc::clone(&state.sql_places).acquire_owned());
    let place = place.await.map_err(|_| busy())?.map_err(|_| busy())?;
    let views = state.engine.views().await?;
    let (engine, log) = (state.engine.clone(), state.log.clone());
    let deadline = Arc::new(Deadline::after(MAX_TIME));
    let leaving = Leaving(Arc::clone(&deadline));
    let answer = on_own_thread(move || {
        let mut catalog = Catalog::default();
        let names = query.to_ascii_lowercase();
        for view in views {
            let table = ViewTable::new(engine.clone(), &view, Arc::clone(&deadline));
            let table: Arc<dyn Table> = Arc::new(table);
            catalog.views.insert(view.name, table);
        }
        // its columns are read from the log: not for streams that the query does not even name
        let named = |stream: &StreamRow| names.contains(&stream.stream.as_str().to_ascii_lowercase());
        for stream in log.streams()?.into_iter().filter(named) {
            let name = stream.stream.as_str().to_owned();
            let table = EventTable::open(log.clone(), stream.stream, Arc::clone(&deadline))?;
            let table: Arc<dyn Table> = Arc::new(table);
            catalog.events.insert(name, table);
        }
        let answer = run(catalog, &query, limits, &deadline)?;
        drop(place);
        Ok::<_, ApiError>(answer)
    });
    let answer = answer.await.unwrap_or_else(|| {
        let message = "the query's thread ended without an answer; try again in a moment";
        Err(ApiError::unavailable("query_failed", message))
    });
    drop(leaving);
    answer
}

/// Ends the query when nobody waits for its answer any more.
struct Leaving(Arc<Deadline>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl From<SqlError> for ApiError {
    fn from(error: SqlError) -> Self {
        let text = error.to_string();
        match error {
            SqlError::TooLong { .. } | SqlError::Empty | SqlError::SeveralStatements => {
                Self::bad_request("invalid_sql", text)
            }
            SqlError::Invalid { offset, .. } => {
                let error = Self::bad_request("invalid_sql", text);
                match offset {
                    Some(offset) => error.with("offset", offset),
                    None => error,
                }
            }
            SqlError::Forbidden { .. } => Self::new(StatusCode::FORBIDDEN, "read_only", text),
            SqlError::TooSlow { .. } => Self::bad_request("query_too_slow", text),
            SqlError::TooLarge { .. } => Self::bad_request("answer_too_large", text),
            SqlError::Failed(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "query_failed", text),
        }
    }
}
