//! The tamper matrix: what somebody with every right on the database may do, and who notices.
//!
//! `trigger`: the database refuses it to the service, and to its owner while triggers are on. `log`: `keyledger audit log`
//! by the database alone. `checkpoint`: the same with a checkpoint that was kept elsewhere. `witness`: a witness does not
//! sign what follows.

use std::path::Path;
use std::process::Command;

use keyledger::audit::note::SignerKey;
use keyledger::audit::sealer::{Memory, Signers, origin};
use keyledger::log::Batch;
use keyledger_events::{Credits, Event, Position, Recorded, Shard, leaf_hash};
use serde_json::Value;

use super::stage::{NAME, Sealed, key, told, verifier};
use crate::service::process::KEYLEDGER;

/// What `keyledger audit log` says.
pub async fn audited(stage: &Sealed, checkpoint: Option<&Path>) -> (i32, Value) {
    let mut command = Command::new(KEYLEDGER);
    command
        .args([
            "audit",
            "log",
            "--json",
            "--without-views",
            "--key",
            &verifier(1).to_string(),
        ])
        .env("DATABASE_URL", stage.harness.owner_url())
        .env_remove("NATS_URL");
    if let Some(file) = checkpoint {
        command.arg("--checkpoint").arg(file);
    }
    told(command).await
}

/// A log of 1,203 events or so, sealed a piece at a time, and the sealer gone.
async fn sealed() -> Sealed {
    let stage = Sealed::open().await;
    let (_, stop) = stage.seal();
    for count in [100, 500, 600] {
        stage.use_key(count).await;
        stage.sealed().await;
    }
    stop.cancel();
    stage
}

fn kept(stage: &Sealed) -> std::path::PathBuf {
    let file = std::fs::read_dir(stage.state.path()).unwrap().next().unwrap();
    file.unwrap().path()
}

/// Tampers, and checks that by the database alone the first bad position is found, and the last good one told.
async fn noticed(statements: &str, first_bad: u64) -> Value {
    let stage = sealed().await;
    assert_eq!(audited(&stage, None).await.0, 0, "before");
    stage.tamper(statements).await;
    let (code, told) = audited(&stage, None).await;
    assert_eq!(code, 1, "{told}");
    assert_eq!(told["last_good"], first_bad - 1, "{told}");
    told
}

/// At the end of the log, where no tile is full yet, whoever goes on sealing stops.
async fn stops_the_sealer(statements: &str) {
    let stage = sealed().await;
    stage.tamper(statements).await;
    let (sealer, _) = stage.seal();
    stage.fault(&sealer).await;
}

fn first_finding(told: &Value) -> &str {
    told["findings"][0]["what"].as_str().unwrap()
}

#[tokio::test]
async fn one_byte_of_an_event() {
    // Another valid document of the same length: only the hashes tell.
    let told = noticed(
        "update events set body = convert_to(replace(convert_from(body, 'UTF8'), '\"serp\"', '\"sarp\"'), 'UTF8') where position = 700",
        700,
    )
    .await;
    let findings = told["findings"].to_string();
    assert!(
        findings.contains("hash 187 of tile 2") && findings.contains("from 604 to"),
        "{told}"
    );
    let told = noticed(
        "update events set body = set_byte(body, 3, 88) where position = 800",
        800,
    )
    .await;
    assert!(first_finding(&told).contains("cannot be read"), "{told}");
    assert!(
        !told["findings"].to_string().contains("has number"),
        "the next one is right: {told}"
    );
    stops_the_sealer("update events set body = set_byte(body, 3, 88) where position = 1100").await;
}

/// Whoever changed a row could have deleted the stream as well.
#[tokio::test]
async fn what_was_found_is_told_although_the_bus_cannot_be() {
    let stage = sealed().await;
    let audited = || {
        let mut command = Command::new(KEYLEDGER);
        command
            .args([
                "audit",
                "log",
                "--json",
                "--without-views",
                "--stream-prefix",
                "NOBODYS",
            ])
            .env("DATABASE_URL", stage.harness.owner_url());
        command
    };
    // With nothing found it cannot be told whether all is good.
    let output = tokio::task::spawn_blocking({
        let mut command = audited();
        move || command.output().unwrap()
    })
    .await
    .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("the stream cannot be compared"), "{errors}");
    stage
        .tamper("update events set body = set_byte(body, 3, 88) where position = 800")
        .await;
    let (code, told) = told(audited()).await;
    assert_eq!((code, &told["last_good"]), (1, &Value::from(799)), "{told}");
    assert!(first_finding(&told).contains("cannot be read"), "{told}");
    let beside = told["findings"].to_string();
    assert!(beside.contains("the stream cannot be compared"), "{told}");
}

#[tokio::test]
async fn a_tile_beside_events_that_are_what_was_signed() {
    let stage = sealed().await;
    stage
        .tamper("update audit_tiles set hashes = set_byte(hashes, 40, 0) where level = 0 and index = 1")
        .await;
    let head = stage.head().await;
    let (code, told) = audited(&stage, None).await;
    assert_eq!((code, &told["last_good"]), (1, &Value::from(head)), "{told}");
    assert!(first_finding(&told).contains("hash 1 of tile 1"), "{told}");
}

#[tokio::test]
async fn a_row_that_is_deleted() {
    let told = noticed("delete from events where position = 700", 700).await;
    assert!(first_finding(&told).contains("position 700 is missing"), "{told}");
}

#[tokio::test]
async fn the_tail_that_is_deleted() {
    let cut = "delete from events where position > 1000";
    let told = noticed(cut, 1001).await;
    assert!(first_finding(&told).contains("positions 1001 to"), "{told}");
    let cut = format!("{cut}; update log_head set position = 1000");
    let told = noticed(&cut, 1001).await;
    assert!(first_finding(&told).contains("are missing"), "{told}");
    stops_the_sealer(&cut).await;
}

#[tokio::test]
async fn the_tail_with_everything_that_was_sealed_of_it() {
    let stage = sealed().await;
    let before = stage.head().await;
    stage
        .tamper(
            "delete from events where position > 603; update log_head set position = 603;
             delete from audit_checkpoints where size > 603; delete from audit_tiles where (index + 1) * 256 > 603",
        )
        .await;
    let (code, _) = audited(&stage, None).await;
    assert_eq!(code, 0, "the database alone is a whole and smaller log");
    let (code, told) = audited(&stage, Some(&kept(&stage))).await;
    assert_eq!((code, &told["last_good"]), (1, &Value::from(603)));
    assert!(
        first_finding(&told).contains(&format!("positions 604 to {before} are missing")),
        "{told}"
    );
    let (sealer, _) = stage.seal();
    assert!(
        stage.fault(&sealer).await.contains("positions 604 to"),
        "and the sealer remembers"
    );
}

#[tokio::test]
async fn a_row_that_is_inserted_or_two_that_are_swapped() {
    let insert = "update events set position = -position where position > 700; update events set position = 1 - position where position < 0;
         insert into events select shard, 701, account_id, seq + 100000, gen_random_uuid(), type, key_id, key_digest, recorded_at, body
         from events where position = 700; update log_head set position = position + 1";
    // The constraint on positions is one more thing that an owner can take away.
    let insert = format!("alter table events drop constraint events_position_from_one; {insert}");
    // What follows is shifted, so nothing says any more where between two checkpoints it began.
    let told = noticed(&insert, 604).await;
    let finding = told["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["position"] == 701)
        .unwrap();
    assert!(finding["what"].as_str().unwrap().contains("stands at 0:700"), "{told}");
    let swap = "update events set body = case position when 700 then (select body from events where position = 701)
                else (select body from events where position = 700) end where position in (700, 701)";
    noticed(swap, 700).await;
}

#[tokio::test]
async fn a_column_beside_the_bytes() {
    for (column, value) in [
        ("type", "'keyledger.KeyDeleted.v1'"),
        ("seq", "seq + 100000"),
        ("account_id", "gen_random_uuid()"),
        ("event_id", "gen_random_uuid()"),
        ("key_id", "gen_random_uuid()"),
        ("key_digest", "sha256('x')"),
        ("recorded_at", "recorded_at + interval '1 hour'"),
    ] {
        let stage = sealed().await;
        stage
            .tamper(&format!("update events set {column} = {value} where position = 700"))
            .await;
        let (code, told) = audited(&stage, None).await;
        assert_eq!((code, &told["last_good"]), (1, &Value::from(699)), "{column}: {told}");
        assert!(first_finding(&told).contains(column), "{told}");
    }
    // What leads to a key is the first event of it among 32: whichever of these that is.
    let stage = sealed().await;
    stage
        .tamper("update events set leads_key = false where position between 700 and 731")
        .await;
    let (code, told) = audited(&stage, None).await;
    assert_eq!(code, 1, "{told}");
    let at = told["last_good"].as_u64().unwrap() + 1;
    assert!((700..=731).contains(&at), "{told}");
    assert!(first_finding(&told).contains("leads_key"), "{told}");
}

/// Everything from an event on is written anew as if it had always been so: bytes, tiles, and checkpoints that a key signs.
async fn rewrite(stage: &Sealed, by: &SignerKey) {
    let log = stage.harness.log();
    let head = stage.head().await;
    let all = log.read(Position::START, 5_000).await.unwrap();
    stage
        .tamper(
            "delete from audit_checkpoints; delete from audit_tiles; delete from events; update log_head set position = 0",
        )
        .await;
    let mut batch = Batch::default();
    let mut edge = keyledger::audit::tree::Edge::default();
    let mut tiles = Vec::new();
    for stored in &all {
        let mut recorded: Recorded = stored.decode().unwrap();
        if let Event::CreditsGranted(granted) = &mut recorded.event {
            granted.amount = "5000".parse::<Credits>().unwrap();
        }
        batch.push(&recorded, true);
        edge.push(leaf_hash(&recorded.encode()), |tile| tiles.push(tile));
    }
    log.append(&batch).await.unwrap();
    let signers = Signers::new(&[by.named(NAME).unwrap()], Shard(0)).unwrap();
    let sealed = keyledger::audit::tree::SealedCheckpoint {
        size: head,
        root: edge.root(),
        note: signers.sign(head, edge.root()).to_text(),
        made_at: keyledger::clock::now(),
        cosignatures: Vec::new(),
    };
    stage.harness.tree().store().publish(&sealed, &tiles).await.unwrap();
}

#[tokio::test]
async fn a_history_that_is_rewritten_and_hashed_again() {
    let stage = sealed().await;
    rewrite(&stage, &key(9)).await;
    let (code, told) = audited(&stage, None).await;
    assert_eq!(code, 1, "the key is another: {told}");
    assert!(first_finding(&told).contains("signed by none of the keys"), "{told}");
    // With the stolen key the database is right by itself; what was kept elsewhere is not in it.
    let stage = sealed().await;
    rewrite(&stage, &key(1)).await;
    assert_eq!(audited(&stage, None).await.0, 0, "the database alone cannot tell");
    let (code, told) = audited(&stage, Some(&kept(&stage))).await;
    assert_eq!((code, &told["last_good"]), (1, &Value::from(0)), "{told}");
    let (sealer, _) = stage.seal();
    assert!(
        stage.fault(&sealer).await.contains("not those that were signed"),
        "and the sealer remembers"
    );
}

#[tokio::test]
async fn the_database_itself_refuses_what_the_service_and_its_owner_try() {
    let stage = sealed().await;
    for statement in [
        "update events set body = 'x' where position = 1",
        "delete from events where position = 1",
        "truncate events",
        "update log_head set position = 1",
        "delete from audit_checkpoints",
        "update audit_tiles set root = root",
        "truncate audit_checkpoints cascade",
    ] {
        let mut owner = stage.harness.owner().await;
        let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
            .execute(&mut owner)
            .await;
        assert!(refused.is_err(), "{statement}, as the owner");
        let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
            .execute(&stage.harness.service_pool())
            .await;
        assert!(refused.is_err(), "{statement}, as the service");
    }
}

/// Signed, whole, and impossible: the auditor's own books notice.
#[tokio::test]
async fn a_use_of_a_key_that_was_deleted() {
    let stage = Sealed::open().await;
    let (_sealer, _) = stage.seal();
    let deleted = stage.customer.delete_key();
    stage
        .ledger
        .submit(deleted, crate::ledger::customer::by_system())
        .await
        .unwrap();
    let before = stage.head().await;
    stage.use_key(1).await;
    stage.sealed().await;
    let (code, told) = audited(&stage, None).await;
    assert_eq!((code, &told["last_good"]), (1, &Value::from(before)), "{told}");
    assert!(first_finding(&told).contains("a key is used that is deleted"), "{told}");
}

/// A sealed log, and a snapshot of its customer.
async fn with_snapshot() -> Sealed {
    let stage = sealed().await;
    let reservation = keyledger::clock::fresh_reservation_id();
    stage
        .ledger
        .submit(
            stage.customer.reserve(reservation),
            crate::ledger::customer::by_system(),
        )
        .await
        .unwrap();
    // The writer has met 1,200 events since its last snapshot, so one is due.
    crate::harness::until("there is a snapshot", async || {
        let count: i64 = sqlx::query_scalar("select count(*) from account_snapshots")
            .fetch_one(&mut stage.harness.owner().await)
            .await
            .unwrap();
        count > 0
    })
    .await;
    stage
}

#[tokio::test]
async fn an_erasure_that_came_as_far_as_the_key_leaves_nothing_that_looks_forged() {
    let stage = with_snapshot().await;
    let log = stage.harness.log();
    let now = keyledger::clock::now();
    log.destroy_data_key(stage.customer.account, now).await.unwrap();
    let (code, told) = audited(&stage, None).await;
    assert_eq!((code, &told["snapshots"]), (0, &Value::from(0)), "{told}");
}

#[tokio::test]
async fn a_snapshot_that_is_not_what_its_events_come_to() {
    let stage = with_snapshot().await;
    let (code, told) = audited(&stage, None).await;
    assert_eq!((code, &told["snapshots"]), (0, &Value::from(1)), "{told}");
    stage
        .tamper("update account_snapshots set state = convert_to(replace(convert_from(state, 'UTF8'), '1000', '2000'), 'UTF8')")
        .await;
    let (code, told) = audited(&stage, None).await;
    assert_eq!(code, 1);
    assert!(first_finding(&told).contains("snapshot"), "{told}");
}

#[test]
fn a_sealers_memory_that_was_changed_is_no_memory() {
    let directory = tempfile::tempdir().unwrap();
    let origin = origin(NAME, Shard(0));
    let memory = Memory::of(directory.path(), &origin);
    assert_eq!(memory.last(&origin).unwrap(), None);
    let signers = Signers::new(&[key(1)], Shard(0)).unwrap();
    memory.keep(&signers.sign(7, [1; 32]).to_text()).unwrap();
    assert_eq!(memory.last(&origin).unwrap().unwrap().size, 7);
    memory.keep("nonsense").unwrap();
    assert!(memory.last(&origin).is_err());
}
