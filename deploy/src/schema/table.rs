//! Answers as text for people. Pure.

use std::fmt::Write as _;

use serde_json::Value;

pub fn words(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn rows<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer[key].as_array().map_or(&[], Vec::as_slice)
}

/// Columns as wide as their widest cell.
pub fn aligned(head: &[&str], lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    for line in [&head].into_iter().chain(lines) {
        let cells = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

fn table(answer: &Value, key: &str, columns: &[(&str, &str)]) -> String {
    let lines: Vec<Vec<String>> = rows(answer, key)
        .iter()
        .map(|row| columns.iter().map(|(_, field)| words(&row[*field])).collect())
        .collect();
    let head: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    aligned(&head, &lines)
}

pub fn subjects(answer: &Value) -> String {
    let columns = [
        ("SUBJECT", "subject"),
        ("LATEST", "latest"),
        ("VERSIONS", "versions"),
        ("DRAFTS", "drafts"),
        ("OWNER", "owner"),
        ("DESCRIPTION", "description"),
    ];
    table(answer, "subjects", &columns)
}

pub fn governance(answer: &Value) -> String {
    let mut text = String::new();
    for (name, field) in [
        ("owner", "owner"),
        ("contact", "contact"),
        ("description", "description"),
        ("approver role", "approver_role"),
    ] {
        let _ = writeln!(text, "{name:<15}{}", words(&answer[field]));
    }
    text
}

pub fn subject(answer: &Value) -> String {
    let columns = [
        ("VERSION", "version"),
        ("ID", "id"),
        ("STATE", "state"),
        ("REGISTERED", "registered_at"),
        ("AGENTS", "agents"),
        ("EVENTS", "events"),
        ("LAST SEEN", "last_seen"),
    ];
    let (shown, all) = (
        rows(answer, "versions").len() as u64,
        answer["version_count"].as_u64(),
    );
    let more = all.filter(|all| *all > shown).map_or(String::new(), |all| {
        format!("the newest {shown} of {all} versions\n")
    });
    format!(
        "{}\n{}{:<15}{}\n{:<15}{}\n\n{}{more}",
        words(&answer["subject"]),
        governance(answer),
        "compatibility",
        words(&answer["compatibility"]),
        "mode",
        words(&answer["mode"]),
        table(answer, "versions", &columns)
    )
}

pub fn usage(answer: &Value) -> String {
    if rows(answer, "usage").is_empty() {
        return "No agent has sent an event of any version.".to_owned();
    }
    let columns = [
        ("VERSION", "version"),
        ("ID", "id"),
        ("AGENT", "agent"),
        ("EVENTS", "events"),
        ("FIRST SEEN", "first_seen"),
        ("LAST SEEN", "last_seen"),
    ];
    table(answer, "usage", &columns)
}

pub fn changes(answer: &Value) -> String {
    let columns = [
        ("NO", "no"),
        ("AT", "at"),
        ("SUBJECT", "subject"),
        ("VERSION", "version"),
        ("WHAT", "what"),
        ("DETAIL", "detail"),
        ("WHO", "who"),
        ("ROLE", "role"),
        ("WHY", "why"),
    ];
    table(answer, "changes", &columns)
}

pub fn diff(answer: &Value) -> String {
    let changes = rows(answer, "changes");
    if changes.is_empty() {
        return "Nothing changed but the layout.".to_owned();
    }
    changes.iter().map(|change| words(change) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_is_a_dash() {
        let answer = json!({ "subjects": [
            { "subject": "readings-value", "latest": 12, "versions": 12, "drafts": 0, "owner": null },
            { "subject": "x", "latest": null, "versions": 1, "drafts": 1, "owner": "ops" },
        ]});
        assert_eq!(
            subjects(&answer),
            "SUBJECT         LATEST  VERSIONS  DRAFTS  OWNER  DESCRIPTION\n\
             readings-value  12      12        0       -      -\n\
             x               -       1         1       ops    -\n"
        );
        assert!(diff(&json!({ "changes": [] })).contains("Nothing"));
    }
}
