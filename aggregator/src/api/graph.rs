//! How streams, schemas, views, agents and gateways hang together, and what would break without a stream or a field.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};

use super::{ApiError, ApiState, query};
use crate::metadata::{self, Graph, Impact, Known, NodeKind, SchemaFacts, Subject};
use crate::registry::{Page, Registry, RegistryError, SubjectVersion, Version, stream_of};

pub fn configure(service: &mut web::ServiceConfig) {
    service
        .route("/graph", web::get().to(graph))
        .route("/graph/{kind}/{name:.+}", web::get().to(node))
        .route("/impact", web::get().to(impact));
}

/// Everything that is known just now.
async fn known(state: &ApiState) -> Result<Known, ApiError> {
    let views = metadata::compile_all(state.engine.views().await?);
    let (streams, lanes) = state.read(|log| Ok((log.streams()?, log.lanes()?))).await?;
    let agents = state.agents.list(&lanes);
    let reading = state.clone();
    let subjects = web::block(move || subjects(&reading.schemas, &reading.metadata)).await??;
    Ok(Known {
        streams,
        lanes,
        agents,
        subjects,
        views,
        nodes: state.metadata.nodes(),
        routes: state.metadata.routes(),
        gateways_here: state.metadata.gateways_here(),
    })
}

/// Every subject that is not deleted, with its newest schema.
fn subjects(
    registry: &Registry,
    metadata: &crate::metadata::Metadata,
) -> Result<Vec<Subject>, RegistryError> {
    let names = registry.subjects("", crate::registry::Deleted::Without, Page::default())?;
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let versions = match registry.versions(&name) {
            Ok(versions) => versions,
            // it was deleted since the list was made
            Err(RegistryError::UnknownSubject { .. }) => continue,
            Err(error) => return Err(error),
        };
        let current = match registry.version(&name, Version::Latest, false) {
            Ok(latest) => Some(facts(registry, metadata, latest)?),
            Err(RegistryError::NoLatest { .. } | RegistryError::UnknownSubject { .. }) => None,
            Err(error) => return Err(error),
        };
        found.push(Subject {
            stream: stream_of(&name),
            subject: name,
            versions,
            current,
        });
    }
    Ok(found)
}

fn facts(
    registry: &Registry,
    metadata: &crate::metadata::Metadata,
    latest: SubjectVersion,
) -> Result<Arc<SchemaFacts>, RegistryError> {
    if let Some(facts) = metadata.facts((latest.schema.id, latest.version)) {
        return Ok(facts);
    }
    let mut refers_to: Vec<String> = latest
        .schema
        .references
        .iter()
        .map(|reference| reference.subject.clone())
        .collect();
    refers_to.sort_unstable();
    refers_to.dedup();
    let facts = Arc::new(SchemaFacts::read(&registry.info(latest)?, refers_to));
    metadata.keep_facts(&facts);
    Ok(facts)
}

async fn drawn(state: &ApiState) -> Result<Graph, ApiError> {
    let known = known(state).await?;
    Ok(web::block(move || metadata::draw(&known)).await?)
}

async fn graph(state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(drawn(&state).await?))
}

async fn node(
    state: web::Data<ApiState>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let (kind, name) = path.into_inner();
    let kind = NodeKind::parse(&kind).ok_or_else(|| {
        let kinds = NodeKind::ALL.map(NodeKind::as_str).join(", ");
        let message = format!("there is no kind {kind:?} of nodes; there are {kinds}");
        ApiError::bad_request("invalid_query", message).with("parameter", "kind")
    })?;
    let graph = drawn(&state).await?;
    let found = metadata::around(&graph, kind, &name).ok_or_else(|| {
        let message = format!(
            "the mesh knows no {} {name:?}; GET /api/v1/graph lists what it knows",
            kind.as_str()
        );
        ApiError::not_found("unknown_node", message)
    })?;
    Ok(HttpResponse::Ok().json(found))
}

async fn impact(state: web::Data<ApiState>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let mut pairs = query::pairs(&request)?;
    let (stream, field) = (
        query::take(&mut pairs, "stream")?,
        query::take(&mut pairs, "field")?,
    );
    if let Some((name, _)) = pairs.first() {
        return Err(query::unknown(name, "stream, field"));
    }
    let stream = stream.filter(|stream| !stream.is_empty()).ok_or_else(|| {
        let message = "stream is missing: write ?stream=NAME, and &field=NAME for one field of it";
        ApiError::bad_request("invalid_query", message).with("parameter", "stream")
    })?;
    let known = known(&state).await?;
    let found = metadata::impact(&known, &stream, field.as_deref()).ok_or_else(|| {
        let message =
            format!("nothing is known of a stream {stream:?}; GET /api/v1/streams lists the streams");
        ApiError::not_found("unknown_stream", message)
    })?;
    check_field(&known, &found)?;
    Ok(HttpResponse::Ok().json(found))
}

/// A field that no event can have is a typing mistake: that nothing reads it must not sound like good news.
fn check_field(known: &Known, found: &Impact) -> Result<(), ApiError> {
    let Some(field) = found.field.as_deref().filter(|_| !found.known) else {
        return Ok(());
    };
    let subject = found.schema.as_ref().map(|schema| schema.subject.as_str());
    let schema = known
        .subjects
        .iter()
        .find(|known| Some(known.subject.as_str()) == subject)
        .and_then(|subject| subject.current.as_deref());
    let Some(schema) = schema.filter(|schema| schema.closed) else {
        return Ok(());
    };
    let names: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
    let message = format!(
        "events of {} have no field {field:?}, by version {} of their schema; its fields are {}",
        found.stream,
        schema.version,
        names.join(", ")
    );
    Err(ApiError::not_found("unknown_field", message).with("fields", names))
}
