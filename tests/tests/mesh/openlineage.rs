//! Lineage of views as OpenLineage events: what a real aggregator posts, against the standard's own JSON Schemas.

use std::collections::BTreeSet;

use jsonschema::{Registry, Validator};
use serde_json::{Value, json};
use tributary_tests::{LONG, Receiver, SOON, http, openlineage_schemas, wait_until};

use crate::site::Site;

const BY_SITE: &str = "SELECT window_start, site, count(*) AS n, avg(t) AS t_avg \
    FROM TUMBLE(readings, at, INTERVAL '1 minute') WHERE kind <> 'test' GROUP BY window_start, site";
const HOURLY: &str = "SELECT window_start, merge(t_avg) AS t_avg, sum(n) AS n \
    FROM TUMBLE(by_site, window_start, INTERVAL '1 hour') GROUP BY window_start";

/// The standard's words: events as a whole, and each facet by its own schema.
struct Standard {
    event: Validator,
    facets: Vec<(String, Validator)>,
}

impl Standard {
    fn of(schemas: &[(String, Value)]) -> Self {
        let mut registry = Registry::new();
        for (_, schema) in schemas {
            let id = schema["$id"].as_str().expect("the standard's files have ids");
            registry = registry.add(id, schema).expect("a schema");
        }
        let registry = registry.prepare().expect("they fit together");
        let validator = |schema: &Value| {
            let options = jsonschema::options()
                .offline()
                .should_validate_formats(true)
                .with_registry(&registry);
            options.build(schema).expect("a schema")
        };
        let mut event = None;
        let mut facets = Vec::new();
        for (name, schema) in schemas {
            if name == "OpenLineage" {
                event = Some(validator(schema));
            } else {
                facets.push((name.clone(), validator(schema)));
            }
        }
        Self {
            event: event.expect("the standard itself"),
            facets,
        }
    }

    /// Checks an event and all its facets; returns the names of the facets.
    fn check(&self, event: &Value) -> BTreeSet<String> {
        let wrong: Vec<String> = self
            .event
            .iter_errors(event)
            .map(|error| error.to_string())
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}\n{event:#}");
        let mut seen = BTreeSet::new();
        let mut places = vec![
            &event["run"]["facets"],
            &event["job"]["facets"],
            &event["dataset"]["facets"],
        ];
        for dataset in ["inputs", "outputs"]
            .iter()
            .flat_map(|key| event[key].as_array())
            .flatten()
        {
            places.extend([
                &dataset["facets"],
                &dataset["inputFacets"],
                &dataset["outputFacets"],
            ]);
        }
        for (name, facet) in places.iter().filter_map(|place| place.as_object()).flatten() {
            let url = facet["_schemaURL"]
                .as_str()
                .expect("every facet names its schema");
            let file = url.rsplit('/').next().expect("a path").trim_end_matches(".json");
            let schema = self.facets.iter().find(|(known, _)| known == file);
            let (_, schema) = schema.unwrap_or_else(|| panic!("{url} is not of the standard"));
            let whole = json!({ name: facet });
            let wrong: Vec<String> = schema
                .iter_errors(&whole)
                .map(|error| error.to_string())
                .collect();
            assert!(wrong.is_empty(), "{name}: {wrong:?}\n{facet:#}");
            seen.insert(name.clone());
        }
        seen
    }
}

fn put_view(http: &str, name: &str, sql: &str) {
    let url = format!("{http}/api/v1/views/{name}");
    let answer = http::put(&url, &json!({ "sql": sql })).expect("an answer");
    answer.success().expect("a view");
}

/// Run events about a view, by kind.
fn kinds(receiver: &Receiver, view: &str) -> Vec<String> {
    let taken = receiver.taken();
    let of = taken.iter().filter(|event| event["job"]["name"] == view);
    of.filter_map(|event| event["eventType"].as_str().map(str::to_owned))
        .collect()
}

fn wait_for(receiver: &Receiver, view: &str, kind: &str, times: usize) -> Vec<Value> {
    wait_until(LONG, &format!("{kind} of {view}"), || {
        let found: Vec<Value> = receiver
            .taken()
            .into_iter()
            .filter(|event| event["job"]["name"] == view && event["eventType"] == kind)
            .collect();
        if found.len() < times {
            return Err(format!("{:?}", kinds(receiver, view)));
        }
        Ok(found)
    })
}

#[test]
fn the_lineage_of_views_is_told_in_the_words_of_the_standard() {
    let test = "the_lineage_of_views_is_told_in_the_words_of_the_standard";
    let Some(schemas) = openlineage_schemas(test) else {
        return;
    };
    let standard = Standard::of(&schemas);
    let (site, receiver) = (Site::new(), Receiver::start());
    let configured = |text: &str| {
        format!(
            "{text}\n[openlineage]\nurl = \"{}\"\nnamespace = \"plant-7\"\nevery = \"1s\"\n",
            receiver.url()
        )
    };
    let (mut aggregator, http) = site.aggregator_that(configured);
    let _gateway = site.gateway();
    let (_agent, intake) = site.agent();
    put_view(&http, "by_site", BY_SITE);
    put_view(&http, "hourly", HOURLY);
    let started = wait_for(&receiver, "by_site", "START", 1).remove(0);
    wait_for(&receiver, "hourly", "START", 1);
    // what is counted is told
    let events = "{\"at\":\"2026-01-31T12:00:00Z\",\"site\":\"a\",\"t\":1,\"kind\":\"x\"}\n".repeat(7);
    let url = format!("{intake}/v1/streams/readings/events");
    let answer = http::post(&url, "application/x-ndjson", events.as_bytes()).expect("an answer");
    answer.success().expect("taken");
    wait_until(LONG, "a RUNNING with what was counted", || {
        let counted = receiver.taken().into_iter().find(|event| {
            event["job"]["name"] == "by_site"
                && event["inputs"][0]["inputFacets"]["inputStatistics"]["rowCount"] == 7
                && event["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 1
        });
        counted
            .map(drop)
            .ok_or_else(|| format!("{:?}", kinds(&receiver, "by_site")))
    });
    // an endpoint that has trouble of its own gets everything in the end
    receiver.answer_with(503);
    put_view(&http, "by_site", &BY_SITE.replace("avg(t)", "avg(t + 1)"));
    wait_until(LONG, "something to be refused", || {
        (!receiver.refused().is_empty())
            .then_some(())
            .ok_or_else(|| "nothing was".to_owned())
    });
    receiver.answer_with(200);
    let ended = wait_for(&receiver, "by_site", "COMPLETE", 1).remove(0);
    assert_eq!(ended["run"]["runId"], started["run"]["runId"]);
    let second = wait_for(&receiver, "by_site", "START", 2).remove(1);
    assert_ne!(second["run"]["runId"], started["run"]["runId"]);
    // a restart goes on with the same runs, and ends those of views that went meanwhile
    aggregator.stop();
    let (mut aggregator, http) = site.aggregator_that(configured);
    let third = wait_for(&receiver, "by_site", "START", 3).remove(2);
    assert_eq!(third["run"]["runId"], second["run"]["runId"]);
    let answer = http::delete(&format!("{http}/api/v1/views/hourly")).expect("an answer");
    answer.success().expect("deleted");
    wait_for(&receiver, "hourly", "COMPLETE", 1);
    // an endpoint that is gone keeps nobody from ending
    let taken = receiver.taken();
    drop(receiver);
    aggregator.stop();

    let mut facets = BTreeSet::new();
    for event in &taken {
        facets.append(&mut standard.check(event));
    }
    let told: Vec<&str> = facets.iter().map(String::as_str).collect();
    assert_eq!(
        told,
        [
            "columnLineage",
            "inputStatistics",
            "jobType",
            "outputStatistics",
            "processing_engine",
            "schema",
            "sql"
        ]
    );
    let lineage = &started["outputs"][0]["facets"]["columnLineage"]["fields"];
    assert_eq!(lineage["t_avg"]["inputFields"][0]["field"], "t");
    assert_eq!(lineage["t_avg"]["inputFields"][0]["name"], "stream/readings");
    let datasets: BTreeSet<&str> = taken
        .iter()
        .filter_map(|event| event["dataset"]["name"].as_str())
        .collect();
    for dataset in ["stream/readings", "view/by_site", "view/hourly"] {
        assert!(datasets.contains(dataset), "{datasets:?}");
    }
}

#[test]
fn a_dead_endpoint_holds_nothing_up_and_what_is_lost_is_counted() {
    let (site, receiver) = (Site::new(), Receiver::start());
    receiver.answer_with(422);
    let configured = |text: &str| {
        format!(
            "{text}\n[openlineage]\nurl = \"{}\"\nevery = \"1s\"\n",
            receiver.url()
        )
    };
    let (mut aggregator, http) = site.aggregator_that(configured);
    put_view(&http, "by_site", BY_SITE);
    wait_until(SOON, "a refusal to be counted", || {
        let metrics = http::get(&format!("{http}/metrics")).map_err(|error| error.to_string())?;
        let line = metrics.body.lines().find(|line| {
            line.starts_with("tributary_openlineage_not_posted_events_total") && line.contains("refused")
        });
        line.map(drop).ok_or_else(|| "it is not".to_owned())
    });
    assert!(!receiver.refused().is_empty() && receiver.taken().is_empty());
    aggregator.stop();
}
