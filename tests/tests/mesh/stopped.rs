//! SIGSTOP: a process that is there and does nothing, as on a machine that swaps or a disk that hangs.

use crate::{flow, injected, mesh, temp_dir};

const STREAM: &str = "readings";
const TIMES: u64 = 4;
/// Requests that are accepted while the process is stopped, and before the next time.
const MEANWHILE: u64 = 60;

fn every_accepted_event_is_counted_once_while_stopped(test: &str, role: &str) {
    let dir = temp_dir();
    let mesh = mesh(&dir);
    flow::put_view(&mesh, STREAM);
    let posted = flow::while_events_flow(&mesh.ready().intake, STREAM, |flow| {
        for _ in 0..TIMES {
            let paused = mesh.pause(role);
            flow.wait_for_more(MEANWHILE);
            drop(paused);
            flow.wait_for_more(MEANWHILE);
        }
    });
    flow::check(&mesh, STREAM, &posted, flow::BATCH);
    injected(test, &format!("SIGSTOP of the {role}"), TIMES);
}

#[test]
fn every_accepted_event_is_counted_once_while_the_gateway_is_stopped_and_continued() {
    every_accepted_event_is_counted_once_while_stopped(
        "every_accepted_event_is_counted_once_while_the_gateway_is_stopped_and_continued",
        "gateway",
    );
}

#[test]
fn every_accepted_event_is_counted_once_while_the_aggregator_is_stopped_and_continued() {
    every_accepted_event_is_counted_once_while_stopped(
        "every_accepted_event_is_counted_once_while_the_aggregator_is_stopped_and_continued",
        "aggregator",
    );
}
