//! Answers to what the engine's thread is asked.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;
use tributary_shared::time::now_millis;

use super::actor::{Go, Runner};
use super::handle::{MAX_VIEWS, PutView, PutViewError, Question, Serves, StreamTimes, TimedPage, ViewInfo};
use super::writer::{DropOrder, Order, PutOrder};
use crate::commit::LogPos;
use crate::view::{ViewDef, ViewOptions};

impl Runner {
    /// Whoever asked may be gone by now, which is fine.
    pub(super) fn answer(&mut self, question: Question) -> Go {
        match question {
            Question::Put {
                name,
                sql,
                options,
                reply,
            } => self.put_view(name, sql, options, reply),
            Question::Drop { name, reply } => {
                let readers = self.engine.readers(&name);
                if readers.is_empty() {
                    self.orders.push_back(Order::Drop(DropOrder { name, reply }));
                } else {
                    let readers = readers.join(", ");
                    drop(reply.send(Err(PutViewError::IsRead { view: name, readers })));
                }
            }
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
            Question::Basis { view, query, reply } => {
                drop(reply.send(self.engine.basis(&view, &query).map(Box::new)));
            }
            Question::Owned {
                view,
                generation,
                asked,
                reply,
            } => drop(reply.send(self.engine.owned(&view, generation, &asked))),
            Question::Locate {
                stream,
                pos,
                records,
                row,
                reply,
            } => {
                drop(reply.send(self.engine.locate(&stream, pos, &records, row)));
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

    /// Checks a definition and hands it to the writer, which answers.
    fn put_view(
        &mut self,
        name: String,
        sql: String,
        options: ViewOptions,
        reply: oneshot::Sender<Result<PutView, PutViewError>>,
    ) {
        let plan = match self.engine.compile(&name, &sql) {
            Ok(plan) => Arc::new(plan),
            Err(error) => return drop(reply.send(Err(PutViewError::Sql(error)))),
        };
        if let Some((reader, error)) = self.engine.broken_by(&plan).into_iter().next() {
            let (view, reader) = (name, reader.to_string());
            return drop(reply.send(Err(PutViewError::Breaks { view, reader, error })));
        }
        if !self.views.contains_key(&name) && self.views.len() >= MAX_VIEWS {
            return drop(reply.send(Err(PutViewError::TooMany { limit: MAX_VIEWS })));
        }
        let def = ViewDef {
            name,
            sql,
            options,
            created_at: now_millis(),
            applies_from: LogPos(0),
        };
        self.orders
            .push_back(Order::Put(Box::new(PutOrder { def, plan, reply })));
    }

    fn list(&self) -> Vec<ViewInfo> {
        let names: Vec<String> = self.engine.views().map(|plan| plan.name().to_owned()).collect();
        names.iter().filter_map(|name| self.info_of(name)).collect()
    }

    /// The view: its definition as it was put last, and the columns that it serves now.
    pub(super) fn info_of(&self, name: &str) -> Option<ViewInfo> {
        let def = self.views.get(name)?;
        let plan = self.engine.view(name)?;
        let shown = |key: &&String| plan.columns().iter().any(|column| column.name == **key);
        let (mut stats, serving) = (self.engine.stats(name)?, self.engine.serving(name)?);
        let coming = self.engine.coming(name);
        let filled = coming.or((!stats.live).then_some(serving));
        stats.live &= coming.is_none();
        Some(ViewInfo {
            name: def.name.clone(),
            sql: def.sql.clone(),
            options: def.options,
            created_at: def.created_at,
            stream: plan.stream().clone(),
            reads: plan.reads().map(ToOwned::to_owned),
            waiting_for: self.engine.waiting_for(plan),
            columns: plan.columns().to_vec(),
            keys: plan.key_names.iter().filter(shown).cloned().collect(),
            stats,
            backfill: filled.map(|state| self.backfill(state.generation, state.position)),
            serves: coming.map(|_| Serves {
                sql: plan.sql().to_owned(),
                options: serving.options,
            }),
        })
    }
}
