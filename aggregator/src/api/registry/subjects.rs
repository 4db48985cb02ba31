//! `/subjects`: registering, looking up, listing, deleting.

use actix_web::{HttpRequest, web};
use serde_json::json;

use super::body::{self, Arrived, shown_version};
use super::switches::{self, Switches};
use super::{Answer, ApiState, Refusal, bare, by, call, path, schemas};
use crate::registry::Registry;

type State = web::Data<ApiState>;
type Path = web::Path<String>;
type VersionPath = web::Path<(String, String)>;

pub fn configure(service: &mut web::ServiceConfig) {
    let one = "/subjects/{subject}/versions/{version}";
    service
        .service(path("/subjects").route(web::get().to(list)))
        .service(
            path("/subjects/{subject}")
                .route(web::post().to(lookup))
                .route(web::delete().to(delete)),
        )
        .service(
            path("/subjects/{subject}/versions")
                .route(web::get().to(versions))
                .route(web::post().to(register)),
        )
        .service(
            path(one)
                .route(web::get().to(version))
                .route(web::delete().to(delete_version)),
        )
        .service(path(&format!("{one}/schema")).route(web::get().to(text)))
        .service(path(&format!("{one}/referencedby")).route(web::get().to(referenced_by)));
}

async fn list(state: State, request: HttpRequest) -> Result<Answer, Refusal> {
    let switches = Switches::of(&request)?;
    let (prefix, deleted, page) = (switches.prefix(), switches.deleted()?, switches.page()?);
    let found = call(&state, move |registry| registry.subjects(&prefix, deleted, page)).await?;
    Ok(Answer::json(&found))
}

async fn versions(state: State, subject: Path, request: HttpRequest) -> Result<Answer, Refusal> {
    let switches = Switches::of(&request)?;
    let (deleted, page) = (switches.deleted()?, switches.page()?);
    let found = call(&state, move |registry| {
        registry.numbers(bare(&subject), deleted, page)
    });
    Ok(Answer::json(&found.await?))
}

async fn register(
    state: State,
    subject: Path,
    request: HttpRequest,
    body: Arrived,
) -> Result<Answer, Refusal> {
    let new = body::schema(body, Switches::of(&request)?.on("normalize")?)?;
    let by = by(&request);
    let done = call(&state, move |registry| {
        registry.register(bare(&subject), &new, &by)
    });
    let done = done.await?;
    Ok(Answer::json(&json!({ "id": done.id, "version": done.version })))
}

async fn lookup(state: State, subject: Path, request: HttpRequest, body: Arrived) -> Result<Answer, Refusal> {
    let switches = Switches::of(&request)?;
    let new = body::schema(body, switches.on("normalize")?)?;
    let deleted = switches.on("deleted")?;
    let found = call(&state, move |registry| {
        registry.lookup(bare(&subject), &new, deleted)
    });
    Ok(Answer::json(&shown_version(&found.await?)))
}

async fn version(state: State, path: VersionPath, request: HttpRequest) -> Result<Answer, Refusal> {
    let switches = Switches::of(&request)?;
    let deleted = switches.on("deleted")?;
    let format = switches.text("format").map(str::to_owned);
    let (subject, version) = (path.0.clone(), switches::version(&path.1)?);
    let found = call(&state, move |registry| {
        let mut found = registry.version(bare(&subject), version, deleted)?;
        schemas::reformat(registry, &mut found.schema, format.as_deref()).map(|()| found)
    });
    Ok(Answer::json(&shown_version(&found.await?)))
}

async fn text(state: State, path: VersionPath, request: HttpRequest) -> Result<Answer, Refusal> {
    let deleted = Switches::of(&request)?.on("deleted")?;
    let (subject, version) = (path.0.clone(), switches::version(&path.1)?);
    let found = call(&state, move |registry| {
        registry.version(bare(&subject), version, deleted)
    });
    Ok(Answer::text(found.await?.schema.text))
}

async fn referenced_by(state: State, path: VersionPath) -> Result<Answer, Refusal> {
    let (subject, version) = (path.0.clone(), switches::version(&path.1)?);
    let ids = call(&state, move |registry: &Registry| {
        registry.referenced_by(bare(&subject), version)
    });
    Ok(Answer::json(&ids.await?))
}

async fn delete(state: State, subject: Path, request: HttpRequest) -> Result<Answer, Refusal> {
    let permanent = Switches::of(&request)?.on("permanent")?;
    let by = by(&request);
    let gone = call(&state, move |registry| {
        registry.delete_subject(bare(&subject), permanent, &by)
    });
    Ok(Answer::json(&gone.await?))
}

async fn delete_version(state: State, path: VersionPath, request: HttpRequest) -> Result<Answer, Refusal> {
    let permanent = Switches::of(&request)?.on("permanent")?;
    let (subject, version) = (path.0.clone(), switches::version(&path.1)?);
    let by = by(&request);
    let gone = call(&state, move |registry| {
        registry.delete_version(bare(&subject), version, permanent, &by)
    });
    Ok(Answer::json(&gone.await?))
}
