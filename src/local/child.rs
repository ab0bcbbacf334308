//! A running child process: signals that cannot hit a stranger, and an end that several may wait for.

use std::io;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::sync::watch;

use super::proc;

const ORDERLY_WITHIN: Duration = Duration::from_secs(10);
const QUICKLY_WITHIN: Duration = Duration::from_secs(3);

/// Dropping it asks the process to end (SIGINT) and does not wait.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    /// True once the process was collected, from when on the system may give its id to another. A signal is sent under
    /// this lock.
    collected: Arc<Mutex<bool>>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Child {
    /// Takes over a process that was just started. A thread waits for its end.
    pub(super) fn adopt(mut process: std::process::Child) -> io::Result<Child> {
        let pid = Pid::from_child(&process);
        let (tell, exit) = watch::channel(None);
        let child = Child {
            pid,
            collected: Arc::default(),
            exit,
        };
        let collected = Arc::clone(&child.collected);
        thread::Builder::new().name("local-child".to_owned()).spawn(move || {
            // First only see that it ended, and collect it under the lock.
            while let Err(rustix::io::Errno::INTR) =
                waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
            {}
            let mut collected = collected.lock().unwrap_or_else(PoisonError::into_inner);
            *collected = true;
            let status = process.wait().unwrap_or_default();
            tell.send_replace(Some(status));
        })?;
        Ok(child)
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Does nothing when the process has ended.
    pub(super) fn signal(&self, signal: Signal) {
        let collected = self.collected.lock().unwrap_or_else(PoisonError::into_inner);
        if !*collected && let Err(error) = kill_process(self.pid, signal) {
            tracing::warn!(pid = self.pid.as_raw_nonzero().get(), ?signal, %error, "could not signal a child");
        }
    }

    pub(super) fn exit_status(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Waits for the end. Cancelling changes nothing.
    pub(super) async fn exited(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        let ended = exit.wait_for(Option::is_some).await;
        ended.map(|status| *status).ok().flatten().unwrap_or_default()
    }

    /// Asks with `first`, then with SIGQUIT after 10 s, then kills after 3 s more.
    pub(super) async fn end(&self, first: Signal) -> ExitStatus {
        for (signal, patience) in [(first, ORDERLY_WITHIN), (Signal::QUIT, QUICKLY_WITHIN)] {
            self.signal(signal);
            if let Ok(status) = tokio::time::timeout(patience, self.exited()).await {
                return status;
            }
        }
        self.kill_family().await
    }

    /// Kills the process and its own children as one, the way a lost machine would.
    ///
    /// The process is stopped first so that it starts no more of them, and nobody tidies up after another's death.
    pub(super) async fn kill_family(&self) -> ExitStatus {
        self.signal(Signal::STOP);
        let family = proc::children_of(self.pid);
        self.signal(Signal::KILL);
        for member in &family {
            // One that ended in between is what we wanted.
            let _gone = kill_process(*member, Signal::KILL);
        }
        let status = self.exited().await;
        proc::until_gone(&family, QUICKLY_WITHIN).await;
        status
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.exit_status().is_none() {
            self.signal(Signal::INT);
        }
    }
}
