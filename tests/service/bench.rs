//! `keyledger bench <name> --json`, as scripts read it.

use serde_json::Value;

use super::process::KEYLEDGER;
use crate::harness::Harness;

/// One short measurement on the test's own database.
async fn figure(name: &str) -> Value {
    let harness = Harness::start().await;
    let ran = tokio::process::Command::new(KEYLEDGER)
        .args([
            "bench",
            name,
            "--json",
            "--seconds",
            "1",
            "--callers",
            "2",
            "--accounts",
            "3",
        ])
        .env("DATABASE_URL", harness.owner_url())
        .output()
        .await
        .unwrap();
    let errors = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{name}: {errors}");
    let text = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{name}: {text}");
    serde_json::from_str(&text).unwrap()
}

fn sound(name: &str, figure: &Value) {
    assert_eq!(figure["name"], name);
    for number in ["per_s", "p50_us", "p99_us"] {
        assert!(figure[number].as_u64().unwrap() > 0, "{name}: {number} of {figure}");
    }
    assert!(figure["p50_us"].as_u64() <= figure["p99_us"].as_u64(), "{figure}");
    assert_eq!(figure["refused"], 0, "{figure}");
    assert!(figure["settings"].is_object(), "{figure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_figure_is_one_line_of_json() {
    for (name, events) in [
        ("commands", 2),
        ("cycles", 3),
        ("hand-sql", 3),
        ("hand-sql-statement", 3),
        ("limit", 1_000),
    ] {
        let figure = figure(name).await;
        sound(name, &figure);
        let expected = figure["per_s"].as_u64().unwrap() * events;
        assert_eq!(figure["events_per_s"], expected, "{figure}");
        assert_eq!(
            (&figure["settings"]["callers"], &figure["settings"]["accounts"]),
            (&2.into(), &3.into())
        );
    }
    // On a busy machine pgbench may end its second without one insert: what it prints is still a figure.
    assert_eq!(figure("pgbench").await["name"], "pgbench");
}

#[tokio::test(flavor = "multi_thread")]
async fn load_of_http_and_of_the_views_is_a_figure_too() {
    for name in ["http", "gateway", "project", "rebuild"] {
        let figure = figure(name).await;
        if name != "rebuild" {
            sound(name, &figure);
        }
        assert_eq!(figure["name"], name);
    }
}
