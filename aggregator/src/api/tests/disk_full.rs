//! A disk that is really full: a small tmpfs.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tributary_shared::wire::RefuseCode;

use super::*;
use crate::commit::LogHealth;

/// Unmounted with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` when this machine does not allow it.
    fn mount(at: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=4m", "tributary-test"])
            .arg(at);
        let done = mount.output().is_ok_and(|output| output.status.success());
        done.then(|| Self(at.to_owned()))
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut ballast = std::fs::File::create(self.0.join("ballast")).expect("makes");
        let mut size = 64 << 10;
        while size > 0 {
            // one byte after the other at last, so that not a page is left
            if ballast.write_all(&vec![7; size]).is_err() {
                size /= 2;
            }
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("ballast")).expect("removes");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // lazily: a test that failed may have it open
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Submits the next four events of the lane.
async fn submit(mesh: &Mesh, lane: LaneNo, next: &mut Seq) -> CommitAnswer {
    let batch = prepare(request(lane, lane_key(), *next, *next + 3)).expect("well-formed");
    let answer = mesh.commit.submit(batch).await.expect("answered");
    if matches!(answer, CommitAnswer::Committed { .. }) {
        *next += 4;
    }
    answer
}

#[actix_web::test]
async fn conservation_holds_when_the_disk_is_full_and_it_goes_on_by_itself() {
    let dir = tempfile::tempdir().expect("dir");
    let Some(disk) = SmallDisk::mount(dir.path()) else {
        #[allow(clippy::print_stderr)] // a test that could not run must not look like one that passed
        {
            eprintln!("NOT TESTED: this machine does not allow mounting a tmpfs, so no disk was full");
        }
        return;
    };
    let mesh = Mesh::start_in(dir.path());
    let app = app(mesh.state.clone()).await;
    let mut ready = mesh.state.engine.ready_changes();
    ready.wait_for(|ready| *ready).await.expect("the engine runs");
    let lane = mesh.commit(1, 4).await;
    let mut next = 5;
    let replay = || {
        let order = json!({ "stream": "readings" });
        TestRequest::post()
            .uri("/api/v1/dead-letters/replay")
            .set_json(order)
    };
    assert_eq!(call(&app, get("/readyz")).await.0, StatusCode::OK);
    for round in 0..2 {
        disk.fill();
        let refused = loop {
            match submit(&mesh, lane, &mut next).await {
                CommitAnswer::Committed { .. } => {}
                refused => break refused,
            }
        };
        let CommitAnswer::Refused { expected, code, .. } = refused else {
            panic!("refused")
        };
        assert_eq!((expected, code), (next, RefuseCode::Unavailable));
        let (status, body) = call(&app, get("/readyz")).await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (StatusCode::SERVICE_UNAVAILABLE, &json!("log_failing")),
            "{body}"
        );
        assert!(
            body["error"]["message"].as_str().expect("text").contains("full"),
            "{body}"
        );
        // still full, however often it is tried; what was acknowledged can be read
        let again = submit(&mesh, lane, &mut next).await;
        assert!(
            matches!(again, CommitAnswer::Refused { expected, .. } if expected == next),
            "{again:?}"
        );
        let (status, told) = call(&app, replay()).await;
        assert_eq!(
            (status, &told["error"]["done_before"]["replayed"]),
            (StatusCode::SERVICE_UNAVAILABLE, &json!(0)),
            "{told}"
        );
        let (_, ledger) = call(&app, get("/api/v1/ledger")).await;
        assert_eq!(
            (&ledger["lanes"][0]["mark"], &ledger["balanced"]),
            (&json!(next - 1), &json!(true))
        );

        disk.make_room();
        if round == 0 {
            // nobody sends anything: the log finds out alone, when the views have their next snapshot
            let mut health = mesh.state.log.health_changes();
            health
                .wait_for(|health| *health == LogHealth::Storing)
                .await
                .expect("the thread runs");
            assert_eq!(call(&app, get("/readyz")).await.0, StatusCode::OK);
        }
        let before = next;
        while next == before {
            submit(&mesh, lane, &mut next).await;
        }
        assert_eq!(call(&app, get("/readyz")).await.0, StatusCode::OK);
    }
    assert_eq!(
        call(&app, replay()).await.1["replayed"],
        json!(1),
        "not while it was full"
    );
    mesh.state.log.verify().expect("every invariant holds");
    let (_, ledger) = call(&app, get("/api/v1/ledger")).await;
    assert_eq!(
        (&ledger["lanes"][0]["mark"], &ledger["totals"]["valid"]),
        (&json!(next - 1), &json!(next - 1))
    );
    mesh.close().await;
    drop(disk);
}
