//! The reference page says what is so: its examples are evaluated, and it leaves no function out.

use super::aggregate::AGGREGATES;
use super::call::SPECIAL;
use super::expr::Leaf;
use super::functions::FUNCTIONS;
use super::lower::{Lowering, Scope};
use super::parse::parse_condition;
use super::rowwise::{Env, Evaluator};
use super::{Mode, Scalar};

const PAGE: &str = include_str!("../../../docs/sql.md");

struct NoColumns;

impl Env for NoColumns {
    fn leaf(&self, _: Leaf) -> Scalar {
        Scalar::Null
    }
}

fn value(sql: &str) -> Result<Scalar, String> {
    let parsed = parse_condition(sql).map_err(|error| error.to_string())?;
    let mut lowering = Lowering::default();
    let lowered = lowering.lower(&parsed, Scope::Row("an example"));
    let expr = lowered.map_err(|error| error.to_string())?;
    Ok(Evaluator::new(Mode::Typed).value(&expr, &NoColumns))
}

/// The cells of a table's row, with what escapes a pipe taken away.
fn cells(line: &str) -> Option<Vec<String>> {
    let inside = line.strip_prefix("| ")?.strip_suffix(" |")?;
    let inside = inside.replace("\\|", "\u{1}");
    Some(
        inside
            .split(" | ")
            .map(|cell| cell.trim().replace('\u{1}', "|"))
            .collect(),
    )
}

fn code(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}

#[test]
fn the_examples_of_the_reference_page_give_what_it_says() {
    let mut wrong = Vec::new();
    let mut examples = 0;
    for line in PAGE.lines() {
        let Some(cells) = cells(line) else { continue };
        let [_, _, example, gives] = cells.as_slice() else {
            continue;
        };
        let (Some(example), Some(gives)) = (code(example), code(gives)) else {
            continue;
        };
        examples += 1;
        let same = match (value(example), value(gives)) {
            (Ok(a), Ok(b)) => match (&a, &b) {
                (Scalar::Float(x), Scalar::Float(y)) => (x - y).abs() < 1e-9,
                _ => a == b,
            },
            _ => false,
        };
        if !same {
            wrong.push(format!(
                "{example} is {:?}, not {:?}",
                value(example),
                value(gives)
            ));
        }
    }
    assert!(examples > 80, "{examples} examples were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_function_stands_on_the_reference_page() {
    let calls: Vec<String> = PAGE
        .lines()
        .filter_map(cells)
        .filter_map(|cells| cells.into_iter().next())
        .collect();
    let names = FUNCTIONS
        .iter()
        .map(|f| f.name)
        .chain(SPECIAL.iter().map(|s| s.0));
    let missing: Vec<&str> = names
        .filter(|name| !calls.iter().any(|cell| cell.contains(&format!("`{name}("))))
        .collect();
    assert!(missing.is_empty(), "docs/sql.md does not name {missing:?}");
}

#[test]
fn every_aggregate_stands_on_the_reference_page_as_the_program_describes_it() {
    for aggregate in AGGREGATES {
        let row = format!("| `{}` | {} |", aggregate.call, aggregate.meaning);
        assert!(PAGE.contains(&row), "docs/sql.md lacks: {row}");
    }
}
