//! Segments in an S3-compatible store that is none of ours: s3rver, which lets in whoever has its key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{archive, bytes, log_of_uses, rows, said};
use crate::harness::{Harness, nobody, until};

const S3RVER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/.keyledger/bin/s3rver-3.7.1/node_modules/s3rver/bin/s3rver.js"
);

/// A running store with one bucket, `log`.
struct Bucket {
    directory: TempDir,
    address: SocketAddr,
    server: Child,
}

impl Bucket {
    async fn start() -> Bucket {
        assert!(Path::new(S3RVER).exists(), "this test needs s3rver: run `tools/setup`");
        let directory = tempfile::tempdir().unwrap();
        let address = nobody();
        let server = serve(directory.path(), address);
        let bucket = Bucket {
            directory,
            address,
            server,
        };
        bucket.listens().await;
        bucket
    }

    async fn listens(&self) {
        until("the store listens", async || {
            tokio::net::TcpStream::connect(self.address).await.is_ok()
        })
        .await;
    }

    fn place(&self) -> String {
        format!("s3://log/live?endpoint=http://{}&region=here", self.address)
    }

    /// Where the store itself keeps what it was given.
    fn objects(&self) -> Vec<PathBuf> {
        let folder = self.directory.path().join("log/live/shard-0");
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.to_str().unwrap().ends_with("_object"));
        paths.sort();
        paths
    }
}

fn serve(directory: &Path, address: SocketAddr) -> Child {
    Command::new("node")
        .args([S3RVER, "--silent", "--no-vhost-buckets"])
        .args([
            "--address",
            &address.ip().to_string(),
            "--port",
            &address.port().to_string(),
        ])
        .args(["--configure-bucket", "log", "--directory"])
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// With the store's key, or another.
fn with_key(harness: &Harness, arguments: &[&str], key: &str) -> Command {
    let mut command = archive(harness, arguments);
    command
        .env("AWS_ACCESS_KEY_ID", key)
        .env("AWS_SECRET_ACCESS_KEY", "S3RVER");
    command
}

#[tokio::test]
async fn segments_in_a_bucket_are_put_read_in_parts_checked_and_said_to_be_gone_or_refused() {
    let mut bucket = Bucket::start().await;
    let (harness, _directory) = log_of_uses(1_600).await;
    let before = bytes(&harness).await;
    let (place, now) = (bucket.place(), keyledger::clock::now().to_string());
    let to_bucket = ["move", "--bundles", "2", "--before", &now, "--to", &place];
    // Whoever has another key is refused, and every row stays.
    let refused = said(with_key(&harness, &to_bucket, "ANOTHER")).await;
    assert_eq!(refused.code, 2);
    assert!(refused.error.contains("InvalidAccessKeyId"), "{}", refused.error);
    assert!(
        !refused.error.contains("ANOTHER"),
        "a credential is told: {}",
        refused.error
    );
    assert_eq!(rows(&harness).await, (1_600, Some(1)));
    let moved = said(with_key(&harness, &to_bucket, "S3RVER")).await;
    assert_eq!(moved.code, 0, "{}", moved.error);
    assert_eq!((rows(&harness).await.1, bucket.objects().len()), (Some(1_537), 3));
    let checked = said(with_key(&harness, &["check"], "S3RVER")).await;
    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.error);

    // Everything that reads the log reads it there, in parts.
    let read = log_with_key(&harness, "S3RVER");
    let events = read.read(keyledger_events::Position::START, 5_000).await.unwrap();
    assert!(events.iter().map(|stored| &stored.body).eq(&before));
    let part = read.read(keyledger_events::Position(600), 10).await.unwrap();
    assert!(part.iter().map(|stored| &stored.body).eq(&before[600..610]));
    let denied = log_with_key(&harness, "ANOTHER")
        .read(keyledger_events::Position::START, 1)
        .await;
    assert!(denied.unwrap_err().to_string().contains("InvalidAccessKeyId"));

    // An object that is gone, and one that is another.
    let objects = bucket.objects();
    let whole = std::fs::read(&objects[1]).unwrap();
    std::fs::write(&objects[1], &whole[..whole.len() - 30]).unwrap();
    let checked = said(with_key(&harness, &["check"], "S3RVER")).await;
    assert_eq!(checked.code, 1, "{}{}", checked.out, checked.error);
    std::fs::remove_file(&objects[1]).unwrap();
    let gone = said(with_key(&harness, &["check"], "S3RVER")).await;
    assert_eq!(
        (gone.code, gone.out.contains("there is no such file")),
        (2, true),
        "{}",
        gone.out
    );
    std::fs::write(&objects[1], &whole).unwrap();

    // A store that is down for a moment is waited for; one that stays down is not there.
    bucket.server.kill().await.unwrap();
    let fresh = log_with_key(&harness, "S3RVER");
    let away = fresh.read(keyledger_events::Position::START, 1).await.unwrap_err();
    assert!(away.to_string().contains("cannot be reached"), "{away}");
    let waiting = tokio::spawn(async move { fresh.read(keyledger_events::Position::START, 1).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    bucket.server = serve(bucket.directory.path(), bucket.address);
    bucket.listens().await;
    match waiting.await.unwrap() {
        Ok(events) => assert_eq!(events[0].body, before[0]),
        Err(error) => assert!(error.to_string().contains("cannot be reached"), "{error}"),
    }
    let again = log_with_key(&harness, "S3RVER");
    assert_eq!(
        again
            .read(keyledger_events::Position::START, 5_000)
            .await
            .unwrap()
            .len(),
        1_600
    );
}

/// The log, with this key for the store.
fn log_with_key(harness: &Harness, key: &str) -> keyledger::log::Log {
    let environment = keyledger::archive::Environment::default().with_credentials(key, "S3RVER");
    let archive = keyledger::archive::Archive::new(environment);
    keyledger::log::Log::over(harness.another_pool(), keyledger_events::Shard(0), archive)
}
