//! What the engine begins with: clocks, definitions, and the newest windows. Older ones stay on disk until somebody
//! needs them.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::Row;
use tributary_shared::ids::{AgentId, LaneNo, SeqRange, StreamName};
use tributary_shared::time::Millis;

use super::cold::{StoredWindows, facts};
use super::{LoadReport, StoreError, Stored, ViewStore};
use crate::commit::LogPos;
use crate::view::{ViewError, ViewPlan};
use crate::window::messages::{GroupState, LaneWatermark, LateLine, StateError, ViewCounters};
use crate::window::{Engine, WindowFacts};

/// Views before those that read them; otherwise by name, and of one name the older definition first.
fn in_order(mut stored: Vec<Stored>) -> Vec<Stored> {
    let mut ordered = Vec::with_capacity(stored.len());
    let mut known: BTreeMap<Arc<str>, Arc<ViewPlan>> = BTreeMap::new();
    loop {
        let compiles = |stored: &Stored| {
            let plan = ViewPlan::compile_over(&stored.def.name, &stored.def.sql, &known).ok()?;
            Some((Arc::clone(&plan.name), Arc::new(plan)))
        };
        let found: BTreeMap<_, _> = stored.iter().filter_map(compiles).collect();
        if found.is_empty() {
            // what does not compile over any of the others is told as refused
            ordered.extend(stored);
            return ordered;
        }
        let (ready, rest) = stored
            .into_iter()
            .partition(|stored| found.contains_key(stored.def.name.as_str()));
        ordered.extend::<Vec<Stored>>(ready);
        stored = rest;
        known.extend(found);
    }
}

impl ViewStore {
    /// Loads clocks, views and windows into a new engine. The log behind [`Engine::position`] must be applied
    /// next, and what [`Engine::behind`] names must catch up.
    ///
    /// # Errors
    /// When SQLite fails. State that cannot be read is no error: see [`LoadReport`].
    pub fn load_into(&self, engine: &mut Engine) -> Result<LoadReport, StoreError> {
        let position = self.meta("position")?.unwrap_or(0).cast_unsigned();
        engine.restore_clocks(LogPos(position), self.lanes()?);
        engine.set_cold(Box::new(StoredWindows::open(&self.path)?));
        let mut report = LoadReport::default();
        let mut stored = in_order(self.stored()?).into_iter().peekable();
        while let Some(first) = stored.next() {
            // of two definitions the older one serves, until the newer one has caught up
            match stored.next_if(|next| next.def.name == first.def.name) {
                None => {
                    if let Err(error) = self.load_one(engine, &first, &mut report)? {
                        report.refused.push((first.def.name.clone(), error));
                    }
                    report.defs.push(first.def);
                }
                Some(next) => {
                    let mut old = LoadReport::default();
                    let serves = self.load_one(engine, &first, &mut old)?.is_ok() && old.rebuilt.is_empty();
                    if !serves {
                        engine.drop_view(&first.def.name);
                    }
                    if let Err(error) = self.load_one(engine, &next, &mut report)? {
                        report.refused.push((next.def.name.clone(), error));
                    }
                    report.defs.push(next.def);
                }
            }
        }
        Ok(report)
    }

    fn load_one(
        &self,
        engine: &mut Engine,
        stored: &Stored,
        report: &mut LoadReport,
    ) -> Result<Result<(), ViewError>, StoreError> {
        let plan = match ViewPlan::compile_over(&stored.def.name, &stored.def.sql, engine) {
            Ok(plan) => Arc::new(plan),
            Err(error) => return Ok(Err(error)),
        };
        engine.begin_view(plan, stored.def.options, stored.id.cast_unsigned());
        if let Err(error) = self.load_windows(engine, stored)? {
            engine.reset_view(stored.id.cast_unsigned());
            report.rebuilt.push((stored.def.name.clone(), error));
        }
        Ok(Ok(()))
    }

    fn lanes(&self) -> Result<Vec<LaneWatermark>, StoreError> {
        let mut select = self.db.prepare(
            "SELECT lane, stream, watermark, last_commit, agent, future_events FROM lane_watermarks",
        )?;
        let mut rows = select.query([])?;
        let mut lanes = Vec::new();
        while let Some(row) = rows.next()? {
            let stream = StreamName::new(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?;
            let (watermark, last_commit): (Option<Millis>, Millis) = (row.get(2)?, row.get(3)?);
            let agent: Option<String> = row.get(4)?;
            lanes.push(LaneWatermark {
                agent: agent.as_deref().map(AgentId::new).transpose()?,
                future_events: row.get::<_, i64>(5)?.cast_unsigned(),
                lane: LaneNo(row.get(0)?),
                stream,
                watermark,
                last_commit,
            });
        }
        Ok(lanes)
    }

    fn late(&self, id: i64) -> Result<Vec<LateLine>, StoreError> {
        let mut select = self
            .db
            .prepare("SELECT lane, first_seq, last_seq, count FROM too_late WHERE view = ?1")?;
        let lines = select.query_map([id], |row| {
            Ok(LateLine {
                lane: LaneNo(row.get(0)?),
                range: SeqRange {
                    first: row.get::<_, i64>(1)?.cast_unsigned(),
                    last: row.get::<_, i64>(2)?.cast_unsigned(),
                },
                count: row.get::<_, i64>(3)?.cast_unsigned(),
            })
        })?;
        Ok(lines.collect::<Result<_, _>>()?)
    }

    /// Loads the newest windows of a definition, as far as half of the memory goes: the rest is for what comes.
    fn load_windows(
        &self,
        engine: &mut Engine,
        stored: &Stored,
    ) -> Result<Result<(), StateError>, StoreError> {
        let (id, generation) = (stored.id, stored.id.cast_unsigned());
        let counters: ViewCounters =
            serde_json::from_str(&stored.counters).map_err(|error| StoreError::Counters {
                view: stored.def.name.clone(),
                error,
            })?;
        let (groups, count, newest): (i64, i64, Option<Millis>) = self.db.query_row(
            "SELECT coalesce(sum(groups + overflow), 0), count(*), max(window_start) FROM windows WHERE view = ?1",
            [id],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        engine.restore_cold(generation, groups.cast_unsigned(), count.cast_unsigned(), newest);
        let mut windows = self.db.prepare(
            "SELECT window_start, groups, key_bytes, overflow FROM windows WHERE view = ?1 ORDER BY window_start DESC",
        )?;
        let mut states = self.db.prepare(
            "SELECT window_start, key, state FROM window_state WHERE view = ?1 ORDER BY window_start DESC",
        )?;
        let mut windows = windows.query([id])?;
        let mut states = states.query_map([id], group)?.peekable();
        while let Some(row) = windows.next()? {
            if engine.is_half_full(generation) {
                break;
            }
            let (window, facts): (Millis, WindowFacts) = (row.get(0)?, facts(row, 1)?);
            engine.restore_window(generation, window, facts);
            while let Some(next) = states.next_if(|next| match next {
                Ok(group) => group.window_start >= window,
                Err(_) => true,
            }) {
                if let Err(error) = engine.restore_group(generation, &next?) {
                    return Ok(Err(error));
                }
            }
        }
        for line in self.late(id)? {
            engine.restore_late(generation, line);
        }
        engine.restored(generation, stored.position, counters);
        Ok(Ok(()))
    }
}

fn group(row: &Row<'_>) -> rusqlite::Result<GroupState> {
    Ok(GroupState {
        window_start: row.get(0)?,
        key: row.get(1)?,
        state: row.get(2)?,
    })
}
