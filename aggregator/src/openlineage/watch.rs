//! Finds out when there is something to tell: compares the views with what was told of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;
use tributary_shared::time::{Millis, now_millis};

use super::config::OpenLineageConfig;
use super::events::{self, Described, EventType};
use super::poster::Poster;
use crate::metadata::{self, Metadata, SchemaFacts, ViewFacts};
use crate::registry::SchemaCache;
use crate::window::{EngineHandle, ViewInfo};

/// People make views: who looks this often tells of each.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where the facts come from.
#[derive(Debug, Clone)]
pub struct Sources {
    pub engine: EngineHandle,
    pub schemas: SchemaCache,
    pub metadata: Metadata,
    /// Names the log, and so tells its runs from those of others.
    pub log_id: String,
}

/// A run that was told of.
#[derive(Debug)]
struct Told {
    created_at: Millis,
    run: String,
    described: Described,
    failed: bool,
}

/// What was told, and what is to be told next. Without IO.
#[derive(Debug)]
struct Teller {
    config: OpenLineageConfig,
    log_id: String,
    runs: BTreeMap<String, Told>,
    /// By dataset: as it was told.
    datasets: BTreeMap<String, Value>,
}

/// Tells of every view until `shutdown` turns true. A run goes on over a restart, so nothing is told at the end; but when
/// the engine ends by itself, every run has failed.
pub async fn watch(
    config: OpenLineageConfig,
    sources: Sources,
    poster: &Poster,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut ready = sources.engine.ready_changes();
    let mut teller = Teller::new(config, sources.log_id.clone());
    let metadata = sources.metadata.clone();
    match tokio::task::spawn_blocking(move || metadata.runs()).await {
        Ok(Ok(runs)) => teller.remember(runs),
        Ok(Err(error)) => {
            tracing::warn!(%error, "ends of views since the last stop are not told to OpenLineage")
        }
        // the aggregator stops
        Err(_) => return,
    }
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut said = Instant::now();
    // an error means that it has ended already: the first question says so
    let _ = ready.wait_for(|ready| *ready).await;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = shutdown.wait_for(|stopping| *stopping) => return,
        }
        let Ok(views) = sources.engine.views().await else {
            if !*shutdown.borrow() {
                post(
                    poster,
                    teller.all_failed("the window engine has stopped", now_millis()),
                );
            }
            return;
        };
        let every = teller.config.every;
        let again = said.elapsed() >= every;
        if again {
            said = Instant::now();
        }
        let (told, runs_changed) = look(&mut teller, &sources, views, again);
        post(poster, told);
        if runs_changed {
            let (metadata, runs) = (sources.metadata.clone(), teller.standing());
            let saved = tokio::task::spawn_blocking(move || metadata.set_runs(&runs)).await;
            if let Ok(Err(error)) = saved {
                tracing::warn!(%error, "cannot keep which views were told to OpenLineage");
            }
        }
    }
}

fn post(poster: &Poster, told: Vec<Value>) {
    for event in told {
        poster.post(&event);
    }
}

/// What there is to tell now, and whether the set of runs changed.
fn look(teller: &mut Teller, sources: &Sources, views: Vec<ViewInfo>, again: bool) -> (Vec<Value>, bool) {
    let same = views.len() == teller.runs.len()
        && views.iter().all(|view| {
            let told = teller.runs.get(&view.name);
            told.is_some_and(|told| told.created_at == view.created_at && !told.described.outputs.is_empty())
        });
    if same && !again {
        // nothing was made, replaced or removed: a schema that changed is told with the next RUNNING
        return (Vec::new(), false);
    }
    let views = metadata::compile_all(views);
    let schema = |view: &ViewFacts| -> Option<SchemaFacts> {
        let info = sources.schemas.latest(&view.info.stream)?;
        Some(SchemaFacts::read(&info, Vec::new()))
    };
    let schemas: Vec<Option<SchemaFacts>> = views.iter().map(schema).collect();
    (teller.tell(&views, &schemas, again, now_millis()), !same)
}

impl Teller {
    fn new(config: OpenLineageConfig, log_id: String) -> Self {
        Self {
            config,
            log_id,
            runs: BTreeMap::new(),
            datasets: BTreeMap::new(),
        }
    }

    /// Runs of an earlier process: those that are not there any more have ended.
    fn remember(&mut self, runs: Vec<(String, Millis)>) {
        for (view, created_at) in runs {
            let told = Told {
                created_at,
                run: events::run_id(&self.log_id, &view, created_at),
                described: events::bare(&self.config.namespace, &view),
                failed: false,
            };
            self.runs.insert(view, told);
        }
    }

    /// The runs that go on.
    fn standing(&self) -> Vec<(String, Millis)> {
        let runs = self.runs.iter();
        runs.map(|(view, told)| (view.clone(), told.created_at)).collect()
    }

    /// Compares all views with what was told; `again`: says of each that it goes on.
    fn tell(
        &mut self,
        views: &[ViewFacts],
        schemas: &[Option<SchemaFacts>],
        again: bool,
        now: Millis,
    ) -> Vec<Value> {
        let mut events = self.ended(views, now);
        for (view, schema) in views.iter().zip(schemas) {
            let source = view.info.reads.as_deref();
            let source = source.and_then(|name| views.iter().find(|view| view.info.name == name));
            let described = events::describe(&self.config.namespace, view, schema.as_ref(), source);
            for dataset in described.inputs.iter().chain(&described.outputs) {
                events.extend(self.dataset(dataset, now));
            }
            events.extend(self.view(view, described, again, now));
        }
        events
    }

    /// The ends of runs whose definition is not there any more.
    fn ended(&mut self, views: &[ViewFacts], now: Millis) -> Vec<Value> {
        let goes_on = |name: &str, told: &Told| {
            let mut views = views.iter();
            views.any(|view| view.info.name == name && view.info.created_at == told.created_at)
        };
        let ended: Vec<String> = self
            .runs
            .iter()
            .filter(|(name, told)| !goes_on(name, told))
            .map(|(name, _)| name.clone())
            .collect();
        let gone = ended.into_iter().filter_map(|name| self.runs.remove(&name));
        gone.filter(|told| !told.failed)
            .map(|told| events::run_event(EventType::Complete, now, &told.run, &told.described, None))
            .collect()
    }

    fn view(&mut self, view: &ViewFacts, described: Described, again: bool, now: Millis) -> Vec<Value> {
        let info = &view.info;
        let known = self.runs.get(&info.name);
        // what is only remembered was told by another process
        let begins = known.is_none_or(|told| told.described.outputs.is_empty());
        let failed_before = known.is_some_and(|told| told.failed);
        let run = events::run_id(&self.log_id, &info.name, info.created_at);
        let mut told = Vec::new();
        if begins {
            told.push(events::run_event(EventType::Start, now, &run, &described, None));
        }
        let failed = view.plan.is_none();
        if failed && !failed_before {
            let why = "the view does not compile over what it reads any more";
            told.push(events::run_event(
                EventType::Fail,
                now,
                &run,
                &described,
                Some(why),
            ));
        } else if !failed && !begins && (again || failed_before) {
            told.push(events::run_event(EventType::Running, now, &run, &described, None));
        }
        let now_told = Told {
            created_at: info.created_at,
            run,
            described,
            failed,
        };
        self.runs.insert(info.name.clone(), now_told);
        told
    }

    /// A dataset that is new, or has other fields than were told.
    fn dataset(&mut self, dataset: &Value, now: Millis) -> Option<Value> {
        let name = dataset["name"].as_str()?;
        let known = self.datasets.get(name);
        // lineage by column is told with the output that has it
        let schema = &dataset["facets"]["schema"];
        if known.is_some_and(|known| known == schema) {
            return None;
        }
        self.datasets.insert(name.to_owned(), schema.clone());
        Some(events::dataset_event(now, dataset))
    }

    /// Nothing is counted any more.
    fn all_failed(&mut self, why: &str, now: Millis) -> Vec<Value> {
        let runs = self.runs.values_mut().filter(|told| !told.failed);
        runs.map(|told| {
            told.failed = true;
            events::run_event(EventType::Fail, now, &told.run, &told.described, Some(why))
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use tributary_shared::ids::StreamName;

    use super::*;
    use crate::view::ViewOptions;
    use crate::window::{ViewInfo, ViewStats};

    const SQL: &str = "SELECT window_start, count(*) AS n FROM TUMBLE(readings, ts, INTERVAL '1 minute') GROUP BY window_start";

    fn teller() -> Teller {
        let config = OpenLineageConfig {
            url: "http://127.0.0.1:1".to_owned(),
            namespace: "test".to_owned(),
            every: Duration::from_secs(300),
        };
        Teller::new(config, "log".to_owned())
    }

    fn view(name: &str, created_at: Millis) -> ViewFacts {
        let plan = tributary_sql::ViewPlan::compile(name, SQL).expect("compiles");
        let info = ViewInfo {
            name: name.to_owned(),
            sql: SQL.to_owned(),
            options: ViewOptions::default(),
            created_at,
            stream: StreamName::new("readings").expect("valid"),
            reads: None,
            waiting_for: None,
            columns: plan.columns().to_vec(),
            keys: Vec::new(),
            stats: ViewStats::default(),
            backfill: None,
            serves: None,
        };
        ViewFacts {
            info,
            plan: Some(std::sync::Arc::new(plan)),
        }
    }

    /// The kinds of the run events, with their views; `dataset` for the others.
    fn kinds(events: &[Value]) -> Vec<String> {
        let kind = |event: &Value| match event["eventType"].as_str() {
            Some(kind) => format!("{kind} {}", event["job"]["name"].as_str().expect("named")),
            None => format!("dataset {}", event["dataset"]["name"].as_str().expect("named")),
        };
        events.iter().map(kind).collect()
    }

    #[test]
    fn a_run_begins_goes_on_and_ends_with_its_definition() {
        let mut teller = teller();
        let told = teller.tell(&[view("v", 1)], &[None], false, 10);
        assert_eq!(
            kinds(&told),
            ["dataset stream/readings", "dataset view/v", "START v"]
        );
        assert_eq!(kinds(&teller.tell(&[view("v", 1)], &[None], false, 11)), [""; 0]);
        let running = teller.tell(&[view("v", 1)], &[None], true, 12);
        assert_eq!(kinds(&running), ["RUNNING v"]);
        assert_eq!(running[0]["run"], told[2]["run"], "one run");
        // replaced
        let told = teller.tell(&[view("v", 2)], &[None], false, 13);
        assert_eq!(kinds(&told), ["COMPLETE v", "START v"]);
        assert_eq!(told[0]["run"], running[0]["run"]);
        assert_ne!(told[0]["run"]["runId"], told[1]["run"]["runId"]);
        assert_eq!(kinds(&teller.tell(&[], &[], false, 14)), ["COMPLETE v"]);
    }

    #[test]
    fn a_restart_says_start_again_and_ends_what_is_gone() {
        let mut first = teller();
        let told = first.tell(&[view("gone", 1), view("v", 1)], &[None, None], false, 10);
        let run = |events: &[Value], name: &str| {
            let mut events = events.iter();
            events.find(|event| event["job"]["name"] == name).expect("told")["run"]["runId"].clone()
        };
        let mut second = teller();
        second.remember(first.standing());
        let again = second.tell(&[view("v", 1)], &[None], false, 20);
        assert_eq!(
            kinds(&again),
            [
                "COMPLETE gone",
                "dataset stream/readings",
                "dataset view/v",
                "START v"
            ]
        );
        for name in ["gone", "v"] {
            assert_eq!(run(&told, name), run(&again, name), "the run goes on");
        }
    }

    #[test]
    fn what_does_not_work_has_failed_once() {
        let mut teller = teller();
        let broken = ViewFacts {
            plan: None,
            ..view("v", 1)
        };
        teller.tell(&[view("v", 1)], &[None], false, 10);
        let told = teller.tell(std::slice::from_ref(&broken), &[None], true, 11);
        assert_eq!(kinds(&told), ["FAIL v"]);
        assert!(told[0]["run"]["facets"]["errorMessage"]["message"].is_string());
        assert_eq!(kinds(&teller.tell(&[broken], &[None], true, 12)), [""; 0]);
        assert_eq!(
            kinds(&teller.tell(&[view("v", 1)], &[None], false, 13)),
            ["RUNNING v"]
        );
        assert_eq!(kinds(&teller.all_failed("it stopped", 14)), ["FAIL v"]);
    }
}
