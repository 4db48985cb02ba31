//! Roll-ups: their rows are made from the rows of the view below when they are read, or told to a subscriber. They
//! keep no groups of their own, so that late data amends them by amending what they are made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_shared::time::Millis;

use super::cells::Fold;
use super::engine::Engine;
use super::filter::Filter;
use super::gather::{Held, Part, Wanted, WindowRows, windows_over};
use super::groups::Groups;
use super::messages::{WindowChange, WindowHit};
use super::row::RowRef;
use super::state::{Span, ViewState, hit, windows_of};
use crate::commit::LogPos;
use crate::view::{
    Catalog, Evaluator, Expr, Frame, Leaf, MERGED, Mode, Scalar, Source, Vector, ViewError, ViewPlan,
};

/// The views as they serve.
impl Catalog for Engine {
    fn view(&self, name: &str) -> Option<Arc<ViewPlan>> {
        self.views.get(name).map(|state| Arc::clone(&state.plan))
    }

    fn names(&self) -> Vec<String> {
        self.views.keys().map(ToString::to_string).collect()
    }
}

/// The views as they will be when all have caught up, with some that are about to be.
struct Newest<'a> {
    engine: &'a Engine,
    planned: BTreeMap<Arc<str>, Arc<ViewPlan>>,
}

impl Catalog for Newest<'_> {
    fn view(&self, name: &str) -> Option<Arc<ViewPlan>> {
        let coming = || Some(Arc::clone(&self.engine.coming.get(name)?.plan));
        let planned = self.planned.get(name).cloned();
        planned
            .or_else(coming)
            .or_else(|| Catalog::view(self.engine, name))
    }

    fn names(&self) -> Vec<String> {
        self.engine.names()
    }
}

/// Some rows of a source, as a batch of the roll-up.
struct SourceRows<'a> {
    /// By window and key: sums of floats, and who is first, do not depend on where a row was kept.
    rows: Vec<RowRef<'a>>,
    times: Vec<Millis>,
    frame: Frame,
}

impl<'a> SourceRows<'a> {
    fn new(source: &Source, mut rows: Vec<RowRef<'a>>) -> Self {
        rows.sort_by(|a, b| a.pane_start().cmp(&b.pane_start()).then_with(|| a.compare(b)));
        let column = |at: &usize| rows.iter().map(|row| row.output(*at)).collect();
        let columns = source.columns.iter().map(column).collect();
        let times: Vec<Millis> = rows.iter().map(RowRef::pane_start).collect();
        let frame = Frame::of_rows(columns, times.clone());
        Self { rows, times, frame }
    }

    /// Those that pass WHERE.
    fn filtered(source: &Source, plan: &ViewPlan, rows: Vec<RowRef<'a>>) -> Self {
        let all = Self::new(source, rows);
        let Some(condition) = &plan.filter else {
            return all;
        };
        let mask = Evaluator::new(Mode::Typed).mask(condition, &all.frame);
        let kept = all.rows.iter().zip(mask.values()).filter(|(_, keep)| *keep);
        Self::new(source, kept.map(|(row, _)| *row).collect())
    }

    fn keys(&self, plan: &ViewPlan) -> Vec<Vec<Scalar>> {
        let evaluator = Evaluator::new(Mode::Typed);
        let columns: Vec<Vector> = plan
            .keys
            .iter()
            .map(|key| evaluator.values(key, &self.frame))
            .collect();
        let key = |row| {
            columns
                .iter()
                .map(|column| column.scalar(row).normalised())
                .collect()
        };
        (0..self.rows.len()).map(key).collect()
    }
}

impl Engine {
    /// Compiles a view over the others. It must fit them as they serve, and as they will be.
    ///
    /// # Errors
    /// [`ViewError`] with the place of the mistake.
    pub fn compile(&self, name: &str, sql: &str) -> Result<ViewPlan, ViewError> {
        let plan = ViewPlan::compile_over(name, sql, self)?;
        if plan.source.is_some() && !self.coming.is_empty() {
            let planned = BTreeMap::new();
            ViewPlan::compile_over(
                name,
                sql,
                &Newest {
                    engine: self,
                    planned,
                },
            )?;
        }
        Ok(plan)
    }

    /// The views that read a view, by name.
    #[must_use]
    pub fn readers(&self, name: &str) -> Vec<Arc<str>> {
        let reads = |state: &&ViewState| state.plan.reads() == Some(name);
        let mut readers: Vec<Arc<str>> = self
            .states()
            .filter(reads)
            .map(|state| Arc::clone(&state.plan.name))
            .collect();
        readers.sort();
        readers.dedup();
        readers
    }

    /// The readers of a view, and theirs, that would not compile if it were defined so.
    #[must_use]
    pub fn broken_by(&self, plan: &Arc<ViewPlan>) -> Vec<(Arc<str>, ViewError)> {
        let planned = BTreeMap::from([(Arc::clone(&plan.name), Arc::clone(plan))]);
        let mut newest = Newest {
            engine: self,
            planned,
        };
        let mut broken = Vec::new();
        let mut queue = self.readers(plan.name());
        while let Some(name) = queue.pop() {
            let Some(reader) = Catalog::view(&newest, &name) else {
                continue;
            };
            match reader.recompile(&newest) {
                Ok(reader) => {
                    queue.extend(self.readers(&name));
                    newest.planned.insert(name, Arc::new(reader));
                }
                Err(error) => broken.push((name, error)),
            }
        }
        broken
    }

    /// The readers of a view, and theirs, read what it is now.
    pub(super) fn refresh_readers(&mut self, name: &str) {
        let mut queue = self.readers(name);
        while let Some(name) = queue.pop() {
            let Some(plan) = Catalog::view(self, &name) else {
                continue;
            };
            // it was checked when its source was defined; one that does not fit shows nothing until it is put again
            let Ok(plan) = plan.recompile(self) else { continue };
            if let Some(state) = self.views.get_mut(&name) {
                state.plan = Arc::new(plan);
            }
            queue.extend(self.readers(&name));
        }
    }

    /// What a roll-up reads, as long as it is what the roll-up was compiled for.
    pub(super) fn below(&self, source: &Source) -> Option<&ViewState> {
        let below = self.views.get(source.plan.name())?;
        Arc::ptr_eq(&below.plan, &source.plan).then_some(below)
    }

    /// The starts of a roll-up's windows that have rows of its source.
    pub(super) fn rolled_starts(
        &self,
        plan: &ViewPlan,
        source: &Source,
        from: Option<Millis>,
        until: Option<Millis>,
        to: Option<Millis>,
    ) -> Vec<Millis> {
        let Some(below) = self.below(source) else {
            return Vec::new();
        };
        windows_over(&plan.window, self.window_starts(below, from, until), from, to)
    }

    /// A roll-up's window, from the windows of its source that begin within it.
    pub(super) fn rolled<'a>(
        &'a self,
        plan: &ViewPlan,
        source: &Source,
        start: Millis,
        wanted: &Wanted<'_>,
    ) -> Part<'a> {
        let mut scratch = Groups::new(plan.keys.len(), &plan.cells);
        let mut changed: Vec<bool> = Vec::new();
        self.read_source(plan, source, start, wanted, |rows, keys| {
            let target = |key: &Option<Vec<Scalar>>| match key {
                None => scratch.overflow_of(start),
                Some(key) => scratch.slot_of(start, key),
            };
            let targets: Vec<u32> = keys.iter().map(target).collect();
            for (row, target) in rows.rows.iter().zip(&targets) {
                changed.resize(changed.len().max(*target as usize + 1), false);
                changed[*target as usize] |= wanted.change(row.changed_at());
            }
            fold(plan, source, rows, &targets, &mut scratch);
        });
        // the bound on groups is far below 2^32
        let slots =
            (0..changed.len() as u32).filter(|slot| changed[*slot as usize] && scratch.contains(*slot));
        let slots: Vec<u32> = slots.filter(|slot| wanted.key(&scratch, *slot)).collect();
        Part {
            slots,
            groups: Held::Scratch(Box::new(scratch)),
        }
    }

    /// Reads the rows of its source that a roll-up's window is made of, each with the key of the row that it is part of:
    /// `None` for the row that stands for all groups that had no room.
    fn read_source(
        &self,
        plan: &ViewPlan,
        source: &Source,
        start: Millis,
        wanted: &Wanted<'_>,
        read: impl FnOnce(&SourceRows<'_>, &[Option<Vec<Scalar>>]),
    ) {
        let (Some(below), Some(end)) = (self.below(source), plan.window.end(start)) else {
            return;
        };
        let of_source = Wanted {
            keys: source_keys(plan, source, wanted),
            ..Wanted::default()
        };
        let starts = self.window_starts(below, Some(start), Some(end));
        let windows: Vec<WindowRows<'_>> = starts
            .map(|start| self.window_rows(below, start, &of_source))
            .collect();
        let rows = windows
            .iter()
            .flat_map(WindowRows::rows)
            .filter(RowRef::is_shown)
            .collect();
        let rows = SourceRows::filtered(source, plan, rows);
        let of_row = |(row, key): (&RowRef<'_>, Vec<Scalar>)| {
            let overflow = row.is_overflow() && !key.is_empty();
            (!overflow).then_some(key)
        };
        let keys: Vec<_> = rows.rows.iter().zip(rows.keys(plan)).map(of_row).collect();
        read(&rows, &keys);
    }

    /// The same, row by row.
    pub(super) fn with_source_rows(
        &self,
        plan: &ViewPlan,
        source: &Source,
        start: Millis,
        wanted: &Wanted<'_>,
        mut visit: impl FnMut(&RowRef<'_>, Option<&[Scalar]>),
    ) {
        self.read_source(plan, source, start, wanted, |rows, keys| {
            for (row, key) in rows.rows.iter().zip(keys) {
                visit(row, key.as_deref());
            }
        });
    }

    /// What changed in the roll-ups over a view that changed, and in theirs.
    #[must_use]
    pub fn derived(&self, change: &WindowChange) -> Vec<WindowChange> {
        let mut changes: Vec<WindowChange> = Vec::new();
        let mut next = 0;
        self.derive(change, &mut changes);
        while let Some(change) = changes.get(next).cloned() {
            self.derive(&change, &mut changes);
            next += 1;
        }
        changes
    }

    fn derive(&self, change: &WindowChange, changes: &mut Vec<WindowChange>) {
        let readers = self
            .views
            .values()
            .filter(|state| state.plan.reads() == Some(&*change.view));
        for reader in readers {
            let Some(source) = self.views.get(&change.view) else {
                continue;
            };
            let slots = change.groups.iter().map(|group| group.0);
            let slots = slots.filter(|slot| source.groups.contains(*slot));
            let of_slots = slots.map(|slot| source.groups.window(slot));
            let of_gone = change.gone.iter().map(|gone| gone.window_start);
            let mut starts: Vec<Millis> = of_slots
                .chain(of_gone)
                .chain(change.windows.iter().copied())
                .collect();
            starts.sort_unstable();
            starts.dedup();
            changes.push(WindowChange {
                view: Arc::clone(&reader.plan.name),
                groups: Vec::new(),
                windows: windows_over(&reader.plan.window, starts.into_iter(), None, None),
                // a row that ended leaves no trace of when: whatever it was part of may have changed
                since: if change.gone.is_empty() {
                    change.since
                } else {
                    LogPos(0)
                },
                gone: Vec::new(),
                generation: reader.generation,
            });
        }
    }

    /// The rows of roll-ups that one row of a view is in.
    pub(super) fn locate_above(
        &self,
        below: &ViewState,
        span: Span,
        key: &[Scalar],
        overflow: bool,
        hits: &mut Vec<WindowHit>,
    ) {
        let Some(start) = span.0 else { return };
        let readers = self
            .views
            .values()
            .filter(|state| state.plan.reads() == Some(below.plan.name()));
        for reader in readers {
            let Some(source) = &reader.plan.source else {
                continue;
            };
            let window = self.window_rows(below, start, &Wanted::default());
            let is_it = |row: &RowRef<'_>| {
                row.is_overflow() == overflow && row.groups.keys(row.slot) == key && row.is_shown()
            };
            let row = window.rows().find(is_it);
            let rows = SourceRows::filtered(source, &reader.plan, row.into_iter().collect());
            for mut key in rows.keys(&reader.plan) {
                let overflow = overflow && !key.is_empty();
                if overflow {
                    key.fill(Scalar::Null);
                }
                for span in windows_of(&reader.plan, start) {
                    let mut hit = hit(&reader.plan, &key, span);
                    hit.overflow = overflow;
                    hits.push(hit);
                    self.locate_above(reader, span, &key, overflow, hits);
                }
            }
        }
    }
}

/// Filters on keys that are a key of the source as well.
fn source_keys<'a>(plan: &ViewPlan, source: &Source, wanted: &Wanted<'a>) -> Vec<(usize, &'a Filter<'a>)> {
    let of_source = |(key, filter): &(usize, &'a Filter<'a>)| match plan.keys[*key] {
        Expr::Leaf(Leaf::Column(column)) => match source.plan.outputs[source.columns[column]] {
            Expr::Leaf(Leaf::Key(key)) => Some((key, *filter)),
            _ => None,
        },
        _ => None,
    };
    wanted.keys.iter().filter_map(of_source).collect()
}

/// Folds the source's rows into the roll-up's groups.
fn fold(plan: &ViewPlan, source: &Source, rows: &SourceRows<'_>, targets: &[u32], groups: &mut Groups) {
    let evaluator = Evaluator::new(Mode::Typed);
    let inputs: Vec<Vector> = plan
        .inputs
        .iter()
        .map(|input| evaluator.values(input, &rows.frame))
        .collect();
    for (row, target) in rows.rows.iter().zip(targets) {
        groups.count_row(*target, row.revision(), row.changed_at());
    }
    for (at, cell) in plan.cells.iter().enumerate() {
        if cell.input != MERGED {
            let fold = Fold {
                slots: targets,
                times: &rows.times,
                values: &inputs[cell.input],
                mode: Mode::Typed,
                // rows of one time are told apart by their order
                pos: LogPos(0),
            };
            groups.update(at, &fold);
            continue;
        }
        let Some(below) = source.merged.get(&at) else {
            continue;
        };
        for (row, target) in rows.rows.iter().zip(targets) {
            groups.merge_cell(at, *target, row.groups.cells(*below), row.slot);
        }
    }
}
