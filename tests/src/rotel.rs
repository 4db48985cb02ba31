//! A real OTLP receiver in a process of its own: `rotel`, whose PyPI package ships it as a program. What it
//! receives it prints, and that is read here.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::tools::run;
use crate::{Process, SOON, Tool, free_tcp_port, missing, wait_until};

/// The release whose printed format is read here.
const PACKAGE: &str = "rotel==0.0.1a15";
const PYTHON: Tool = Tool {
    name: "python3",
    hint: "apt-get install python3 python3-venv",
};

/// A span as the receiver saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Span {
    pub service: String,
    pub name: String,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub attributes: Vec<(String, String)>,
    /// Trace and span of each link.
    pub links: Vec<(String, String)>,
    /// Who sent it.
    pub resource: Vec<(String, String)>,
}

impl Span {
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        value(&self.attributes, name)
    }

    #[must_use]
    pub fn of_resource(&self, name: &str) -> Option<&str> {
        value(&self.resource, name)
    }
}

fn value<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = pairs.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_str())
}

/// A receiver that runs.
#[derive(Debug)]
pub struct Rotel {
    process: Process,
    program: PathBuf,
    dir: PathBuf,
    ports: (u16, u16),
    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub endpoint: String,
}

impl Rotel {
    /// Installs it below `tools` if it is not there, and starts it. `None` when it cannot be had, which is told
    /// loudly, and is a failure in CI.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(test: &str, tools: &Path, dir: &Path) -> Option<Self> {
        let python = PYTHON.find(test)?;
        let program = match install(&python, &tools.join("rotel")) {
            Ok(program) => program,
            Err(why) => {
                missing(test, &why);
                return None;
            }
        };
        let ports = (free_tcp_port(), free_tcp_port());
        Some(Self {
            process: serve(&program, dir, ports),
            program,
            dir: dir.to_owned(),
            ports,
            endpoint: format!("http://127.0.0.1:{}", ports.1),
        })
    }

    /// For exporters that speak gRPC.
    #[must_use]
    pub fn grpc_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.0)
    }

    /// Ends it at once, with whatever it holds.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again where it was. What it has printed before stays.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.process = serve(&self.program, &self.dir, self.ports);
    }

    /// The spans that it has received so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        parse(&self.process.log())
    }
}

fn serve(program: &Path, dir: &Path, (grpc, http): (u16, u16)) -> Process {
    let pid_file = dir.join("rotel.pid").display().to_string();
    let args = [
        "start",
        "--otlp-grpc-endpoint",
        &format!("127.0.0.1:{grpc}"),
        "--otlp-http-endpoint",
        &format!("127.0.0.1:{http}"),
        "--debug-log",
        "traces",
        "--debug-log-verbosity",
        "detailed",
        "--exporter",
        "blackhole",
        "--pid-file",
        &pid_file,
    ];
    let process = Process::start(program, args, &[], dir.join("rotel.log"));
    wait_until(SOON, "rotel listens", || {
        std::net::TcpStream::connect(("127.0.0.1", http))
            .map(drop)
            .map_err(|error| error.to_string())
    });
    process
}

/// The program; installed into a virtual environment once, by one test at a time.
fn install(python: &Path, dir: &Path) -> Result<PathBuf, String> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(program) = program(dir) {
        return Ok(program);
    }
    run(Command::new(python).args(["-m", "venv"]).arg(dir))?;
    let pip = dir.join("bin").join("python");
    run(Command::new(pip).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        PACKAGE,
    ]))?;
    program(dir).ok_or_else(|| format!("{PACKAGE} holds no rotel-agent"))
}

/// `lib/python3.N/site-packages/rotel/rotel-agent`.
fn program(dir: &Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(dir.join("lib")).ok()?.flatten();
    let mut programs = versions.map(|version| version.path().join("site-packages/rotel/rotel-agent"));
    programs.find(|program| program.is_file())
}

fn parse(log: &str) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let (mut resource, mut in_resource, mut in_links) = (Vec::new(), true, false);
    for line in log.lines() {
        if line.starts_with("ResourceSpans #") {
            (in_resource, resource) = (true, Vec::new());
        } else if line.starts_with("Span #") {
            (in_resource, in_links) = (false, false);
            spans.push(Span {
                service: value(&resource, "service.name").unwrap_or_default().to_owned(),
                resource: resource.clone(),
                ..Span::default()
            });
        } else if line.starts_with("SpanLink #") {
            in_links = true;
        } else if let Some((key, value)) = attribute(line) {
            match (spans.last_mut().filter(|_| !in_resource), key.as_str()) {
                (None, _) => resource.push((key, value)),
                (Some(span), "Trace ID") if in_links => span.links.push((value, String::new())),
                (Some(span), "ID") if in_links => {
                    if let Some((_, id)) = span.links.last_mut() {
                        *id = value;
                    }
                }
                (Some(_), _) if in_links => {}
                (Some(span), _) => span.attributes.push((key, value)),
            }
        } else if let (Some((key, value)), Some(span)) = (line.split_once(':'), spans.last_mut())
            && !in_resource
        {
            let value = value.trim().to_owned();
            match key.trim() {
                "Trace ID" => span.trace = value,
                "Parent ID" => span.parent = value,
                "ID" => span.id = value,
                "Name" => span.name = value,
                _ => {}
            }
        }
    }
    // the last one may still be half written
    spans.retain(|span| !span.name.is_empty());
    spans
}

/// `     -> tributary.lane: Str(press-7/readings/1)`.
fn attribute(line: &str) -> Option<(String, String)> {
    let (key, value) = line.trim_start().strip_prefix("-> ")?.split_once(": ")?;
    let value = value
        .split_once('(')
        .map_or(value, |(_, inner)| inner.strip_suffix(')').unwrap_or(inner));
    Some((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_from_what_the_receiver_prints() {
        let log = "INFO Starting\nResourceSpans #0\nResource SchemaURL: \nResource attributes:\n     \
                   -> service.name: Str(tributary-agent)\nScopeSpans #0\nInstrumentationScope x \nSpan #0\n    \
                   Trace ID       : 20b4\n    Parent ID      : 5120\n    ID             : 6121\n    \
                   Name           : ship\n    Kind           : SPAN_KIND_INTERNAL\nAttributes:\n     \
                   -> tributary.lane: Str(a/b/1)\n     -> n: Int(3)\nLinks:\nSpanLink #0\n     -> Trace ID: 4bf9\n     \
                   -> ID: 00f0\n     -> TraceState: \nResourceSpans #0\nResource attributes:\n     \
                   -> service.name: Str(tributary-gateway)\nSpan #0\n    Trace ID       : 20b4\n";
        let [span] = &parse(log)[..] else {
            panic!("one whole span")
        };
        assert_eq!(
            (span.service.as_str(), span.name.as_str()),
            ("tributary-agent", "ship")
        );
        assert_eq!(
            (span.trace.as_str(), span.parent.as_str(), span.id.as_str()),
            ("20b4", "5120", "6121")
        );
        assert_eq!(
            (span.attribute("tributary.lane"), span.attribute("n")),
            (Some("a/b/1"), Some("3"))
        );
        assert_eq!(span.links, [("4bf9".to_owned(), "00f0".to_owned())]);
        assert_eq!(span.of_resource("service.name"), Some("tributary-agent"));
    }
}
