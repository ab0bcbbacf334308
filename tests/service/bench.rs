//! `keyledger bench <name> --json`, as scripts read it.

use keyledger::bench::check_history;
use serde_json::Value;
use sqlx::{Executor as _, PgConnection};

use super::process::KEYLEDGER;
use crate::harness::Harness;
use crate::ledger::customer::Customer;

/// One short measurement on the test's own database.
async fn figure(name: &str) -> Value {
    figure_with(name, &[]).await
}

async fn figure_with(name: &str, more: &[&str]) -> Value {
    let harness = Harness::start().await;
    let ran = tokio::process::Command::new(KEYLEDGER)
        .args(["bench", name, "--json"])
        .args(["--seconds", "1", "--callers", "2", "--accounts", "3"])
        .args(more)
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
        ("disk", 2),
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
        if name == "gateway" {
            let settings = &figure["settings"];
            for way in ["straight", "bare_proxy", "nginx"] {
                assert!(
                    settings[format!("{way}_per_s")].as_u64().unwrap() > 0,
                    "{way}: {figure}"
                );
            }
        }
    }
    let start = figure_with("start", &["--keys", "6", "--holds", "2", "--events", "200"]).await;
    sound("start", &start);
    let settings = &start["settings"];
    // 3 accounts, 3 grants, 6 keys, 2 holds of 2 events, 61 requests of 3: two more would be too many.
    assert_eq!(settings["events"], 199, "{start}");
    for number in ["rss_mib", "idle_rss_mib", "key_history_us", "small_per_s"] {
        assert!(settings[number].as_u64().unwrap() > 0, "{number} of {start}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_told_the_same_and_its_line_is_the_figure() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("peer");
    let script = "#!/bin/sh\n\
         test \"$*\" = '--callers=2 --accounts=3 --seconds=1' && test -n \"$DATABASE_URL\" || exit 1\n\
         echo '{\"name\":\"cqrs-es\",\"per_s\":7,\"p50_us\":1,\"p99_us\":2,\"events_per_s\":14,\"settings\":{\"callers\":2},\"refused\":0}'\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let figure = figure_with("cqrs-es", &["--peers", program.to_str().unwrap()]).await;
    sound("cqrs-es", &figure);
    assert_eq!((&figure["per_s"], &figure["events_per_s"]), (&7.into(), &14.into()));
}

/// What can be wrong with a log, and the words that the check has for it.
const DAMAGES: [(&str, &str); 8] = [
    ("delete from events where position = 5", "after 4 comes 6"),
    (
        "delete from events where position = (select max(position) from events)",
        "the head is at",
    ),
    ("update log_head set position = position + 1 where shard = 0", "the head is at"),
    (
        "update events set body = convert_to(replace(convert_from(body, 'UTF8'), '\"data\":', '\"data\": '), 'UTF8') where position = 2",
        "the event at 2 cannot be read",
    ),
    (
        "update events set body = (select body from events where position = 3) where position = 2",
        "the event at 2 says that it stands at 0:3",
    ),
    (
        "update events set body = convert_to(regexp_replace(convert_from(body, 'UTF8'), '\"accountseq\":[0-9]+', '\"accountseq\":9999'), 'UTF8')
         where position = 6",
        "its seq is not the next one",
    ),
    (
        "update events set body = convert_to(replace(convert_from(body, 'UTF8'), '\"charged\":\"0.5\"', '\"charged\":\"0.25\"'), 'UTF8')
         where type = 'keyledger.CreditsCharged.v1'",
        "charged and returned are not what was held",
    ),
    (
        "update events set body = convert_to(regexp_replace(convert_from(body, 'UTF8'), '\"amount\":\"0.5\",\"from\":[^]]*]', '\"amount\":\"1000\",\"from\":[],\"on_limit\":\"1000\"'), 'UTF8')
         where position = (select max(position) from events)",
        "available is below the credit limit",
    ),
];

/// Past the triggers that keep the log as it is.
async fn put_back(owner: &mut PgConnection) {
    let again = "delete from events; insert into events select * from kept; \
         update log_head set position = (select max(position) from kept) where shard = 0";
    owner.execute(again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_damaged_fails_the_check_of_its_history() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    for _ in 0..2 {
        let customer = Customer::open(&ledger, "100").await;
        let held = customer.reserve_fresh(&ledger).await.unwrap().reply.reservation;
        customer.charge(&ledger, held).await.unwrap();
        let held = customer.reserve_fresh(&ledger).await.unwrap().reply.reservation;
        customer.release(&ledger, held).await.unwrap();
        customer.reserve_fresh(&ledger).await.unwrap();
    }
    let written = harness.log().head().await.unwrap().position.0;
    assert_eq!(check_history(harness.owner_url()).await.unwrap(), written);
    let mut owner = harness.owner().await;
    let keep = "create table kept as select * from events; set session_replication_role = replica";
    owner.execute(keep).await.unwrap();
    for (damage, complaint) in DAMAGES {
        let changed = owner.execute(damage).await.unwrap().rows_affected();
        assert!(changed > 0, "{damage}");
        let complained = check_history(harness.owner_url()).await.unwrap_err();
        assert!(
            format!("{complained:#}").contains(complaint),
            "{damage}: {complained:#}"
        );
        put_back(&mut owner).await;
    }
    assert_eq!(check_history(harness.owner_url()).await.unwrap(), written);
}
