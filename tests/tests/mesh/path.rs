//! `tributary trace` against a real mesh: from what an event says, to the file that it came from and the window that it
//! changed.

use std::process::{Command, Output};

use serde_json::json;
use tributary_tests::{LONG, Mesh, Options, wait_until};

use crate::{program, temp_dir};

const VIEW: &str = "SELECT window_start, window_end, part, count(*) AS n \
                    FROM TUMBLE(orders, ts, INTERVAL '1 hour') GROUP BY window_start, window_end, part";

fn trace(mesh: &Mesh, args: &[&str]) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(program())
        .args(["trace", "--http", &mesh.ready().http])
        .args(args)
        .output()
        .expect("runs");
    let text = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (status.code(), text.concat())
}

#[test]
fn an_event_is_traced_from_a_field_to_its_file_and_its_window() {
    let (dir, logs) = (temp_dir(), temp_dir());
    let log = logs.path().join("orders.ndjson");
    let options = Options {
        args: vec![
            "--tail".to_owned(),
            format!("orders={}/*.ndjson", logs.path().display()),
        ],
        ..Options::default()
    };
    let mesh = Mesh::start(program(), dir.path(), &options);
    let schema = json!({
        "type": "object", "required": ["order"],
        "properties": { "order": { "type": "integer" }, "part": { "type": "string" }, "ts": { "type": "string" } },
    });
    mesh.put_schema("orders", &schema);
    mesh.put_view("by_part", VIEW);
    let line = |order: u32| {
        let order = if order == 13 {
            "\"thirteen\"".to_owned()
        } else {
            order.to_string()
        };
        format!(
            "{{\"ts\":\"2026-01-31T12:{:02}:00Z\",\"part\":\"p{}\",\"order\":{order}}}\n",
            7,
            order.len()
        )
    };
    std::fs::write(&log, (1..=20).map(line).collect::<String>()).expect("a log");
    wait_until(LONG, "every event in the log", || {
        let lanes = mesh.ledger("orders")?;
        let mark: u64 = lanes.iter().map(|lane| lane.mark).sum();
        (mark == 20).then_some(()).ok_or_else(|| format!("{lanes:?}"))
    });

    let asked = [
        "--stream",
        "orders",
        "--where",
        "order=7",
        "--from",
        "2026-01-31T12:00:00Z",
    ];
    let (code, drawn) = trace(&mesh, &asked);
    assert_eq!(code, Some(0), "{drawn}");
    for part in [
        &format!("from {} at byte", log.display()),
        "orders/",
        "valid",
        "schema ",
        "all views have it",
        "by_part  2026-01-31T12:00:00.000Z to 2026-01-31T13:00:00.000Z  part=p1",
    ] {
        assert!(drawn.contains(part), "{part:?} is not in\n{drawn}");
    }
    let (code, drawn) = trace(&mesh, &["--stream", "orders", "--where", "order=thirteen"]);
    assert_eq!(code, Some(0), "{drawn}");
    assert!(
        drawn.contains("dead_letter") && drawn.contains("at /order"),
        "{drawn}"
    );

    let (code, listed) = trace(&mesh, &["--stream", "orders", "--where", "part=p2"]);
    assert_eq!(code, Some(0), "{listed}");
    let names: Vec<&str> = listed.lines().filter(|line| line.contains("/orders/")).collect();
    assert_eq!(
        names.len(),
        10,
        "ten orders of two digits are valid, one is dead:\n{listed}"
    );
    let named = names[0].split_whitespace().last().expect("a name");
    let (code, drawn) = trace(&mesh, &[named]);
    assert!(code == Some(0) && drawn.starts_with(named), "{drawn}");

    let (code, none) = trace(&mesh, &["--stream", "orders", "--where", "order=99"]);
    assert!(
        code == Some(1) && none.contains("no such event"),
        "{code:?}: {none}"
    );
    for unknown in ["nobody/orders/1/1", "nonsense"] {
        let (code, said) = trace(&mesh, &[unknown]);
        assert_eq!(code, Some(2), "{said}");
    }
}
