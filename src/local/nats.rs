//! A private NATS server with JetStream: one store in one directory, on loopback, with a token.
//!
//! In the directory: `store` (JetStream's files), `token`, `nats.conf`, `nats.pid`, `port`, `log`, and `lock`, which is
//! held while this value lives. The configuration uses only what nats-server 2.9 knows; `sync_interval`, for one, came
//! later, and an older server refuses to start with it.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::child::Child;
use super::error::LocalError;
use super::kept::{self, Port, Secret};
use super::run_as::RunAs;
use super::slot::{self, Server, Slot};
use super::{find, place, proc, spawner};

/// JetStream reads its files before it takes connections; a large store takes a while.
const READY_WITHIN: Duration = Duration::from_secs(60);
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(10);
const PORT_ATTEMPTS: usize = 3;

#[derive(Debug, Clone)]
pub struct NatsOptions {
    /// The server's own directory. It is made if it is missing.
    pub dir: PathBuf,
    /// Absent: the port of the last run, or a new one.
    pub port: Option<u16>,
    /// Absent: the server that is found first, see `KEYLEDGER_NATS_BIN`.
    pub binary: Option<PathBuf>,
}

/// A running or stopped private NATS server. Dropping it asks the server to end.
#[derive(Debug)]
pub struct PrivateNats {
    plan: Plan,
    slot: Slot,
    _held: File,
}

#[derive(Debug)]
struct Plan {
    dir: PathBuf,
    binary: PathBuf,
    token: Secret,
    port: Port,
}

impl PrivateNats {
    /// Takes the directory and starts a server on the JetStream files in it.
    ///
    /// Fails when another process holds the directory or when a fixed port is taken.
    pub async fn start(options: NatsOptions) -> Result<PrivateNats, LocalError> {
        let dir = place::make_private(&options.dir)?;
        let held = kept::take(&dir)?;
        let binary = find::nats_server(options.binary)?;
        let leftover = fs::read_to_string(dir.join("nats.pid"))
            .ok()
            .and_then(|text| proc::parse_pid(&text));
        proc::end_leftover(leftover, "nats", &dir).await?;

        let token = match Secret::read(&dir.join("token")) {
            Err(LocalError::Incomplete { file }) => {
                let drawn = Secret::draw()?;
                kept::write_private(&file, drawn.let_out())?;
                drawn
            }
            read => read?,
        };
        let port = kept::choose_port(&dir, options.port)?;
        let mut plan = Plan {
            dir,
            binary,
            token,
            port,
        };
        let child = plan.launch_somewhere().await?;
        Ok(PrivateNats {
            plan,
            slot: Slot::holding(child),
            _held: held,
        })
    }

    /// `nats://token@127.0.0.1:port`. The same for the life of the directory, unless another program takes the port
    /// while the server is down.
    pub fn url(&self) -> String {
        format!(
            "nats://{}@127.0.0.1:{}",
            self.plan.token.let_out(),
            self.plan.port.number
        )
    }

    /// Where JetStream keeps its files.
    pub fn store_dir(&self) -> PathBuf {
        self.plan.store_dir()
    }

    /// The process id while the server runs.
    pub fn pid(&self) -> Option<u32> {
        self.slot.pid()
    }

    /// Kills the server. It stays down until `start_again`.
    pub async fn kill_9(&self) {
        slot::kill_9(self).await;
    }

    /// Shuts the server down; kills after 13 s. It stays down until `start_again`.
    pub async fn stop(&self) {
        slot::stop(self).await;
    }

    /// Starts the server on the same port, and returns when it takes connections. Nothing happens if it runs.
    pub async fn start_again(&self) -> Result<(), LocalError> {
        slot::start_again(self).await
    }

    /// Removes every stream, as a lost disk would. Only while the server is down.
    pub fn wipe_store(&self) -> Result<(), LocalError> {
        if self.pid().is_some() {
            return Err(LocalError::StillRunning { program: Self::NAME });
        }
        match fs::remove_dir_all(self.store_dir()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(LocalError::io("wipe the store")(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub(super) async fn keep_up(self: Arc<Self>) {
        slot::keep_up(self).await;
    }
}

impl Server for PrivateNats {
    const NAME: &'static str = "nats-server";
    /// The exit status says nothing afterwards: 2.9 leaves with 1, later ones with 0.
    const STOP: Signal = Signal::TERM;

    fn slot(&self) -> &Slot {
        &self.slot
    }

    async fn launch(&self) -> Result<Child, LocalError> {
        self.plan.launch().await
    }
}

impl Plan {
    fn store_dir(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// Like `launch`, on another port if the first was lost to somebody else and nobody asked for it by number.
    async fn launch_somewhere(&mut self) -> Result<Child, LocalError> {
        for _ in 1..PORT_ATTEMPTS {
            match self.launch().await {
                Err(LocalError::EndedEarly { .. })
                    if !self.port.fixed && kept::log_tail(&self.dir).contains("address already in use") =>
                {
                    kept::forget_port(&self.dir)?;
                    self.port = kept::choose_port(&self.dir, None)?;
                }
                outcome => return outcome,
            }
        }
        self.launch().await
    }

    async fn launch(&self) -> Result<Child, LocalError> {
        let config = self.dir.join("nats.conf");
        kept::write_private(&config, &self.config())?;
        let child = spawner::spawn(self.command(&config)?)
            .await
            .map_err(LocalError::io("start nats-server through setpriv"))?;
        self.until_ready(&child).await?;
        Ok(child)
    }

    fn config(&self) -> String {
        let (port, token) = (self.port.number, self.token.let_out());
        let (store, pid) = (quoted(&self.store_dir()), quoted(&self.dir.join("nats.pid")));
        format!(
            "server_name: keyledger_local\n\
             listen: \"127.0.0.1:{port}\"\n\
             authorization {{ token: \"{token}\" }}\n\
             jetstream {{ store_dir: {store} }}\n\
             pid_file: {pid}\n"
        )
    }

    fn command(&self, config: &Path) -> Result<Command, LocalError> {
        let mut command = spawner::tied_command(&RunAs::Ourselves, "INT", &self.binary);
        command.arg("-c").arg(config);
        command.current_dir(&self.dir).process_group(0).stdin(Stdio::null());
        let log = kept::open_log(&self.dir)?;
        command
            .stdout(log.try_clone().map_err(LocalError::io("share the log"))?)
            .stderr(log);
        Ok(command)
    }

    async fn until_ready(&self, child: &Child) -> Result<(), LocalError> {
        let started = Instant::now();
        loop {
            if let Some(status) = child.exit_status() {
                return Err(LocalError::EndedEarly {
                    program: "nats-server",
                    status,
                    log: kept::log_tail(&self.dir),
                });
            }
            if matches!(tokio::time::timeout(ANSWERS_WITHIN, self.greets()).await, Ok(Ok(true))) {
                return Ok(());
            }
            if started.elapsed() > READY_WITHIN {
                let (seconds, log) = (READY_WITHIN.as_secs(), kept::log_tail(&self.dir));
                return Err(LocalError::NotReady {
                    program: "nats-server",
                    seconds,
                    log,
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Speaks the first lines of the NATS client protocol. True when the server takes our token, so it is not somebody
    /// else's server on our port.
    async fn greets(&self) -> std::io::Result<bool> {
        let mut stream = BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port.number)).await?);
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        if !line.starts_with("INFO ") {
            return Ok(false);
        }
        let token = self.token.let_out();
        let hello = format!("CONNECT {{\"auth_token\":\"{token}\",\"verbose\":false,\"pedantic\":false}}\r\nPING\r\n");
        stream.write_all(hello.as_bytes()).await?;
        line.clear();
        stream.read_line(&mut line).await?;
        Ok(line.trim() == "PONG")
    }
}

/// A string of the server's configuration language, where a backslash escapes.
fn quoted(path: &Path) -> String {
    format!(
        "\"{}\"",
        path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_end_its_quotes() {
        assert_eq!(quoted(Path::new(r#"/a "b"\c"#)), r#""/a \"b\"\\c""#);
    }
}
