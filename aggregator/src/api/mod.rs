//! The HTTP side of the aggregator: the API of the mesh, health and metrics, the page (see [`crate::page`]),
//! and on a port of its own the schema registry.
//!
//! Handlers only translate. What they ask blocks on a disk (the log, the registry) and runs on the blocking
//! pool, or is answered by the engine's thread.

mod audit;
mod books;
mod dead_letters;
mod error;
mod event_search;
mod events;
mod explain;
mod export;
mod graph;
mod hops;
mod lineage;
mod live;
mod live_page;
mod operations;
mod overview;
mod proposal;
mod query;
mod recorded;
mod registry;
mod schemas;
mod sql;
mod state;
#[cfg(test)]
mod tests;
mod view_metrics;
mod views;

use actix_web::dev::Server;
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};

pub use error::{ApiError, internal, not_found};
pub use state::ApiState;

/// The largest request body: a view's SQL, or a schema.
const MAX_BODY: usize = 1 << 20;
/// Threads that serve each of the two ports. The work is done elsewhere.
const WORKERS: usize = 2;
/// Seconds that open requests get to finish when the server stops.
const STOP_GRACE: u64 = 5;

/// Routes of the main port.
pub fn configure(service: &mut web::ServiceConfig) {
    service
        .app_data(json_limit())
        .service(
            web::scope("/api/v1")
                .wrap(from_fn(recorded::recorded))
                .configure(views::configure)
                .configure(explain::configure)
                .configure(live::configure)
                .configure(live_page::configure)
                .configure(books::configure)
                .configure(graph::configure)
                // before the events: a receipt's path begins as an event's
                .configure(audit::configure)
                .configure(event_search::configure)
                .configure(lineage::configure)
                .configure(events::configure)
                .configure(dead_letters::configure)
                .configure(schemas::configure)
                .configure(proposal::configure)
                .configure(sql::configure)
                .configure(operations::configure_v1)
                .default_service(web::to(fallback)),
        )
        .configure(operations::configure)
        .configure(view_metrics::configure)
        .configure(crate::page::configure)
        .default_service(web::to(fallback));
}

/// Serves the API and the page on an already bound socket, until the returned server is stopped.
///
/// # Errors
/// When the socket cannot be used.
pub fn serve(listener: std::net::TcpListener, state: ApiState) -> std::io::Result<Server> {
    let state = web::Data::new(state);
    let app = move || {
        App::new()
            .app_data(state.clone())
            .wrap(DefaultHeaders::new().add(("x-content-type-options", "nosniff")))
            .configure(configure)
    };
    Ok(HttpServer::new(app)
        .workers(WORKERS)
        .shutdown_timeout(STOP_GRACE)
        .disable_signals()
        .listen(listener)?
        .run())
}

/// Serves the schema registry on an already bound socket, until the returned server is stopped.
///
/// # Errors
/// When the socket cannot be used.
pub fn serve_registry(listener: std::net::TcpListener, state: ApiState) -> std::io::Result<Server> {
    let state = web::Data::new(state);
    let app = move || App::new().app_data(state.clone()).configure(registry::configure);
    Ok(HttpServer::new(app)
        .workers(WORKERS)
        .shutdown_timeout(STOP_GRACE)
        .disable_signals()
        .listen(listener)?
        .run())
}

async fn fallback(request: HttpRequest) -> HttpResponse {
    not_found(&request)
}

/// A body that is not the JSON that was asked for is told so in the shape of every other error.
fn json_limit() -> web::JsonConfig {
    web::JsonConfig::default()
        .limit(MAX_BODY)
        .content_type_required(false)
        .error_handler(|error, _| {
            let status = actix_web::ResponseError::status_code(&error);
            ApiError::new(status, "malformed", format!("the body cannot be read: {error}")).into()
        })
}
