//! The page, in a real browser.

use std::path::Path;
use std::time::Duration;

use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tributary_tests::{Mesh, Process, SOON, Tool, free_tcp_port, loudly, npm_package, wait_until};

use crate::{mesh, temp_dir, tools};

const DRIVER: Tool = Tool {
    name: "chromedriver",
    hint: "apt-get install chromium chromium-driver",
};
/// A browser on a machine of two cores that compiles something meanwhile.
pub const SLOW: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

pub const ENTER: &str = "\u{e007}";
const END: &str = "\u{e010}";
/// Finds what assistive technology would stumble over.
const AXE: &str = "axe-core@4.14.1";

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
pub async fn wait_for_text(page: &Client, css: &str, text: &str) {
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
pub async fn type_into(page: &Client, css: &str, keys: &str) {
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
    type_into(
        &page,
        "article[data-view=clicks_by_button] details summary",
        ENTER,
    )
    .await;
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

/// The value of a JavaScript expression on the page.
pub async fn ask(page: &Client, expression: &str) -> Value {
    let answer = page.execute(&format!("return {expression}"), Vec::new()).await;
    answer.unwrap_or_else(|error| panic!("{expression}: {error}"))
}

/// Writes into a field what stands in it afterwards.
pub async fn fill(page: &Client, css: &str, text: &str) {
    let element = page.wait().at_most(SLOW).for_element(Locator::Css(css)).await;
    let element = element.unwrap_or_else(|error| panic!("{css}: {error}"));
    element
        .clear()
        .await
        .unwrap_or_else(|error| panic!("{css}: {error}"));
    type_into(page, css, text).await;
}

/// The script of axe-core; nothing where no package can be had.
pub fn axe(test: &str) -> Option<String> {
    let modules = npm_package(test, &tools().join("axe"), AXE)?;
    Some(std::fs::read_to_string(modules.join("axe-core/axe.min.js")).expect("axe-core's script"))
}

/// What axe-core finds wrong with the page as it is, by the rules of WCAG 2.2 up to AA.
pub async fn assert_accessible(page: &Client, axe: &str, what: &str) {
    page.execute(axe, Vec::new()).await.expect("axe-core loads");
    let run = "const done = arguments[0];
        axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }).then(
          ({ violations }) => done(violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target} ${failureSummary}`))),
          (error) => done([String(error)]))";
    let found = page.execute_async(run, Vec::new()).await.expect("axe-core runs");
    assert_eq!(found, json!([]), "{what}");
}

/// The values of the rows' column, as the view's own table has them.
fn cell(row: u32, column: &str) -> String {
    format!(".detail tbody tr:nth-child({row}) td[data-col={column}]")
}

/// A view is made on the page, with a mistake first, then read, changed, shared and lost.
async fn make_a_view(page: Client, mesh: &Mesh, axe: &str) {
    assert_accessible(&page, axe, "all views").await;
    type_into(&page, "[data-testid=view-new]", ENTER).await;
    fill(&page, "[data-testid=view-name]", "by_button").await;
    let sql = |select: &str| {
        format!(
            "SELECT window_start, window_end, button,\n{select}\n\
             FROM TUMBLE(clicks, ts, INTERVAL '1 minute')\nGROUP BY window_start, window_end, button"
        )
    };
    fill(&page, "[data-testid=sql]", &sql("/* ü */ cuont(*) AS n")).await;
    type_into(&page, "[data-testid=view-save]", ENTER).await;
    wait_for_text(&page, "[data-testid=sql-error] strong", "Line 2, column 9:").await;
    wait_for_text(&page, "[data-testid=sql-wrong]", "cuont").await;
    let chosen = "(({ id, value, selectionStart, selectionEnd }) => [id, value.slice(selectionStart, selectionEnd)])(document.activeElement)";
    assert_eq!(ask(&page, chosen).await, json!(["view-sql", "cuont"]));
    assert_accessible(&page, axe, "the form with a mistake").await;

    fill(&page, "[data-testid=sql]", &sql("count(*) AS n")).await;
    type_into(&page, "[data-testid=view-save]", ENTER).await;
    wait_for_text(&page, "[data-testid=view-title]", "by_button").await;
    let click =
        |minute: u32, button: &str| json!({ "ts": format!("2026-01-01T12:0{minute}:30Z"), "button": button });
    let clicks = [
        click(1, "red"),
        click(1, "red"),
        click(1, "blue"),
        click(4, "red"),
    ];
    mesh.post_events("clicks", &clicks);
    wait_for_text(&page, &cell(1, "n"), "1").await;
    wait_for_text(&page, &cell(2, "button"), "blue").await;
    wait_for_text(&page, &cell(3, "n"), "2").await;

    // the chart is read by keyboard: what it says of its first window
    let said = ".detail .chart-place [role=status]";
    type_into(&page, ".detail .chart", "\u{e011}").await;
    let text = async || {
        ask(&page, &format!("document.querySelector('{said}').textContent"))
            .await
            .to_string()
    };
    let heard = tokio::time::timeout(SLOW, async {
        while !text().await.contains("red: 2; blue: 1") {
            tokio::time::sleep(POLL).await;
        }
    });
    assert!(heard.await.is_ok(), "the chart says {}", text().await);
    assert_accessible(&page, axe, "the view").await;
    change_and_share(page, mesh).await;
}

async fn change_and_share(page: Client, mesh: &Mesh) {
    type_into(&page, "[data-testid=view-edit]", ENTER).await;
    wait_for_text(&page, "#view-form h2", "Edit by_button").await;
    type_into(&page, "[data-testid=sql]", END).await;
    let longer = "SELECT window_start, window_end, button, count(*) AS n, count(*) + 10 AS more FROM \
                  TUMBLE(clicks, ts, INTERVAL '1 minute') GROUP BY window_start, window_end, button";
    fill(&page, "[data-testid=sql]", longer).await;
    type_into(&page, "[data-testid=view-save]", ENTER).await;
    // back-filled from the log: nothing is posted again
    wait_for_text(&page, &cell(3, "more"), "12").await;

    fill(&page, "[data-testid=where-button]", "red").await;
    type_into(&page, "[data-testid=where-button]", ENTER).await;
    type_into(&page, ".detail th[data-col=n] button", ENTER).await;
    wait_for_text(&page, &cell(1, "n"), "2").await;
    let state = "[location.search, document.querySelector('.detail th[data-col=n]').ariaSort, \
                 [...document.querySelectorAll('.detail tbody tr')].map((row) => row.textContent)]";
    let seen = ask(&page, state).await;
    assert_eq!(seen[1], json!("descending"), "{seen}");
    assert_eq!(seen[2].as_array().map(Vec::len), Some(2), "{seen}");

    // whoever gets the address sees the same
    let address = page.current_url().await.expect("an address");
    page.goto("about:blank").await.expect("leaves");
    page.goto(address.as_str()).await.expect("comes back");
    wait_for_text(&page, &cell(1, "n"), "2").await;
    assert_eq!(ask(&page, state).await, seen);

    mesh.delete_view("by_button");
    wait_for_text(
        &page,
        ".detail .notice",
        "The view by_button was deleted. What is shown is what it was.",
    )
    .await;
    page.close().await.expect("the browser ends");
}

/// Scrolls through the page and back, and tells how long frames took meanwhile, in milliseconds.
const SCROLL: &str = r"
    const done = arguments[0];
    (async () => {
      const long = [];
      new PerformanceObserver((list) => long.push(...list.getEntries().map((one) => one.duration))).observe({ type: 'longtask' });
      const height = document.documentElement.scrollHeight - innerHeight;
      const frames = [];
      const start = await new Promise(requestAnimationFrame);
      for (let last = start; last - start < 4000; ) {
        const now = await new Promise(requestAnimationFrame);
        frames.push(now - last);
        last = now;
        const way = (now - start) / 4000;
        scrollTo({ top: height * (way < 0.5 ? 2 * way : 2 - 2 * way), behavior: 'instant' });
      }
      frames.sort((a, b) => a - b);
      const at = (share) => Math.round(frames[Math.floor((frames.length - 1) * share)]);
      return `${frames.length} frames in 4 s, p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, longest ${at(1)} ms, ` +
        `${long.length} tasks over 50 ms, the longest ${Math.round(Math.max(0, ...long))} ms`;
    })().then(done, (error) => done(String(error)))";

const CHARTS: usize = 50;
const GROUPS: usize = 1_000;

/// What is out of sight is neither read nor drawn, and everything comes over one stream.
async fn look_through_many(page: Client, mesh: &Mesh) {
    for chart in 0..CHARTS {
        mesh.put_view(&format!("many_{chart:02}"), VIEW);
    }
    let clicks = |minute: u32| -> Vec<Value> {
        let click =
            |group| json!({ "ts": format!("2026-01-01T12:{minute:02}:00Z"), "button": format!("b-{group}") });
        (0..GROUPS).map(click).collect()
    };
    mesh.post_events("clicks", &clicks(1));
    let meta = |chart: usize| format!("article[data-view=many_{chart:02}] .meta");
    let all = "n over clicks, the 8 largest of 1,000 groups";
    wait_for_text(&page, &meta(0), all).await;
    // a canvas that was never drawn on has the size that all have
    let drawn = "[...document.querySelectorAll('article canvas')].filter((one) => one.width !== 300).length";
    let read = "new Set(performance.getEntriesByType('resource').map((one) => new URL(one.name).pathname) \
                .filter((path) => path.endsWith('/windows'))).size";
    for (what, count) in [("drawn", drawn), ("read", read)] {
        let count = ask(&page, count).await.as_u64().expect("a number");
        assert!(
            (1..25).contains(&count),
            "{count} charts are {what} when 6 are in sight"
        );
    }

    mesh.post_events("clicks", &clicks(2));
    let figures = page.execute_async(SCROLL, Vec::new()).await.expect("scrolls");
    loudly(&format!(
        "{CHARTS} charts of {GROUPS} groups, a debug build: {figures}\n"
    ));
    page.execute(
        "scrollTo(0, 1e6); document.querySelector('[data-view=many_49]').scrollIntoView()",
        Vec::new(),
    )
    .await
    .expect("scrolls");
    wait_for_text(&page, &meta(CHARTS - 1), all).await;
    page.close().await.expect("the browser ends");
}

/// Runs a browser on the page of a mesh of its own; nothing where no browser is installed.
pub fn in_browser(test: &str, look: impl AsyncFnOnce(Client, &Mesh)) {
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

#[test]
fn a_view_is_made_read_changed_and_shared_on_the_page() {
    let test = "a_view_is_made_read_changed_and_shared_on_the_page";
    let Some(axe) = axe(test) else { return };
    in_browser(test, async |page, mesh| make_a_view(page, mesh, &axe).await);
}

#[test]
fn of_fifty_charts_with_a_thousand_groups_only_those_in_sight_cost() {
    let test = "of_fifty_charts_with_a_thousand_groups_only_those_in_sight_cost";
    in_browser(test, look_through_many);
}
