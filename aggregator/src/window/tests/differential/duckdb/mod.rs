//! Random views over random streams give what DuckDB gives on the same rows after the fact, for what SQLite lacks.
//!
//! The cases are written to files, with our answers; a script asks DuckDB and compares. `TRIBUTARY_DUCKDB_CASES` says how
//! many cases there are, `TRIBUTARY_DUCKDB_FROM` which is the first. Without it the test runs in CI only: it installs
//! DuckDB with Python's package manager.

mod cases;
mod expressions;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value as Json, json};

pub(super) use self::cases::days;
use self::cases::{DuckCase, Kind};
use super::choice::Choice;
use super::{Value, in_ci, number, ours};

const PACKAGE: &str = "duckdb==2.0.0";
const CASES_IN_CI: u64 = 2_000;

/// Writes the rows of a case, and what is to be compared.
fn write(seed: u64, rows: &mut impl Write, cases: &mut impl Write) -> std::io::Result<()> {
    let mut choice = Choice::new(seed);
    let DuckCase { case, keys, kinds } = DuckCase::new(&mut choice);
    for (nth, row) in case.rows.iter().enumerate() {
        let mut row_of = row.json.clone();
        row_of["seed"] = json!(seed);
        row_of["arrived"] = json!(nth);
        row_of["ms"] = json!(row.at);
        writeln!(rows, "{row_of}")?;
    }
    let found: Vec<Vec<Json>> = ours(&case, &mut choice)
        .iter()
        .map(|row| row.iter().map(as_json).collect())
        .collect();
    let kinds: Vec<&str> = kinds.iter().copied().map(Kind::name).collect();
    let view = case
        .over
        .map_or_else(|| case.ours.clone(), |over| format!("{}; {over}", case.ours));
    let case = json!({"seed": seed, "view": view, "theirs": case.theirs, "keys": keys, "kinds": kinds, "ours": found});
    writeln!(cases, "{case}")
}

fn as_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Number(number) => json!(number),
        Value::Text(text) => json!(text),
    }
}

/// Python with DuckDB, in the build's directory, so that it is installed once.
fn python() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a file");
    let target = test.ancestors().nth(3).expect("the build's directory");
    let dir = target.join("tmp").join("duckdb-differential");
    let (python, done) = (dir.join("bin").join("python"), dir.join("installed"));
    if std::fs::read_to_string(&done).is_ok_and(|version| version == PACKAGE) {
        return python;
    }
    if dir.exists() {
        std::fs::remove_dir_all(&dir).expect("half an installation goes");
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&dir));
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        PACKAGE,
    ];
    run(Command::new(&python).args(pip));
    std::fs::write(done, PACKAGE).expect("writes");
    python
}

fn run(command: &mut Command) {
    let status = command
        .status()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

#[test]
fn random_views_over_random_streams_give_what_duckdb_gives() {
    let cases = number("TRIBUTARY_DUCKDB_CASES", if in_ci() { CASES_IN_CI } else { 0 });
    if cases == 0 {
        // standard error itself: the harness keeps back what a passing test prints
        let skipped =
            "\n*** SKIPPED: views were NOT compared with DuckDB: set TRIBUTARY_DUCKDB_CASES or CI=true\n";
        let _ = std::io::stderr().write_all(skipped.as_bytes());
        return;
    }
    let first = number("TRIBUTARY_DUCKDB_FROM", 1);
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str| BufWriter::new(File::create(dir.path().join(name)).expect("creates"));
    let (mut rows, mut all) = (file("rows.jsonl"), file("cases.jsonl"));
    for seed in first..first + cases {
        write(seed, &mut rows, &mut all).expect("writes");
    }
    rows.flush().and_then(|()| all.flush()).expect("writes");
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join("duckdb_check.py");
    let output = Command::new(python())
        .arg(script)
        .arg(dir.path())
        .output()
        .expect("Python runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    println!("{said}");
}
