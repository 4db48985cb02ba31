//! A collector that keeps what it gets.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Path and body of every request.
pub type Requests = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A collector that takes everything. Its threads end with the process.
pub fn collector() -> (String, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let requests = Requests::default();
    let kept = Arc::clone(&requests);
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || serve(connection, &kept));
        }
    });
    (endpoint, requests)
}

fn serve(connection: TcpStream, kept: &Requests) -> Option<()> {
    let mut reader = BufReader::new(connection);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let path = line.split(' ').nth(1)?.to_owned();
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            let header = header.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        kept.lock().expect("unpoisoned").push((path, body));
        reader
            .get_mut()
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .ok()?;
    }
}

/// Whether a request to this path holds this text: protobuf keeps texts as they are.
pub fn holds(requests: &Requests, path: &str, text: &str) -> bool {
    let requests = requests.lock().expect("unpoisoned");
    let mut bodies = requests.iter().filter(|(to, _)| to == path).map(|(_, body)| body);
    bodies.any(|body| body.windows(text.len()).any(|window| window == text.as_bytes()))
}
