//! The schema registry's port: the part of the Confluent Schema Registry's REST API that registers and fetches
//! schemas, with its error shape and codes (Confluent Platform, "Schema Registry API Reference").

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tributary_shared::wire::SchemaInfo;

use super::ApiState;
use crate::registry::{MAX_SCHEMA_BYTES, Registry, RegistryError, SchemaFormat, Version};

const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// A schema travels as a JSON string, in which one character may take six.
const MAX_BODY: usize = 6 * MAX_SCHEMA_BYTES;
/// What the reference says a request without `schemaType` means.
const DEFAULT_FORMAT: &str = "AVRO";

pub fn configure(service: &mut web::ServiceConfig) {
    service
        .app_data(web::PayloadConfig::new(MAX_BODY))
        .route("/", web::get().to(root))
        .route("/subjects", web::get().to(subjects))
        .route("/subjects/{subject}/versions", web::post().to(register))
        .route("/subjects/{subject}/versions", web::get().to(versions))
        .route("/subjects/{subject}/versions/{version}", web::get().to(version))
        .route("/schemas/ids/{id}", web::get().to(by_id))
        .default_service(web::to(fallback));
}

/// An error in the registry's own shape: `{"error_code":40401,"message":"..."}`.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    code: u32,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    fn unprocessable(code: u32, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
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
            .content_type(CONTENT_TYPE)
            .body(body)
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        let message = error.to_string();
        let not_found = StatusCode::NOT_FOUND;
        match error {
            RegistryError::UnknownSubject { .. } => Self::new(not_found, 40401, message),
            RegistryError::UnknownVersion { .. } => Self::new(not_found, 40402, message),
            RegistryError::UnknownId { .. } => Self::new(not_found, 40403, message),
            RegistryError::InvalidSubject { .. } => Self::unprocessable(42208, message),
            RegistryError::UnknownFormat { .. }
            | RegistryError::TooLarge { .. }
            | RegistryError::Malformed { .. }
            | RegistryError::Invalid { .. } => Self::unprocessable(42201, message),
            RegistryError::FormatTooNew { .. } | RegistryError::Sqlite(_) => {
                tracing::error!(error = %message, "the schema registry cannot be read or written");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, 50001, message)
            }
        }
    }
}

/// Runs on the blocking pool: every call goes to the disk.
async fn call<T: Send + 'static>(
    state: &ApiState,
    call: impl FnOnce(&Registry) -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, Refusal> {
    let registry = state.schemas.clone();
    let stopping = |_| {
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            50003,
            "the registry is stopping; try again",
        )
    };
    Ok(web::block(move || call(&registry)).await.map_err(stopping)??)
}

fn answer(body: impl Serialize) -> HttpResponse {
    let body = serde_json::to_vec(&body).unwrap_or_default(); // plain data always serializes
    HttpResponse::Ok().content_type(CONTENT_TYPE).body(body)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegisterBody {
    schema: String,
    schema_type: Option<String>,
}

async fn root() -> HttpResponse {
    answer(json!({}))
}

/// Read as bytes, because clients send either of two content types, and curl a third.
async fn register(
    state: web::Data<ApiState>,
    subject: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, Refusal> {
    let body: RegisterBody = serde_json::from_slice(&body).map_err(|error| {
        let message = format!("the body is not {{\"schema\": \"...\", \"schemaType\": \"JSON\"}}: {error}");
        Refusal::new(StatusCode::BAD_REQUEST, 400, message)
    })?;
    let format = body.schema_type.as_deref().unwrap_or(DEFAULT_FORMAT);
    let format: SchemaFormat = format.parse().map_err(|error| {
        match (error, body.schema_type.as_deref()) {
            (RegistryError::UnknownFormat { .. }, None) => Refusal::unprocessable(
                42201,
                "a body without schemaType means AVRO, which is not supported; say \"schemaType\":\"JSON\"",
            ),
            (error, _) => error.into(),
        }
    })?;
    let registered = call(&state, move |registry| {
        registry.register(&subject, format, &body.schema)
    })
    .await?;
    Ok(answer(json!({ "id": registered.id })))
}

async fn subjects(state: web::Data<ApiState>) -> Result<HttpResponse, Refusal> {
    Ok(answer(call(&state, Registry::subjects).await?))
}

async fn versions(state: web::Data<ApiState>, subject: web::Path<String>) -> Result<HttpResponse, Refusal> {
    Ok(answer(
        call(&state, move |registry| registry.versions(&subject)).await?,
    ))
}

async fn version(
    state: web::Data<ApiState>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Refusal> {
    let (subject, version) = path.into_inner();
    let version = parse_version(&version)?;
    let found = call(&state, move |registry| registry.version(&subject, version)).await?;
    let SchemaInfo {
        id,
        version,
        format,
        text,
        ..
    } = found.schema;
    Ok(answer(json!({
        "subject": found.subject,
        "version": version,
        "id": id,
        "schemaType": format,
        "schema": text,
    })))
}

/// A number from 1, or `latest`, which some clients write as -1.
fn parse_version(text: &str) -> Result<Version, Refusal> {
    match text {
        "latest" | "-1" => Ok(Version::Latest),
        _ => text
            .parse()
            .ok()
            .filter(|number| *number > 0)
            .map(Version::Number)
            .ok_or_else(|| {
                Refusal::unprocessable(
                    42202,
                    format!("{text:?} is not a version: use a number from 1, or latest"),
                )
            }),
    }
}

async fn by_id(state: web::Data<ApiState>, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let id: u32 = id.parse().map_err(|_| {
        Refusal::new(
            StatusCode::NOT_FOUND,
            40403,
            format!("{:?} is not the id of a schema", id.as_str()),
        )
    })?;
    let (format, text) = call(&state, move |registry| registry.schema(id)).await?;
    Ok(answer(json!({ "schemaType": format, "schema": text })))
}

async fn fallback(request: HttpRequest) -> HttpResponse {
    let message = format!(
        "there is no {} {} in this registry",
        request.method(),
        request.path()
    );
    Refusal::new(StatusCode::NOT_FOUND, 404, message).error_response()
}
