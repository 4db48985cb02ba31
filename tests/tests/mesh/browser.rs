//! The page, in a real browser.

use std::path::Path;
use std::time::Duration;

use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tributary_tests::{Mesh, Process, SOON, Tool, free_tcp_port, wait_until};

use crate::{mesh, temp_dir};

const DRIVER: Tool = Tool {
    name: "chromedriver",
    hint: "apt-get install chromium chromium-driver",
};
/// A browser on a machine of two cores that compiles something meanwhile.
const SLOW: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

const ENTER: &str = "\u{e007}";

const VIEW: &str = "SELECT window_start, window_end, button, count(*) AS n \
                    FROM TUMBLE(clicks, ts, INTERVAL '1 hour') GROUP BY window_start, window_end, button";

fn capabilities(profile: &Path) -> serde_json::Map<String, Value> {
    let profile = format!("--user-data-dir={}", profile.display());
    let args = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1280,1600",
        &profile,
    ];
    let capabilities = json!({
        "goog:chromeOptions": { "args": args },
        "goog:loggingPrefs": { "browser": "ALL" }
    });
    capabilities.as_object().cloned().unwrap_or_default()
}

/// Waits until the text at a place on the page is this one.
async fn wait_for_text(page: &Client, css: &str, text: &str) {
    let mut seen = String::new();
    let found = async {
        loop {
            seen = match page.find(Locator::Css(css)).await {
                Ok(element) => element.text().await.unwrap_or_else(|error| error.to_string()),
                Err(error) => error.to_string(),
            };
            if seen == text {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let within = tokio::time::timeout(SLOW, found).await;
    assert!(
        within.is_ok(),
        "{css} shows {text:?}: not within {SLOW:?}; last seen: {seen:?}"
    );
}

async fn open(driver: &str, profile: &TempDir, mesh: &Mesh) -> Client {
    let mut builder = ClientBuilder::new(HttpConnector::new());
    builder.capabilities(capabilities(profile.path()));
    let page = tokio::time::timeout(SLOW, builder.connect(driver)).await;
    let page = page.expect("a browser in time").expect("a browser");
    page.goto(&format!("{}/", mesh.ready().http))
        .await
        .expect("the page");
    wait_for_text(&page, "[data-testid=link-state]", "Live").await;
    page
}

/// Types into the element at a place on the page; on a button, this is how a keyboard presses it.
async fn type_into(page: &Client, css: &str, keys: &str) {
    let element = page.wait().at_most(SLOW).for_element(Locator::Css(css)).await;
    let element = element.unwrap_or_else(|error| panic!("{css}: {error}"));
    element
        .send_keys(keys)
        .await
        .unwrap_or_else(|error| panic!("{css}: {error}"));
}

async fn count_clicks(page: Client, mesh: &Mesh) {
    wait_for_text(&page, "[data-testid=events-total]", "0").await;

    let click = |button: &str| json!({ "ts": "2026-01-01T12:00:00Z", "button": button });
    mesh.post_events("clicks", &[click("red"), click("red"), click("blue")]);
    wait_for_text(&page, "[data-testid=events-total]", "3").await;
    wait_for_text(&page, "[data-testid=ledger-state]", "Balanced").await;
    let cell =
        |row: u32| format!("article[data-view=clicks_by_button] tbody tr:nth-child({row}) td[data-col=n]");
    wait_for_text(&page, &cell(1), "1").await;
    wait_for_text(&page, &cell(2), "2").await;

    // nobody reloads: the same page counts on
    mesh.post_events(
        "clicks",
        &[click("red"), click("blue"), click("blue"), click("blue")],
    );
    wait_for_text(&page, "[data-testid=events-total]", "7").await;
    wait_for_text(&page, &cell(1), "4").await;
    wait_for_text(&page, &cell(2), "3").await;
    page.close().await.expect("the browser ends");
}

async fn repair_clicks(page: Client, mesh: &Mesh) {
    mesh.put_schema(
        "clicks",
        &json!({ "type": "object", "properties": { "button": { "type": "string" } }, "required": ["button"] }),
    );
    mesh.post_events(
        "clicks",
        &[json!({ "button": 1 }), json!({ "button": 2 }), json!({ "b": 3 })],
    );
    wait_for_text(&page, "[data-testid=dead-total]", "3").await;
    wait_for_text(&page, "li[data-rule=type] .num", "2").await;

    // the newest letter with the reason `type`: the chart's bar chooses it
    type_into(&page, "li[data-rule=type] button", ENTER).await;
    wait_for_text(&page, "tr[data-letter] td[data-col=state]", "open").await;
    type_into(&page, "tr[data-letter] td[data-col=id] button", ENTER).await;
    wait_for_text(&page, "[data-testid=dead-payload]", "{\n  \"button\": 2\n}").await;
    let fix = "json_set(payload, '$.button', CAST(payload ->> '$.button' AS TEXT))";
    type_into(&page, "[data-testid=dead-fix]", fix).await;
    type_into(&page, "[data-testid=dead-dry-run]", ENTER).await;
    wait_for_text(&page, "[data-testid=dead-result]", "1 would be replayed.").await;
    wait_for_text(&page, "[data-testid=dead-total]", "3").await;

    type_into(&page, "[data-testid=dead-replay]", ENTER).await;
    wait_for_text(&page, "[data-testid=dead-result]", "1 replayed.").await;
    wait_for_text(&page, "[data-testid=dead-total]", "2").await;

    // the record is closed: now all open letters of the filter are meant
    type_into(&page, "[data-testid=dead-replay]:enabled", ENTER).await;
    wait_for_text(&page, "[data-testid=dead-total]", "1").await;
    wait_for_text(&page, "[data-testid=ledger-state]", "Balanced").await;
    page.close().await.expect("the browser ends");
}

/// Runs a browser on the page of a mesh of its own; nothing where no browser is installed.
fn in_browser(test: &str, look: impl AsyncFnOnce(Client, &Mesh)) {
    let Some(chromedriver) = DRIVER.find(test) else {
        return;
    };
    let (dir, profile) = (temp_dir(), temp_dir());
    let mesh = mesh(&dir);
    for view in ["host_cpu", "host_memory"] {
        mesh.delete_view(view);
    }
    mesh.put_view("clicks_by_button", VIEW);
    let port = free_tcp_port();
    let log = dir.path().join("chromedriver.log");
    let _driver = Process::start(&chromedriver, [format!("--port={port}")], &[], log);
    wait_until(SOON, "chromedriver listens", || {
        std::net::TcpStream::connect(("127.0.0.1", port))
            .map(drop)
            .map_err(|error| error.to_string())
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let page = open(&format!("http://127.0.0.1:{port}"), &profile, &mesh).await;
        look(page, &mesh).await;
    });
}

#[test]
fn a_posted_event_changes_a_number_on_the_page() {
    in_browser("a_posted_event_changes_a_number_on_the_page", count_clicks);
}

#[test]
fn a_dead_letter_is_repaired_on_the_page_by_keyboard() {
    in_browser("a_dead_letter_is_repaired_on_the_page_by_keyboard", repair_clicks);
}
