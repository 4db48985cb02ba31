//! `/schemas`: by id, and all of them.

use actix_web::{HttpRequest, web};
use serde_json::{Value, json};
use tributary_schema::language::SchemaFormat;

use super::body::{shown, shown_version};
use super::switches::Switches;
use super::{Answer, ApiState, Refusal, call, path};
use crate::registry::{Registry, RegistryError, StoredSchema};

type State = web::Data<ApiState>;
type Path = web::Path<String>;

pub fn configure(service: &mut web::ServiceConfig) {
    service
        .service(path("/schemas").route(web::get().to(list)))
        .service(path("/schemas/types").route(web::get().to(types)))
        .service(path("/contexts").route(web::get().to(contexts)))
        .service(path("/schemas/ids/{id}").route(web::get().to(by_id)))
        .service(path("/schemas/ids/{id}/schema").route(web::get().to(text)))
        .service(path("/schemas/ids/{id}/subjects").route(web::get().to(subjects)))
        .service(path("/schemas/ids/{id}/versions").route(web::get().to(versions)));
}

async fn types() -> Answer {
    Answer::json(&SchemaFormat::ALL.map(SchemaFormat::as_str))
}

/// There is the default one.
async fn contexts() -> Answer {
    Answer::json(&["."])
}

async fn list(state: State, request: HttpRequest) -> Result<Answer, Refusal> {
    let switches = Switches::of(&request)?;
    let (prefix, page) = (switches.prefix(), switches.page()?);
    let (deleted, latest) = (switches.on("deleted")?, switches.on("latestOnly")?);
    let found = call(&state, move |registry| {
        registry.schemas(&prefix, deleted, latest, page)
    });
    let found: Vec<_> = found.await?.iter().map(shown_version).collect();
    Ok(Answer::json(&found))
}

async fn by_id(state: State, id: Path, request: HttpRequest) -> Result<Answer, Refusal> {
    let id = parse_id(&id)?;
    let switches = Switches::of(&request)?;
    let max = switches.on("fetchMaxId")?;
    let format = switches.text("format").map(str::to_owned);
    let (schema, max) = call(&state, move |registry| {
        let mut schema = registry.schema(id)?;
        reformat(registry, &mut schema, format.as_deref())?;
        let max = if max { Some(registry.newest_id()?) } else { None };
        Ok((schema, max))
    })
    .await?;
    let mut shown = shown(&schema);
    if let Some(max) = max {
        shown.insert("maxId".to_owned(), max.into());
    }
    Ok(Answer::json(&shown))
}

async fn text(state: State, id: Path, request: HttpRequest) -> Result<Answer, Refusal> {
    let id = parse_id(&id)?;
    let format = Switches::of(&request)?.text("format").map(str::to_owned);
    let schema = call(&state, move |registry| {
        let mut schema = registry.schema(id)?;
        reformat(registry, &mut schema, format.as_deref()).map(|()| schema)
    });
    Ok(Answer::text(schema.await?.text))
}

async fn subjects(state: State, id: Path, request: HttpRequest) -> Result<Answer, Refusal> {
    let mut subjects: Vec<String> = places(state, id, request)
        .await?
        .into_iter()
        .map(|(subject, _)| subject)
        .collect();
    subjects.dedup();
    Ok(Answer::json(&subjects))
}

async fn versions(state: State, id: Path, request: HttpRequest) -> Result<Answer, Refusal> {
    let shown: Vec<Value> = places(state, id, request)
        .await?
        .into_iter()
        .map(|(subject, version)| json!({ "subject": subject, "version": version }))
        .collect();
    Ok(Answer::json(&shown))
}

/// Sorted by subject.
async fn places(state: State, id: Path, request: HttpRequest) -> Result<Vec<(String, u32)>, Refusal> {
    let id = parse_id(&id)?;
    let switches = Switches::of(&request)?;
    let (deleted, page) = (switches.on("deleted")?, switches.page()?);
    let only = switches
        .text("subject")
        .map(|subject| super::bare(subject).to_owned());
    let mut found = call(&state, move |registry| {
        registry.versions_of_schema(id, deleted, page)
    })
    .await?;
    found.retain(|(subject, _)| only.as_ref().is_none_or(|only| only == subject));
    Ok(found)
}

fn parse_id(id: &str) -> Result<u32, Refusal> {
    id.parse()
        .map_err(|_| Refusal::new(40403, format!("{id:?} is not the id of a schema")))
}

/// Brings a schema's text into the form that a client asks for with `format`: `serialized` is a Protobuf file's
/// descriptor in base64.
pub fn reformat(
    registry: &Registry,
    schema: &mut StoredSchema,
    format: Option<&str>,
) -> Result<(), RegistryError> {
    let Some(format) = format else { return Ok(()) };
    let parsed = registry.parsed(schema.id)?;
    match (parsed.protobuf(), format) {
        (Some(file), "serialized") => {
            schema.text = file.serialized();
            Ok(())
        }
        _ => Err(RegistryError::OutputFormat {
            format: format.chars().take(40).collect(),
            language: schema.format.as_str(),
        }),
    }
}
