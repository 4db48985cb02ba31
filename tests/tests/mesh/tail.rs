//! Tailed files that are rotated while everything runs.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::ops::Range;
use std::path::Path;

use tributary_tests::{LONG, Mesh, Options, wait_until};

use crate::{integer, program, temp_dir};

const VIEW: &str = "SELECT window_start, window_end, part, count(*) AS n, sum(line) AS lines \
                    FROM TUMBLE(app, ts, INTERVAL '1 hour') GROUP BY window_start, window_end, part";

fn append(path: &Path, part: &str, lines: Range<u64>) {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .expect("a log");
    for line in lines {
        writeln!(
            file,
            r#"{{"ts":"2026-01-01T12:00:00Z","part":"{part}","line":{line}}}"#
        )
        .expect("a line");
    }
}

/// Waits until a part has exactly these lines, each once.
fn wait_for(mesh: &Mesh, part: &str, lines: Range<u64>) {
    let (n, sum) = (lines.end - lines.start, lines.sum::<u64>());
    wait_until(LONG, &format!("every line of {part}, once"), || {
        let rows = mesh.windows("lines")?;
        let row = rows
            .iter()
            .find(|row| row["part"] == part)
            .ok_or_else(|| format!("{rows:?}"))?;
        assert!(integer(row, "n") <= n, "a line came twice: {row}");
        (integer(row, "n") == n && integer(row, "lines") == sum)
            .then_some(())
            .ok_or_else(|| row.to_string())
    });
}

#[test]
fn rotated_files_give_each_line_once_also_when_the_agent_is_killed() {
    let dir = temp_dir();
    let logs = temp_dir();
    let log = logs.path().join("app.log");
    append(&log, "before", 0..1000);
    let options = Options {
        args: vec![
            "--tail".to_owned(),
            format!("app={}/*.log", logs.path().display()),
        ],
        ..Options::default()
    };
    let mesh = Mesh::start(program(), dir.path(), &options);
    mesh.put_view("lines", VIEW);
    wait_for(&mesh, "before", 0..1000);

    // by rename: the writer goes on in the old file for a while
    append(&log, "renamed", 0..500);
    let old = logs.path().join("app.log.1");
    std::fs::rename(&log, &old).expect("rename");
    append(&log, "new", 0..300);
    append(&old, "renamed", 500..800);
    wait_for(&mesh, "renamed", 0..800);
    wait_for(&mesh, "new", 0..300);

    // by truncation; what follows is longer than what was there
    std::fs::write(&log, b"").expect("truncate");
    append(&log, "truncated", 0..2000);
    wait_for(&mesh, "truncated", 0..2000);

    // killed in the middle of it
    append(&log, "killed", 0..3000);
    mesh.kill_and_await_restart("agent");
    append(&log, "killed", 3000..4000);
    wait_for(&mesh, "killed", 0..4000);

    mesh.wait_until_delivered(LONG);
    let lanes = mesh.ledger("app").expect("the ledger");
    let (valid, dead): (u64, u64) = (
        lanes.iter().map(|l| l.valid).sum(),
        lanes.iter().map(|l| l.dead).sum(),
    );
    assert_eq!((valid, dead), (1000 + 800 + 300 + 2000 + 4000, 0), "{lanes:?}");
    assert!(
        lanes.iter().all(tributary_tests::LedgerLane::balances),
        "{lanes:?}"
    );
}
