//! The page's files, inside the program.

use std::hash::{DefaultHasher, Hash, Hasher};

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

/// One file.
#[derive(Debug)]
pub struct Asset {
    /// Its place under `/assets/`.
    pub name: &'static str,
    pub content_type: &'static str,
    pub text: &'static str,
}

impl Asset {
    /// Changes when the content does.
    pub fn etag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.text.hash(&mut hasher);
        format!("\"{:016x}\"", hasher.finish())
    }
}

macro_rules! own {
    ($name:literal, $content_type:expr) => {
        Asset {
            name: $name,
            content_type: $content_type,
            text: include_str!(concat!("static/", $name)),
        }
    };
}

pub static INDEX: Asset = own!("index.html", "text/html; charset=utf-8");

pub static ALL: &[Asset] = &[
    own!("page.css", CSS),
    own!("views.css", CSS),
    own!("record.css", CSS),
    own!("icon.svg", "image/svg+xml"),
    own!("acts.js", JAVASCRIPT),
    own!("address.js", JAVASCRIPT),
    own!("api.js", JAVASCRIPT),
    own!("audit.js", JAVASCRIPT),
    own!("auditcheck.js", JAVASCRIPT),
    own!("browse.js", JAVASCRIPT),
    own!("card.js", JAVASCRIPT),
    own!("chart.js", JAVASCRIPT),
    own!("cursor.js", JAVASCRIPT),
    own!("datatable.js", JAVASCRIPT),
    own!("deletedialog.js", JAVASCRIPT),
    own!("detail.js", JAVASCRIPT),
    own!("dom.js", JAVASCRIPT),
    own!("editor.js", JAVASCRIPT),
    own!("event.js", JAVASCRIPT),
    own!("eventsearch.js", JAVASCRIPT),
    own!("explain.js", JAVASCRIPT),
    own!("feed.js", JAVASCRIPT),
    own!("figures.js", JAVASCRIPT),
    own!("format.js", JAVASCRIPT),
    own!("frames.js", JAVASCRIPT),
    own!("graph.js", JAVASCRIPT),
    own!("graphpicture.js", JAVASCRIPT),
    own!("groupfilter.js", JAVASCRIPT),
    own!("heads.js", JAVASCRIPT),
    own!("impact.js", JAVASCRIPT),
    own!("kinds.js", JAVASCRIPT),
    own!("layers.js", JAVASCRIPT),
    own!("legend.js", JAVASCRIPT),
    own!("letters.js", JAVASCRIPT),
    own!("main.js", JAVASCRIPT),
    own!("merkle.js", JAVASCRIPT),
    own!("mesh.js", JAVASCRIPT),
    own!("missing.js", JAVASCRIPT),
    own!("origins.js", JAVASCRIPT),
    own!("originspicture.js", JAVASCRIPT),
    own!("path.js", JAVASCRIPT),
    own!("pathpicture.js", JAVASCRIPT),
    own!("plaintable.js", JAVASCRIPT),
    own!("plot.js", JAVASCRIPT),
    own!("range.js", JAVASCRIPT),
    own!("rows.js", JAVASCRIPT),
    own!("scale.js", JAVASCRIPT),
    own!("sections.js", JAVASCRIPT),
    own!("series.js", JAVASCRIPT),
    own!("sha256.js", JAVASCRIPT),
    own!("spark.js", JAVASCRIPT),
    own!("status.js", JAVASCRIPT),
    own!("svg.js", JAVASCRIPT),
    own!("tables.js", JAVASCRIPT),
    own!("theme.js", JAVASCRIPT),
    own!("viewform.js", JAVASCRIPT),
    own!("views.js", JAVASCRIPT),
];
