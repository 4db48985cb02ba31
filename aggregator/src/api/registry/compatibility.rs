//! `/compatibility`: whether a schema could be registered.

use actix_web::{HttpRequest, web};
use serde_json::json;

use super::body::{self, Arrived};
use super::switches::{self, Switches};
use super::{Answer, ApiState, Refusal, bare, call, path};
use crate::registry::Version;

type State = web::Data<ApiState>;

pub fn configure(service: &mut web::ServiceConfig) {
    let all = "/compatibility/subjects/{subject}/versions";
    service
        .service(path(all).route(web::post().to(with_all)))
        .service(path(&format!("{all}/{{version}}")).route(web::post().to(with_one)));
}

async fn with_all(
    state: State,
    subject: web::Path<String>,
    request: HttpRequest,
    body: Arrived,
) -> Result<Answer, Refusal> {
    check(state, subject.into_inner(), None, &request, body).await
}

async fn with_one(
    state: State,
    path: web::Path<(String, String)>,
    request: HttpRequest,
    body: Arrived,
) -> Result<Answer, Refusal> {
    let (subject, version) = path.into_inner();
    let version = switches::version(&version)?;
    check(state, subject, Some(version), &request, body).await
}

async fn check(
    state: State,
    subject: String,
    against: Option<Version>,
    request: &HttpRequest,
    body: Arrived,
) -> Result<Answer, Refusal> {
    let switches = Switches::of(request)?;
    let new = body::schema(body, switches.on("normalize")?)?;
    let verbose = switches.on("verbose")?;
    let verdict = call(&state, move |registry| {
        registry.check(bare(&subject), &new, against)
    });
    let messages = verdict.await?.messages;
    let mut answer = json!({ "is_compatible": messages.is_empty() });
    if verbose {
        answer["messages"] = json!(messages);
    }
    Ok(Answer::json(&answer))
}
