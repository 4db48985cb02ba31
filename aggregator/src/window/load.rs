//! What the engine's thread begins with.

use std::collections::BTreeMap;

use tributary_shared::time::now_millis;
use tributary_shared::wire::frame::checksum;

use super::actor::EngineOptions;
use super::engine::Engine;
use super::handle::EngineError;
use super::store::{LoadReport, ViewStore};
use crate::commit::{LogPos, LogReader};
use crate::view::{DEFAULT_VIEWS, ViewDef, ViewOptions, ViewPlan};

/// File name within the aggregator's directory.
pub const VIEWS_FILE: &str = "views.db";

pub(super) struct Loaded {
    pub engine: Engine,
    pub store: ViewStore,
    pub views: BTreeMap<String, ViewDef>,
}

/// Opens views.db, adds the default views at the first start, and loads the newest snapshot. State that cannot
/// be used, because it is unreadable or of another log, is computed again from the log.
pub(super) fn load(options: &EngineOptions, log: &LogReader) -> Result<Loaded, EngineError> {
    let mut store = ViewStore::open(&options.dir.join(VIEWS_FILE))?;
    if store.is_new()? {
        add_default_views(&mut store)?;
    }
    let origin = i64::from(checksum(log.log_id()?.as_bytes()));
    if store.origin()? != Some(origin) {
        tracing::info!("the views begin with this log");
        store.begin_anew(origin)?;
    }
    let (mut engine, mut report) = restore(&store, options)?;
    let newest = log.stats()?.newest;
    if engine.position() > newest {
        tracing::warn!(views = %engine.position(), log = %newest, "the log was set back; the views are computed again");
        store.begin_anew(origin)?;
        (engine, report) = restore(&store, options)?;
    }
    for (view, error) in &report.rebuilt {
        tracing::warn!(%view, %error, "stored windows cannot be read; they are computed again from the log");
    }
    for (view, error) in &report.refused {
        tracing::error!(%view, %error, "a stored view does not compile and is not kept up to date; put it again");
    }
    let computed = |def: &ViewDef| engine.view(&def.name).is_some();
    let views = report
        .defs
        .into_iter()
        .filter(computed)
        .map(|def| (def.name.clone(), def))
        .collect();
    Ok(Loaded { engine, store, views })
}

fn restore(store: &ViewStore, options: &EngineOptions) -> Result<(Engine, LoadReport), EngineError> {
    let mut engine = Engine::new(options.config);
    let report = store.load_into(&mut engine)?;
    Ok((engine, report))
}

fn add_default_views(store: &mut ViewStore) -> Result<(), EngineError> {
    for (name, sql) in DEFAULT_VIEWS {
        ViewPlan::compile(name, sql).map_err(|error| EngineError::DefaultView { name, error })?;
        let (name, sql) = (name.to_owned(), sql.to_owned());
        store.put_view(&ViewDef {
            name,
            sql,
            options: ViewOptions::default(),
            created_at: now_millis(),
            applies_from: LogPos(0),
        })?;
    }
    store.set_initialised()?;
    Ok(())
}
