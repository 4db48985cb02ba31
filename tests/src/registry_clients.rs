//! Other people's clients of schema registries, as their package registries ship them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::tools::run;
use crate::{Tool, missing};

const PYTHON: Tool = Tool {
    name: "python3",
    hint: "apt-get install python3 python3-venv",
};
const NODE: Tool = Tool {
    name: "node",
    hint: "apt-get install nodejs",
};
const NPM: Tool = Tool {
    name: "npm",
    hint: "apt-get install npm",
};
const PYTHON_PACKAGE: &str = "confluent-kafka[avro,json,protobuf]==2.16.0";
const NODE_PACKAGE: &str = "@kafkajs/confluent-schema-registry@4.1.0";
/// Written when an installation is whole.
const DONE: &str = "installed";

/// Where the scripts that drive the clients are.
fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Drives the registry at `url` with Python's confluent-kafka. `None` when it cannot be had, which is told
/// loudly, and is a failure in CI; else what the script said.
///
/// # Errors
/// With what the script said, when something was not as it should be.
pub fn confluent_kafka(test: &str, tools: &Path, url: &str) -> Option<Result<String, String>> {
    let python = PYTHON.find(test)?;
    let dir = tools.join("confluent-kafka");
    let own = dir.join("bin").join("python");
    let installed = once(&dir, PYTHON_PACKAGE, || {
        run(Command::new(&python).args(["-m", "venv"]).arg(&dir))?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        run(Command::new(&own).args(pip).arg(PYTHON_PACKAGE))
    });
    if let Err(why) = installed {
        missing(test, &why);
        return None;
    }
    let script = scripts().join("confluent_kafka_client.py");
    Some(said(
        Command::new(own)
            .arg(script)
            .arg(url)
            .env("PYTHONUNBUFFERED", "1"),
    ))
}

/// The same with the npm package `@kafkajs/confluent-schema-registry`.
///
/// # Errors
/// With what the script said, when something was not as it should be.
pub fn kafkajs(test: &str, tools: &Path, url: &str) -> Option<Result<String, String>> {
    let (node, npm) = (NODE.find(test)?, NPM.find(test)?);
    let dir = tools.join("kafkajs");
    let installed = once(&dir, NODE_PACKAGE, || {
        let args = [
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--prefix",
        ];
        run(Command::new(npm).args(args).arg(&dir).arg(NODE_PACKAGE))
    });
    if let Err(why) = installed {
        missing(test, &why);
        return None;
    }
    let script = scripts().join("kafkajs_client.js");
    let modules = dir.join("node_modules");
    Some(said(
        Command::new(node)
            .arg(script)
            .arg(url)
            .env::<_, &OsStr>("NODE_PATH", modules.as_ref()),
    ))
}

/// Installs into a directory that holds nothing else, unless that version is there; one test at a time.
fn once(dir: &Path, package: &str, install: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let done = dir.join(DONE);
    if std::fs::read_to_string(&done).is_ok_and(|version| version == package) {
        return Ok(());
    }
    let io = |error: std::io::Error| format!("{}: {error}", dir.display());
    if dir.exists() {
        std::fs::remove_dir_all(dir).map_err(io)?;
    }
    std::fs::create_dir_all(dir).map_err(io)?;
    install()?;
    std::fs::write(&done, package).map_err(io)
}

fn said(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.concat();
    if output.status.success() {
        Ok(text)
    } else {
        Err(text)
    }
}
