//! A snapshot drawn into a terminal.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::Line as TextLine;
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table};

use super::snapshot::{AGENT_HEAD, Line, STREAM_HEAD, Snapshot, VIEW_HEAD};

/// Lines of the sparkline, with its border.
const SPARK: u16 = 6;

/// What is shown: the newest snapshot, and why there is no newer one.
#[derive(Debug, Default)]
pub struct Seen {
    pub url: String,
    pub snapshot: Snapshot,
    pub trouble: Option<String>,
}

pub fn draw(frame: &mut Frame<'_>, seen: &Seen) {
    let snapshot = &seen.snapshot;
    let [head, spark, streams, agents, views, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(SPARK),
        Constraint::Fill(1),
        Constraint::Fill(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let title = TextLine::from(format!("tributary top  {}  {}", seen.url, snapshot.now));
    frame.render_widget(
        Paragraph::new(vec![title, TextLine::from(snapshot.summary())]),
        head,
    );
    // the newest seconds, one a column
    let columns = usize::from(spark.width.saturating_sub(2));
    let newest = &snapshot.seconds[snapshot.seconds.len().saturating_sub(columns)..];
    let line = Sparkline::default()
        .block(Block::bordered().title("events a second"))
        .data(newest.iter().copied());
    frame.render_widget(line, spark);
    table(frame, streams, "streams", &STREAM_HEAD, &snapshot.streams);
    table(frame, agents, "agents", &AGENT_HEAD, &snapshot.agents);
    table(frame, views, "views", &VIEW_HEAD, &snapshot.views);
    let (text, style) = match &seen.trouble {
        Some(trouble) => (trouble.as_str(), Style::new().fg(Color::Red)),
        None => ("q ends it", Style::new()),
    };
    frame.render_widget(Paragraph::new(text).style(style), foot);
}

fn table(frame: &mut Frame<'_>, area: Rect, name: &str, head: &[&'static str], lines: &[Line]) {
    // the border and the head take three
    let room = usize::from(area.height.saturating_sub(3));
    let title = match lines.len().saturating_sub(room) {
        0 => name.to_owned(),
        more => format!("{name} (the first {room}, {more} more)"),
    };
    let rows = lines.iter().take(room).map(|line| {
        let style = if line.alarming {
            Style::new().fg(Color::Yellow)
        } else {
            Style::new()
        };
        Row::new(line.cells.iter().map(String::as_str)).style(style)
    });
    let widths = head.iter().enumerate().map(|(at, name)| {
        let cells = lines
            .iter()
            .filter_map(|line| line.cells.get(at))
            .map(|cell| cell.chars().count());
        let width = cells.chain([name.len()]).max().unwrap_or(0);
        Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX))
    });
    let table = Table::new(rows, widths)
        .header(Row::new(head.iter().copied()).style(Style::new().bold()))
        .column_spacing(2)
        .block(Block::bordered().title(title));
    frame.render_widget(table, area);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::snapshot::tests::sample;
    use super::*;

    fn drawn(width: u16, height: u16, seen: &Seen) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
        terminal.draw(|frame| draw(frame, seen)).expect("draws");
        let buffer = terminal.backend().buffer().clone();
        let rows = buffer.content().chunks(usize::from(width));
        rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect())
            .collect()
    }

    #[test]
    fn a_mesh_is_drawn_with_its_streams_agents_and_views() {
        let mut seen = Seen {
            url: "http://127.0.0.1:8600".to_owned(),
            snapshot: sample(),
            trouble: None,
        };
        let lines = drawn(100, 30, &seen);
        let text = lines.join("\n");
        assert!(
            lines[0].starts_with("tributary top  http://127.0.0.1:8600  2026-01-31T12:00:00.000Z"),
            "{text}"
        );
        assert!(
            lines[1].starts_with("20 events/s · 1 of 2 agents connected"),
            "{text}"
        );
        assert!(text.contains('█'), "the sparkline: {text}");
        for part in [
            "readings",
            "1,234,567",
            "press-7",
            "25 %",
            "press-8",
            "away",
            "by_site",
            "back-filling",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(lines[29].starts_with("q ends it"), "{text}");
        seen.trouble = Some("no aggregator can be reached".to_owned());
        assert!(drawn(100, 30, &seen)[29].starts_with("no aggregator can be reached"));
    }

    #[test]
    fn what_has_no_room_is_counted_and_a_tiny_terminal_is_no_crash() {
        let mut seen = Seen {
            snapshot: sample(),
            ..Seen::default()
        };
        seen.snapshot.agents = (0..50).flat_map(|_| sample().agents).collect();
        let text = drawn(80, 30, &seen).join("\n");
        assert!(text.contains("agents (the first 4, 96 more)"), "{text}");
        for (width, height) in [(1, 1), (3, 40), (200, 3)] {
            drawn(width, height, &seen);
        }
    }
}
