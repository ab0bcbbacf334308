//! Up, down, died: what is the same for every private server.
//!
//! A slot holds the running child, or nothing when the server is down *on purpose*. A child that ended although the
//! slot still holds it has died, and is replaced. So `kill_9` empties the slot first, and then kills.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::sync::{Mutex, watch};

use super::child::Child;
use super::error::LocalError;

const RESTART_PAUSE_MIN: Duration = Duration::from_millis(200);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(10);
/// A server that ran this long was healthy: its next death is a new story and starts with the short pause again.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

pub(super) trait Server: Send + Sync + 'static {
    const NAME: &'static str;
    /// The signal for an orderly, quick end.
    const STOP: Signal;

    fn slot(&self) -> &Slot;

    /// Starts the process on its port and waits until it takes connections. Cancelling ends the process.
    fn launch(&self) -> impl Future<Output = Result<Child, LocalError>> + Send;
}

#[derive(Debug)]
pub(super) struct Slot {
    current: watch::Sender<Option<Arc<Child>>>,
    /// Starting and stopping take turns.
    turn: Mutex<()>,
}

impl Slot {
    pub(super) fn holding(child: Child) -> Slot {
        Slot {
            current: watch::Sender::new(Some(Arc::new(child))),
            turn: Mutex::new(()),
        }
    }

    fn child(&self) -> Option<Arc<Child>> {
        self.current.borrow().clone()
    }

    /// The process id while it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        let child = self.child().filter(|child| child.exit_status().is_none())?;
        u32::try_from(child.pid().as_raw_nonzero().get()).ok()
    }

    /// Waits until a child ends that was meant to run.
    async fn died(&self) {
        let mut current = self.current.subscribe();
        loop {
            let child = current.borrow_and_update().clone();
            let ended = async {
                match &child {
                    Some(child) => child.exited().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                // The sender is in `self`, so this does not fail.
                _ = current.changed() => {}
                _ = ended => return,
            }
        }
    }
}

/// Ends the server in an orderly way; it stays down.
pub(super) async fn stop<S: Server>(server: &S) {
    let _turn = server.slot().turn.lock().await;
    if let Some(child) = server.slot().current.send_replace(None) {
        child.end(S::STOP).await;
    }
}

/// Kills the server as a lost machine would; it stays down.
pub(super) async fn kill_9<S: Server>(server: &S) {
    let _turn = server.slot().turn.lock().await;
    if let Some(child) = server.slot().current.send_replace(None) {
        child.kill_family().await;
    }
}

/// Starts the server unless it runs.
pub(super) async fn start_again<S: Server>(server: &S) -> Result<(), LocalError> {
    let _turn = server.slot().turn.lock().await;
    if server.slot().pid().is_none() {
        let child = server.launch().await?;
        server.slot().current.send_replace(Some(Arc::new(child)));
    }
    Ok(())
}

/// Replaces the server whenever it dies, sooner after the first death than after the tenth. Never returns.
pub(super) async fn keep_up<S: Server>(server: Arc<S>) {
    let mut pause = RESTART_PAUSE_MIN;
    let mut up_since = Instant::now();
    loop {
        server.slot().died().await;
        if up_since.elapsed() > HEALTHY_AFTER {
            pause = RESTART_PAUSE_MIN;
        }
        tracing::warn!(
            server = S::NAME,
            pause_ms = pause.as_millis(),
            "a private server died and is started again"
        );
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RESTART_PAUSE_MAX);
        if let Err(error) = revive(&*server).await {
            tracing::error!(server = S::NAME, %error, "a private server could not be started again");
        }
        up_since = Instant::now();
    }
}

/// Starts the server if it is still wanted.
async fn revive<S: Server>(server: &S) -> Result<(), LocalError> {
    let _turn = server.slot().turn.lock().await;
    let died = server.slot().child().is_some_and(|child| child.exit_status().is_some());
    if died {
        let child = server.launch().await?;
        server.slot().current.send_replace(Some(Arc::new(child)));
    }
    Ok(())
}
