//! `tributary soak`, as short as it can be and still harm something.

use std::process::Command;

use crate::{injected, program, temp_dir};

#[test]
fn a_soak_harms_the_mesh_counts_every_request_and_writes_its_report() {
    let test = "a_soak_harms_the_mesh_counts_every_request_and_writes_its_report";
    let dir = temp_dir();
    let report = dir.path().join("report.md");
    // this seed begins with faults that the mesh is over at once: an agent is stopped, another one's address changes, and
    // it is killed
    let run = "soak --minutes 0.06 --rate 400 --fault-every 1 --seed 179 --dir";
    let mut soak = Command::new(program());
    soak.args(run.split(' '))
        .arg(dir.path())
        .arg("--report")
        .arg(&report);
    let output = soak.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}{errors}");
    let report = std::fs::read_to_string(&report).expect("a report");
    assert!(report.starts_with("# Soak: passed\n"), "{report}");
    assert!(report.contains("| events accepted | 1440 |"), "{report}");
    assert!(report.contains("| kill -9 | agent-2 | 1 |"), "{report}");
    let faults = report
        .lines()
        .find_map(|line| line.split_once(" faults. ")?.0.parse().ok());
    injected(test, "of any kind, by a soak", faults.expect("how many faults"));
}
