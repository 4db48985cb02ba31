//! Other people's clients of schema registries, as their package registries ship them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages::{npm_package, once};
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
const PYTHON_PACKAGE: &str = "confluent-kafka[avro,json,protobuf]==2.16.0";
const NODE_PACKAGE: &str = "@kafkajs/confluent-schema-registry@4.1.0";

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
    let node = NODE.find(test)?;
    let dir = npm_package(test, &tools.join("kafkajs"), NODE_PACKAGE)?;
    let script = scripts().join("kafkajs_client.js");
    Some(said(
        Command::new(node)
            .arg(script)
            .arg(url)
            .env::<_, &OsStr>("NODE_PATH", dir.as_ref()),
    ))
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
