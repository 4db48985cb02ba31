//! Answers to what the engine's thread is asked.

use std::sync::Arc;
use std::time::Instant;

use tributary_shared::time::now_millis;

use super::actor::{Go, Runner};
use super::handle::{MAX_VIEWS, PutView, PutViewError, Question, StreamTimes, TimedPage, ViewInfo};
use super::publish::REPLACED;
use super::store::StoreError;
use crate::commit::LogPos;
use crate::view::{ViewDef, ViewOptions, ViewPlan};

impl Runner {
    /// Whoever asked may be gone by now, which is fine.
    pub(super) fn answer(&mut self, question: Question) -> Go {
        match question {
            Question::Put {
                name,
                sql,
                options,
                reply,
            } => drop(reply.send(self.put_view(name, sql, options))),
            Question::Drop { name, reply } => drop(reply.send(self.drop_view(&name))),
            Question::Views { reply } => drop(reply.send(self.list())),
            Question::Windows { view, query, reply } => drop(reply.send(self.engine.windows(&view, &query))),
            Question::Scan { view, scan, reply } => {
                let began = Instant::now();
                let page = self.engine.scan(&view, &scan);
                let took = began.elapsed();
                drop(reply.send(page.map(|page| TimedPage { page, took })));
            }
            Question::Since {
                view,
                after,
                limit,
                reply,
            } => drop(reply.send(self.engine.since(&view, after, limit))),
            Question::Closed { view, limit, reply } => {
                drop(reply.send(self.engine.newest_closed(&view, limit)));
            }
            Question::Locate {
                stream,
                records,
                row,
                reply,
            } => {
                drop(reply.send(self.engine.locate(&stream, &records, row)));
            }
            Question::Away { agents } => self.engine.set_away(agents),
            Question::Times { reply } => {
                drop(reply.send(StreamTimes {
                    lanes: self.engine.lanes(),
                    too_late: self.engine.too_late(),
                }));
            }
            Question::Stop => return Go::Stop,
        }
        Go::On
    }

    fn put_view(&mut self, name: String, sql: String, options: ViewOptions) -> Result<PutView, PutViewError> {
        let plan = Arc::new(ViewPlan::compile(&name, &sql).map_err(PutViewError::Sql)?);
        let created = !self.views.contains_key(&name);
        if created && self.views.len() >= MAX_VIEWS {
            return Err(PutViewError::TooMany { limit: MAX_VIEWS });
        }
        let known = self.views.get(&name);
        let known = known.is_some_and(|known| known.sql == sql && known.options == options);
        if !known {
            let def = ViewDef {
                name: name.clone(),
                sql,
                options,
                created_at: now_millis(),
                applies_from: LogPos(0),
            };
            self.store.put_view(&def).map_err(PutViewError::Store)?;
            if self.engine.put_view_with(Arc::clone(&plan), options) && !created {
                self.live.reset(&plan.name, REPLACED);
            }
            self.views.insert(name, def);
            self.dirty = true;
            tracing::info!(view = %plan.name(), created, "view defined");
        }
        // it was found or put right above
        let view = self
            .info(&plan)
            .ok_or(PutViewError::Stopped(super::EngineStopped))?;
        Ok(PutView { view, created })
    }

    fn drop_view(&mut self, name: &str) -> Result<bool, StoreError> {
        let stored = self.store.drop_view(name)?;
        self.engine.drop_view(name);
        self.views.remove(name);
        self.live.end(name);
        Ok(stored)
    }

    fn list(&self) -> Vec<ViewInfo> {
        self.engine.views().filter_map(|plan| self.info(plan)).collect()
    }

    fn info(&self, plan: &ViewPlan) -> Option<ViewInfo> {
        let def = self.views.get(plan.name())?;
        let shown = |key: &&String| plan.columns().iter().any(|column| column.name == **key);
        Some(ViewInfo {
            name: def.name.clone(),
            sql: def.sql.clone(),
            options: def.options,
            created_at: def.created_at,
            stream: plan.stream().clone(),
            columns: plan.columns().to_vec(),
            keys: plan.key_names.iter().filter(shown).cloned().collect(),
            stats: self.engine.stats(plan.name())?,
        })
    }
}
