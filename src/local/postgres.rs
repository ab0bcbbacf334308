//! A private Postgres: one cluster in one directory, on loopback, with a password.
//!
//! In the directory: `cluster` (the data), `password`, `port`, `log`, and `lock`, which is held while this value lives.
//! Over TCP rather than a socket file: a URL then works in every client, and a socket's path has a limit of 107 bytes
//! that a checkout in a deep directory exceeds.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use sqlx::Connection;

use super::child::Child;
use super::error::LocalError;
use super::find::{self, PostgresPrograms};
use super::kept::{self, Port, Secret};
use super::run_as::RunAs;
use super::slot::{self, Server, Slot};
use super::{initdb, place, proc, spawner};

const USER: &str = "keyledger_owner";
const DATABASE: &str = "keyledger";
/// Many tests at once, each with pools of its own.
const CONNECTIONS_MAX: &str = "300";
/// A cluster that was killed under load replays its log before it is ready.
const READY_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Somebody else may take a free port between our look and the server's start.
const PORT_ATTEMPTS: usize = 3;

/// What survives nothing and costs nothing: for data that is thrown away. Shared memory is kept in the data directory,
/// so that it goes with the directory even after a kill.
const NOT_DURABLE: [(&str, &str); 5] = [
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("autovacuum", "off"),
    ("dynamic_shared_memory_type", "mmap"),
];

#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// The server's own directory. It is made if it is missing.
    pub dir: PathBuf,
    /// False: commits are lost with the machine and perhaps with the process. For throw-away data only.
    pub durable: bool,
    /// Absent: the port of the last run, or a new one.
    pub port: Option<u16>,
    /// Each wait for the disk begins this much later, as on a slower one. Needs `strace`; of whole microseconds.
    pub slow_disk: Option<Duration>,
    /// Server settings such as `("max_wal_size", "4GB")`. They win over those made here.
    pub settings: Vec<(String, String)>,
}

/// A running or stopped private Postgres. Dropping it asks the server to end.
#[derive(Debug)]
pub struct PrivatePostgres {
    plan: Plan,
    slot: Slot,
    _held: File,
}

/// All that is needed to start the process, again and again.
#[derive(Debug)]
struct Plan {
    dir: PathBuf,
    programs: PostgresPrograms,
    run_as: RunAs,
    slow_disk: Option<Duration>,
    settings: Vec<(String, String)>,
    password: Secret,
    port: Port,
}

impl PrivatePostgres {
    /// Takes the directory, makes a cluster in it if there is none, and starts it with an empty database `keyledger`.
    ///
    /// Fails when another process holds the directory, when another major version wrote it, or when a fixed port is
    /// taken. Cancelling leaves either a whole cluster or none.
    pub async fn start(options: PostgresOptions) -> Result<PrivatePostgres, LocalError> {
        let dir = place::make_private(&options.dir)?;
        let held = kept::take(&dir)?;
        let programs = find::postgres()?;
        let run_as = RunAs::for_postgres()?;
        run_as.check_reach(&dir)?;
        run_as.give(&dir)?;

        let cluster = dir.join("cluster");
        proc::end_leftover(running_pid(&cluster), "postgres", &cluster).await?;
        match initdb::version_of(&cluster)? {
            None => initdb::make_cluster(&programs, &run_as, &dir, USER, options.durable).await?,
            Some(found) if found == programs.major => {}
            Some(found) => {
                let (installed, binary) = (programs.major, programs.postgres());
                return Err(LocalError::OtherVersion {
                    dir: cluster,
                    found,
                    installed,
                    binary,
                });
            }
        }

        let mut settings: Vec<(String, String)> = vec![("max_connections".to_owned(), CONNECTIONS_MAX.to_owned())];
        if !options.durable {
            settings.extend(NOT_DURABLE.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        settings.extend(options.settings);
        let password = Secret::read(&dir.join("password"))?;
        let port = kept::choose_port(&dir, options.port)?;
        let mut plan = Plan {
            dir,
            programs,
            run_as,
            slow_disk: options.slow_disk,
            settings,
            password,
            port,
        };
        let child = plan.launch_somewhere().await?;
        Ok(PrivatePostgres {
            plan,
            slot: Slot::holding(child),
            _held: held,
        })
    }

    /// The URL of the database `keyledger` for its owner, a superuser. The same for the life of the directory, unless
    /// another program takes the port while the server is down.
    pub fn url(&self) -> String {
        self.plan.url(DATABASE)
    }

    /// The process id while the server runs.
    pub fn pid(&self) -> Option<u32> {
        self.slot.pid()
    }

    /// Kills the server and all its sessions at once, as a lost machine would. It stays down until `start_again`.
    pub async fn kill_9(&self) {
        slot::kill_9(self).await;
    }

    /// Ends all sessions and shuts down; kills after 13 s. The server stays down until `start_again`.
    pub async fn stop(&self) {
        slot::stop(self).await;
    }

    /// Starts the server on the same port, and returns when it takes connections. Nothing happens if it runs.
    pub async fn start_again(&self) -> Result<(), LocalError> {
        slot::start_again(self).await
    }

    pub(super) async fn keep_up(self: Arc<Self>) {
        slot::keep_up(self).await;
    }
}

impl Server for PrivatePostgres {
    const NAME: &'static str = "postgres";
    /// "Fast shutdown": open transactions are rolled back, and a checkpoint is written.
    const STOP: Signal = Signal::INT;

    fn slot(&self) -> &Slot {
        &self.slot
    }

    async fn launch(&self) -> Result<Child, LocalError> {
        self.plan.launch().await
    }
}

impl Plan {
    fn url(&self, database: &str) -> String {
        let (password, port) = (self.password.let_out(), self.port.number);
        format!("postgres://{USER}:{password}@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    /// Like `launch`, on another port if the first was lost to somebody else and nobody asked for it by number.
    async fn launch_somewhere(&mut self) -> Result<Child, LocalError> {
        for _ in 1..PORT_ATTEMPTS {
            match self.launch().await {
                Err(LocalError::EndedEarly { .. })
                    if !self.port.fixed && kept::log_tail(&self.dir).contains("Address already in use") =>
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
        let child = spawner::spawn(self.command()?)
            .await
            .map_err(LocalError::io("start postgres through setpriv"))?;
        self.until_ready(&child).await?;
        self.make_database().await?;
        Ok(child)
    }

    fn command(&self) -> Result<Command, LocalError> {
        let mut command = match self.slow_disk {
            None => spawner::tied_command(&self.run_as, "INT", self.programs.postgres()),
            Some(delay) => {
                let mut command = spawner::tied_command(&self.run_as, "INT", "strace");
                // The tracer is beside the server, not above it, and stops it at this one call alone.
                command.args([
                    "-D",
                    "-f",
                    "--seccomp-bpf",
                    "-o",
                    "/dev/null",
                    "-e",
                    "trace=fdatasync",
                    "-e",
                ]);
                command.arg(format!("inject=fdatasync:delay_enter={}", delay.as_micros()));
                command.arg("--").arg(self.programs.postgres());
                command
            }
        };
        command
            .arg("-D")
            .arg(self.dir.join("cluster"))
            .arg("-p")
            .arg(self.port.number.to_string());
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        for (name, value) in &self.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        // A process group of its own: Ctrl-C in the terminal is for us, and we stop the server last.
        command
            .current_dir(&self.dir)
            .env("LC_ALL", "C")
            .process_group(0)
            .stdin(Stdio::null());
        let log = kept::open_log(&self.dir)?;
        command
            .stdout(log.try_clone().map_err(LocalError::io("share the log"))?)
            .stderr(log);
        Ok(command)
    }

    /// Watches `postmaster.pid`, which is cheaper than connecting, until the server says `ready` in it.
    async fn until_ready(&self, child: &Child) -> Result<(), LocalError> {
        let started = Instant::now();
        let note = self.dir.join("cluster/postmaster.pid");
        loop {
            if let Some(status) = child.exit_status() {
                return Err(LocalError::EndedEarly {
                    program: "postgres",
                    status,
                    log: kept::log_tail(&self.dir),
                });
            }
            if says_ready(&fs::read_to_string(&note).unwrap_or_default(), child.pid()) {
                return Ok(());
            }
            if started.elapsed() > READY_WITHIN {
                let (seconds, log) = (READY_WITHIN.as_secs(), kept::log_tail(&self.dir));
                return Err(LocalError::NotReady {
                    program: "postgres",
                    seconds,
                    log,
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// A first real connection. The database is missing on the first start, or when that start was cut short.
    async fn make_database(&self) -> Result<(), LocalError> {
        let mut connection = sqlx::PgConnection::connect(&self.url("postgres")).await?;
        let found: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
            .bind(DATABASE)
            .fetch_one(&mut connection)
            .await?;
        if !found {
            sqlx::raw_sql("create database keyledger")
                .execute(&mut connection)
                .await?;
        }
        connection.close().await?;
        Ok(())
    }
}

fn running_pid(cluster: &std::path::Path) -> Option<Pid> {
    proc::parse_pid(
        fs::read_to_string(cluster.join("postmaster.pid"))
            .ok()?
            .lines()
            .next()?,
    )
}

/// The first line of `postmaster.pid` is the process, the eighth its state; the file of a killed predecessor names
/// another process.
fn says_ready(postmaster_pid: &str, pid: Pid) -> bool {
    let mut lines = postmaster_pid.lines();
    let ours = lines.next().and_then(proc::parse_pid) == Some(pid);
    ours && lines.nth(6).is_some_and(|state| state.trim() == "ready")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_process_makes_the_server_ready() {
        let note = "42\n/data\n1764000000\n20001\n\n127.0.0.1\n  1234 5\nready   \n";
        assert!(says_ready(note, Pid::from_raw(42).unwrap()));
        assert!(!says_ready(note, Pid::from_raw(43).unwrap()));
        assert!(!says_ready(
            &note.replace("ready", "starting"),
            Pid::from_raw(42).unwrap()
        ));
        assert!(!says_ready("42\n/data\n", Pid::from_raw(42).unwrap()));
    }
}
