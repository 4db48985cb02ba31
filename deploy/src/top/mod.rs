//! `tributary top`: throughput, lag and views of a mesh, live in a terminal.

pub mod cli;
mod draw;
mod snapshot;

use std::io::{self, IsTerminal as _};
use std::sync::mpsc::{self, TryRecvError};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use crate::out;
use crate::schema::api;
use crate::schema::cli::ApiArgs;
use cli::TopArgs;
use draw::{Seen, draw};
use snapshot::Snapshot;

/// Between two snapshots.
const EVERY: Duration = Duration::from_secs(1);
/// Between two looks at the keyboard and for a new snapshot.
const LOOK: Duration = Duration::from_millis(100);

/// # Errors
/// When the aggregator cannot be reached at first, or the terminal cannot be used.
pub fn run(args: &TopArgs) -> anyhow::Result<()> {
    let first = fetch(&args.url)?;
    if args.once || !io::stdout().is_terminal() {
        return Ok(out::line(first.text().trim_end())?);
    }
    let mut terminal = ratatui::try_init()?;
    let seen = Seen {
        url: args.url.clone(),
        snapshot: first,
        trouble: None,
    };
    let ended = follow(&mut terminal, seen);
    // also after an error: the shell wants its terminal back
    ratatui::try_restore()?;
    ended
}

fn fetch(url: &str) -> anyhow::Result<Snapshot> {
    let args = ApiArgs {
        http: url.to_owned(),
        json: true,
    };
    let get = |path: &str| api::get(&args, path, &[]);
    Ok(Snapshot::read(
        &get("/api/v1/throughput")?,
        &get("/api/v1/streams")?,
        &get("/api/v1/agents")?,
        &get("/api/v1/views")?,
    ))
}

/// Draws until a key ends it. Snapshots are fetched on a thread of their own, so that a mesh that hangs does not keep the
/// keyboard from being heard.
fn follow(terminal: &mut ratatui::DefaultTerminal, mut seen: Seen) -> anyhow::Result<()> {
    let (sender, snapshots) = mpsc::sync_channel(1);
    let url = seen.url.clone();
    std::thread::Builder::new()
        .name("top".to_owned())
        .spawn(move || {
            while sender.send(fetch(&url)).is_ok() {
                std::thread::sleep(EVERY);
            }
        })?;
    loop {
        match snapshots.try_recv() {
            Ok(Ok(snapshot)) => (seen.snapshot, seen.trouble) = (snapshot, None),
            Ok(Err(error)) => seen.trouble = Some(format!("{error:#}")),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => anyhow::bail!("the thread that asks the aggregator has ended"),
        }
        terminal.draw(|frame| draw(frame, &seen))?;
        if event::poll(LOOK)? && ends(&event::read()?) {
            return Ok(());
        }
    }
}

fn ends(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    if key.kind == KeyEventKind::Release {
        return false;
    }
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => true,
        KeyCode::Char('c') => key.modifiers.contains(KeyModifiers::CONTROL),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::KeyEvent;

    use super::*;

    #[test]
    fn the_keys_that_end_it() {
        let key = |code, modifiers| ends(&Event::Key(KeyEvent::new(code, modifiers)));
        assert!(key(KeyCode::Char('q'), KeyModifiers::NONE));
        assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(!key(KeyCode::Char('c'), KeyModifiers::NONE));
        assert!(!ends(&Event::Resize(80, 24)));
    }
}
