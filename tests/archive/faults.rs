//! What cannot be read is said: a file that is gone, one that was tampered with, and a disk that is full.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use keyledger::archive::ArchiveError;
use keyledger::clock;
use keyledger::ledger::SubmitError;
use keyledger::log::ReadError;
use keyledger_events::{AccountId, KeyId, Position, Seq};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::{archive, as_if_folded, bytes, files, log_of_uses, move_all, rows, said};
use crate::harness::{Harness, until};
use crate::http::stage::Stage;
use crate::ledger::customer::{Customer, by_system};
use crate::projector::appended::{append, uses};
use crate::service::process::KEYLEDGER;

/// Three segments of 512 events, and some in Postgres.
async fn archived() -> (Harness, TempDir, Vec<PathBuf>) {
    let (harness, directory) = log_of_uses(1_600).await;
    assert_eq!(move_all(&harness, directory.path(), 2).await.0, 3);
    let files = files(directory.path());
    (harness, directory, files)
}

/// The segment that a read of everything names, and whether it says that it is gone (and not that it is another).
async fn named(harness: &Harness) -> (String, bool) {
    match harness.log().read(Position::START, 5_000).await {
        Err(ReadError::Archive(ArchiveError::Away { name, .. })) => (name, true),
        Err(ReadError::Archive(ArchiveError::Corrupt { name, .. })) => (name, false),
        other => panic!("{:?}", other.map(|events| events.len())),
    }
}

fn name(file: &std::path::Path) -> String {
    format!("shard-0/{}", file.file_name().unwrap().to_str().unwrap())
}

#[tokio::test]
async fn a_segment_that_is_not_what_it_was_is_named_and_never_read() {
    let (harness, _directory, files) = archived().await;
    let whole = std::fs::read(&files[1]).unwrap();
    let index_at = u64::from_be_bytes(whole[whole.len() - 16..whole.len() - 8].try_into().unwrap());
    let index_at = usize::try_from(index_at).unwrap();
    // In the first bundle, in the second one, in the index; cut short; and another segment in its place.
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let other = std::fs::read(&files[2]).unwrap();
    for bytes in [
        flipped(200),
        flipped(index_at - 200),
        flipped(index_at + 20),
        whole[..90].to_vec(),
        other,
    ] {
        std::fs::write(&files[1], bytes).unwrap();
        assert_eq!(named(&harness).await, (name(&files[1]), false));
        let checked = said(archive(&harness, &["check"])).await;
        assert_eq!(checked.code, 1, "{}", checked.error);
        assert!(checked.out.contains(&name(&files[1])), "{}", checked.out);
        let lines = said(archive(&harness, &["check", "--json"])).await;
        let faults = lines
            .out
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["fault"].is_null());
        assert_eq!(faults.collect::<Vec<_>>(), [true, false, true]);
        // The others are read as ever.
        assert_eq!(harness.log().read(Position::START, 512).await.unwrap().len(), 512);
        assert_eq!(harness.log().read(Position(1_024), 5_000).await.unwrap().len(), 576);
    }
    // What only the trailer says is in no read, and is found all the same.
    std::fs::write(&files[1], flipped(whole.len() - 1)).unwrap();
    assert_eq!(said(archive(&harness, &["check"])).await.code, 1);
    std::fs::write(&files[1], &whole).unwrap();
    assert_eq!(said(archive(&harness, &["check"])).await.code, 0);
}

#[tokio::test]
async fn a_database_that_says_other_things_of_a_segment_than_it_holds_is_found_out() {
    let (harness, _directory, _) = archived().await;
    let mut owner = harness.owner().await;
    for (table, change, found) in [
        (
            "archive_accounts",
            "update archive_accounts set last_seq = last_seq - 1 where number = 0",
            "about whose events",
        ),
        (
            "archive_keys",
            "delete from archive_keys where number = 1",
            "about which keys",
        ),
        (
            "archive_segments",
            "update archive_segments set index_sha256 = sha256('x') where number = 2",
            "another hash",
        ),
    ] {
        let change =
            format!("alter table {table} disable trigger user; {change}; alter table {table} enable trigger user");
        sqlx::raw_sql(sqlx::AssertSqlSafe(change))
            .execute(&mut owner)
            .await
            .unwrap();
        let checked = said(archive(&harness, &["check"])).await;
        assert_eq!(checked.code, 1, "{table} {}", checked.error);
        assert!(checked.out.contains(found), "{table} {}", checked.out);
    }
}

#[tokio::test]
async fn a_segment_that_cannot_be_reached_is_unavailable_and_no_shorter_history() {
    let (harness, directory, files) = archived().await;
    let before = bytes(&harness).await;
    let account = AccountId::from_parts(1, 1);
    let stage = Stage::on(harness, true).await;
    let harness = &stage.harness;
    let hidden = directory.path().join("hidden");
    std::fs::rename(&files[0], &hidden).unwrap();
    assert_eq!(named(harness).await, (name(&files[0]), true));
    let log = harness.log();
    assert!(log.account_events(account, Seq::START, 2_000).await.is_err());
    assert!(
        log.key_events(account, KeyId::from_parts(1, 1), Position::START, 2_000)
            .await
            .is_err()
    );
    let checked = said(archive(harness, &["check"])).await;
    assert_eq!(checked.code, 2, "{}{}", checked.out, checked.error);
    for path in ["/v1/events?from=1".to_owned(), format!("/v1/accounts/{account}/events")] {
        let answer = stage.operator.get(&path).await;
        assert_eq!(answer.problem(503), "unavailable", "{path}");
    }
    // What needs nothing of it is answered.
    stage.operator.get("/v1/events?from=1025").await.json(200);
    std::fs::rename(&hidden, &files[0]).unwrap();
    stage.operator.get("/v1/events?from=1").await.json(200);
    assert_eq!(bytes(harness).await, before);
}

/// A customer of whom something is archived, and one of whom nothing is.
async fn two_customers() -> (Harness, TempDir, [Customer; 2]) {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    let archived = Customer::open(&ledger, "10").await;
    append(&harness, archived.account, uses(archived.key, 300)).await;
    as_if_folded(&harness).await;
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(move_all(&harness, directory.path(), 1).await.0, 1);
    let here = Customer::open(&ledger, "10").await;
    (harness, directory, [archived, here])
}

#[tokio::test]
async fn an_archive_that_is_away_keeps_out_those_alone_of_whom_it_has_something() {
    let (harness, directory, [archived, here]) = two_customers().await;
    let ledger = harness.ledger();
    let hidden = directory.path().join("hidden");
    let file = files(directory.path()).remove(0);
    std::fs::rename(&file, &hidden).unwrap();
    let (of_archived, of_here) = tokio::join!(archived.reserve_fresh(&ledger), here.reserve_fresh(&ledger));
    assert!(matches!(of_archived, Err(SubmitError::Unavailable)), "{of_archived:?}");
    of_here.unwrap();
    std::fs::rename(&hidden, &file).unwrap();
    until("it is asked for again", async || {
        archived.reserve_fresh(&ledger).await.is_ok()
    })
    .await;
}

/// As a disk of the network whose other end is gone: whoever opens the file waits for as long as that lasts.
#[tokio::test]
async fn an_archive_that_hangs_keeps_nobody_waiting_of_whom_it_has_nothing() {
    let (harness, directory, [archived, here]) = two_customers().await;
    let [ledger, another] = [harness.ledger(), harness.ledger()];
    let file = files(directory.path()).remove(0);
    std::fs::remove_file(&file).unwrap();
    let made = Command::new("mkfifo").arg(&file).status().await.unwrap();
    assert!(made.success());
    let began = Instant::now();
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let (ledger, command) = (ledger.clone(), archived.reserve(clock::fresh_reservation_id()));
            tokio::spawn(async move { ledger.submit(command, by_system()).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    here.reserve_fresh(&ledger).await.unwrap();
    // What happens elsewhere is heard of meanwhile, too.
    let working = ledger.key_signals().begin(here.key);
    another.submit(here.delete_key(), by_system()).await.unwrap();
    working.key_deleted().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    for one in waiting {
        let answer = one.await.unwrap();
        assert!(matches!(answer, Err(SubmitError::Unavailable)), "{answer:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // Lets those go that still wait for the file.
    std::fs::OpenOptions::new().write(true).open(&file).unwrap();
}

#[tokio::test]
async fn the_files_may_be_elsewhere_for_a_process_than_where_they_were_written() {
    let (harness, directory, _) = archived().await;
    let moved = tempfile::tempdir().unwrap();
    std::fs::rename(directory.path().join("shard-0"), moved.path().join("shard-0")).unwrap();
    assert_eq!(said(archive(&harness, &["check"])).await.code, 2);
    let mut elsewhere = archive(&harness, &["check"]);
    elsewhere.env("KEYLEDGER_ARCHIVE", moved.path());
    assert_eq!(said(elsewhere).await.code, 0);
}

#[tokio::test]
async fn where_a_segment_cannot_be_kept_every_row_stays() {
    let (harness, directory) = log_of_uses(600).await;
    let place = directory.path().to_str().unwrap();
    let now = keyledger::clock::now().to_string();
    // Files of this process end after 1 KiB, as on a disk that is full.
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$@\"";
    let mut full = Command::new("bash");
    full.args(["-c", script, "bash", KEYLEDGER, "archive", "move", "--bundles", "1"])
        .args(["--before", &now, "--to", place])
        .env("DATABASE_URL", harness.owner_url())
        .env_remove("NATS_URL");
    let full = said(full).await;
    assert_eq!(full.code, 2, "{}", full.out);
    assert!(full.error.contains("cannot be had"), "{}", full.error);
    let gone = directory.path().join("not-mounted");
    let gone = said(archive(
        &harness,
        &["move", "--before", &now, "--to", gone.to_str().unwrap()],
    ))
    .await;
    assert_eq!(gone.code, 0, "nothing is whole, so nothing is written: {}", gone.error);
    let gone = directory.path().join("not-mounted");
    let arguments = [
        "move",
        "--bundles",
        "1",
        "--before",
        &now,
        "--to",
        gone.to_str().unwrap(),
    ];
    let gone = said(archive(&harness, &arguments)).await;
    assert_eq!(
        (gone.code, gone.error.contains("is no directory")),
        (2, true),
        "{}",
        gone.error
    );
    assert_eq!(rows(&harness).await, (600, Some(1)));
    assert_eq!(files(directory.path()), [] as [PathBuf; 0]);
    let unfinished = std::fs::read_dir(directory.path().join("shard-0")).unwrap().count();
    assert_eq!(unfinished, 0, "half a file is left behind");
    // And a moment to come is none of the past.
    let late = said(archive(&harness, &["move", "--before", "2999-01-01", "--to", place])).await;
    assert_eq!((late.code, late.error.contains("in the past")), (2, true));
}
