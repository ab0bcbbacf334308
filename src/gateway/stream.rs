//! One stream among others on a connection of HTTP/2: its task, how far its answer has come, and its end.
//!
//! On a connection of one request after the other, a flush says that all has left. Where streams share a connection,
//! another one's flush says nothing: this one's bytes may still wait for the client to open its window. So each piece
//! tells when its bytes are taken out of it; once all are, the next flush has seen them off.
//!
//! Promise: a body that ended whole is settled after its last byte of data has left; a stream that is reset, or whose
//! connection ends, while one has not, is released. A stream that has to end (its key is deleted, its time is over, or
//! its client takes nothing for too long) ends with its task, and all that the task holds goes back: the upstream's
//! connection, the place there, the credits. The HTTP server does not ask a body anything while its client's window is
//! closed, so the task is dropped rather than told. Bytes that are with the connection already cannot be called back;
//! where they are still there half a second later the connection goes with the stream: no client reads on after its
//! hold has gone back.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::hold::{Hold, Settlement};
use super::line::Line;

const RESET_PATIENCE: Duration = Duration::from_millis(500);

tokio::task_local! {
    static CURRENT: Arc<Stream>;
}

/// What is known of a stream's answer.
#[derive(Debug)]
pub(super) struct Stream {
    line: Line,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    given: u64,
    taken: u64,
    /// The body has ended whole, and this is how it settles.
    ended: Option<(Hold, Settlement)>,
    /// Completes when the stream must not go on.
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    has_to_end: bool,
    /// It ends by our will: nobody hung up.
    cut: bool,
    waker: Option<Waker>,
}

/// Why a stream is not to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Nobody has anything of it any more.
    Gone,
    /// By our will.
    Cut,
    /// Its client has taken nothing for too long.
    Stalled,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("given", &self.given)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

impl Stream {
    /// The stream whose task this is, where it is one.
    pub(super) fn current() -> Option<Arc<Stream>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn given(&self, length: u64) {
        self.state().given += length;
    }

    pub(super) fn taken(&self, length: u64) {
        let mut state = self.state();
        state.taken += length;
        self.settle_if_all_is_taken(state);
    }

    /// The body ended whole: settles once its last byte has left.
    pub(super) fn ended(&self, hold: Hold, settlement: Settlement) {
        let mut state = self.state();
        state.ended = Some((hold, settlement));
        self.settle_if_all_is_taken(state);
    }

    /// A piece with so many bytes is given to the socket next, or a part of it. Where they are the last of a body that
    /// ended whole, its charge is written down first.
    pub(super) fn is_looked_at(self: &Arc<Self>, length: u64) {
        let mut state = self.state();
        let last = state.taken + length == state.given;
        let Some((hold, settlement)) = state.ended.as_mut().filter(|_| last) else {
            return;
        };
        hold.write_down(*settlement);
        drop(state);
        self.line.offers(Arc::downgrade(self));
    }

    /// The socket has not taken its last bytes.
    pub(super) fn keeps(&self) {
        if let Some((hold, _)) = &mut self.state().ended {
            hold.take_back();
        }
    }

    fn settle_if_all_is_taken(&self, mut state: MutexGuard<'_, State>) {
        if state.taken < state.given {
            if let Some((hold, _)) = &mut state.ended {
                hold.take_back();
            }
            return;
        }
        let ended = state.ended.take();
        drop(state);
        if let Some((hold, settlement)) = ended {
            self.line.settle_when_flushed(hold, settlement);
        }
    }

    /// Ends the stream when a future completes.
    pub(super) fn end_when(&self, end: impl Future<Output = ()> + Send + 'static) {
        let mut state = self.state();
        state.end = Some(Box::pin(end));
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        state.waker = Some(cx.waker().clone());
        match &mut state.end {
            Some(end) => end.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    pub(super) fn has_to_end(&self) -> bool {
        self.state().has_to_end
    }

    /// Whether it, or its connection with it, ends by our will. A client that takes nothing has left by its own.
    pub(super) fn is_cut(&self) -> bool {
        self.state().cut || self.line.is_cut()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let cut = self.is_cut();
        let mut state = self.state();
        if cut && let Some((hold, _)) = &mut state.ended {
            hold.nobody_hung_up();
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Runs a stream's task, and after it waits for what the connection still has of the stream.
pub(super) async fn run(line: Line, stall_max: Duration, task: impl Future) {
    let _under_way = line.begin();
    let stream = Arc::new(Stream {
        line: line.clone(),
        state: Mutex::default(),
    });
    let watched = Arc::downgrade(&stream);
    let mut task = pin!(Some(CURRENT.scope(stream, task)));
    let fate = {
        let mut running = poll_fn(|cx| match task.as_mut().as_pin_mut() {
            Some(running) => running.poll(cx).map(|_| ()),
            None => Poll::Ready(()),
        });
        let fate = tokio::select! {
            biased;
            () = &mut running => None,
            fate = fate(&watched, stall_max) => Some(fate),
        };
        if let Some(fate) = fate {
            decide(&watched, fate);
            // A body that is still asked breaks off by itself, and with it goes what waits for the client's window.
            poll_fn(|cx| {
                let _ = Pin::new(&mut running).poll(cx);
                Poll::Ready(())
            })
            .await;
        }
        fate
    };
    task.set(None);
    let fate = match fate {
        Some(fate) => fate,
        None => {
            let fate = fate_of_the_rest(&watched, stall_max).await;
            decide(&watched, fate);
            fate
        }
    };
    if watched.strong_count() == 0 {
        return;
    }
    tokio::time::sleep(RESET_PATIENCE).await;
    if watched.strong_count() > 0 {
        if fate == Fate::Cut {
            line.cut();
        }
        line.end_now();
    }
}

fn decide(stream: &Weak<Stream>, fate: Fate) {
    let Some(stream) = stream.upgrade() else {
        return;
    };
    tracing::debug!(?fate, "a stream ends before its answer has left");
    let mut state = stream.state();
    state.has_to_end = true;
    state.cut = fate == Fate::Cut;
}

/// Completes when the stream must not go on, or is gone.
async fn fate(stream: &Weak<Stream>, stall_max: Duration) -> Fate {
    let ended = poll_fn(|cx| match stream.upgrade() {
        None => Poll::Ready(Fate::Gone),
        Some(stream) => stream.poll_end(cx).map(|()| Fate::Cut),
    });
    tokio::select! {
        biased;
        fate = ended => fate,
        () = stalled(stream, stall_max) => Fate::Stalled,
    }
}

/// Most streams are gone when their task is.
async fn fate_of_the_rest(stream: &Weak<Stream>, stall_max: Duration) -> Fate {
    if stream.strong_count() == 0 {
        return Fate::Gone;
    }
    fate(stream, stall_max).await
}

/// Completes when the client has taken nothing for long, though there was something.
async fn stalled(stream: &Weak<Stream>, stall_max: Duration) {
    let mut before = None;
    loop {
        tokio::time::sleep(stall_max / 2).await;
        let Some(stream) = stream.upgrade() else {
            return std::future::pending().await;
        };
        let state = stream.state();
        let waits = (state.taken < state.given).then_some(state.taken);
        if waits.is_some() && waits == before {
            return;
        }
        before = waits;
    }
}
