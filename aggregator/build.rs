//! Takes the chart library's JavaScript out of the crate that ships it and compresses it, so that the program
//! carries a third of its size and nothing of the crate itself.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::{env, fs};

use flate2::Compression;
use flate2::write::GzEncoder;

const START: &str = "<script type=\"text/javascript\">";
const END: &str = "</script>";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    // the charts' script comes first, one for formulas, which we do not need, second
    let html = plotly::Plot::offline_js_sources();
    let script = html
        .strip_prefix(START)
        .and_then(|rest| rest.split_once(&format!("{END}\n")))
        .map(|(script, _)| script)
        .filter(|script| script.contains("plotly.js v"))
        .ok_or("the plotly crate no longer puts plotly.js into its first script element")?;
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(script.as_bytes())?;
    fs::write(
        Path::new(&env::var("OUT_DIR")?).join("plotly.js.gz"),
        packed.finish()?,
    )?;
    Ok(())
}
