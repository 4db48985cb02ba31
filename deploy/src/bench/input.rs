//! The files that the agents tail, made before the clock starts.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use tributary_shared::time::{Millis, now_millis};

use super::check;
use super::mesh::Places;
use crate::workload::{Generator, Workload};

/// The events of a backlog lie within so many milliseconds of event time, up to now.
const SPREAD: Millis = 60_000;
/// Lines between two looks at whether the run is over.
const BLOCK: u64 = 4_096;

/// Files that are ready and that no agent sees yet.
#[derive(Debug)]
pub struct Inputs {
    /// Made as the first, tailed as the second.
    files: Vec<(PathBuf, PathBuf)>,
    /// Bytes of all files.
    pub bytes: u64,
}

impl Inputs {
    /// Writes the events, evenly over the agents.
    ///
    /// # Errors
    /// Those of the file system, and when the run was cancelled.
    pub fn prepare(
        places: &Places,
        workload: Workload,
        events: u64,
        seed: u64,
        cancelled: &AtomicBool,
    ) -> anyhow::Result<Self> {
        let agents = places.agents.len() as u64;
        let base = now_millis() - SPREAD;
        let mut inputs = Self {
            files: Vec::new(),
            bytes: 0,
        };
        for (n, agent) in (0..).zip(&places.agents) {
            let count = events / agents + u64::from(n < events % agents);
            let hidden = agent.input.join("backlog.hidden");
            let mut file = BufWriter::with_capacity(1 << 20, File::create(&hidden)?);
            let mut generator = Generator::new(workload, seed.wrapping_add(n));
            let mut lines = Vec::new();
            for first in (0..count).step_by(BLOCK as usize) {
                check(cancelled)?;
                lines.clear();
                for event in first..count.min(first + BLOCK) {
                    // below 2^63: a minute's milliseconds times the events of a bench
                    let offset = (event as i128 * i128::from(SPREAD) / i128::from(count)) as Millis;
                    generator.line(&mut lines, base + offset);
                }
                file.write_all(&lines)?;
                inputs.bytes += lines.len() as u64;
            }
            // what is written back later would be counted to nobody, and slow somebody
            file.into_inner()
                .map_err(io::IntoInnerError::into_error)?
                .sync_all()?;
            inputs.files.push((hidden, agent.input.join("backlog.ndjson")));
        }
        Ok(inputs)
    }

    /// Lets the agents see the files.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn reveal(self) -> io::Result<()> {
        self.files
            .into_iter()
            .try_for_each(|(hidden, tailed)| fs::rename(hidden, tailed))
    }
}
