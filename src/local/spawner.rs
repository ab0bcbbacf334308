//! The one thread from which children are started.
//!
//! The kernel sends a child its parent-death signal when the *thread* that started it ends (prctl(2),
//! `PR_SET_PDEATHSIG`). A runtime's threads come and go, one runtime a test, so children are started from a thread
//! that lives as long as the process. `setpriv` sets the signal, and changes the user where needed, so no unsafe code
//! has to run between fork and exec.

use std::ffi::OsStr;
use std::io;
use std::process::Command;
use std::sync::{LazyLock, mpsc};
use std::thread;

use tokio::sync::oneshot;

use super::child::Child;
use super::run_as::RunAs;

type Order = (Command, oneshot::Sender<io::Result<Child>>);

static ORDERS: LazyLock<io::Result<mpsc::Sender<Order>>> = LazyLock::new(|| {
    let (orders, inbox) = mpsc::channel::<Order>();
    thread::Builder::new().name("local-spawner".to_owned()).spawn(move || {
        for (mut command, answer) in inbox {
            let child = command.spawn().and_then(Child::adopt);
            // Whoever asked may be gone: the child is then dropped here, and thereby ended.
            drop(answer.send(child));
        }
    })?;
    Ok(orders)
});

/// A command that gets `death_signal` (a name such as `INT`) when this process ends, however it ends.
pub(super) fn tied_command(run_as: &RunAs, death_signal: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    if let RunAs::User { uid, gid, .. } = run_as {
        command
            .arg(format!("--reuid={uid}"))
            .arg(format!("--regid={gid}"))
            .arg("--clear-groups");
    }
    command
        .arg(format!("--pdeathsig={death_signal}"))
        .arg("--")
        .arg(program);
    command
}

pub(super) async fn spawn(command: Command) -> io::Result<Child> {
    let orders = ORDERS
        .as_ref()
        .map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
    let (answer, child) = oneshot::channel();
    let ended = |_| io::Error::other("the spawner thread ended");
    orders
        .send((command, answer))
        .map_err(|_| io::Error::other("the spawner thread ended"))?;
    child.await.map_err(ended)?
}
