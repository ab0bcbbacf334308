//! Proof over an archived log: what is signed, exported, replayed and checked is what it was, and who changes a segment is
//! found out.

use std::process::Output;

use futures_util::future::join_all;
use keyledger::archive::build;
use keyledger_events::{Position, Recorded};
use serde_json::Value;
use tokio::process::Command;

use super::{files, move_all, rows};
use crate::audit::stage::verifier;
use crate::audit::tiles::seal;
use crate::exports::both::judge;
use crate::harness::Harness;
use crate::http::stage::Stage;
use crate::ledger::customer::Customer;
use crate::projector::level;
use crate::service::process::KEYLEDGER;

async fn keyledger(harness: &Harness, arguments: &[&str]) -> Output {
    let mut command = Command::new(KEYLEDGER);
    command.args(arguments).env("DATABASE_URL", harness.owner_url());
    command.env_remove("NATS_URL").output().await.unwrap()
}

/// `keyledger audit log`, views and snapshots among what it compares.
async fn audited(harness: &Harness) -> (i32, Value) {
    let key = verifier(1).to_string();
    let output = keyledger(harness, &["audit", "log", "--json", "--key", &key]).await;
    let told = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let faults = String::from_utf8_lossy(&output.stderr).into_owned();
    (
        output.status.code().unwrap(),
        if told == Value::Null { faults.into() } else { told },
    )
}

/// A customer with some 750 events, in the views and sealed.
async fn world() -> (Stage, Customer, tempfile::TempDir) {
    let stage = Stage::open().await;
    let customer = Customer::open(&stage.ledger, "1000").await;
    join_all((0..250).map(async |_| {
        let held = customer.reserve_fresh(&stage.ledger).await.unwrap().reply.reservation;
        customer.charge(&stage.ledger, held).await.unwrap();
    }))
    .await;
    let head = stage.harness.log().head().await.unwrap().position;
    let state = seal(&stage, head).await;
    level(&stage.harness).await;
    (stage, customer, state)
}

/// An export's lines, but for the first, which says when it was made, and the last, which is a digest of it too.
async fn exported(stage: &Stage, scope: &[&str]) -> Vec<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("export.ndjson");
    let arguments = [&["audit", "export", "--out", file.to_str().unwrap()], scope].concat();
    let output = keyledger(&stage.harness, &arguments).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = judge(&file, &["--key".to_owned(), verifier(1).to_string()]);
    assert_eq!(said.code, 0, "{}", said.told);
    let lines = std::fs::read(&file).unwrap();
    let mut lines: Vec<Vec<u8>> = lines.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    lines.remove(0);
    lines.truncate(lines.len() - 2);
    lines
}

#[tokio::test]
async fn proofs_exports_replays_and_the_check_are_what_they_were() {
    let (stage, customer, _state) = world().await;
    let size = stage.harness.tree().store().latest().await.unwrap().unwrap().size;
    let (account, key) = (customer.account.to_string(), customer.key.to_string());
    let home = format!("/v1/accounts/{account}");
    let paths = [
        format!("/v1/proofs/inclusion?position=1&size={size}"),
        format!("/v1/proofs/inclusion?position=300&size={size}"),
        format!("/v1/proofs/inclusion?position={size}&size={size}"),
        "/tlog/0/tile/entries/000".to_owned(),
        "/tlog/0/tile/entries/001".to_owned(),
        "/tlog/0/tile/0/001".to_owned(),
        format!("{home}?as_of=0:2"),
        format!("{home}/balance?as_of=0:200"),
        format!("{home}/keys?as_of=0:600"),
        format!("{home}/keys/{key}/history?as_of=0:257"),
    ];
    let scopes: [&[&str]; 4] = [
        &["--shard", "0"],
        &["--shard", "0", "--from", "200", "--to", "520"],
        &["--account", &account],
        &["--key", &key],
    ];
    let seen = async || {
        let mut answers = Vec::new();
        for path in &paths {
            answers.push(stage.operator.download(path).await.1.to_vec());
        }
        for scope in scopes {
            answers.extend(exported(&stage, scope).await);
        }
        for whose in [["--account", &account], ["--key", &key]] {
            let output = keyledger(&stage.harness, &["replay", whose[0], whose[1], "--json"]).await;
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            answers.push(output.stdout);
        }
        answers
    };
    let before = (audited(&stage.harness).await, seen().await);
    assert_eq!(before.0.0, 0, "{}", before.0.1);

    let directory = tempfile::tempdir().unwrap();
    assert_eq!(move_all(&stage.harness, directory.path(), 1).await.0, 2);
    assert_eq!(rows(&stage.harness).await.1, Some(513));
    // Marks would be a way around the files.
    sqlx::query("delete from replay_marks")
        .execute(&mut stage.harness.owner().await)
        .await
        .unwrap();
    assert_eq!(audited(&stage.harness).await, before.0);
    let after = seen().await;
    let differs = before.1.iter().zip(&after).position(|(before, after)| before != after);
    assert_eq!((differs, after.len()), (None, before.1.len()));

    // What cannot be read is nothing that can be told.
    let file = &files(directory.path())[0];
    let away = file.with_extension("away");
    std::fs::rename(file, &away).unwrap();
    let (code, told) = audited(&stage.harness).await;
    assert_eq!(code, 2, "{told}");
    std::fs::rename(&away, file).unwrap();
    assert_eq!(audited(&stage.harness).await, before.0);
}

/// Somebody with every right on the database and on the files writes a segment anew, so that all its own hashes are right.
#[tokio::test]
async fn a_segment_that_is_written_anew_is_found_by_what_was_signed() {
    let (stage, _customer, _state) = world().await;
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(move_all(&stage.harness, directory.path(), 1).await.0, 2);
    let stored = stage.harness.log().read(Position(256), 256).await.unwrap();
    let mut bodies: Vec<Vec<u8>> = stored.into_iter().map(|event| event.body).collect();
    // Position 400, about another endpoint of the same length.
    let body = String::from_utf8(bodies[143].clone()).unwrap();
    let changed = body.replacen("\"serp\"", "\"serq\"", 1);
    assert_ne!(changed, body);
    bodies[143] = changed.into_bytes();
    let events: Vec<Recorded> = bodies.iter().map(|body| Recorded::decode(body).unwrap()).collect();
    let built = build(
        directory.path().to_str().unwrap(),
        1,
        events.iter().zip(bodies.iter().map(Vec::as_slice)),
    )
    .unwrap();
    let segment = &built.segment;
    std::fs::write(directory.path().join(&segment.name), &built.file).unwrap();
    sqlx::raw_sql("alter table archive_segments disable trigger user")
        .execute(&mut stage.harness.owner().await)
        .await
        .unwrap();
    sqlx::query(
        "update archive_segments set name = $1, bytes = $2, sha256 = $3, index_at = $4, index_bytes = $5, index_sha256 = $6
         where number = 1",
    )
    .bind(&segment.name)
    .bind(i64::try_from(segment.bytes).unwrap())
    .bind(segment.sha256.as_slice())
    .bind(i64::try_from(segment.index_at).unwrap())
    .bind(i64::try_from(segment.index_bytes).unwrap())
    .bind(segment.index_sha256.as_slice())
    .execute(&mut stage.harness.owner().await)
    .await
    .unwrap();
    let checked = keyledger(&stage.harness, &["archive", "check"]).await;
    assert!(checked.status.success(), "the files by themselves are good");
    let (code, told) = audited(&stage.harness).await;
    assert_eq!((code, &told["last_good"]), (1, &Value::from(399)), "{told}");
    assert!(told["findings"].to_string().contains("hash 143 of tile 1"), "{told}");
}
