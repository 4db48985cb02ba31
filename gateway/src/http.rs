//! Health and metrics of a gateway over plain HTTP.

use std::convert::Infallible;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tributary_shared::api_error::ErrorBody;
use tributary_shared::metrics;

use crate::upstream::Link;

const JSON: &str = "application/json";

/// Serves `/healthz`, `/readyz` and `/metrics` until the task is dropped.
pub async fn serve(listener: TcpListener, link: Link) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // out of file descriptors, say: the next accept would fail at once as well
                tracing::warn!(%error, "cannot accept an http connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let link = link.clone();
        actix::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let answer = answer(&request, &link);
                async move { Ok::<_, Infallible>(answer) }
            });
            let http =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = http.await {
                tracing::debug!(%error, "an http connection ended");
            }
        });
    }
}

fn answer(request: &Request<Incoming>, link: &Link) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        let body = ErrorBody::new("method_not_allowed", "only GET is served here");
        return response(StatusCode::METHOD_NOT_ALLOWED, JSON, body.to_json());
    }
    match request.uri().path() {
        "/healthz" => response(StatusCode::OK, JSON, r#"{"status":"ok"}"#.to_owned()),
        "/readyz" if link.borrow().is_some() => {
            response(StatusCode::OK, JSON, r#"{"status":"ready"}"#.to_owned())
        }
        "/readyz" => {
            let body = ErrorBody::new(
                "not_ready",
                "the aggregator is not connected: check its address and its log",
            );
            response(StatusCode::SERVICE_UNAVAILABLE, JSON, body.to_json())
        }
        "/metrics" => response(StatusCode::OK, metrics::CONTENT_TYPE, metrics::encode_text()),
        path => {
            let body = ErrorBody::new(
                "not_found",
                format!("{path} is not served; try /healthz, /readyz, /metrics"),
            );
            response(StatusCode::NOT_FOUND, JSON, body.to_json())
        }
    }
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(content_type),
    );
    response
}
