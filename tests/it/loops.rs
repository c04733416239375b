//! Loops in the background: one that panics goes on, and one that does not come round is known.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::timeout;

use crate::harness::{Setup, Stage, http};

/// How long a test waits for what has to come. It is no measure.
const PATIENCE: Duration = Duration::from_secs(60);

async fn page(stage: &Stage, path: &str) -> (u16, String) {
    let response = http().get(stage.url.join(path).unwrap()).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_panicked_go_on_and_their_panics_are_counted() {
    let settings = vec![("PATCHBAY_JOB_TICK".to_owned(), "10ms".to_owned())];
    let stage = Stage::with(Setup { jobs_run: true, settings, ..Setup::default() }).await;
    let grant = stage.shared_grant().await;
    stage.clock.breaks(200);
    let used_up = async {
        while stage.clock.is_broken() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, used_up).await.expect("no loop looks at the clock any more");

    stage.sandbox.revoke_person("ada");
    stage.later(TimeDelta::minutes(17));
    let noticed = async { while stage.status(&grant.lamps).await != "DISCONNECTED" {} };
    timeout(PATIENCE, noticed).await.expect("the jobs have stopped");
    let (_, metrics) = page(&stage, "/metrics").await;
    let counted = metrics.lines().filter(|line| line.starts_with("patchbay_task_panics_total{"));
    let counted: Vec<_> = counted.filter(|line| !line.ends_with(" 0")).collect();
    for job in ["probe", "renew-tokens", "expire-attempts"] {
        assert!(counted.iter().any(|line| line.contains(&format!("\"{job}\""))), "{job} is not in {counted:?}");
    }
    assert_eq!(page(&stage, "/readyz").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_loop_that_does_not_come_round_is_not_ready_and_names_it() {
    let stage = Stage::new().await;
    assert_eq!(page(&stage, "/readyz").await, (200, "ready\n".to_owned()));
    let stuck = stage.tasks.watch("a stuck loop", Duration::ZERO);
    let (status, said) = page(&stage, "/readyz").await;
    assert_eq!(status, 503);
    assert!(said.contains("a stuck loop"), "{said}");
    assert_eq!(page(&stage, "/healthz").await.0, 200, "it lives all the same");
    drop(stuck);
    assert_eq!(page(&stage, "/readyz").await.0, 200);
}
