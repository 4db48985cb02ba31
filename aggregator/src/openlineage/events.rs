//! What is told: runs, jobs and datasets in the words of the OpenLineage standard. Pure.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Value, json};
use tributary_shared::time::{Millis, to_rfc3339};
use tributary_sql::{ColumnReads, How};

use crate::metadata::{SchemaFacts, ViewFacts};
use crate::view::{Column, ColumnType};

/// Who says it, as a URI.
const PRODUCER: &str = concat!("urn:tributary:aggregator:", env!("CARGO_PKG_VERSION"));
const SPEC: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/";
/// Each facet has a version of its own.
const FACETS: &str = "https://openlineage.io/spec/facets/";

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    Start,
    Running,
    Complete,
    Fail,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Start => "START",
            Self::Running => "RUNNING",
            Self::Complete => "COMPLETE",
            Self::Fail => "FAIL",
        }
    }
}

/// A view, described once: what stays the same in each event of its run.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    pub job: Value,
    pub inputs: Vec<Value>,
    pub outputs: Vec<Value>,
}

fn facet(version_and_name: &str, facts: Value) -> Value {
    let mut facet = json!({ "_producer": PRODUCER, "_schemaURL": format!("{FACETS}{version_and_name}") });
    if let (Value::Object(facet), Value::Object(facts)) = (&mut facet, facts) {
        facet.extend(facts);
    }
    facet
}

fn stream_name(stream: &str) -> String {
    format!("stream/{stream}")
}

fn view_name(view: &str) -> String {
    format!("view/{view}")
}

/// The run of one definition of a view: the same after a restart, another one after it was replaced.
#[must_use]
pub fn run_id(log_id: &str, view: &str, created_at: Millis) -> String {
    let sum = digest(&SHA256, format!("{log_id}\n{view}\n{created_at}").as_bytes());
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&sum.as_ref()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

/// A job that nothing more is known of than its name.
#[must_use]
pub fn bare(namespace: &str, view: &str) -> Described {
    Described {
        job: json!({ "namespace": namespace, "name": view }),
        inputs: Vec::new(),
        outputs: Vec::new(),
    }
}

/// Describes a view: its SQL, what it reads, what it makes, and which column comes from which. `schema` is that of its
/// stream, `source` the view that it reads.
#[must_use]
pub fn describe(
    namespace: &str,
    view: &ViewFacts,
    schema: Option<&SchemaFacts>,
    source: Option<&ViewFacts>,
) -> Described {
    let info = &view.info;
    let job = json!({
        "namespace": namespace,
        "name": info.name,
        "facets": {
            "jobType": facet("2-0-3/JobTypeJobFacet.json", json!({
                "processingType": "STREAMING", "integration": "TRIBUTARY", "jobType": "VIEW",
            })),
            "sql": facet("1-1-0/SQLJobFacet.json", json!({ "query": info.sql, "dialect": "postgres" })),
        },
    });
    let counters = &info.stats.counters;
    let input = match source {
        Some(source) => view_dataset(namespace, source, None),
        None => stream_dataset(namespace, info.stream.as_str(), schema),
    };
    let mut input = input;
    input["inputFacets"] = json!({
        "inputStatistics": facet("1-0-0/InputStatisticsInputDatasetFacet.json", json!({ "rowCount": counters.applied })),
    });
    let from = match &info.reads {
        Some(source) => view_name(source),
        None => stream_name(info.stream.as_str()),
    };
    let reads = view.plan.as_deref().map(crate::view::ViewPlan::column_reads);
    let mut output = view_dataset(
        namespace,
        view,
        reads.as_ref().map(|reads| (reads, from.as_str())),
    );
    output["outputFacets"] = json!({
        "outputStatistics":
            facet("1-0-2/OutputStatisticsOutputDatasetFacet.json", json!({ "rowCount": info.stats.groups })),
    });
    Described {
        job,
        inputs: vec![input],
        outputs: vec![output],
    }
}

/// A stream with the fields that its schema names.
#[must_use]
pub fn stream_dataset(namespace: &str, stream: &str, schema: Option<&SchemaFacts>) -> Value {
    let mut facets = Map::new();
    if let Some(schema) = schema {
        let fields: Vec<Value> = schema
            .fields
            .iter()
            .enumerate()
            .map(|(at, field)| json!({ "name": field.name, "type": field.kind.as_str(), "ordinal_position": at + 1 }))
            .collect();
        let facet = facet("1-2-0/SchemaDatasetFacet.json", json!({ "fields": fields }));
        facets.insert("schema".to_owned(), facet);
    }
    json!({ "namespace": namespace, "name": stream_name(stream), "facets": facets })
}

/// A view with its columns; `reads` says where they come from, in the dataset of this name.
#[must_use]
pub fn view_dataset(namespace: &str, view: &ViewFacts, reads: Option<(&ColumnReads, &str)>) -> Value {
    let fields: Vec<Value> = view.info.columns.iter().enumerate().map(column).collect();
    let mut facets = Map::new();
    let schema = facet("1-2-0/SchemaDatasetFacet.json", json!({ "fields": fields }));
    facets.insert("schema".to_owned(), schema);
    if let Some((reads, from)) = reads {
        facets.insert("columnLineage".to_owned(), column_lineage(namespace, reads, from));
    }
    json!({ "namespace": namespace, "name": view_name(&view.info.name), "facets": facets })
}

fn column((at, column): (usize, &Column)) -> Value {
    let kind = match column.kind {
        ColumnType::Timestamp => "timestamp",
        ColumnType::Integer => "integer",
        ColumnType::Number => "number",
        ColumnType::Text => "text",
        ColumnType::Boolean => "boolean",
        ColumnType::Json => "json",
        ColumnType::Any => "any",
    };
    json!({ "name": column.name, "type": kind, "ordinal_position": at + 1 })
}

fn column_lineage(namespace: &str, reads: &ColumnReads, from: &str) -> Value {
    let field = |column: &str, kind: &str, subtype: &str| {
        json!({
            "namespace": namespace,
            "name": from,
            "field": column,
            "transformations": [{ "type": kind, "subtype": subtype, "masking": false }],
        })
    };
    let mut fields = Map::new();
    for output in &reads.outputs {
        let subtype = match output.how {
            How::Same => "IDENTITY",
            How::Computed => "TRANSFORMATION",
            How::Aggregated => "AGGREGATION",
        };
        let inputs: Vec<Value> = output
            .columns
            .iter()
            .map(|column| field(column, "DIRECT", subtype))
            .collect();
        fields.insert(output.name.clone(), json!({ "inputFields": inputs }));
    }
    // what every row depends on
    let mut whole = vec![field(&reads.time, "INDIRECT", "WINDOW")];
    let filters: BTreeSet<&String> = reads.filter.iter().chain(&reads.having).collect();
    whole.extend(
        filters
            .into_iter()
            .map(|column| field(column, "INDIRECT", "FILTER")),
    );
    let keys: BTreeSet<&String> = reads.keys.iter().flat_map(|(_, columns)| columns).collect();
    whole.extend(
        keys.into_iter()
            .map(|column| field(column, "INDIRECT", "GROUP_BY")),
    );
    facet(
        "1-2-0/ColumnLineageDatasetFacet.json",
        json!({ "fields": fields, "dataset": whole }),
    )
}

/// An event of a run. `error` is why it failed.
#[must_use]
pub fn run_event(kind: EventType, at: Millis, run: &str, view: &Described, error: Option<&str>) -> Value {
    let mut facets = json!({
        "processing_engine": facet("1-1-1/ProcessingEngineRunFacet.json", json!({
            "name": "tributary", "version": env!("CARGO_PKG_VERSION"),
        })),
    });
    if let Some(error) = error {
        facets["errorMessage"] = facet(
            "1-0-1/ErrorMessageRunFacet.json",
            json!({ "message": error, "programmingLanguage": "SQL" }),
        );
    }
    json!({
        "eventTime": to_rfc3339(at),
        "producer": PRODUCER,
        "schemaURL": format!("{SPEC}RunEvent"),
        "eventType": kind.as_str(),
        "run": { "runId": run, "facets": facets },
        "job": view.job,
        "inputs": view.inputs,
        "outputs": view.outputs,
    })
}

/// What a dataset looks like from now on.
#[must_use]
pub fn dataset_event(at: Millis, dataset: &Value) -> Value {
    // what belongs to a run stays there
    let mut dataset = dataset.clone();
    if let Value::Object(dataset) = &mut dataset {
        dataset.remove("inputFacets");
        dataset.remove("outputFacets");
    }
    json!({
        "eventTime": to_rfc3339(at),
        "producer": PRODUCER,
        "schemaURL": format!("{SPEC}DatasetEvent"),
        "dataset": dataset,
    })
}

#[cfg(test)]
mod tests {
    use tributary_sql::ViewPlan;

    use super::*;

    #[test]
    fn a_run_is_one_definition_of_a_view() {
        let run = run_id("log", "v", 7);
        assert_eq!(run, run_id("log", "v", 7));
        assert_eq!((run.len(), &run[14..15]), (36, "8"), "a UUID of version 8: {run}");
        for other in [
            run_id("log", "v", 8),
            run_id("log", "w", 7),
            run_id("gol", "v", 7),
        ] {
            assert_ne!(run, other);
        }
    }

    #[test]
    fn every_column_says_where_it_comes_from() {
        let sql = "SELECT window_start, site, count(*) AS n, avg(t) AS t_avg FROM TUMBLE(readings, at, INTERVAL '1 minute')
            WHERE kind <> 'x' GROUP BY window_start, site";
        let reads = ViewPlan::compile("v", sql).expect("compiles").column_reads();
        let lineage = column_lineage("plant", &reads, "stream/readings");
        let of = |column: &str| lineage["fields"][column]["inputFields"].clone();
        assert_eq!(of("n"), json!([]));
        assert_eq!(of("site")[0]["transformations"][0]["subtype"], "IDENTITY");
        assert_eq!(
            of("t_avg"),
            json!([{ "namespace": "plant", "name": "stream/readings", "field": "t",
                "transformations": [{ "type": "DIRECT", "subtype": "AGGREGATION", "masking": false }] }])
        );
        let whole: Vec<(&str, &str)> = lineage["dataset"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|field| {
                Some((
                    field["field"].as_str()?,
                    field["transformations"][0]["subtype"].as_str()?,
                ))
            })
            .collect();
        assert_eq!(
            whole,
            [("at", "WINDOW"), ("kind", "FILTER"), ("site", "GROUP_BY")]
        );
    }
}
