//! The page's sections that say what happened and what hangs together, in a real browser.

use fantoccini::{Client, Locator};
use serde_json::{Value, json};
use tributary_tests::{LONG, Mesh, http};

use crate::browser::{ENTER, SLOW, ask, assert_accessible, axe, fill, in_browser, type_into, wait_for_text};

const HOP: &str = "SELECT window_start, window_end, count(*) AS n \
                   FROM HOP(clicks, ts, INTERVAL '1 minute', INTERVAL '5 minutes') GROUP BY window_start, window_end";

const RIGHT: &str = "\u{e014}";

/// On a wide screen and on a phone, which shows all of the page's width.
async fn assert_accessible_everywhere(page: &Client, axe: &str, what: &str) {
    assert_accessible(page, axe, what).await;
    page.set_window_size(420, 900).await.expect("a small window");
    assert_accessible(page, axe, &format!("{what}, on a phone")).await;
    let over = ask(page, "document.documentElement.scrollWidth - innerWidth").await;
    assert!(
        over.as_i64().is_some_and(|over| over <= 0),
        "{what} is {over} px wider than a phone"
    );
    page.set_window_size(1280, 1600).await.expect("a large window");
}

async fn goto(page: &Client, mesh: &Mesh, address: &str) {
    page.goto(&format!("{}{address}", mesh.ready().http))
        .await
        .expect("the page");
}

/// Texts of all elements at a place, as the page has them.
async fn texts(page: &Client, css: &str) -> Vec<String> {
    let all = format!("[...document.querySelectorAll({css:?})].map((one) => one.textContent)");
    serde_json::from_value(ask(page, &all).await).expect("texts")
}

/// One click is a dead letter that is replayed; the lineage id of it.
fn replayed_click(mesh: &Mesh) -> String {
    mesh.put_schema(
        "clicks",
        &json!({ "type": "object", "properties": { "button": { "type": "string" } } }),
    );
    mesh.put_view("clicks_hop", HOP);
    let click = |button: Value| json!({ "ts": "2026-01-01T12:00:30Z", "button": button });
    mesh.post_events(
        "clicks",
        &[click(json!("red")), click(json!(1)), click(json!("blue"))],
    );
    mesh.wait_until_delivered(LONG);
    let letters = mesh
        .api("/api/v1/dead-letters?stream=clicks")
        .expect("dead letters");
    let order = json!({ "ids": [letters["dead_letters"][0]["id"]], "by": "eva",
        "fix": { "sql": "json_set(payload, '$.button', 'one')" } });
    let url = format!("{}/api/v1/dead-letters/replay", mesh.ready().http);
    let answer = http::post(&url, "application/json", order.to_string().as_bytes()).expect("an answer");
    assert_eq!(answer.json()["replayed"], 1, "{answer:?}");
    letters["dead_letters"][0]["lineage_id"]
        .as_str()
        .expect("an id")
        .to_owned()
}

async fn follow_an_event(page: Client, mesh: &Mesh, axe: &str) {
    let id = replayed_click(mesh);
    type_into(&page, "nav a[data-section=event]", ENTER).await;
    fill(&page, "[data-testid=event-id]", "nonsense").await;
    type_into(&page, "[data-testid=event-id]", ENTER).await;
    let wrong =
        "\"nonsense\" is not a lineage id; name an event by its lineage id, or as agent/stream/epoch/seq";
    wait_for_text(&page, "#event > .notice", wrong).await;

    fill(&page, "[data-testid=event-id]", &id).await;
    type_into(&page, "[data-testid=event-id]", ENTER).await;
    let said = "It was a dead letter, was replayed, and is valid now and counts in 6 windows of 2 views.";
    wait_for_text(&page, "[data-testid=event-verdict]", said).await;
    let stops = [
        "Taken in",
        "Spooled",
        "Sent",
        "Received",
        "Judged",
        "Committed",
        "Dead letter",
        "Replayed",
        "Applied",
    ];
    assert_eq!(
        texts(&page, "[data-testid=hops] td[data-col=hop]").await,
        stops,
        "the table"
    );
    let drawn = texts(&page, "[data-testid=path-picture] .stop text:nth-of-type(1)").await;
    assert_eq!(drawn[..stops.len()], stops, "the picture");
    assert_eq!(
        drawn[stops.len()..],
        ["clicks_by_button", "clicks_hop"],
        "its windows"
    );
    assert_accessible_everywhere(&page, axe, "an event's path").await;

    // the event before it is reached by keyboard, and the way back is the browser's
    type_into(&page, ".neighbours a[rel=prev]", ENTER).await;
    let valid = "It is valid and counts in 6 windows of 2 views.";
    wait_for_text(&page, "[data-testid=event-verdict]", valid).await;
    page.back().await.expect("back");
    wait_for_text(&page, "[data-testid=event-verdict]", said).await;
    let lane = id.replace(&id[id.len() - 12..], "0000000000ff");
    goto(&page, mesh, &format!("/?event={lane}")).await;
    let open = "It is not committed: its agent still holds it, or it was never produced.";
    wait_for_text(&page, "[data-testid=event-verdict]", open).await;
    check_the_audit(page, mesh, &id, axe).await;
}

async fn check_the_audit(page: Client, mesh: &Mesh, id: &str, axe: &str) {
    type_into(&page, "nav a[data-section=audit]", ENTER).await;
    let found = "[data-testid=findings] li:nth-child(2) strong";
    wait_for_text(&page, found, "right").await;
    let findings = texts(&page, "[data-testid=findings] li").await;
    assert!(
        findings[0].contains("is signed by key") && findings[1].contains("keeps this head"),
        "{findings:?}"
    );
    wait_for_text(
        &page,
        "[data-testid=acts] tr[data-kind=replay] td[data-col=checked]",
        "–",
    )
    .await;
    type_into(&page, "[data-testid=check-acts]", ENTER).await;
    wait_for_text(
        &page,
        "[data-testid=acts] tr[data-kind=replay] td[data-col=checked]",
        "in the tree",
    )
    .await;
    fill(&page, "[data-testid=receipt-event]", id).await;
    type_into(&page, "[data-testid=receipt-event]", ENTER).await;
    let file = page.wait().at_most(SLOW);
    let file = file.for_element(Locator::Css("[data-testid=receipt-file]")).await;
    let href = file.expect("a receipt").attr("href").await.expect("an attribute");
    assert_eq!(href, Some(format!("/api/v1/events/{id}/receipt")));
    assert_accessible_everywhere(&page, axe, "the audit").await;

    // a browser that comes back compares the tree with the head that it has kept; one that was edited is no such tree
    let kept = "JSON.parse(localStorage.getItem('tributary.audit.heads'))";
    assert!(
        ask(&page, kept)
            .await
            .as_object()
            .is_some_and(|logs| logs.len() == 1)
    );
    goto(&page, mesh, "/?audit=all").await;
    wait_for_text(&page, found, "right").await;
    let findings = texts(&page, "[data-testid=findings] li").await;
    assert!(findings[1].contains("nothing was edited"), "{findings:?}");
    let edit = "localStorage.setItem('tributary.audit.heads', localStorage.getItem('tributary.audit.heads')\
                .replace(/(\\\\n\\d+\\\\n)..../, '$1AAAA'))";
    page.execute(edit, Vec::new()).await.expect("edits");
    goto(&page, mesh, "/?audit=").await;
    wait_for_text(&page, found, "wrong").await;
    let findings = texts(&page, "[data-testid=findings] li").await;
    assert!(findings[1].contains("forked tree"), "{findings:?}");
    page.close().await.expect("the browser ends");
}

/// An event is found by a field; then the graph is walked to what would break without that field.
async fn find_and_walk(page: Client, mesh: &Mesh, axe: &str) {
    replayed_click(mesh);
    goto(&page, mesh, "/?event=").await;
    fill(&page, "[data-testid=event-stream]", "clicks").await;
    fill(&page, "[data-testid=event-field]", "button").await;
    fill(&page, "[data-testid=event-value]", "red").await;
    type_into(&page, "[data-testid=event-find]", ENTER).await;
    wait_for_text(&page, "[data-testid=events-found] td[data-col=outcome]", "valid").await;
    assert_eq!(
        texts(&page, "[data-testid=events-found] td[data-col=seq]").await,
        ["1"]
    );
    assert_accessible_everywhere(&page, axe, "events found").await;
    type_into(&page, "[data-testid=events-found] a", ENTER).await;
    let said = "It is valid and counts in 6 windows of 2 views.";
    wait_for_text(&page, "[data-testid=event-verdict]", said).await;
    walk_the_graph(page, mesh, axe).await;
}

async fn walk_the_graph(page: Client, mesh: &Mesh, axe: &str) {
    type_into(&page, "nav a[data-section=graph]", ENTER).await;
    let stream = "[data-testid=graph-picture] [data-id='stream:clicks']";
    wait_for_text(&page, &format!("{stream} text:nth-of-type(2)"), "clicks").await;
    assert_accessible_everywhere(&page, axe, "the graph").await;
    // along a line to a view, which is chosen
    type_into(&page, stream, RIGHT).await;
    let focused = ask(&page, "document.activeElement.dataset.id").await;
    let view = focused
        .as_str()
        .and_then(|id| id.strip_prefix("view:"))
        .expect("a view")
        .to_owned();
    type_into(
        &page,
        &format!("[data-testid=graph-picture] [data-id='view:{view}']"),
        ENTER,
    )
    .await;
    wait_for_text(&page, "#node-title", &format!("view {view}")).await;
    assert_eq!(
        ask(&page, "document.activeElement.dataset.id").await,
        focused,
        "the focus stays"
    );

    goto(&page, mesh, "/?graph=stream:clicks").await;
    type_into(&page, "[data-testid=fields] a[data-field=button]", ENTER).await;
    wait_for_text(
        &page,
        "[data-testid=impact]",
        "Without button, 1 view would change.",
    )
    .await;
    let broken = texts(
        &page,
        "[data-testid=graph-picture] [data-level=bad] text:nth-of-type(2)",
    )
    .await;
    assert_eq!(broken, ["clicks_by_button"]);
    assert_accessible_everywhere(&page, axe, "what would break").await;
    page.close().await.expect("the browser ends");
}

/// What a row is made of, also when a dead letter was replayed into it, and back to one of its events.
async fn explain_a_row(page: Client, mesh: &Mesh, axe: &str) {
    replayed_click(mesh);
    // the replayed click is a row of its own, which no gateway sent
    goto(&page, mesh, "/?view=clicks_by_button&where.button=one").await;
    wait_for_text(&page, ".detail tbody td[data-col=button]", "one").await;
    type_into(&page, ".detail tbody td[data-col=why] a", ENTER).await;
    wait_for_text(
        &page,
        "[data-testid=balance]",
        "1 found = 1, the row's own count.",
    )
    .await;
    let ways = texts(&page, "[data-testid=origins] td[data-col=which]").await;
    assert!(ways[1].contains("replayed"), "{ways:?}");
    // all groups of a window together, by its address
    goto(
        &page,
        mesh,
        "/?view=clicks_by_button&explain=2026-01-01T12:00:00Z",
    )
    .await;
    wait_for_text(
        &page,
        "[data-testid=balance]",
        "3 found = 3, the row's own count.",
    )
    .await;
    let drawn = texts(
        &page,
        "[data-testid=origins-picture] .origin[data-stage='1'] text:nth-of-type(1)",
    )
    .await;
    assert_eq!(drawn, ["gateway-1", "Replays of dead letters"]);
    assert_accessible_everywhere(&page, axe, "what a row is made of").await;
    type_into(&page, "[data-testid=ranges] td[data-col=last] a", ENTER).await;
    let said = "It is valid and counts in 6 windows of 2 views.";
    wait_for_text(&page, "[data-testid=event-verdict]", said).await;
    page.close().await.expect("the browser ends");
}

#[test]
fn a_row_is_explained_on_the_page() {
    let test = "a_row_is_explained_on_the_page";
    let Some(axe) = axe(test) else { return };
    in_browser(test, async |page, mesh| explain_a_row(page, mesh, &axe).await);
}

#[test]
fn an_event_is_found_and_the_graph_is_walked_on_the_page() {
    let test = "an_event_is_found_and_the_graph_is_walked_on_the_page";
    let Some(axe) = axe(test) else { return };
    in_browser(test, async |page, mesh| find_and_walk(page, mesh, &axe).await);
}

#[test]
fn an_event_is_followed_and_the_audit_is_checked_on_the_page() {
    let test = "an_event_is_followed_and_the_audit_is_checked_on_the_page";
    let Some(axe) = axe(test) else { return };
    in_browser(test, async |page, mesh| follow_an_event(page, mesh, &axe).await);
}
