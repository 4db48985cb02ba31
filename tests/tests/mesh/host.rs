//! A newcomer's first minute.

use std::time::Duration;

use tributary_tests::{Mesh, Options, SOON, http, wait_until};

use crate::{program, temp_dir};

/// What the newcomer is promised.
const FIRST_METRICS: Duration = Duration::from_secs(30);

#[test]
fn up_serves_and_host_metrics_arrive() {
    let dir = temp_dir();
    let options = Options {
        host_metrics: true,
        ..Options::default()
    };
    let mesh = Mesh::start(program(), dir.path(), &options);
    let ready = mesh.ready();

    for view in ["host_cpu", "host_memory"] {
        let row = wait_until(FIRST_METRICS, &format!("{view} has a window"), || {
            mesh.windows(view)?
                .into_iter()
                .next()
                .ok_or_else(|| "no row".to_owned())
        });
        assert!(row["host"].is_string(), "{row}");
        let shown = if view == "host_cpu" {
            "cpu_avg"
        } else {
            "memory_avg"
        };
        let percent = row[shown].as_f64().unwrap_or_else(|| panic!("{shown} in {row}"));
        assert!((0.0..=100.0).contains(&percent), "{row}");
        for key in ["window_start", "window_end", "revision", "final", "completeness"] {
            assert!(!row[key].is_null(), "{key} in {row}");
        }
    }
    // its first report may come after its first events
    wait_until(SOON, "the agent is shown as connected", || {
        let agents = mesh.api("/api/v1/agents")?;
        let agent = &agents["agents"][0];
        (agent["agent"] == *ready.agent_id && agent["connected"] == true)
            .then_some(())
            .ok_or_else(|| agents.to_string())
    });
    let schema = http::get_json(&format!("{}/subjects/host-value/versions/latest", ready.registry));
    assert_eq!(
        schema.expect("the schema of host is registered")["schemaType"],
        "JSON"
    );
    let page = http::get(&format!("{}/", ready.http)).expect("the page");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("<title>Tributary</title>"), "{}", page.body);
    for base in [&ready.http, &ready.intake, &mesh.gateway_http()] {
        for path in ["/healthz", "/readyz", "/metrics"] {
            let answer = http::get(&format!("{base}{path}")).expect("an answer");
            assert_eq!(answer.status, 200, "{base}{path}: {}", answer.body);
        }
    }
}
