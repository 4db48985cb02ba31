//! The page's files, inside the program.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;

use flate2::read::GzDecoder;

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// One file.
#[derive(Debug)]
pub struct Asset {
    /// Its place under `/assets/`.
    pub name: &'static str,
    pub content_type: &'static str,
    pub bytes: &'static [u8],
    /// `bytes` are gzip-compressed.
    pub gzip: bool,
}

impl Asset {
    /// Changes when the content does.
    pub fn etag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.bytes.len().hash(&mut hasher);
        // of the large file a sample is enough: its bytes are compressed and end with their own checksum
        self.bytes[self.bytes.len().saturating_sub(64 << 10)..].hash(&mut hasher);
        format!("\"{:016x}\"", hasher.finish())
    }

    /// The content of a compressed file, for the rare client that does not take gzip.
    ///
    /// # Errors
    /// When the bytes are not gzip.
    pub fn inflated(&self) -> std::io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        GzDecoder::new(self.bytes).read_to_end(&mut plain)?;
        Ok(plain)
    }
}

macro_rules! own {
    ($name:literal, $content_type:expr) => {
        Asset {
            name: $name,
            content_type: $content_type,
            bytes: include_bytes!(concat!("static/", $name)),
            gzip: false,
        }
    };
}

pub static INDEX: Asset = own!("index.html", "text/html; charset=utf-8");

pub static ALL: &[Asset] = &[
    own!("page.css", "text/css; charset=utf-8"),
    own!("icon.svg", "image/svg+xml"),
    own!("letters.js", JAVASCRIPT),
    own!("main.js", JAVASCRIPT),
    own!("api.js", JAVASCRIPT),
    own!("charts.js", JAVASCRIPT),
    own!("dom.js", JAVASCRIPT),
    own!("format.js", JAVASCRIPT),
    own!("tables.js", JAVASCRIPT),
    own!("views.js", JAVASCRIPT),
    Asset {
        name: "plotly.js",
        content_type: JAVASCRIPT,
        bytes: include_bytes!(concat!(env!("OUT_DIR"), "/plotly.js.gz")),
        gzip: true,
    },
];
