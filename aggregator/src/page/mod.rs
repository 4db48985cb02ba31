//! The built-in page at `/`: one HTML document, a style sheet, a few ES modules of our own, and the chart
//! library, all inside the program. Nothing is fetched from anywhere else, which the content security policy
//! also enforces.
//!
//! The page reads the same API as everybody else and follows `GET /api/v1/live`.

mod assets;

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};

use assets::Asset;

/// The chart library sets inline styles on the elements that it makes; everything else is strict.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Routes of the page.
pub fn configure(service: &mut web::ServiceConfig) {
    service
        .route("/", web::get().to(index))
        .route("/assets/{name}", web::get().to(asset));
}

async fn index(request: HttpRequest) -> HttpResponse {
    answer(&request, &assets::INDEX)
}

async fn asset(request: HttpRequest, name: web::Path<String>) -> HttpResponse {
    match assets::ALL.iter().find(|asset| asset.name == name.as_str()) {
        Some(asset) => answer(&request, asset),
        None => crate::api::not_found(&request),
    }
}

/// Every load revalidates by ETag, so that a page never mixes the files of two versions.
fn answer(request: &HttpRequest, asset: &Asset) -> HttpResponse {
    let etag = asset.etag();
    let mut response = if header_has(request, header::IF_NONE_MATCH, &etag) {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response
        .insert_header((header::ETAG, etag.clone()))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::VARY, "accept-encoding"))
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"));
    if header_has(request, header::IF_NONE_MATCH, &etag) {
        return response.finish();
    }
    response.insert_header((header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type)));
    if !asset.gzip {
        return response.body(asset.bytes);
    }
    if header_has(request, header::ACCEPT_ENCODING, "gzip") {
        return response
            .insert_header((header::CONTENT_ENCODING, "gzip"))
            .body(asset.bytes);
    }
    match asset.inflated() {
        Ok(bytes) => response.body(bytes),
        Err(error) => crate::api::internal(&format!("{} cannot be unpacked: {error}", asset.name)),
    }
}

fn header_has(request: &HttpRequest, name: header::HeaderName, wanted: &str) -> bool {
    let values = request.headers().get_all(name);
    values
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains(wanted))
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};

    use super::*;

    #[actix_web::test]
    async fn every_file_that_a_file_names_is_served() {
        let app = init_service(actix_web::App::new().configure(configure)).await;
        let mut named = 0;
        for asset in assets::ALL
            .iter()
            .chain([&assets::INDEX])
            .filter(|asset| !asset.gzip)
        {
            let text = std::str::from_utf8(asset.bytes).expect("text");
            let local = text
                .split('"')
                .filter_map(|part| part.strip_prefix("/assets/").or(part.strip_prefix("./")));
            for name in local {
                let request = TestRequest::get().uri(&format!("/assets/{name}")).to_request();
                let status = call_service(&app, request).await.status();
                assert_eq!(status, StatusCode::OK, "{} names {name}", asset.name);
                named += 1;
            }
            assert!(
                !text.contains("https://"),
                "{} loads nothing from elsewhere",
                asset.name
            );
        }
        assert!(named > 10);
    }

    #[actix_web::test]
    async fn the_chart_library_is_served_packed_plain_and_not_at_all() {
        let app = init_service(actix_web::App::new().configure(configure)).await;
        let get = || TestRequest::get().uri("/assets/plotly.js");
        let packed = call_service(
            &app,
            get().insert_header(("accept-encoding", "gzip, br")).to_request(),
        )
        .await;
        assert_eq!(packed.headers().get("content-encoding").expect("packed"), "gzip");
        let etag = packed.headers().get("etag").expect("etag").clone();
        let packed = read_body(packed).await;
        let plain = read_body(call_service(&app, get().to_request()).await).await;
        assert!(plain.len() > 2 * packed.len());
        assert!(plain.starts_with(b"/**\n* plotly.js v"));
        let again = call_service(&app, get().insert_header(("if-none-match", etag)).to_request()).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }
}
