//! The built-in page at `/`: one HTML document, three style sheets and ES modules, all our own and inside the program.
//! Nothing is fetched from anywhere else, which the content security policy also enforces.
//!
//! The page reads the same API as everybody else and follows `GET /api/v1/live`.
//!
//! | what | modules |
//! |---|---|
//! | what the address says | `address` |
//! | requests, the live stream | `api` |
//! | rows of a view, and what of them is drawn; no DOM | `rows`, `kinds`, `series`, `figures`, `scale` |
//! | a view's rows, kept up | `feed` |
//! | drawing: only what is in view, once a frame | `frames`, `plot`, `spark`, `theme` |
//! | parts | `chart`, `cursor`, `legend`, `datatable`, `groupfilter`, `range`, `editor`, `status`, `missing` |
//! | all views · one view · the form | `browse`, `card` · `detail`, `deletedialog` · `viewform` |
//! | sections of their own, as the address names them | `sections` |
//! | an event's path: what it says; drawn; found | `path` · `pathpicture`, `svg` · `event`, `eventsearch` |
//! | what a row is made of: counts and flows; drawn; read | `origins` · `originspicture` · `explain` |
//! | the graph: what is drawn of it, laid out; drawn and walked; read; what would break | `mesh`, `layers` · `graphpicture` · `graph` · `impact` |
//! | audit: what leaves say; proofs; heads that this browser keeps | `acts`, `audit` · `merkle`, `sha256` · `heads`, `auditcheck` |
//! | the rest of the page | `plaintable`, `letters`, `tables`, `dom`, `format`, `main` |

mod assets;

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};

use assets::Asset;

const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; object-src 'none'; frame-ancestors 'none'; \
    base-uri 'none'; form-action 'none'";

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
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"));
    if header_has(request, header::IF_NONE_MATCH, &etag) {
        return response.finish();
    }
    response
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type)))
        .body(asset.text)
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
        for asset in assets::ALL.iter().chain([&assets::INDEX]) {
            let local = asset
                .text
                .split('"')
                .filter_map(|part| part.strip_prefix("/assets/").or(part.strip_prefix("./")));
            for name in local {
                let request = TestRequest::get().uri(&format!("/assets/{name}")).to_request();
                let status = call_service(&app, request).await.status();
                assert_eq!(status, StatusCode::OK, "{} names {name}", asset.name);
                named += 1;
            }
            assert!(
                !asset.text.contains("https://"),
                "{} loads nothing from elsewhere",
                asset.name
            );
        }
        assert!(named > 10);
    }

    #[test]
    fn every_module_is_listed_and_imported_by_another() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/page/static");
        for file in std::fs::read_dir(dir).expect("the files") {
            let name = file.expect("a file").file_name().into_string().expect("text");
            if name == "index.html" {
                continue;
            }
            assert!(
                assets::ALL.iter().any(|asset| asset.name == name),
                "{name} is not in assets.rs"
            );
            let (module, linked) = (format!("\"./{name}\""), format!("/assets/{name}"));
            let used = |asset: &Asset| asset.text.contains(&module) || asset.text.contains(&linked);
            assert!(
                assets::ALL.iter().chain([&assets::INDEX]).any(used),
                "{name} is used by nothing"
            );
        }
    }

    #[actix_web::test]
    async fn a_file_that_has_not_changed_is_not_sent_again() {
        let app = init_service(actix_web::App::new().configure(configure)).await;
        let get = || TestRequest::get().uri("/assets/main.js");
        let first = call_service(&app, get().to_request()).await;
        let etag = first.headers().get("etag").expect("etag").clone();
        assert!(!read_body(first).await.is_empty());
        let again = call_service(&app, get().insert_header(("if-none-match", etag)).to_request()).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert!(read_body(again).await.is_empty());
    }
}
