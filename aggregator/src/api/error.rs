//! What the API answers when it cannot answer.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use tributary_shared::api_error::ErrorBody;

use crate::commit::CommitError;
use crate::view::OptionError;
use crate::window::{EngineStopped, PutViewError, QueryError, WindowsError};

/// An error with its HTTP status. Its `From` impls say which inner error is whose fault.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    body: ErrorBody,
}

impl ApiError {
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            body: ErrorBody::new(code, message),
        }
    }

    pub fn bad_request(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub fn conflict(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    pub fn not_found(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub fn unavailable(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
    }

    /// Adds one detail beside code and message.
    pub fn with(mut self, key: &str, value: impl Into<serde_json::Value>) -> Self {
        self.body = self.body.with(key, value);
        self
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.body.error.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = %self, "a request failed");
        }
        HttpResponse::build(self.status).json(&self.body)
    }
}

impl From<CommitError> for ApiError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Unavailable(_) | CommitError::Stopped => {
                Self::unavailable("log_unavailable", error.to_string())
            }
            _ => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "log_unreadable",
                error.to_string(),
            ),
        }
    }
}

impl From<EngineStopped> for ApiError {
    fn from(error: EngineStopped) -> Self {
        Self::unavailable("engine_stopped", error.to_string())
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::UnknownView(_) => Self::not_found("unknown_view", error.to_string()),
            QueryError::Replaced(_) => Self::new(StatusCode::CONFLICT, "view_replaced", error.to_string()),
            QueryError::Cold(_) => Self::unavailable("windows_unavailable", error.to_string()),
            QueryError::BadFilter { ref parameter, .. } => {
                Self::bad_request("invalid_filter", error.to_string()).with("parameter", parameter.as_str())
            }
            QueryError::UnknownColumn { .. } => Self::bad_request("unknown_column", error.to_string()),
        }
    }
}

impl From<WindowsError> for ApiError {
    fn from(error: WindowsError) -> Self {
        match error {
            WindowsError::Query(error) => error.into(),
            WindowsError::Stopped(stopped) => stopped.into(),
        }
    }
}

impl From<OptionError> for ApiError {
    fn from(error: OptionError) -> Self {
        Self::bad_request("invalid_option", error.to_string()).with("option", error.option)
    }
}

impl From<PutViewError> for ApiError {
    fn from(error: PutViewError) -> Self {
        let text = error.to_string();
        match error {
            PutViewError::Sql(place) => Self::bad_request("invalid_sql", place.message)
                .with("line", place.line)
                .with("column", place.column)
                .with("hint", place.hint),
            PutViewError::TooMany { .. } => Self::bad_request("too_many_views", text),
            PutViewError::IsRead { .. } => Self::conflict("view_is_read", text),
            PutViewError::Breaks { reader, .. } => {
                Self::conflict("breaks_reader", text).with("reader", reader)
            }
            PutViewError::Stopped(stopped) => stopped.into(),
            PutViewError::Store(_) => Self::unavailable("views_unavailable", text),
        }
    }
}

impl From<actix_web::error::BlockingError> for ApiError {
    fn from(_: actix_web::error::BlockingError) -> Self {
        Self::unavailable("stopping", "the aggregator is stopping; try again in a moment")
    }
}

/// The answer to a path that is not there.
pub fn not_found(request: &HttpRequest) -> HttpResponse {
    let message = format!(
        "there is no {} {}; GET /api/openapi.json lists what there is",
        request.method(),
        request.path()
    );
    ApiError::not_found("not_found", message).error_response()
}

/// The answer when something that cannot fail did.
pub fn internal(message: &str) -> HttpResponse {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message).error_response()
}
