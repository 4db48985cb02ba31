//! Answers and errors in the registry's own shape and media types.

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, Responder, ResponseError};
use serde::Serialize;
use serde_json::json;

use crate::registry::RegistryError;

/// What is answered with, the preferred one first.
const MEDIA_TYPES: [&str; 3] = [
    "application/vnd.schemaregistry.v1+json",
    "application/vnd.schemaregistry+json",
    "application/json",
];

/// A good answer.
#[derive(Debug)]
pub struct Answer(Vec<u8>);

impl Answer {
    pub fn json(body: &impl Serialize) -> Self {
        Self(serde_json::to_vec(body).unwrap_or_default()) // plain data always serializes
    }

    /// A schema's own text.
    pub fn text(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl Responder for Answer {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        let accept = request.headers().get(header::ACCEPT);
        let accept = accept.and_then(|value| value.to_str().ok()).unwrap_or("*/*");
        HttpResponse::Ok().content_type(media_type(accept)).body(self.0)
    }
}

/// The one of our media types that `Accept` weighs highest; the first of ours where it does not care, or names
/// none of them.
fn media_type(accept: &str) -> &'static str {
    let mut best = (0.0_f32, MEDIA_TYPES[0]);
    for part in accept.split(',') {
        let mut pieces = part.split(';').map(str::trim);
        let name = pieces.next().unwrap_or_default();
        let weight = pieces
            .find_map(|piece| piece.strip_prefix("q=")?.parse().ok())
            .unwrap_or(1.0);
        let ours = match name {
            "*/*" | "application/*" => Some(MEDIA_TYPES[0]),
            name => MEDIA_TYPES
                .into_iter()
                .find(|ours| ours.eq_ignore_ascii_case(name)),
        };
        if let Some(ours) = ours
            && weight > best.0
        {
            best = (weight, ours);
        }
    }
    best.1
}

/// An error: `{"error_code":40401,"message":"..."}`.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    code: u32,
    message: String,
}

impl Refusal {
    /// An error whose code is its status.
    pub fn plain(status: u16, message: impl Into<String>) -> Self {
        Self::new(u32::from(status), message)
    }

    /// The status is in the code's first three digits.
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        let status = if code < 1_000 { code } else { code / 100 };
        let status = u16::try_from(status)
            .ok()
            .and_then(|status| StatusCode::from_u16(status).ok());
        Self {
            status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code,
            message: message.into(),
        }
    }

    pub fn stopping() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: 50003,
            message: "the registry is stopping; try again".to_owned(),
        }
    }

    /// A body that cannot be read from the connection.
    pub fn unreadable(error: &actix_web::Error) -> Self {
        if error.as_response_error().status_code() == StatusCode::PAYLOAD_TOO_LARGE {
            return Self::new(42209, "the body is larger than that of the largest schema");
        }
        Self::plain(400, format!("the body cannot be read: {error}"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let body = json!({ "error_code": self.code, "message": self.message }).to_string();
        HttpResponse::build(self.status)
            .content_type(MEDIA_TYPES[0])
            .body(body)
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        let code = code(&error);
        let message = error.to_string();
        if code >= 50_000 {
            tracing::error!(error = %message, "the schema registry cannot be read or written");
        }
        Self::new(code, message)
    }
}

/// The documented code of each refusal.
fn code(error: &RegistryError) -> u32 {
    use RegistryError as E;
    use tributary_schema::language::LanguageError;
    match error {
        E::UnknownSubject { .. } => 40401,
        E::UnknownVersion { .. } | E::NoLatest { .. } => 40402,
        E::UnknownId { .. } | E::UnknownSchema { .. } => 40403,
        E::SubjectDeleted { .. } => 40404,
        E::SubjectNotDeleted { .. } => 40405,
        E::VersionDeleted { .. } => 40406,
        E::VersionNotDeleted { .. } => 40407,
        E::NoSubjectLevel { .. } => 40408,
        E::NoSubjectMode { .. } => 40409,
        E::Incompatible { .. } => 409,
        E::Format(_)
        | E::Reference { .. }
        | E::TooManyReferences
        | E::NotNextVersion { .. }
        | E::OutputFormat { .. }
        | E::Language(
            LanguageError::Malformed { .. }
            | LanguageError::Invalid { .. }
            | LanguageError::Reference { .. }
            | LanguageError::TooManyReferences { .. },
        ) => 42201,
        E::Level(_) => 42203,
        E::Mode { .. } => 42204,
        E::ReadOnly { .. }
        | E::NotImporting { .. }
        | E::Importing { .. }
        | E::NotEmpty { .. }
        | E::VersionTaken { .. }
        | E::WrongState { .. }
        | E::Retired { .. }
        | E::NotApprover { .. }
        | E::NotApproverOf { .. }
        | E::InUse { .. }
        | E::LastOne { .. } => 42205,
        E::Referenced { .. } => 42206,
        E::IdTaken { .. } | E::OtherId { .. } => 42207,
        E::InvalidSubject { .. } => 42208,
        E::TooLargeResolved
        | E::TooLargeAnnex { .. }
        | E::Language(LanguageError::TooLarge { .. } | LanguageError::ReferencesTooLarge { .. }) => 42209,
        E::FormatTooNew { .. } | E::Damaged { .. } | E::Sqlite(_) => 50001,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_is_the_one_that_is_asked_for() {
        let [v1, any, json] = MEDIA_TYPES;
        for (accept, expected) in [
            ("*/*", v1),
            ("text/html, */*;q=0.1", v1),
            ("application/json", json),
            ("application/vnd.schemaregistry+json", any),
            (
                "application/vnd.schemaregistry.v1+json,application/vnd.schemaregistry+json, application/json",
                v1,
            ),
            (
                "application/json;q=0.5, application/vnd.schemaregistry+json;q=0.9",
                any,
            ),
            ("image/png", v1),
            (";q=x,,", v1),
        ] {
            assert_eq!(media_type(accept), expected, "{accept}");
        }
    }
}
