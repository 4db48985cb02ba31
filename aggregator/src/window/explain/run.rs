//! Reads the log for an explanation: on a thread that may block, an entry at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::handle::EngineHandle;
use super::super::messages::QueryError;
use super::basis::Basis;
use super::cursor::Cursor;
use super::messages::{Asked, ExplainError, ExplainQuery, Explanation, NotKept};
use super::recount::Recount;
use super::walk::Walk;
use crate::commit::{LogPos, LogReader};

/// Groups that the engine is asked for at once; each may be a look at the disk.
const MAX_ASKED: usize = 256;

/// What one page may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Log entries with events of the rows.
    pub ranges: usize,
    pub time: Duration,
}

/// Finds the events that rows of a window were built from. Blocks.
///
/// # Errors
/// [`ExplainError`].
pub fn explain(
    engine: &EngineHandle,
    log: &LogReader,
    view: &str,
    query: ExplainQuery,
    after: Option<Cursor>,
    limits: Limits,
) -> Result<Explanation, ExplainError> {
    let deadline = Instant::now() + limits.time;
    let mut basis = engine.basis_blocking(view.to_owned(), query)?;
    let floor = log.floor()?;
    // what the newest event was before
    basis.late_is_lost = floor > LogPos(0);
    let page = begin(&mut basis, view, after)?;
    let base = basis.plan.name().to_owned();
    let mut owned = |asked: Vec<Asked>| -> Result<Vec<bool>, ExplainError> {
        let mut all = Vec::with_capacity(asked.len());
        for some in asked.chunks(MAX_ASKED) {
            all.extend(engine.owned_blocking(base.clone(), basis.generation, some.to_vec())?);
        }
        Ok(all)
    };
    let mut recount = Recount::behind(page.newest);
    let mut walk = Walk::new(log, &basis, page.after);
    let next = loop {
        let Some(entry) = walk.next()? else { break None };
        let place = entry.pos;
        recount.entry(&basis, &entry.decode()?, &mut owned)?;
        if recount.sure.runs >= limits.ranges || Instant::now() >= deadline {
            break Some(Cursor {
                after: place,
                newest: recount.newest,
                explained: page.explained + recount.sure.events,
                unsure: page.unsure + recount.unsure.events,
                ..page
            });
        }
    };
    let not_kept = match next {
        Some(_) => None,
        None => {
            let floor = log.floor()?;
            let mut lost = not_kept(&basis, &page, &mut recount, floor);
            if let Some(lost) = &mut lost {
                lost.since = log.deleted_at(floor)?;
            }
            lost
        }
    };
    Ok(answer(basis, &page, recount, not_kept, next))
}

/// Where the page begins, and what was said before it.
fn begin(basis: &mut Basis, view: &str, after: Option<Cursor>) -> Result<Cursor, ExplainError> {
    let Some(cursor) = after else {
        return Ok(Cursor {
            generation: basis.generation,
            position: basis.position,
            events: basis.events,
            after: LogPos(0),
            explained: 0,
            unsure: 0,
            newest: None,
        });
    };
    if cursor.generation != basis.generation {
        return Err(QueryError::Replaced(view.to_owned()).into());
    }
    if basis.may_move && basis.until > cursor.position {
        return Err(ExplainError::Changed(view.to_owned()));
    }
    basis.position = cursor.position;
    basis.until = basis.until.min(cursor.position);
    basis.events = cursor.events;
    Ok(cursor)
}

/// What is missing to the rows' count at the end.
fn not_kept(basis: &Basis, page: &Cursor, recount: &mut Recount, floor: LogPos) -> Option<NotKept> {
    let missing = |recount: &Recount| basis.events.saturating_sub(page.explained + recount.sure.events);
    let doubtful = recount.unsure.events;
    // where one answer only is left, there is no doubt
    if doubtful > 0 && page.unsure == 0 && floor == LogPos(0) && missing(recount) == doubtful {
        recount.trust_all();
    }
    let events = missing(recount);
    if events == 0 {
        return None;
    }
    let up_to_position = (floor > LogPos(0)).then_some(floor);
    let mut why = match up_to_position {
        Some(floor) => format!(
            "retention has deleted the log up to position {floor}: which events of it the rows count is not known any more"
        ),
        None => "the log holds no more events of these rows than those that are shown".to_owned(),
    };
    let doubtful = page.unsure + recount.unsure.events;
    if doubtful > 0 {
        why.push_str(&format!(
            "; of {doubtful} events that the log has it cannot be told any more whether they counted in these rows"
        ));
    }
    Some(NotKept {
        events,
        up_to_position,
        since: None,
        why,
    })
}

fn answer(
    basis: Basis,
    page: &Cursor,
    recount: Recount,
    not_kept: Option<NotKept>,
    next: Option<Cursor>,
) -> Explanation {
    let found = recount.sure;
    let explained = found.events;
    let total = page.explained + explained;
    if total > basis.events {
        tracing::warn!(
            view = %basis.view, position = %basis.position, events = basis.events, explained = total,
            "a window is explained by more events than it counts"
        );
    }
    Explanation {
        view: Arc::clone(&basis.view),
        stream: basis.plan.stream().clone(),
        window_start: basis.window.0,
        window_end: basis.window.1,
        groups: basis.groups,
        group: basis.group,
        overflow: basis.overflow,
        events: basis.events,
        position: basis.position,
        explained,
        explained_before: page.explained,
        agents: found.agents(),
        gateways: found.gateways(),
        schemas: found.schemas(),
        lanes: found.lanes(),
        not_kept,
        complete: next.is_none(),
        next: next.map(Cursor::to_text),
    }
}
