//! Ad-hoc SQL over HTTP.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;

use super::{ApiError, ApiState};
use crate::commit::StreamRow;
use crate::sql::{Catalog, EventTable, SqlError, SqlLimits, Table, ViewTable, run};

/// How long a question waits for one of the places.
const WAIT: Duration = Duration::from_secs(10);

pub fn configure(service: &mut web::ServiceConfig) {
    service.route("/sql", web::post().to(sql));
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SqlBody {
    query: String,
}

async fn sql(state: web::Data<ApiState>, body: web::Json<SqlBody>) -> Result<HttpResponse, ApiError> {
    let busy = || {
        let message = "other queries take all places; try again in a moment";
        ApiError::unavailable("busy", message)
    };
    let place = tokio::time::timeout(WAIT, Arc::clone(&state.sql_places).acquire_owned());
    let place = place.await.map_err(|_| busy())?.map_err(|_| busy())?;
    let views = state.engine.views().await?;
    let (engine, log) = (state.engine.clone(), state.log.clone());
    let answer = web::block(move || {
        let mut catalog = Catalog::default();
        let query = body.query.to_ascii_lowercase();
        for view in views {
            let table: Arc<dyn Table> = Arc::new(ViewTable::new(engine.clone(), &view));
            catalog.views.insert(view.name, table);
        }
        // its columns are read from the log: not for streams that the query does not even name
        let named = |stream: &StreamRow| query.contains(&stream.stream.as_str().to_ascii_lowercase());
        for stream in log.streams()?.into_iter().filter(named) {
            let name = stream.stream.as_str().to_owned();
            let table: Arc<dyn Table> = Arc::new(EventTable::open(log.clone(), stream.stream)?);
            catalog.events.insert(name, table);
        }
        let answer = run(catalog, &body.query, SqlLimits::default())?;
        drop(place);
        Ok::<_, ApiError>(answer)
    });
    Ok(HttpResponse::Ok().json(answer.await??))
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
