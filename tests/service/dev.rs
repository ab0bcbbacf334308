//! `keyledger dev`: one command, and what its user may do to it.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use super::client::Client;
use super::process::{KEYLEDGER, ready};
use crate::harness::until;

/// A running `keyledger dev` with a directory of its own.
pub struct Dev {
    directory: TempDir,
    child: Mutex<Option<Child>>,
    ready: Value,
}

impl Dev {
    pub async fn start() -> Dev {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let (child, ready) = run(directory.path()).await;
        Dev {
            directory,
            child: Mutex::new(Some(child)),
            ready,
        }
    }

    /// Starts again on the same data.
    async fn again(&mut self) {
        let (child, ready) = run(self.directory.path()).await;
        *self.child.lock().await = Some(child);
        self.ready = ready;
    }

    pub fn text(&self, pointer: &str) -> String {
        self.ready
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("no {pointer}"))
            .to_owned()
    }

    pub fn api(&self) -> String {
        self.text("/api")
    }

    pub fn gateway(&self) -> String {
        self.text("/gateway")
    }

    pub fn data_dir(&self) -> &Path {
        // Resolved once in `run`.
        Box::leak(Box::new(self.directory.path().join("data")))
    }

    /// The access log, a JSON document a line.
    pub fn access_log(&self) -> String {
        fs::read_to_string(self.directory.path().join("access")).unwrap()
    }

    pub fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Ctrl-C, and waits until it has ended.
    pub async fn stop(&self) {
        let mut child = self.child.lock().await.take().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(30), child.wait())
            .await
            .expect("it ends within 30 s");
        assert!(ended.unwrap().success());
    }

    async fn kill_9(&self) {
        self.child.lock().await.take().unwrap().kill().await.unwrap();
    }
}

async fn run(directory: &Path) -> (Child, Value) {
    let ready_file = directory.join("ready.json");
    // The log of earlier starts stands before this one's.
    let starts = || {
        let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
        log.matches("starting Postgres").count()
    };
    let earlier = starts();
    let log = File::options()
        .create(true)
        .append(true)
        .open(directory.join("log"))
        .unwrap();
    let mut child = Command::new(KEYLEDGER)
        .args(["dev", "--http", "127.0.0.1:0", "--gateway", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(directory.join("data"))
        .arg("--ready-file")
        .arg(&ready_file)
        .env("KEYLEDGER_LOG", "trace")
        .env("KEYLEDGER_ACCESS_LOG", directory.join("access"))
        .stdout(File::create(directory.join("told")).unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // The file of an earlier start is gone before anything is ready; until then it must not be believed.
    until("the old ready file is gone", async || {
        assert!(child.try_wait().unwrap().is_none(), "it ended at once");
        starts() > earlier
    })
    .await;
    let ready = ready(&ready_file, &mut child, &directory.join("log")).await;
    (child, ready)
}

/// Whether any process still has its data here.
fn processes_on(data_dir: &Path) -> usize {
    let data_dir = data_dir.display().to_string();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .filter(|process| {
            fs::read(process.path().join("cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&data_dir))
        })
        .count()
}

#[tokio::test]
async fn the_main_job_works_as_printed_and_data_outlives_stops_and_kills() {
    let mut dev = Dev::start().await;
    let told = fs::read_to_string(dev.directory.path().join("told")).unwrap();
    let line = told
        .lines()
        .find(|line| line.contains("/serp?q="))
        .expect("a curl line is printed")
        .trim()
        .to_owned();
    let curl = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
    let answer = String::from_utf8_lossy(&curl.stdout).into_owned();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.to_lowercase().contains("credits-charged: 0.5"), "{answer}");

    let account = dev.text("/demo/account");
    let balance = format!("/v1/accounts/{account}/balance");
    let spent = async |dev: &Dev| {
        Client::new(&dev.api(), &dev.text("/operator_token"))
            .get(&balance)
            .await
            .text("/charged")
    };
    until("the charge is in the balance", async || spent(&dev).await == "0.5").await;
    // Each view hears by itself: the billing line comes a moment before or after the balance.
    until("psql shows the charge", async || {
        let mut psql = std::process::Command::new("psql");
        let asked = psql.args([
            "-At",
            "-d",
            &dev.text("/postgres"),
            "-c",
            "select count(*) from views.charges",
        ]);
        String::from_utf8_lossy(&asked.output().unwrap().stdout).trim() == "1"
    })
    .await;

    dev.stop().await;
    until("nothing that it started is left", async || {
        processes_on(dev.data_dir()) == 0
    })
    .await;
    let begin = Instant::now();
    dev.again().await;
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "the second start takes seconds"
    );
    assert_eq!(dev.text("/demo/account"), account, "data is kept");
    assert_eq!(spent(&dev).await, "0.5");

    dev.kill_9().await;
    dev.again().await;
    assert_eq!(dev.text("/demo/account"), account);
    assert_eq!(spent(&dev).await, "0.5");
    let fetched = Client::new(&dev.gateway(), &dev.text("/demo/secret"))
        .get("/serp?q=again")
        .await;
    assert_eq!(fetched.status, 200);
    dev.stop().await;
}
