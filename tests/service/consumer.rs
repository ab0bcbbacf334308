//! A consumer in another language, with nothing of ours: `examples/consumer.py`, on nats-py and the CloudEvents SDK.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use super::client::Client;
use super::process::{Customer, Site};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What `tools/setup` fetched.
fn packages() -> PathBuf {
    let all = std::fs::read_dir(root().join(".keyledger/bin")).unwrap();
    let found = all.map(|entry| entry.unwrap().path()).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("python-nats-")
    });
    found.expect("this test needs nats-py: run `tools/setup`")
}

/// Follows the stream from a sequence on, for so many events, and gives what was printed.
async fn follow(packages: &Path, nats: &str, stream: &str, first: usize, count: usize) -> Vec<String> {
    let following = Command::new("python3")
        .arg(root().join("examples/consumer.py"))
        .args([nats, stream, &first.to_string(), &count.to_string()])
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output();
    let limit = std::time::Duration::from_secs(60);
    let output = tokio::time::timeout(limit, following).await.unwrap().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}");
    told.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_consumer_in_python_reads_every_event_in_order_and_goes_on_where_it_was() {
    let site = Site::start().await;
    let service = site.serve().await;
    let operator = site.operator(&service);
    let customer = Customer::open(&operator, "10").await;
    let gateway = Client::new(&service.gateway, &customer.secret);
    for _ in 0..20 {
        assert_eq!(gateway.get("/serp?q=rust").await.status, 200);
    }
    let log = operator.get("/v1/events?limit=200").await;
    let events = log.json["items"].as_array().unwrap();
    let stream = format!("{}_0", site.harness.name);
    let nats = std::env::var("NATS_URL").unwrap();
    let packages = packages();
    let half = events.len() / 2;
    let mut told = follow(&packages, &nats, &stream, 1, half).await;
    told.extend(follow(&packages, &nats, &stream, half + 1, events.len() - half).await);
    assert_eq!(told.len(), events.len());
    for (line, event) in told.iter().zip(events) {
        let text = |name: &str| event[name].as_str().unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let [position, time, name, subject, actor] = words[..] else {
            panic!("{line}")
        };
        assert_eq!(Value::from(position.parse::<u64>().unwrap()), event["position"]);
        assert_eq!((name, subject, actor), (text("type"), text("subject"), text("actor")));
        // Python leaves out a fraction that is zero, and writes UTC in its own way.
        assert_eq!(
            time.trim_end_matches("+00:00"),
            text("time").trim_end_matches('Z').trim_end_matches(".000000")
        );
    }
}
