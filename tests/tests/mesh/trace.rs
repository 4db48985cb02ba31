//! One batch, one trace, over three processes, as a real OTLP receiver sees it.

use serde_json::json;
use tributary_tests::{LONG, Mesh, Options, Rotel, Span, http, wait_until};

use crate::{program, temp_dir, tools};

const TEST: &str = "a_batch_has_one_trace_across_all_roles";
/// Each stage of a batch: who does it, and under which stage.
const STAGES: [(&str, &str, Option<&str>); 7] = [
    ("batch", "tributary-agent", None),
    ("collect", "tributary-agent", Some("batch")),
    ("spool", "tributary-agent", Some("batch")),
    ("ship", "tributary-agent", Some("batch")),
    ("admit", "tributary-gateway", Some("ship")),
    ("commit", "tributary-aggregator", Some("admit")),
    ("apply", "tributary-aggregator", Some("commit")),
];

/// The spans of the one trace in which this stream's events were committed.
pub fn trace_of(spans: &[Span], stream: &str) -> Result<Vec<Span>, String> {
    let commit = spans.iter().find(|span| {
        let lane = span.attribute("tributary.lane").unwrap_or_default();
        span.name == "commit" && lane.contains(&format!("/{stream}/"))
    });
    let names = || {
        spans
            .iter()
            .map(|span| format!("{}/{}", span.service, span.name))
            .collect::<Vec<_>>()
    };
    let trace = &commit
        .ok_or_else(|| format!("no commit of {stream} among {:?}", names()))?
        .trace;
    let trace: Vec<Span> = spans
        .iter()
        .filter(|span| span.trace == *trace)
        .cloned()
        .collect();
    let missing = STAGES
        .iter()
        .find(|(stage, ..)| trace.iter().all(|span| span.name != *stage));
    match missing {
        None => Ok(trace),
        Some((stage, ..)) => Err(format!("no {stage} in {trace:?}")),
    }
}

#[test]
fn a_batch_has_one_trace_across_all_roles() {
    let dir = temp_dir();
    let Some(rotel) = Rotel::start(TEST, tools(), dir.path()) else {
        return;
    };
    let options = Options {
        env: vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), rotel.endpoint.clone()),
            (
                "TRIBUTARY_PUBLIC_URL".to_owned(),
                "https://mesh.example".to_owned(),
            ),
        ],
        ..Options::default()
    };
    let mesh = Mesh::start(program(), dir.path(), &options);
    mesh.put_view(
        "seen",
        "SELECT window_start, window_end, count(*) AS n FROM TUMBLE(traced, ts, INTERVAL '1 minute') \
         GROUP BY window_start, window_end",
    );
    // the application's span around the request, and one that an event names itself
    let (request, event) = (
        ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"),
        ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"),
    );
    let context = |(trace, span): (&str, &str)| format!("00-{trace}-{span}-01");
    let events = (0..5).map(|n| match n {
        3 => json!({ "n": n, "traceparent": context(event) }),
        _ => json!({ "n": n }),
    });
    let body: String = events.map(|event| format!("{event}\n")).collect();
    let url = format!("{}/v1/streams/traced/events", mesh.ready().intake);
    let header = context(request);
    let answer = http::post_with(
        &url,
        "application/x-ndjson",
        ("traceparent", &header),
        body.as_bytes(),
    );
    let answer = answer.expect("an answer").success().expect("taken");
    let lane = format!("{}/traced/{}", mesh.ready().agent_id, answer["epoch"]);

    let trace = wait_until(LONG, "a whole trace at the receiver", || {
        trace_of(&rotel.spans(), "traced")
    });
    for (stage, service, parent) in STAGES {
        let [span] = &trace.iter().filter(|span| span.name == stage).collect::<Vec<_>>()[..] else {
            panic!("one {stage} in {trace:?}")
        };
        assert_eq!(span.service, service, "{span:?}");
        let above = parent.map(|parent| {
            trace
                .iter()
                .find(|span| span.name == parent)
                .expect("all are there")
        });
        assert_eq!(
            span.parent,
            above.map_or("", |above| above.id.as_str()),
            "{span:?}"
        );
        let attributes = [
            "tributary.lane",
            "tributary.seq.first",
            "tributary.seq.last",
            "tributary.events",
        ];
        let seen = attributes.map(|name| span.attribute(name));
        assert_eq!(
            seen,
            [Some(lane.as_str()), Some("1"), Some("5"), Some("5")],
            "{span:?}"
        );
        for (key, value) in [
            ("service.namespace", "tributary"),
            ("service.version", env!("CARGO_PKG_VERSION")),
        ] {
            assert_eq!(span.of_resource(key), Some(value), "{span:?}");
        }
        for key in ["service.instance.id", "host.name", "os.type", "process.pid"] {
            assert!(span.of_resource(key).is_some(), "{key} of {span:?}");
        }
        let linked = match stage {
            "batch" => vec![request],
            "admit" => vec![event],
            _ => Vec::new(),
        };
        let linked: Vec<_> = linked
            .iter()
            .map(|(t, s)| (t.to_string(), s.to_string()))
            .collect();
        assert_eq!(span.links, linked, "{span:?}");
        // every span leads to the page about the batch's first event
        let id = span.attribute("tributary.lineage_id").expect("a lineage id");
        let page = format!("https://mesh.example/?event={id}");
        assert_eq!(span.attribute("tributary.lineage_url"), Some(page.as_str()));
        let path = mesh.api(&format!("/api/v1/events/{id}")).expect("the event");
        assert_eq!(
            (path["stream"].as_str(), path["seq"].as_u64()),
            (Some("traced"), Some(1)),
            "{path}"
        );
    }
}
