//! ENOSPC: the disk of a process is full to the last byte while events flow, and then has room again.

use serde_json::json;
use tributary_tests::{LONG, SOON, Tmpfs, http, is_root, wait_until};

use crate::{flow, injected, mesh, temp_dir};

const STREAM: &str = "readings";
/// Enough for a spool or a log that a test fills, and its WAL.
const DISK_MIB: u32 = 48;
const TIMES: u64 = 2;

#[test]
fn an_agent_on_a_full_disk_refuses_new_events_clearly_and_goes_on_by_itself_when_there_is_room() {
    let test = "an_agent_on_a_full_disk_refuses_new_events_clearly_and_goes_on_by_itself_when_there_is_room";
    if !is_root(test) {
        return;
    }
    let dir = temp_dir();
    let disk = Tmpfs::mount(&dir.path().join("agent"), DISK_MIB);
    let mesh = mesh(&dir);
    flow::put_view(&mesh, STREAM);
    let pid = mesh.pid("agent");
    let intake = mesh.ready().intake.clone();
    let posted = flow::while_events_flow(&intake, STREAM, |flow| {
        for _ in 0..TIMES {
            disk.fill();
            let url = format!("{intake}/v1/streams/other/events");
            let refused = wait_until(SOON, "an event is refused", || {
                let event = json!({ "n": 1, "text": "x".repeat(4_096) });
                let body: Vec<u8> = format!("{event}\n").repeat(8).into_bytes();
                let answer =
                    http::post(&url, "application/x-ndjson", &body).map_err(|error| error.to_string())?;
                (answer.status != 200)
                    .then_some(answer)
                    .ok_or_else(|| "it was taken".to_owned())
            });
            assert!(matches!(refused.status, 429 | 503), "{refused:?}");
            let code = refused.json()["error"]["code"].clone();
            assert!(code == "spool_full" || code == "spool_unavailable", "{refused:?}");
            http::get_json(&format!("{intake}/v1/status")).expect("the agent answers");
            disk.free();
            flow.wait_for_more(20);
        }
    });
    assert_eq!(mesh.pid("agent"), pid, "the agent stayed up");
    flow::check(&mesh, STREAM, &posted, flow::BATCH);
    injected(test, "ENOSPC of the spool", TIMES);
}

#[test]
fn an_aggregator_on_a_full_disk_loses_nothing_and_goes_on_when_there_is_room() {
    let test = "an_aggregator_on_a_full_disk_loses_nothing_and_goes_on_when_there_is_room";
    if !is_root(test) {
        return;
    }
    let dir = temp_dir();
    let disk = Tmpfs::mount(&dir.path().join("aggregator"), DISK_MIB);
    let mesh = mesh(&dir);
    flow::put_view(&mesh, STREAM);
    let posted = flow::while_events_flow(&mesh.ready().intake, STREAM, |flow| {
        for _ in 0..TIMES {
            disk.fill();
            // the aggregator takes no more: the agent holds what comes
            wait_until(LONG, "the agent holds what the aggregator cannot commit", || {
                let status = mesh.agent_status()?;
                let held = status["lanes"][0]["held_events"].as_u64().unwrap_or(0);
                (held >= 20 * flow::BATCH)
                    .then_some(())
                    .ok_or_else(|| status.to_string())
            });
            disk.free();
            flow.wait_for_more(20);
        }
    });
    flow::check(&mesh, STREAM, &posted, flow::BATCH);
    injected(test, "ENOSPC of the aggregator", TIMES);
}
