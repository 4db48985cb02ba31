//! Which columns a view reads, and what for: for lineage by column, and for the question what would break without one.

use std::collections::BTreeSet;

use super::aggregate::Aggregate;
use super::expr::{Expr, Leaf};
use super::parse::parse_select;
use super::plan::ViewPlan;
use super::rollup::{MERGED, Source};

/// How a column's values come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// A column as it is.
    Same,
    /// Computed row by row, or from the window's bounds.
    Computed,
    /// From many rows.
    Aggregated,
}

/// One column that a view shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputReads {
    pub name: String,
    /// As it stands in the SELECT list.
    pub sql: String,
    pub how: How,
    /// Columns of what the view reads. Empty for `count(*)` and the window's bounds.
    pub columns: BTreeSet<String>,
}

/// What a view reads of its stream; a roll-up, of its source view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnReads {
    /// Decides which window a row belongs to.
    pub time: String,
    /// WHERE.
    pub filter: BTreeSet<String>,
    /// GROUP BY, with the name of each key.
    pub keys: Vec<(String, BTreeSet<String>)>,
    /// HAVING.
    pub having: BTreeSet<String>,
    pub outputs: Vec<OutputReads>,
}

impl ViewPlan {
    /// Which columns of what it reads are read, clause by clause.
    #[must_use]
    pub fn column_reads(&self) -> ColumnReads {
        let texts = self.expressions();
        let output = |(at, (output, column)): (usize, (&Expr, &super::Column))| OutputReads {
            name: column.name.clone(),
            sql: texts.get(at).cloned().unwrap_or_else(|| column.name.clone()),
            how: self.how(output),
            columns: self.of_group(output),
        };
        let keys = self.key_names.iter().zip(&self.keys);
        ColumnReads {
            time: self.time.clone(),
            filter: self
                .filter
                .as_ref()
                .map(|filter| self.of_row(filter))
                .unwrap_or_default(),
            keys: keys.map(|(name, key)| (name.clone(), self.of_row(key))).collect(),
            having: self
                .having
                .as_ref()
                .map(|having| self.of_group(having))
                .unwrap_or_default(),
            outputs: self
                .outputs
                .iter()
                .zip(self.shown.iter())
                .enumerate()
                .map(output)
                .collect(),
        }
    }

    /// The SELECT list's items as written, without their names.
    fn expressions(&self) -> Vec<String> {
        use sqlparser::ast::SelectItem;
        // it was parsed before
        let Ok((select, _)) = parse_select(&self.sql) else {
            return Vec::new();
        };
        let text = |item: &SelectItem| match item {
            SelectItem::UnnamedExpr(sql) | SelectItem::ExprWithAlias { expr: sql, .. } => sql.to_string(),
            other => other.to_string(),
        };
        select.projection.iter().map(text).collect()
    }

    fn how(&self, output: &Expr) -> How {
        match output {
            Expr::Leaf(Leaf::Key(at)) if matches!(self.keys[*at], Expr::Leaf(Leaf::Column(_))) => How::Same,
            output if has_aggregate(output) => How::Aggregated,
            _ => How::Computed,
        }
    }

    /// The columns behind an expression over rows.
    fn of_row(&self, expr: &Expr) -> BTreeSet<String> {
        let mut found = Vec::new();
        expr.columns(&mut found);
        found.into_iter().map(|at| self.columns[at].clone()).collect()
    }

    /// The columns behind an expression over groups.
    fn of_group(&self, expr: &Expr) -> BTreeSet<String> {
        let mut found = match expr {
            Expr::Leaf(Leaf::Key(at)) => self.of_row(&self.keys[*at]),
            Expr::Leaf(Leaf::Aggregate(at)) => match self.aggregates[*at] {
                Aggregate::Rows | Aggregate::RowsPerSecond => BTreeSet::new(),
                Aggregate::Cell { cell, .. } => self.of_cell(cell),
            },
            _ => BTreeSet::new(),
        };
        for child in expr.children() {
            found.append(&mut self.of_group(child));
        }
        found
    }

    fn of_cell(&self, cell: usize) -> BTreeSet<String> {
        let input = self.cells[cell].input;
        match &self.source {
            Some(source) if input == MERGED => merged_columns(source, cell),
            _ => self
                .inputs
                .get(input)
                .map(|input| self.of_row(input))
                .unwrap_or_default(),
        }
    }
}

/// The columns of the source that show the state which a cell is merged from; several may share one state.
fn merged_columns(source: &Source, cell: usize) -> BTreeSet<String> {
    let Some(behind) = source.merged.get(&cell) else {
        return BTreeSet::new();
    };
    let plan = &source.plan;
    let shows = |output: &Expr| match output {
        Expr::Leaf(Leaf::Aggregate(at)) => {
            matches!(plan.aggregates[*at], Aggregate::Cell { cell, .. } if cell == *behind)
        }
        _ => false,
    };
    let columns = plan.outputs.iter().zip(plan.shown.iter());
    let columns = columns.filter(|(output, _)| shows(output));
    columns.map(|(_, column)| column.name.clone()).collect()
}

fn has_aggregate(expr: &Expr) -> bool {
    matches!(expr, Expr::Leaf(Leaf::Aggregate(_))) || expr.children().into_iter().any(has_aggregate)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;

    fn names(columns: &BTreeSet<String>) -> Vec<&str> {
        columns.iter().map(String::as_str).collect()
    }

    const BY_SITE: &str =
        "SELECT window_start, upper(site) AS place, kind, count(*) AS n, avg(t - base) AS t_avg,
            max(t) FILTER (WHERE ok) + count(*) AS odd
        FROM TUMBLE(readings, at, INTERVAL '1 minute')
        WHERE status <> 'test' AND doc ->> 'a' = 'b'
        GROUP BY window_start, upper(site), kind HAVING sum(load) > 3";

    #[test]
    fn every_clause_says_what_it_reads() {
        let plan = ViewPlan::compile("by_site", BY_SITE).expect("compiles");
        let reads = plan.column_reads();
        assert_eq!(reads.time, "at");
        assert_eq!(names(&reads.filter), ["doc", "status"]);
        assert_eq!(names(&reads.having), ["load"]);
        let keys: Vec<_> = reads
            .keys
            .iter()
            .map(|(name, read)| (name.as_str(), names(read)))
            .collect();
        assert_eq!(keys, [("place", vec!["site"]), ("kind", vec!["kind"])]);
        let outputs: Vec<_> = reads
            .outputs
            .iter()
            .map(|output| (output.name.as_str(), output.how, names(&output.columns)))
            .collect();
        assert_eq!(
            outputs,
            [
                ("window_start", How::Computed, vec![]),
                ("place", How::Computed, vec!["site"]),
                ("kind", How::Same, vec!["kind"]),
                ("n", How::Aggregated, vec![]),
                ("t_avg", How::Aggregated, vec!["base", "t"]),
                ("odd", How::Aggregated, vec!["ok", "t"]),
            ]
        );
        assert_eq!(reads.outputs[4].sql, "avg(t - base)");
    }

    #[test]
    fn a_roll_up_reads_the_columns_of_its_source() {
        let source = Arc::new(ViewPlan::compile("by_site", BY_SITE).expect("compiles"));
        let catalog = BTreeMap::from([(Arc::from("by_site"), source)]);
        let sql = "SELECT window_start, place, merge(t_avg) AS t_avg, sum(n) AS n
            FROM TUMBLE(by_site, window_start, INTERVAL '1 hour') WHERE kind = 'x' GROUP BY window_start, place";
        let plan = ViewPlan::compile_over("hourly", sql, &catalog).expect("compiles");
        let reads = plan.column_reads();
        assert_eq!(names(&reads.filter), ["kind"]);
        let outputs: Vec<_> = reads
            .outputs
            .iter()
            .map(|output| (output.name.as_str(), names(&output.columns)))
            .collect();
        assert_eq!(
            outputs,
            [
                ("window_start", vec![]),
                ("place", vec!["place"]),
                ("t_avg", vec!["t_avg"]),
                ("n", vec!["n"]),
            ]
        );
    }
}
