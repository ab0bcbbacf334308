//! Runs one command beside throw-away servers: how the tests get theirs.

use std::future::Future;
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use super::error::LocalError;
use super::place::ThrowAway;
use super::run_as::RunAs;
use super::servers::{LocalOptions, LocalServers};
use super::spawner;

/// What a shell answers for a command that a signal ended.
const SIGNAL_BASE: i32 = 128;

/// Starts servers in a directory of their own, runs `command` with `DATABASE_URL`, `NATS_URL` and
/// `KEYLEDGER_TEST_SERVERS=1`, stops the servers, removes the directory, and returns the command's exit code.
///
/// SIGINT and SIGTERM go on to the command, whose end is then waited for. The data is not durable.
pub async fn run_with_servers(command: Vec<String>) -> Result<i32, LocalError> {
    let (program, arguments) = command.split_first().ok_or(LocalError::NoCommand)?;
    let mut signals = Signals::listen()?;
    let home = ThrowAway::make()?;
    let options = LocalOptions {
        data_dir: home.dir().to_owned(),
        durable: false,
    };
    let servers = tokio::select! {
        started = LocalServers::start(options) => started?,
        early = signals.next() => return Ok(SIGNAL_BASE + early.as_raw()),
    };

    let mut command = spawner::tied_command(&RunAs::Ourselves, "TERM", program);
    command.args(arguments).env("KEYLEDGER_TEST_SERVERS", "1");
    command
        .env("DATABASE_URL", servers.postgres_url())
        .env("NATS_URL", servers.nats_url());
    let outcome = match spawner::spawn(command).await {
        Err(error) => Err(LocalError::io(format!("start {program} through setpriv"))(error)),
        Ok(child) => Ok(signals
            .forward_until(child.exited(), |signal| child.signal(signal))
            .await),
    };
    servers.shutdown().await;
    drop(home);
    outcome.map(exit_code)
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> Result<Signals, LocalError> {
        let listen = |kind| signal(kind).map_err(LocalError::io("listen for signals"));
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
        }
    }

    async fn forward_until(&mut self, end: impl Future<Output = ExitStatus>, send: impl Fn(Signal)) -> ExitStatus {
        tokio::pin!(end);
        loop {
            tokio::select! {
                status = &mut end => return status,
                signal = self.next() => {
                    // Ctrl-C in a terminal reached the command already: it is in our process group. Twice means "now"
                    // to many programs.
                    if signal != Signal::INT || !io::stdin().is_terminal() {
                        send(signal);
                    }
                }
            }
        }
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| SIGNAL_BASE + signal))
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ended_by_a_signal_answers_as_in_a_shell() {
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(15)), 143);
    }
}
