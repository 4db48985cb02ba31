//! Writes the seeds of the fuzz targets as files, where `cargo fuzz` begins: `DIR/TARGET/NUMBER`.

use std::path::PathBuf;

use tributary_tests::fuzz::{TARGETS, seeds};

fn main() -> std::io::Result<()> {
    let dir = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| "fuzz/corpus".into()));
    for (target, _) in TARGETS {
        let dir = dir.join(target);
        std::fs::create_dir_all(&dir)?;
        for (number, seed) in seeds(target).iter().enumerate() {
            std::fs::write(dir.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
