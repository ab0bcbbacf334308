//! The service as a process of its own, started and stopped as an operator does it.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::http::CONFIG;
use super::wire::Wire;

/// How to start it.
#[derive(Debug, Clone)]
pub(super) struct Serving<'a> {
    pub program: &'a Path,
    pub database_url: &'a str,
    pub nats_url: &'a str,
    /// Where its config, its ready file and its log go.
    pub directory: &'a Path,
}

#[derive(Debug)]
pub(super) struct Served {
    pub api: SocketAddr,
    /// From its start until it said that it is ready.
    pub ready_after: Duration,
    child: Child,
    log: PathBuf,
}

const READY_MAX: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

impl Served {
    /// Starts `keyledger serve` with the role `api`, and waits until `/readyz` answers 200.
    pub(super) async fn start(serving: &Serving<'_>) -> anyhow::Result<Served> {
        std::fs::create_dir_all(serving.directory)?;
        let place = |name: &str| serving.directory.join(name);
        let (config, ready_file, log) = (place("keyledger.toml"), place("ready.json"), place("log"));
        std::fs::write(&config, CONFIG)?;
        if ready_file.exists() {
            std::fs::remove_file(&ready_file)?;
        }
        let begin = Instant::now();
        let child = Command::new(serving.program)
            .args(["serve", "--roles", "api", "--http", "127.0.0.1:0"])
            .arg("--config")
            .arg(&config)
            .arg("--ready-file")
            .arg(&ready_file)
            .args(["--stream-prefix", "BENCH"])
            .env("DATABASE_URL", serving.database_url)
            .env("NATS_URL", serving.nats_url)
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .kill_on_drop(true)
            .spawn()
            .context("the service does not start")?;
        let mut served = Served {
            api: SocketAddr::from(([127, 0, 0, 1], 0)),
            ready_after: Duration::ZERO,
            child,
            log,
        };
        while !served.is_ready(&ready_file).await? {
            anyhow::ensure!(begin.elapsed() < READY_MAX, "the service does not get ready");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        served.ready_after = begin.elapsed();
        Ok(served)
    }

    async fn is_ready(&mut self, ready_file: &Path) -> anyhow::Result<bool> {
        if let Some(ended) = self.child.try_wait()? {
            anyhow::bail!(
                "the service ended, {ended}: {}",
                std::fs::read_to_string(&self.log)?.trim_end()
            );
        }
        if !ready_file.exists() {
            return Ok(false);
        }
        let ready: serde_json::Value = serde_json::from_slice(&std::fs::read(ready_file)?)?;
        let api = ready.get("api").and_then(|api| api.as_str()?.strip_prefix("http://"));
        self.api = api.context("a ready file without an address")?.parse()?;
        let request = Request::get("/readyz").body(Full::<Bytes>::default())?;
        let (head, _) = Wire::open(self.api).await?.send(request).await?;
        Ok(head.status == StatusCode::OK)
    }

    /// The most memory that it ever had, in KiB, as the kernel counts it.
    pub(super) fn memory_peak_kib(&self) -> anyhow::Result<u64> {
        let pid = self.child.id().context("the service has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.context("no VmHWM")?.parse()?)
    }

    /// Tells it to stop, and waits until it has.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        kill_process(pid.context("the service has ended")?, Signal::TERM)?;
        let ended = self.child.wait().await?;
        anyhow::ensure!(ended.success(), "the service stopped with {ended}");
        Ok(())
    }
}
