//! `tributary spool`: an operator's hands on an agent's spool while the agent does not run.

use std::io::{self, BufWriter, Write as _};
use std::process::ExitCode;

use edge_agent::spool::offline::{Access, Dropped, Event, LaneStat, Offline};
use serde_json::value::RawValue;
use tributary_shared::ids::Epoch;
use tributary_shared::program::EXIT_FAILED;
use tributary_shared::time::to_rfc3339;

use crate::cli::{SpoolCommand, SpoolDir, SpoolDropArgs};
use crate::out;

/// Drop records of a lane that `stat` lists.
const SHOWN_DROPS: usize = 20;

/// Exit code 1 means that the spool is damaged, or that `drop` was not told `--yes`.
///
/// # Errors
/// When there is no spool, an agent has it, or it cannot be read.
pub fn run(command: &SpoolCommand) -> anyhow::Result<ExitCode> {
    match command {
        SpoolCommand::Stat(dir) => stat(dir),
        SpoolCommand::Fsck(dir) => fsck(dir),
        SpoolCommand::Export { dir, stream } => {
            let spool = Offline::open(&dir.dir, Access::Read)?;
            let mut out = BufWriter::new(io::stdout().lock());
            let damaged = spool.export(stream.as_ref(), |event| line(&mut out, event))?;
            out.flush()?;
            for block in &damaged {
                out::error_line(format_args!("left out, damaged: {block}"));
            }
            Ok(done(damaged.is_empty()))
        }
        SpoolCommand::Drop(args) => drop_events(args),
    }
}

fn done(well: bool) -> ExitCode {
    if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_FAILED)
    }
}

fn stat(dir: &SpoolDir) -> anyhow::Result<ExitCode> {
    let spool = Offline::open(&dir.dir, Access::Read)?;
    let lanes = spool.lanes()?;
    let held: u64 = lanes.iter().map(|lane| lane.held_events).sum();
    out::line(format_args!(
        "agent {}: {held} events held in {} lanes, {} bytes on disk",
        spool.agent(),
        lanes.len(),
        spool.bytes()
    ))?;
    lanes.iter().try_for_each(|lane| out::line(lane_text(lane)))?;
    Ok(ExitCode::SUCCESS)
}

fn lane_text(lane: &LaneStat) -> String {
    let active = if lane.active { ", active" } else { "" };
    let mut text = format!(
        "  {}/{}{active}: committed to {}, next {}, {} events held in {} bytes",
        lane.stream, lane.epoch, lane.committed_seq, lane.next_seq, lane.held_events, lane.held_bytes
    );
    for drop in lane.dropped.iter().take(SHOWN_DROPS) {
        let (first, last, reason) = (drop.range.first, drop.range.last, &drop.reason);
        text += &format!("\n    dropped {first}..{last} ({}): {reason}", drop.count());
    }
    let more = lane.dropped.len().saturating_sub(SHOWN_DROPS);
    if more > 0 {
        text += &format!("\n    and {more} more drops");
    }
    text
}

fn fsck(dir: &SpoolDir) -> anyhow::Result<ExitCode> {
    let spool = Offline::open(&dir.dir, Access::Read)?;
    let found = spool.check()?;
    found.told.iter().try_for_each(out::line)?;
    let hidden = found.wrong - found.told.len() as u64;
    if hidden > 0 {
        out::line(format_args!("and {hidden} more"))?;
    }
    let verdict = match found.wrong {
        0 => "nothing is wrong".to_owned(),
        1 => "1 thing is wrong".to_owned(),
        wrong => format!("{wrong} things are wrong"),
    };
    out::line(format_args!(
        "{} lanes, {} blocks, {} whole events: {verdict}",
        found.lanes, found.blocks, found.events
    ))?;
    Ok(done(found.wrong == 0))
}

#[derive(Debug, serde::Serialize)]
struct Exported<'a> {
    agent: &'a str,
    stream: &'a str,
    epoch: u64,
    seq: u64,
    collected_at: String,
    /// JSON as it came, or any other bytes as text.
    payload: Payload<'a>,
}

#[derive(Debug, serde::Serialize)]
#[serde(untagged)]
enum Payload<'a> {
    Json(Box<RawValue>),
    Text(std::borrow::Cow<'a, str>),
}

/// One event as one line.
fn line(out: &mut impl io::Write, event: Event<'_>) -> io::Result<()> {
    let text = String::from_utf8_lossy(event.payload);
    // a line end in a JSON text is white space between its tokens, and would end our line
    let payload = match RawValue::from_string(text.replace(['\n', '\r'], " ")) {
        Ok(json) => Payload::Json(json),
        Err(_) => Payload::Text(text),
    };
    let exported = Exported {
        agent: event.agent.as_str(),
        stream: event.stream.as_str(),
        epoch: event.epoch.0,
        seq: event.seq,
        collected_at: to_rfc3339(event.collected_at),
        payload,
    };
    serde_json::to_writer(&mut *out, &exported)?;
    out.write_all(b"\n")
}

fn drop_events(args: &SpoolDropArgs) -> anyhow::Result<ExitCode> {
    let epoch = args.epoch.map(Epoch);
    let access = if args.yes { Access::Write } else { Access::Read };
    let spool = Offline::open(&args.dir.dir, access)?;
    let dropped = if args.yes {
        spool.drop_events(&args.stream, epoch, args.to)?
    } else {
        spool.would_drop(&args.stream, epoch, args.to)?
    };
    let verb = if args.yes { "dropped" } else { "would drop" };
    let tell = |dropped: &Dropped| {
        let (range, lane) = (dropped.range, format!("{}/{}", dropped.stream, dropped.epoch));
        let events = dropped.events;
        out::line(format_args!(
            "{verb} {events} events of {lane}, seqs {} to {}",
            range.first, range.last
        ))
    };
    dropped.iter().try_for_each(tell)?;
    if dropped.is_empty() {
        out::line("no whole block lies in what was asked for: nothing to drop")?;
        return Ok(ExitCode::SUCCESS);
    }
    if !args.yes {
        out::error_line("nothing was dropped: say --yes to give these events up for ever");
    }
    Ok(done(args.yes))
}
