//! Telemetry in trouble, and what is exported of what.

use std::time::Duration;

use serde_json::{Value, json};
use tributary_tests::{LONG, Mesh, Metrics, Options, Rotel, Span, wait_until};

use crate::{flow, injected, program, temp_dir, tools, trace};

const RECORDED: &str = "tributary_telemetry_recorded_total";
const EXPORTED: &str = "tributary_telemetry_exported_total";
const DROPPED: &str = "tributary_telemetry_dropped_total";
const TRACES: [(&str, &str); 1] = [("signal", "traces")];

/// A mesh that exports to this receiver.
fn traced(dir: &std::path::Path, endpoint: String, more: &[(&str, &str)]) -> Mesh {
    let more = more
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), endpoint);
    let options = Options {
        env: std::iter::once(endpoint).chain(more).collect(),
        ..Options::default()
    };
    Mesh::start(program(), dir, &options)
}

/// Each role's count of a name.
fn counts(mesh: &Mesh, name: &str) -> Result<[f64; 3], String> {
    let bases = [
        mesh.ready().intake.clone(),
        mesh.gateway_http(),
        mesh.ready().http.clone(),
    ];
    let mut counts = [0.0; 3];
    for (count, base) in counts.iter_mut().zip(bases) {
        *count = Metrics::scrape(&base)?.sum(name, &TRACES);
    }
    Ok(counts)
}

/// Waits until a count has grown in every role.
fn wait_for_more(mesh: &Mesh, name: &str) {
    let before = wait_until(LONG, "the counts", || counts(mesh, name));
    wait_until(LONG, &format!("{name} grows in every role"), || {
        let now = counts(mesh, name)?;
        let grown = now.iter().zip(before).all(|(now, before)| *now > before);
        grown
            .then_some(())
            .ok_or_else(|| format!("{now:?} after {before:?}"))
    });
}

#[test]
fn a_receiver_is_killed_and_comes_back_under_load_and_no_event_is_lost() {
    const TEST: &str = "a_receiver_is_killed_and_comes_back_under_load_and_no_event_is_lost";
    let dir = temp_dir();
    let Some(mut rotel) = Rotel::start(TEST, tools(), dir.path()) else {
        return;
    };
    let mesh = traced(
        dir.path(),
        rotel.grpc_endpoint(),
        &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
    );
    flow::put_view(&mesh, "readings");
    let posted = flow::while_events_flow(&mesh.ready().intake, "readings", |flow| {
        for _ in 0..2 {
            wait_for_more(&mesh, EXPORTED);
            rotel.kill();
            injected(TEST, "kill -9 of the telemetry receiver", 1);
            wait_for_more(&mesh, DROPPED);
            let before = flow.accepted();
            rotel.restart();
            wait_for_more(&mesh, EXPORTED);
            assert!(flow.accepted() > before, "events flow all the while");
        }
    });
    flow::check(&mesh, "readings", &posted, flow::BATCH);
    // every span is accounted for, and nothing that the receiver has was not counted
    let (exported, received) = wait_until(LONG, "the accounts balance", || {
        let (exported, dropped) = (counts(&mesh, EXPORTED)?, counts(&mesh, DROPPED)?);
        let recorded = counts(&mesh, RECORDED)?;
        let received = rotel.spans().len() as f64;
        let balanced = (0..3).all(|role| recorded[role] == exported[role] + dropped[role]);
        let told =
            format!("{recorded:?} recorded, {exported:?} exported, {dropped:?} dropped, {received} received");
        balanced.then_some((exported, received)).ok_or(told)
    });
    assert!(
        received > 0.0 && exported.iter().all(|count| *count > 0.0),
        "{exported:?}"
    );
    let status = mesh.agent_status().expect("the agent's status");
    let of_traces = status["telemetry"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["signal"] == "traces"));
    let of_traces = of_traces.unwrap_or_else(|| panic!("traces in {status}"));
    assert_eq!(of_traces["failing"], false, "{of_traces}");
    assert!(of_traces["dropped"].as_u64() > Some(0), "{of_traces}");
}

fn of_stream<'a>(spans: &'a [Span], stream: &str) -> Vec<&'a Span> {
    let of = |span: &&Span| span.attribute("tributary.stream") == Some(stream);
    spans.iter().filter(of).collect()
}

/// Nothing is sampled: what arrives was promoted.
const NOTHING: [(&str, &str); 2] = [
    ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
    ("OTEL_TRACES_SAMPLER_ARG", "0"),
];

#[test]
fn of_traces_that_are_not_sampled_those_with_dead_letters_arrive_whole() {
    let dir = temp_dir();
    let test = "of_traces_that_are_not_sampled_those_with_dead_letters_arrive_whole";
    let Some(rotel) = Rotel::start(test, tools(), dir.path()) else {
        return;
    };
    let mesh = traced(dir.path(), rotel.endpoint.clone(), &NOTHING);
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    mesh.put_schema("strict", &schema);
    let good: Vec<Value> = (0..3).map(|n| json!({ "n": n })).collect();
    mesh.post_events("fine", &good);
    mesh.post_events("strict", &good);
    mesh.wait_until_delivered(LONG);
    let answer = mesh.post_events("strict", &[json!({"n": 7}), json!({"n": "seven"})]);
    assert_eq!(answer["first_seq"], 4, "{answer}");
    wait_until(LONG, "the trace with the dead letter", || {
        let mut spans = rotel.spans();
        spans.retain(|span| span.attribute("tributary.seq.first") == Some("4"));
        trace::trace_of(&spans, "strict")
    });
    let spans = rotel.spans();
    assert!(
        of_stream(&spans, "fine").is_empty(),
        "{:?}",
        of_stream(&spans, "fine")
    );
}

#[test]
fn of_traces_that_are_not_sampled_those_of_slow_batches_arrive_whole() {
    let dir = temp_dir();
    let test = "of_traces_that_are_not_sampled_those_of_slow_batches_arrive_whole";
    let Some(rotel) = Rotel::start(test, tools(), dir.path()) else {
        return;
    };
    // the aggregator stands still for longer than that
    let slow = Duration::from_millis(800);
    let env = [NOTHING[0], NOTHING[1], ("TRIBUTARY_SLOW_BATCH", "800ms")];
    let mesh = traced(dir.path(), rotel.endpoint.clone(), &env);
    // its lane is open by then
    mesh.assert_traffic_flows("late");
    let paused = mesh.pause("aggregator");
    mesh.post_events("late", &[json!({"n": 1})]);
    std::thread::sleep(slow + Duration::from_millis(200));
    drop(paused);
    let trace = wait_until(LONG, "the trace of the slow batch", || {
        let mut spans = rotel.spans();
        spans.retain(|span| span.attribute("tributary.seq.first") == Some("2"));
        trace::trace_of(&spans, "late")
    });
    let root = trace.iter().find(|span| span.name == "batch").expect("the root");
    assert_eq!(root.attribute("tributary.slow"), Some("true"), "{root:?}");
}

#[test]
fn an_attempt_that_failed_is_exported_and_the_next_one_leads_to_it() {
    let dir = temp_dir();
    let test = "an_attempt_that_failed_is_exported_and_the_next_one_leads_to_it";
    let Some(rotel) = Rotel::start(test, tools(), dir.path()) else {
        return;
    };
    let mesh = traced(dir.path(), rotel.endpoint.clone(), &NOTHING);
    mesh.post_events("again", &[json!({"n": 0})]);
    mesh.wait_until_delivered(LONG);
    // the batch leaves for a gateway that stands still, and dies without having read it
    let paused = mesh.pause("gateway");
    let sent = || {
        Ok::<_, String>(Metrics::scrape(&mesh.ready().intake)?.sum("tributary_shipper_batches_total", &[]))
    };
    let before = wait_until(LONG, "the agent's count", sent);
    mesh.post_events("again", &[json!({"n": 1})]);
    wait_until(LONG, "the agent has sent the batch", || {
        let now = sent()?;
        (now > before).then_some(()).ok_or_else(|| format!("{now}"))
    });
    mesh.kill_and_await_restart("gateway");
    injected(test, "kill -9 of the gateway under a batch", 1);
    drop(paused);
    mesh.wait_until_delivered(LONG);
    let (failed, again) = wait_until(LONG, "both attempts at the receiver", || {
        let spans = rotel.spans();
        let batches: Vec<Span> = of_stream(&spans, "again").into_iter().cloned().collect();
        let batch = |before: bool| {
            let tried = |span: &&Span| span.attribute("tributary.attempts.before").is_some() == before;
            batches
                .iter()
                .find(|span| span.name == "batch" && tried(span))
                .cloned()
        };
        batch(false)
            .zip(batch(true))
            .ok_or_else(|| format!("{batches:?}"))
    });
    assert_eq!(
        failed.attribute("tributary.seq.first"),
        again.attribute("tributary.seq.first")
    );
    let linked: Vec<_> = again.links.iter().map(|(trace, _)| trace).collect();
    assert_eq!(linked, [&failed.trace], "{again:?}");
}
