//! A backup that is restored, with the bus and the sealer's memory knowing more than it does.

use std::path::Path;
use std::process::{Command, Stdio};

use keyledger::audit::merkle::extends;
use keyledger::audit::sealer::last_published;
use keyledger_events::Shard;
use serde_json::json;

use crate::harness::until;
use crate::service::process::Site;

/// Postgres's own tools.
fn tool(name: &str) -> std::path::PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("this test needs Postgres: run `tools/setup`");
    let mut found = versions.map(|entry| entry.unwrap().path().join("bin").join(name));
    found
        .find(|path| path.exists())
        .expect("this test needs Postgres: run `tools/setup`")
}

fn dump(url: &str, file: &Path) {
    let done = Command::new(tool("pg_dump"))
        .args(["-Fc", "-f"])
        .arg(file)
        .arg(url)
        .status()
        .unwrap();
    assert!(done.success());
}

/// Puts the backup in the place of the database.
fn restore(url: &str, file: &Path) {
    let done = Command::new(tool("pg_restore"))
        .args(["--clean", "--if-exists", "-d", url])
        .arg(file)
        .stderr(Stdio::inherit())
        .status()
        .unwrap();
    assert!(done.success());
}

async fn sealed(site: &Site, at_least: u64) -> keyledger::audit::tree::SealedCheckpoint {
    let tree = site.harness.tree();
    until("it is sealed", async || {
        tree.store()
            .latest()
            .await
            .unwrap()
            .is_some_and(|latest| latest.size >= at_least)
    })
    .await;
    tree.store().latest().await.unwrap().unwrap()
}

#[tokio::test]
async fn an_older_backup_is_not_started_on_and_says_what_is_missing() {
    let site = Site::start().await;
    let key_file = site.directory.path().join("audit.key");
    std::fs::write(&key_file, super::stage::key(1).expose_text_to_its_file()).unwrap();
    site.add(&format!("[audit]\nkey_file = \"{}\"", key_file.display()));
    let service = site.serve().await;
    let operator = site.operator(&service);
    let account = operator.post("/v1/accounts", json!({"name": "Acme"})).await.text("/id");
    let grants = format!("/v1/accounts/{account}/grants");
    let write = async |count: usize| {
        for _ in 0..count {
            let reply = operator
                .post(&grants, json!({"amount": "1", "source": "purchase"}))
                .await;
            assert_eq!(reply.status, 201);
        }
    };
    write(20).await;
    // Under load: the backup is taken while more is written.
    let (url, file) = (
        site.harness.owner_url().to_owned(),
        site.directory.path().join("backup"),
    );
    let backup = {
        let file = file.clone();
        tokio::task::spawn_blocking(move || dump(&url, &file))
    };
    write(60).await;
    backup.await.unwrap();
    write(20).await;
    let head = site.harness.log().head().await.unwrap().position.0;
    let before = sealed(&site, head).await;
    let bus = site.harness.bus().await;
    until("the bus has it too", async || {
        let note = last_published(&bus, Shard(0)).await;
        note.is_some_and(|note| note.lines().nth(1) == Some(&before.size.to_string()))
    })
    .await;
    service.kill_9().await;
    let rows_of_now = site.directory.path().join("now");
    dump(site.harness.owner_url(), &rows_of_now);

    restore(site.harness.owner_url(), &file);
    let found = site.harness.log().head().await.unwrap().position.0;
    assert!(found < head, "the backup is older: {found}");
    let missing = format!("positions {} to {head} are missing", found + 1);
    assert!(
        site.refuses_to_start().await.contains(&missing),
        "by the sealer's own memory"
    );
    // A process on another machine has no such memory: the bus has told it.
    let memory = std::fs::read_dir(site.directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    for file in memory.filter(|path| path.extension().is_some_and(|extension| extension == "signed")) {
        std::fs::remove_file(file).unwrap();
    }
    assert!(site.refuses_to_start().await.contains(&missing), "by the bus");

    // With the whole log back, the next checkpoint extends the last one.
    restore(site.harness.owner_url(), &rows_of_now);
    let service = site.serve().await;
    let operator = site.operator(&service);
    assert_eq!(
        operator
            .post(&grants, json!({"amount": "1", "source": "purchase"}))
            .await
            .status,
        201
    );
    let after = sealed(&site, head + 1).await;
    let proof = site.harness.tree().consistency(before.size, after.size).await.unwrap();
    assert!(extends((before.size, &before.root), (after.size, &after.root), &proof));
}
