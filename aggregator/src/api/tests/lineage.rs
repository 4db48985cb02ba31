//! Events found by their fields, paths that outlive their rows, and the size of the record.

use tributary_shared::wire::{Attempt, Attempts, Context};

use super::*;

const CONTEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn found(
    app: &impl Service<actix_http::Request, Response = ServiceResponse, Error = actix_web::Error>,
    query: &str,
) -> Value {
    let (status, answer) = call(app, get(&format!("/api/v1/events?{query}"))).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

fn seqs(answer: &Value) -> Vec<u64> {
    let events = answer["events"].as_array().expect("events");
    events.iter().filter_map(|event| event["seq"].as_u64()).collect()
}

#[actix_web::test]
async fn events_are_found_by_their_fields_rows_and_dead_letters_alike() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    // t is half of the seq, and the event happened so many ms into the minute; seq 3 is dead, and is hot
    let lane = mesh.commit(1, 20).await;
    mesh.commit(21, 40).await;
    let one = found(&app, "stream=readings&t=7.5").await;
    assert_eq!(
        one["events"][0],
        json!({
            "lineage_id": LineageId::new(lane, 15).to_string(), "agent": "edge-1", "stream": "readings", "epoch": 7,
            "seq": 15, "event_time": "2026-01-31T12:00:00.015Z", "outcome": "valid",
        })
    );
    assert_eq!(
        (seqs(&one).len(), &one["complete"], &one["next"]),
        (1, &json!(true), &Value::Null)
    );
    let dead = found(&app, "stream=readings&t=hot").await;
    assert_eq!(
        (seqs(&dead), &dead["events"][0]["outcome"]),
        (vec![3], &json!("dead_letter"))
    );
    let none = found(&app, "stream=readings&t=7.5&u=1").await;
    assert_eq!(
        seqs(&none),
        Vec::<u64>::new(),
        "all fields must be as they are asked for"
    );
    let from = "from=2026-01-31T12:00:00.016Z";
    assert_eq!(
        seqs(&found(&app, &format!("stream=readings&t=7.5&{from}")).await),
        Vec::<u64>::new()
    );
    assert_eq!(
        seqs(&found(&app, &format!("stream=readings&t=8&{from}")).await),
        [16]
    );
    let entries = found(
        &app,
        &format!("stream=readings&t=x&{from}&to=2026-01-31T12:00:00.018Z"),
    )
    .await;
    assert_eq!(
        entries["scanned_entries"],
        json!(1),
        "not those of other times: {entries}"
    );
    mesh.close().await;
}

#[actix_web::test]
async fn a_search_goes_on_where_it_stopped() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    mesh.commit(1, 20).await;
    mesh.commit(21, 40).await;
    // nothing has a field `none`, so that all rows have null there, and the letter has not
    let (mut all, mut next, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = found(&app, &format!("stream=readings&none=null&limit=7{next}")).await;
        assert!(seqs(&page).len() <= 7);
        all.extend(seqs(&page));
        pages += 1;
        match page["next"].as_str() {
            Some(place) => next = format!("&next={place}"),
            None => break,
        }
    }
    let expected: Vec<u64> = (1..=40).filter(|seq| *seq != 3).collect();
    assert_eq!(all, expected, "each once, in {pages} pages");
    for (query, code) in [
        ("stream=readings", "invalid_query"),
        ("t=1", "invalid_query"),
        ("stream=readings&t=1&next=z", "invalid_query"),
        ("stream=readings&t=1&from=yesterday", "invalid_query"),
    ] {
        let (status, error) = call(&app, get(&format!("/api/v1/events?{query}"))).await;
        assert_eq!(
            (status, &error["error"]["code"]),
            (StatusCode::BAD_REQUEST, &json!(code)),
            "{query}: {error}"
        );
    }
    let (status, error) = call(&app, get("/api/v1/events?stream=nosuch&t=1")).await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("unknown_stream"))
    );
    mesh.close().await;
}

#[actix_web::test]
async fn a_path_leads_to_its_traces_and_says_where_the_event_was_taken_in() {
    let mut mesh = Mesh::start();
    mesh.state.trace_viewer = Some("http://v/{trace_id}".into());
    let app = app(mesh.state.clone()).await;
    let key = lane_key();
    let lane = mesh
        .commit
        .open_lane(key.clone(), 1)
        .await
        .expect("opens")
        .lane_no;
    let mut batch = request(lane, key, 1, 4);
    batch.header.contexts.kept.push(Context {
        first_seq: 1,
        last_seq: 2,
        traceparent: CONTEXT.replace("4736", "4737"),
    });
    batch.header.attempts = Attempts {
        count: 3,
        newest: vec![Attempt {
            first_seq: 1,
            last_seq: 9,
            sent_at: MINUTE + 1,
            ended_at: MINUTE + 2,
            address: "gw-2:1".to_owned(),
            outcome: "lost".to_owned(),
            reason: "the session ended".to_owned(),
            traceparent: Some(CONTEXT.to_owned()),
        }],
    };
    batch.header.segments[0].origin = Some("file:/var/log/a.ndjson@77".to_owned());
    // the dead letter brought a trace context of its application
    let letter = DeadLetter {
        seq: 3,
        reasons: Vec::new(),
        payload: json!({ "t": "hot", "traceparent": CONTEXT })
            .to_string()
            .into_bytes(),
    };
    let letters = rmp_serde::to_vec_named(&vec![letter]).expect("encodes");
    let columns = batch.body.slice(..batch.header.columns_len as usize);
    batch.body = bytes::Bytes::from([&columns[..], &letters].concat());
    batch.header.dead_len = letters.len() as u32;
    batch.header.body_crc = checksum(&batch.body);
    mesh.commit
        .submit(prepare(batch).expect("good"))
        .await
        .expect("answered");
    let (_, path) = call(&app, get("/api/v1/events/edge-1/readings/7/3")).await;
    let collected = &path["hops"][0];
    assert_eq!(
        (
            &collected["input"],
            &collected["file"],
            &collected["offset"],
            &collected["together"]
        ),
        (
            &json!("file"),
            &json!("/var/log/a.ndjson"),
            &json!(77),
            &json!({ "from": 1, "to": 4 })
        ),
        "{path}"
    );
    assert_eq!(
        collected["trace_id"],
        Value::Null,
        "no batch's trace before there is a batch"
    );
    let trace = "0af7651916cd43dd8448eb211c80319c";
    for hop in path["hops"].as_array().expect("hops") {
        let of_batch =
            ["sent", "received", "admitted", "committed"].contains(&hop["hop"].as_str().expect("a name"));
        if of_batch && hop["outcome"].is_null() {
            assert_eq!(
                (&hop["trace_id"], &hop["trace_url"]),
                (&json!(trace), &json!(format!("http://v/{trace}"))),
                "{hop}"
            );
        }
    }
    assert_eq!(
        path["application_trace"],
        json!({
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7",
            "trace_url": "http://v/4bf92f3577b34da6a3ce929d0e0e4736", "of": "event",
        })
    );
    let (_, path) = call(&app, get("/api/v1/events/edge-1/readings/7/2")).await;
    assert_eq!(
        (
            &path["application_trace"]["trace_id"],
            &path["application_trace"]["of"]
        ),
        (&json!("4bf92f3577b34da6a3ce929d0e0e4737"), &json!("request")),
        "the event brought none, its request did: {path}"
    );
    assert_eq!(path["hops"][0]["request"], json!({ "from": 1, "to": 2 }));
    let sent: Vec<&Value> = path["hops"]
        .as_array()
        .expect("hops")
        .iter()
        .filter(|hop| hop["hop"] == "sent")
        .collect();
    let [failed, last] = sent[..] else {
        panic!("{path}")
    };
    assert_eq!(
        (
            &failed["attempt"],
            &failed["address"],
            &failed["outcome"],
            &failed["trace_id"]
        ),
        (
            &json!(3),
            &json!("gw-2:1"),
            &json!("lost"),
            &json!("4bf92f3577b34da6a3ce929d0e0e4736")
        )
    );
    assert_eq!((&last["attempt"], &last["outcome"]), (&json!(4), &Value::Null));
    let (_, path) = call(&app, get("/api/v1/events/edge-1/readings/7/4")).await;
    assert_eq!(path["application_trace"], Value::Null, "nobody brought one");
    mesh.close().await;
}

#[actix_web::test]
async fn a_path_outlives_its_row_and_says_which_part_is_gone() {
    let dir = tempfile::tempdir().expect("dir");
    let mesh = Mesh::start_in(dir.path());
    mesh.commit(1, 4).await;
    mesh.commit(5, 8).await;
    let app_before = app(mesh.state.clone()).await;
    let (_, before) = call(&app_before, get("/api/v1/events/edge-1/readings/7/2")).await;
    let kept = json!({ "row": true, "row_until": null, "hops": true, "hops_until": null });
    assert_eq!(before["kept"], kept, "{before}");
    let (_, size) = call(&app_before, get("/api/v1/lineage")).await;
    assert_eq!(
        (&size["entries"], &size["events"], &size["in_log"]["entries"]),
        (&json!(2), &json!(8), &json!(2)),
        "{size}"
    );
    mesh.close().await;
    crate::commit::tests::trim_all(dir.path());
    let mesh = Mesh::start_in(dir.path());
    let app = app(mesh.state.clone()).await;
    let (status, path) = call(&app, get("/api/v1/events/edge-1/readings/7/2")).await;
    assert_eq!(
        (status, &path["outcome"]),
        (StatusCode::OK, &json!("expired")),
        "{path}"
    );
    let hops = before["hops"].as_array().expect("hops");
    assert_eq!(
        path["hops"].as_array(),
        Some(&hops[..hops.len() - 1].to_vec()),
        "all but `applied`"
    );
    assert_eq!(path["counted_as"], json!("valid"));
    assert_eq!(
        (&path["kept"]["row"], &path["kept"]["hops"]),
        (&json!(false), &json!(true))
    );
    assert!(path["kept"]["row_until"].is_string(), "{path}");
    assert!(
        path["message"]
            .as_str()
            .expect("in words")
            .contains("kept longer"),
        "{path}"
    );
    let (_, dead) = call(&app, get("/api/v1/events/edge-1/readings/7/3")).await;
    assert_eq!(
        (&dead["outcome"], &dead["counted_as"]),
        (&json!("dead_letter"), &json!("dead"))
    );
    assert_eq!(
        (&dead["kept"]["row"], &dead["kept"]["hops"]),
        (&json!(true), &json!(true)),
        "the letter holds what the event said: {dead}"
    );
    let (_, size) = call(&app, get("/api/v1/lineage")).await;
    assert_eq!(
        (
            &size["entries"],
            &size["beyond_the_log"]["events"],
            &size["rows_since"]
        ),
        (&json!(2), &json!(8), &Value::Null),
        "{size}"
    );
    mesh.close().await;
}
