//! Events that left Postgres: everything that reads the log still finds them, nothing is lost on the way, and what cannot be
//! read is said.

mod answers;
mod faults;
mod moved;
mod objects;
mod proven;
mod same;
mod sparse;
mod whole;

use std::path::Path;

use keyledger::archive::{Archive, Environment};
use keyledger::clock;
use keyledger::log::{Moved, Moving, Stays, Until};
use keyledger_events::{AccountId, KeyId, Position, Shard};
use tempfile::TempDir;
use tokio::process::Command;

use crate::harness::Harness;
use crate::projector::appended::{append, uses};
use crate::service::process::KEYLEDGER;

/// Opens what moves segments of some bundles of 256 events into a directory.
async fn moving(harness: &Harness, directory: &Path, bundles: u32) -> Moving {
    let archive = Archive::new(Environment::default());
    let place = directory.to_str().unwrap().to_owned();
    Moving::open(harness.owner_url(), Shard(0), archive, place, bundles)
        .await
        .unwrap()
}

fn everything_until_now() -> Until {
    Until {
        before: clock::now(),
        relayed: None,
    }
}

/// Moves all that can go: how many segments went, and why the next one stays.
async fn move_all(harness: &Harness, directory: &Path, bundles: u32) -> (u32, Stays) {
    let mut moving = moving(harness, directory, bundles).await;
    let mut segments = 0;
    loop {
        match moving.step(&everything_until_now()).await.unwrap() {
            Moved::Segment(_) => segments += 1,
            Moved::Stays(stays) => return (segments, stays),
        }
    }
}

/// `keyledger archive`, with what it takes beside the database.
fn archive(harness: &Harness, arguments: &[&str]) -> Command {
    let mut command = Command::new(KEYLEDGER);
    command
        .arg("archive")
        .args(arguments)
        .env("DATABASE_URL", harness.owner_url())
        .env_remove("NATS_URL")
        .kill_on_drop(true);
    command
}

struct Said {
    code: i32,
    out: String,
    error: String,
}

async fn said(mut command: Command) -> Said {
    let output = command.output().await.unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        error: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Says that every view has folded the whole log, which it may not be able to.
async fn as_if_folded(harness: &Harness) {
    let mut owner = harness.owner().await;
    sqlx::query("update views.checkpoints c set position = h.position from log_head h where h.shard = c.shard")
        .execute(&mut owner)
        .await
        .unwrap();
}

/// A log of uses of one key, which no view would believe.
async fn log_of_uses(many: usize) -> (Harness, TempDir) {
    let harness = Harness::start().await;
    let account = AccountId::from_parts(1, 1);
    append(&harness, account, uses(KeyId::from_parts(1, 1), many)).await;
    as_if_folded(&harness).await;
    (harness, tempfile::tempdir().unwrap())
}

/// How many rows Postgres has, from which position on.
async fn rows(harness: &Harness) -> (i64, Option<i64>) {
    sqlx::query_as("select count(*), min(position) from events")
        .fetch_one(&mut harness.owner().await)
        .await
        .unwrap()
}

/// The files of all segments, in the order of their numbers.
fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory.join("shard-0"));
    let paths = entries.into_iter().flatten().map(|entry| entry.unwrap().path());
    let named = |path: &std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("segment-");
    let mut files: Vec<_> = paths.filter(named).collect();
    files.sort();
    files
}

/// The log's bytes from its first event on.
async fn bytes(harness: &Harness) -> Vec<Vec<u8>> {
    let log = harness.log();
    let (mut all, mut after) = (Vec::new(), Position::START);
    loop {
        let page = log.read(after, 5_000).await.unwrap();
        let Some(last) = page.last() else { return all };
        after = last.position;
        all.extend(page.into_iter().map(|stored| stored.body));
    }
}
