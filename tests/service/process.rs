//! `keyledger serve` as a process of its own, on a test's own database.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use keyledger::tokens::Role;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::client::Client;
use crate::harness::{EarlierTokens, Harness, until};

pub const KEYLEDGER: &str = env!("CARGO_BIN_EXE_keyledger");

/// A test's database, a demo data API, and the services that it starts and kills.
pub struct Site {
    pub harness: Harness,
    pub directory: TempDir,
    pub operator: String,
    config: PathBuf,
    started: std::cell::Cell<u32>,
    _demo: tokio_util::sync::DropGuard,
}

/// One running service.
pub struct Service {
    child: Child,
    pub api: String,
    pub gateway: String,
}

/// Reads a ready file as soon as it is there. When the process ends instead, its log says why.
pub async fn ready(path: &Path, child: &mut Child, log: &Path) -> Value {
    until("the ready file is there", async || {
        if let Some(ended) = child.try_wait().unwrap() {
            let log = std::fs::read_to_string(log).unwrap();
            let last: Vec<&str> = log.lines().filter(|line| !line.contains("TRACE")).collect();
            let nats = path.with_file_name("data").join("nats/log");
            eprintln!("{}", std::fs::read_to_string(nats).unwrap_or_default());
            panic!(
                "it ended before it was ready, {ended}:\n{}",
                last[last.len().saturating_sub(30)..].join("\n")
            );
        }
        path.exists()
    })
    .await;
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

impl Site {
    pub async fn start() -> Site {
        Site::on(Harness::start().await, "").await
    }

    /// On servers of the test's own, with more lines for `[gateway]`.
    pub async fn on(harness: Harness, more: &str) -> Site {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(demo_data_api::serve(
            listener,
            Default::default(),
            stop.clone().cancelled_owned(),
        ));
        let text = include_str!("../../examples/keyledger.toml")
            .replace("http://127.0.0.1:9000", &upstream)
            .replace("[gateway]\n", &format!("[gateway]\n{more}\n"));
        let config = directory.path().join("keyledger.toml");
        std::fs::write(&config, text).unwrap();
        let (_, operator) = EarlierTokens::new(harness.service_pool())
            .create(Role::Operator, "test")
            .await
            .unwrap();
        let operator = operator.expose_text_to_its_maker().to_owned();
        let _demo = stop.drop_guard();
        Site {
            harness,
            directory,
            operator,
            config,
            started: std::cell::Cell::new(0),
            _demo,
        }
    }

    /// Puts the services that are started from now on before another data API.
    pub fn stand_before(&self, upstream: std::net::SocketAddr) {
        let text = std::fs::read_to_string(&self.config).unwrap();
        let own = text.lines().find(|line| line.starts_with("upstream = ")).unwrap();
        let text = text.replace(own, &format!("upstream = \"http://{upstream}\""));
        std::fs::write(&self.config, text).unwrap();
    }

    /// Begins anew with the usual file before another data API, with more lines for `[gateway]`.
    pub fn configure(&self, upstream: std::net::SocketAddr, more: &str) {
        let text = include_str!("../../examples/keyledger.toml")
            .replace("http://127.0.0.1:9000", &format!("http://{upstream}"))
            .replace("[gateway]\n", &format!("[gateway]\n{more}\n"));
        std::fs::write(&self.config, text).unwrap();
    }

    /// Puts these prices after the usual ones, for the services that are started from now on.
    pub fn price(&self, prices: &str) {
        self.add(prices);
    }

    /// Puts these lines after the others, for the services that are started from now on.
    pub fn add(&self, lines: &str) {
        let text = std::fs::read_to_string(&self.config).unwrap();
        std::fs::write(&self.config, format!("{text}\n{lines}")).unwrap();
    }

    /// With this file instead of the usual one.
    pub fn configure_with(&self, text: &str) {
        std::fs::write(&self.config, text).unwrap();
    }

    /// Starts a service; any number may run at once.
    pub async fn serve(&self) -> Service {
        self.serve_logging("trace").await
    }

    pub async fn serve_logging(&self, level: &str) -> Service {
        self.serve_as("all", level).await
    }

    /// With these roles alone, `api` and `gateway` among them.
    pub async fn serve_as(&self, roles: &str, level: &str) -> Service {
        self.serve_in(roles, level, &[]).await
    }

    /// By a clock that is wrong by so many seconds.
    pub async fn serve_by_clock(&self, ahead: i64) -> Service {
        let libraries = std::fs::read_dir("/usr/lib").unwrap();
        let mut libraries = libraries.map(|entry| entry.unwrap().path().join("faketime/libfaketimeMT.so.1"));
        let library = libraries.find(|path| path.exists());
        let library = library.expect("this test needs libfaketime: run `tools/setup`");
        let library = library.to_str().unwrap().to_owned();
        // Only the wall clock: nobody's timers stand still or run ahead.
        let clock = [
            ("LD_PRELOAD", library),
            ("FAKETIME", format!("{ahead:+}s")),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        self.serve_in("all", "info", &clock).await
    }

    /// Starts a service that is to end by itself, and gives what it says.
    pub async fn refuses_to_start(&self) -> String {
        self.refuses_to_start_as("all").await
    }

    /// The same with these roles alone.
    pub async fn refuses_to_start_as(&self, roles: &str) -> String {
        let output = Command::new(KEYLEDGER)
            .args([
                "serve",
                "--http",
                "127.0.0.1:0",
                "--gateway",
                "127.0.0.1:0",
                "--roles",
                roles,
            ])
            .arg("--config")
            .arg(&self.config)
            .args(["--stream-prefix", &self.harness.name])
            .env("DATABASE_URL", self.harness.owner_url())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(std::time::Duration::from_secs(30), output).await;
        let output = output.expect("it ends").unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    async fn serve_in(&self, roles: &str, level: &str, variables: &[(&str, String)]) -> Service {
        let number = self.started.get() + 1;
        self.started.set(number);
        let ready_file = self.directory.path().join(format!("ready-{number}.json"));
        let log = self.directory.path().join(format!("log-{number}"));
        let mut child = Command::new(KEYLEDGER)
            .args(["serve", "--http", "127.0.0.1:0", "--gateway", "127.0.0.1:0"])
            .args(
                roles
                    .split(',')
                    .all(|role| role != "api" && role != "all")
                    .then_some("--health=127.0.0.1:0"),
            )
            .arg("--config")
            .arg(&self.config)
            .arg("--ready-file")
            .arg(&ready_file)
            .args(["--stream-prefix", &self.harness.name, "--roles", roles])
            .env("DATABASE_URL", self.harness.owner_url())
            .env("KEYLEDGER_LOG", level)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stderr(File::create(&log).unwrap())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let ready = ready(&ready_file, &mut child, &log).await;
        let url = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
        Service {
            child,
            // The API's address, or, without one, where health and figures alone are.
            api: url("health"),
            gateway: url("gateway"),
        }
    }

    pub fn operator(&self, service: &Service) -> Client {
        Client::new(&service.api, &self.operator)
    }
}

impl Service {
    /// A figure of `/proc/<pid>/status`, in KiB.
    pub fn memory_kib(&self, figure: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with(figure)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Tells it to stop, and goes on at once.
    pub fn tell_to_stop(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits until it has stopped by itself, in order.
    pub async fn stopped(mut self) {
        assert!(self.child.wait().await.unwrap().success());
    }

    /// Takes its time away, until it is given back.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill_9(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// A customer that was set up over HTTP.
pub struct Customer {
    pub account: String,
    pub secret: String,
}

impl Customer {
    pub async fn open(operator: &Client, credits: &str) -> Customer {
        let account = operator
            .post("/v1/accounts", json!({ "name": "Acme" }))
            .await
            .text("/id");
        let path = format!("/v1/accounts/{account}");
        let grant = json!({ "amount": credits, "source": "purchase" });
        assert_eq!(operator.post(&format!("{path}/grants"), grant).await.status, 201);
        let made = operator
            .post(&format!("{path}/keys"), json!({ "name": "Looker Studio" }))
            .await;
        assert_eq!(made.status, 201);
        Customer {
            account,
            secret: made.text("/secret"),
        }
    }

    pub fn path(&self, rest: &str) -> String {
        format!("/v1/accounts/{}{rest}", self.account)
    }
}
