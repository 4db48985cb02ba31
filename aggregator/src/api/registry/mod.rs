//! The schema registry's port: the REST API of the Confluent Schema Registry, with its paths, switches, media
//! types, error shape and codes (Confluent Platform, "Schema Registry API Reference"), so that clients written
//! for it work unchanged.
//!
//! There is one context, the default one; a subject may be written with it, `:.:name`. Subjects are not
//! protected: who may reach this port may register.

mod answer;
mod body;
mod compatibility;
mod schemas;
mod settings;
mod subjects;
mod switches;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::{HttpRequest, Resource, ResponseError, web};

use super::{ApiState, recorded};
use crate::registry::{By, MAX_SCHEMA_BYTES, Registry, RegistryError};
use answer::{Answer, Refusal};

/// A schema travels as a JSON string, in which one character may take six.
const MAX_BODY: usize = 6 * MAX_SCHEMA_BYTES;

pub fn configure(service: &mut web::ServiceConfig) {
    service.app_data(web::PayloadConfig::new(MAX_BODY)).service(
        web::scope("")
            .wrap(from_fn(recorded))
            .service(path("/").route(web::get().to(root)))
            .configure(schemas::configure)
            .configure(subjects::configure)
            .configure(compatibility::configure)
            .configure(settings::configure)
            .default_service(web::to(unknown_path)),
    );
}

/// Acts are in the audit before they are done.
async fn recorded(
    state: web::Data<ApiState>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let refuse: recorded::Refuse = |error| Refusal::plain(503, error.to_string()).into();
    recorded::record((&state, MAX_BODY, refuse), request, next).await
}

/// A path whose other methods are told so.
fn path(path: &str) -> Resource {
    web::resource(path.to_owned()).default_service(web::to(unknown_method))
}

async fn root() -> Answer {
    Answer::json(&serde_json::json!({}))
}

async fn unknown_path(request: HttpRequest) -> actix_web::HttpResponse {
    let message = format!(
        "there is no {} {} in this registry",
        request.method(),
        request.path()
    );
    Refusal::plain(404, message).error_response()
}

async fn unknown_method(request: HttpRequest) -> actix_web::HttpResponse {
    let message = format!("{} does not know {}", request.path(), request.method());
    Refusal::plain(405, message).error_response()
}

/// Runs on the blocking pool: every call goes to the disk.
async fn call<T: Send + 'static>(
    state: &ApiState,
    call: impl FnOnce(&Registry) -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, Refusal> {
    let registry = state.schemas.clone();
    let stopping = |_| Refusal::stopping();
    Ok(web::block(move || call(&registry)).await.map_err(stopping)??)
}

/// A subject's name without the name of the default context.
fn bare(subject: &str) -> &str {
    subject.strip_prefix(":.:").unwrap_or(subject)
}

/// Who asks, as far as this port can tell: the address.
fn by(request: &HttpRequest) -> By {
    let who = request.peer_addr().map(|address| address.ip().to_string());
    By {
        who: who.unwrap_or_else(|| "registry client".to_owned()),
        role: None,
        why: None,
    }
}
