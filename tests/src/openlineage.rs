//! The JSON Schemas of the OpenLineage standard, as a published package ships them, and a receiver of its events.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::missing;

/// A crate whose own tests have the standard's files beside them.
const PACKAGE: (&str, &str) = ("datafusion-openlineage", "0.0.12");
const PLACE: &str = "tests/schemas/openlineage";

/// The standard's schema and those of its facets, by file name. `None` when they cannot be had, which is told loudly,
/// and is a failure in CI.
#[must_use]
pub fn openlineage_schemas(test: &str) -> Option<Vec<(String, Value)>> {
    match fetch() {
        Ok(schemas) => Some(schemas),
        Err(why) => {
            missing(test, &why);
            None
        }
    }
}

fn fetch() -> Result<Vec<(String, Value)>, String> {
    let (name, version) = PACKAGE;
    let find = || unpacked(&format!("{name}-{version}"));
    if find().is_none() {
        // cargo unpacks what it tells about
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args(["info", "--quiet", "--registry", "crates-io"])
            .arg(format!("{name}@{version}"))
            .current_dir(std::env::temp_dir());
        crate::run(&mut command)?;
    }
    let dir = find().ok_or_else(|| format!("cargo did not unpack {name} {version}"))?;
    let mut files = vec![dir.join("OpenLineage.json")];
    let facets = std::fs::read_dir(dir.join("facets")).map_err(|error| error.to_string())?;
    files.extend(facets.flatten().map(|entry| entry.path()));
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let schema = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Ok((name, schema))
    };
    files.iter().map(read).collect()
}

/// Where cargo keeps the sources of a crate, if it has them.
fn unpacked(package: &str) -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))?;
    let registries = std::fs::read_dir(home.join("registry/src")).ok()?;
    let mut dirs = registries
        .flatten()
        .map(|entry| entry.path().join(package).join(PLACE));
    dirs.find(|dir| dir.join("OpenLineage.json").is_file())
}

/// Takes JSON by POST on loopback, and keeps it. It answers with a status that the test sets.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    status: AtomicU16,
    ended: AtomicBool,
    taken: Mutex<Vec<Value>>,
    refused: Mutex<Vec<Value>>,
}

impl Receiver {
    /// # Panics
    /// When there is no port.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of loopback");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            status: AtomicU16::new(200),
            ended: AtomicBool::new(false),
            taken: Mutex::default(),
            refused: Mutex::default(),
        });
        let work = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if work.ended.load(Ordering::Relaxed) {
                    return;
                }
                let work = Arc::clone(&work);
                // a client that goes away has said nothing
                std::thread::spawn(move || drop(serve(stream, &work)));
            }
        });
        Self { address, shared }
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/api/v1/lineage", self.address)
    }

    /// From now on it answers with this status; what is not answered with success is not taken.
    pub fn answer_with(&self, status: u16) {
        self.shared.status.store(status, Ordering::Relaxed);
    }

    /// Everything that was taken, in order.
    #[must_use]
    pub fn taken(&self) -> Vec<Value> {
        self.shared
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Everything that was answered with no success, in order.
    #[must_use]
    pub fn refused(&self) -> Vec<Value> {
        self.shared
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // wakes the thread that waits for clients
        drop(TcpStream::connect(self.address));
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut len) = (String::new(), 0);
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        line.clear();
        while reader.read_line(&mut line)? > 2 {
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                len = value.trim().parse().unwrap_or(0);
            }
            line.clear();
        }
        let mut body = vec![0; len];
        reader.read_exact(&mut body)?;
        let status = shared.status.load(Ordering::Relaxed);
        let list = if (200..300).contains(&status) {
            &shared.taken
        } else {
            &shared.refused
        };
        let event = serde_json::from_slice(&body).unwrap_or(Value::Null);
        list.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        let answer = format!("HTTP/1.1 {status} told\r\ncontent-length: 0\r\n\r\n");
        reader.get_mut().write_all(answer.as_bytes())?;
    }
}
