//! What `deploy/grafana` asks for is there: every query of its dashboards has an answer, from a real Prometheus that
//! scrapes a real mesh, and from the API.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tributary_shared::metrics::MetricName;
use tributary_tests::{LONG, Mesh, Process, SOON, Tool, free_tcp_port, http, wait_until};
use yaml_rust2::{Yaml, YamlLoader};

use crate::{mesh, temp_dir};

const PROMETHEUS: Tool = Tool {
    name: "prometheus",
    hint: "apt-get install prometheus",
};
const VIEW: &str = "by_device";
/// Gauges of `GET /metrics/views`.
const OF_VIEWS: [&str; 5] = [
    "tributary_view_value",
    "tributary_view_window_end_seconds",
    "tributary_view_rows",
    "tributary_view_rows_left_out",
    "tributary_view_completeness",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/grafana")
}

fn dashboards() -> Vec<Value> {
    ["mesh", "views"]
        .map(|name| {
            let text =
                fs::read_to_string(folder().join(format!("dashboards/{name}.json"))).expect("a dashboard");
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
        })
        .to_vec()
}

fn yaml(path: &str) -> Yaml {
    let text = fs::read_to_string(folder().join(path)).expect("a provisioning file");
    let mut documents = YamlLoader::load_from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(documents.len(), 1, "{path}");
    documents.remove(0)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The targets of all panels, and the queries of variables, of one data source.
fn targets(dashboard: &Value, source: &str) -> Vec<Value> {
    let panels = list(&dashboard["panels"])
        .iter()
        .flat_map(|panel| list(&panel["targets"]));
    let variables = list(&dashboard["templating"]["list"])
        .iter()
        .filter(|variable| variable["datasource"]["uid"] == source)
        .map(|variable| variable["query"]["infinityQuery"].clone())
        .filter(|query| query.is_object());
    let of_panels = panels
        .filter(|target| target["datasource"]["uid"] == source)
        .cloned();
    of_panels.chain(variables).collect()
}

/// What Grafana puts in for its variables.
fn filled(text: &str) -> String {
    text.replace("$__rate_interval", "1m")
        .replace("${__from:date:iso}", "2020-01-01T00:00:00.000Z")
        .replace("${__to:date:iso}", "2100-01-01T00:00:00.000Z")
        .replace("${view}", VIEW)
        .replace("$view", VIEW)
        .replace("${column}", "n")
        .replace("$column", "n")
}

#[test]
fn the_provisioning_parses_and_names_what_there_is() {
    let sources = yaml("provisioning/datasources/tributary.yaml");
    let uids: BTreeSet<&str> = sources["datasources"]
        .as_vec()
        .expect("data sources")
        .iter()
        .map(|source| source["uid"].as_str().expect("a uid"))
        .collect();
    assert_eq!(uids, BTreeSet::from(["tributary-api", "tributary-prometheus"]));
    assert!(
        yaml("provisioning/dashboards/tributary.yaml")["providers"][0]["options"]["path"]
            .as_str()
            .is_some()
    );
    assert_eq!(
        yaml("prometheus.yml")["scrape_configs"].as_vec().map(Vec::len),
        Some(4)
    );

    let known: BTreeSet<&str> = MetricName::ALL
        .iter()
        .map(|name| name.as_str())
        .chain(OF_VIEWS)
        .collect();
    let mut queries = 0;
    for dashboard in dashboards() {
        let mut ids = BTreeSet::new();
        for panel in list(&dashboard["panels"]) {
            assert!(
                ids.insert(panel["id"].as_u64()),
                "{}: an id twice",
                dashboard["title"]
            );
            let uid = panel["datasource"]["uid"].as_str().expect("a data source");
            assert!(uids.contains(uid), "{uid}");
        }
        for target in targets(&dashboard, "tributary-prometheus") {
            queries += 1;
            let query = target["expr"].as_str().expect("a query");
            let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for word in words.filter(|word| word.starts_with("tributary_")) {
                let base = word.trim_end_matches("_total").trim_end_matches("_bucket");
                assert!(known.contains(base), "{word} in {query}");
            }
        }
    }
    assert!(queries > 20, "{queries}");
}

fn prometheus(program: &Path, dir: &Path, mesh: &Mesh) -> (Process, String) {
    let host = |url: &str| url.trim_start_matches("http://").to_owned();
    let ready = mesh.ready();
    let job = |name: &str, path: &str, target: &str| {
        format!(
            "  - job_name: tributary-{name}\n    metrics_path: {path}\n    static_configs:\n      - targets: [\"{target}\"]\n"
        )
    };
    let config = format!(
        "global:\n  scrape_interval: 1s\nscrape_configs:\n{}{}{}{}",
        job("aggregator", "/metrics", &host(&ready.http)),
        job("views", "/metrics/views", &host(&ready.http)),
        job("gateway", "/metrics", &host(&mesh.gateway_http())),
        job("agent", "/metrics", &host(&ready.intake)),
    );
    let file = dir.join("prometheus.yml");
    fs::write(&file, config).expect("a temporary file");
    let url = format!("127.0.0.1:{}", free_tcp_port());
    let args = [
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", dir.join("tsdb").display()),
        format!("--web.listen-address={url}"),
    ];
    let process = Process::start(program, args, &[], dir.join("prometheus.log"));
    (process, format!("http://{url}"))
}

/// A query string's value.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// Events of today, and some that their schema refuses.
fn post(mesh: &Mesh, round: u64) {
    let now = tributary_shared::time::now_millis();
    let readings: Vec<Value> = (0..20)
        .map(|device| json!({ "ts": now - 600_000 + i64::try_from(round).expect("small") * 1_000, "device": format!("d-{device}") }))
        .chain([json!({ "ts": now, "device": "newest" })])
        .collect();
    mesh.post_events("readings", &readings);
    mesh.post_events("checked", &[json!({ "n": "no number" }), json!({ "n": 1 })]);
}

fn start(mesh: &Mesh) {
    mesh.put_schema(
        "checked",
        &json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] }),
    );
    mesh.put_view(
        VIEW,
        "SELECT window_start, window_end, device, count(*) AS n FROM TUMBLE(readings, ts, INTERVAL '1 minute') \
         GROUP BY window_start, window_end, device",
    );
}

#[test]
fn every_prometheus_query_of_the_dashboards_has_an_answer() {
    let test = "every_prometheus_query_of_the_dashboards_has_an_answer";
    let Some(program) = PROMETHEUS.find(test) else {
        return;
    };
    let dir = temp_dir();
    let mesh = mesh(&dir);
    start(&mesh);
    let (_process, url) = prometheus(&program, dir.path(), &mesh);
    let mut open: Vec<String> = dashboards()
        .iter()
        .flat_map(|dashboard| targets(dashboard, "tributary-prometheus"))
        .map(|target| filled(target["expr"].as_str().expect("a query")))
        .collect();
    let mut round = 0;
    wait_until(LONG, "every query has an answer", || {
        round += 1;
        post(&mesh, round);
        open.retain(|query| {
            let answer = http::get_json(&format!("{url}/api/v1/query?query={}", escaped(query)));
            let answer = answer.unwrap_or_default();
            assert_ne!(answer["status"], "error", "{query}: {answer}");
            list(&answer["data"]["result"]).is_empty()
        });
        if open.is_empty() {
            return Ok(());
        }
        // Prometheus scrapes every second
        thread::sleep(Duration::from_millis(450));
        Err(open.join("\n"))
    });
    // the series of a view bear its keys
    let query = escaped(&format!(
        "tributary_view_value{{view=\"{VIEW}\",column=\"n\",device!=\"\"}}"
    ));
    let answer = http::get_json(&format!("{url}/api/v1/query?query={query}")).expect("an answer");
    assert!(!list(&answer["data"]["result"]).is_empty(), "{answer}");
}

#[test]
fn every_api_query_of_the_dashboards_selects_what_there_is() {
    let dir = temp_dir();
    let mesh = mesh(&dir);
    start(&mesh);
    post(&mesh, 1);
    wait_until(SOON, "rows", || {
        let rows = mesh.windows(VIEW)?.len();
        (rows >= 20).then_some(()).ok_or_else(|| rows.to_string())
    });
    let mut asked = 0;
    for target in dashboards()
        .iter()
        .flat_map(|dashboard| targets(dashboard, "tributary-api"))
    {
        let path = filled(target["url"].as_str().expect("a URL"));
        let answer = mesh.api(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let root = target["root_selector"].as_str().expect("a selector");
        let rows = list(&answer[root]);
        assert!(!rows.is_empty(), "{path}: no {root}: {answer}");
        for column in list(&target["columns"]) {
            let selector = filled(column["selector"].as_str().expect("a selector"));
            assert!(
                rows[0].get(&selector).is_some(),
                "{path}: no {selector}: {}",
                rows[0]
            );
        }
        asked += 1;
    }
    assert!(asked >= 5, "{asked}");
}
