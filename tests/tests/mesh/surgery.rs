//! Bytes changed in the files of a stopped process, as a bad disk does.

use std::fs::OpenOptions;

use tributary_tests::{LONG, LedgerLane, Metrics, SOON, http, wait_until};

use crate::site::{Site, delivered, garble, post, sums};
use crate::{flow, injected};

const STREAM: &str = "app";
/// A page of the spool's database.
const PAGE: u64 = 8_192;

#[test]
fn an_agent_whose_database_is_garbage_sets_it_aside_says_so_and_takes_new_events() {
    let test = "an_agent_whose_database_is_garbage_sets_it_aside_says_so_and_takes_new_events";
    let site = Site::new();
    let (mut agent, intake) = site.agent();
    post(&intake, STREAM, 200);
    // a drained agent has everything in the database itself
    agent.stop();
    let spool = site.at("agent/spool/spool.db");
    // the header stays: it still says that it is a database
    garble(&spool, 100, 6 * PAGE);

    let (mut agent, intake) = site.agent();
    let status = http::get_json(&format!("{intake}/v1/status")).expect("the status");
    let aside = status["spool"]["quarantined"].as_str().expect("it says so");
    let kept = site.at("agent/spool").join(aside);
    assert!(kept.exists(), "{aside} is kept for whoever can read it");
    let (mut gateway, (mut aggregator, api)) = (site.gateway(), site.aggregator());
    post(&intake, STREAM, 50);
    let ledger = delivered(&api, &intake, STREAM);
    let (valid, _) = sums(&ledger);
    assert!(
        (50..=250).contains(&valid),
        "the new ones and no invented ones: {ledger:?}"
    );
    injected(test, "garbage in spool.db", 1);
    for role in [&mut agent, &mut gateway, &mut aggregator] {
        role.stop();
    }
}

#[test]
fn events_of_a_damaged_block_are_named_in_the_ledger_and_all_others_are_counted() {
    let test = "events_of_a_damaged_block_are_named_in_the_ledger_and_all_others_are_counted";
    let site = Site::new();
    let (mut agent, intake) = site.agent();
    for _ in 0..4 {
        // one block each
        post(&intake, STREAM, 30);
    }
    agent.stop();
    let spool = site.at("agent/spool/spool.db");
    let size = std::fs::metadata(&spool).expect("the spool").len();
    // bodies are long chains of pages of their own, each of which begins with the number of the next
    garble(&spool, size / 2 / PAGE * PAGE + 64, 512);

    let (mut agent, intake) = site.agent();
    let (mut gateway, (mut aggregator, api)) = (site.gateway(), site.aggregator());
    post(&intake, STREAM, 50);
    let ledger = delivered(&api, &intake, STREAM);
    assert_eq!(sums(&ledger), (140, 30), "{ledger:?}");
    let reasons: Vec<&str> = ledger
        .iter()
        .flat_map(|lane| &lane.dropped)
        .map(|run| run.reason.as_str())
        .collect();
    assert_eq!(reasons, ["damaged"]);
    let metrics = Metrics::scrape(&intake).expect("the agent's metrics");
    let counted = metrics.sum("tributary_spool_dropped_events_total", &[("reason", "damaged")]);
    assert_eq!(counted, 30.0, "what the ledger names, the metric counts");
    injected(test, "garbage in a block of the spool", 1);
    for role in [&mut agent, &mut gateway, &mut aggregator] {
        role.stop();
    }
}

#[test]
fn an_aggregator_whose_log_lost_its_tail_names_in_the_ledger_what_is_gone() {
    let test = "an_aggregator_whose_log_lost_its_tail_names_in_the_ledger_what_is_gone";
    let site = Site::new();
    let (mut agent, intake) = site.agent();
    let mut gateway = site.gateway();
    let (mut aggregator, api) = site.aggregator();
    for _ in 0..6 {
        post(&intake, STREAM, 20);
        delivered(&api, &intake, STREAM);
    }
    aggregator.process.kill();
    let wal = site.at("aggregator").join("log.db-wal");
    let size = std::fs::metadata(&wal)
        .expect("a killed aggregator leaves its WAL")
        .len();
    assert!(size > 0, "there is a tail to cut");
    let log = OpenOptions::new().write(true).open(&wal).expect("the WAL");
    // in the middle of a frame: the last commits are not whole any more
    log.set_len(size * 2 / 3 + 17).expect("a cut");
    drop(log);

    let (mut aggregator, api) = site.aggregator();
    let before = sums(&wait_until(SOON, "the ledger", || flow::ledger(&api, STREAM)));
    assert!(before.0 < 120, "something was forgotten: {before:?}");
    post(&intake, STREAM, 30);
    wait_until(LONG, "new events are committed, and the old ones named", || {
        let ledger = flow::ledger(&api, STREAM)?;
        let (valid, dropped) = sums(&ledger);
        (valid + dropped == 150 && ledger.iter().all(LedgerLane::balances))
            .then_some(())
            .ok_or_else(|| format!("{ledger:?}"))
    });
    let (valid, dropped) = sums(&delivered(&api, &intake, STREAM));
    assert_eq!(
        (valid, dropped),
        (before.0 + 30, 120 - before.0),
        "what is gone is named"
    );
    injected(test, "tail of log.db-wal cut off", 1);
    for role in [&mut agent, &mut gateway, &mut aggregator] {
        role.stop();
    }
}
