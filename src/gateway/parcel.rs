//! The pieces of an answer's body, as the HTTP server takes them, and how far a stream's pieces have come.
//!
//! On a connection of one stream after the other, a flush says that all has left. Where streams share a connection,
//! another one's flush says nothing: this one's bytes may still wait for the client to open its window. So each piece
//! tells when its bytes are taken out of it, into the connection's own buffer or the socket; once all are, the next
//! flush has seen them off.
//!
//! Promise: a body that ended whole is settled after its last byte of data has left; a stream that is reset, or whose
//! connection ends, while one has not, is released. A stream that has to end (its key is deleted, its time is over, or
//! its client takes nothing for 30 s) is reset, and where that does not help within half a second the connection goes
//! with it: no client reads on after its hold has gone back.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::task::AbortHandle;

use super::hold::{Hold, Settlement};
use super::line::{Line, WRITE_STALL_MAX};

const RESET_PATIENCE: Duration = Duration::from_millis(500);

/// A piece of a body.
#[derive(Debug)]
pub(super) struct Parcel {
    bytes: Bytes,
    stream: Option<Arc<Stream>>,
}

/// One stream among others.
#[derive(Debug)]
pub(super) struct Stream {
    line: Line,
    state: Mutex<State>,
    watch: OnceLock<AbortHandle>,
}

#[derive(Debug, Default)]
struct State {
    given: u64,
    taken: u64,
    /// The body has ended whole, and this is how it settles.
    ended: Option<(Hold, Settlement)>,
    has_to_end: bool,
    /// It ends by our will: nobody hung up.
    cut: bool,
    waker: Option<Waker>,
}

impl Parcel {
    pub(super) fn new(bytes: Bytes, stream: Option<&Arc<Stream>>) -> Parcel {
        if let Some(stream) = stream {
            stream.state().given += count(bytes.len());
        }
        Parcel {
            bytes,
            stream: stream.cloned(),
        }
    }
}

impl From<String> for Parcel {
    fn from(text: String) -> Parcel {
        Parcel::new(text.into(), None)
    }
}

impl Buf for Parcel {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        // Whoever looks is about to give them to the socket.
        if let Some(stream) = &self.stream {
            stream.is_looked_at(count(self.bytes.len()));
        }
        &self.bytes
    }

    fn advance(&mut self, length: usize) {
        self.bytes.advance(length);
        if let Some(stream) = &self.stream {
            stream.taken(count(length));
        }
    }
}

impl Stream {
    /// A stream that has to end when `end` completes. Called within a runtime.
    pub(super) fn new(line: Line, end: impl Future<Output = ()> + Send + 'static) -> Arc<Stream> {
        let stream = Arc::new(Stream {
            line,
            state: Mutex::default(),
            watch: OnceLock::new(),
        });
        let watching = tokio::spawn(watch(Arc::downgrade(&stream), end));
        let _ = stream.watch.set(watching.abort_handle());
        stream
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self, length: u64) {
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
    fn is_looked_at(self: &Arc<Self>, length: u64) {
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

    /// Whether the stream has to end; wakes the task that asks when it does.
    pub(super) fn has_to_end(&self, cx: &Context<'_>) -> bool {
        let mut state = self.state();
        state.waker = Some(cx.waker().clone());
        state.has_to_end
    }

    /// Whether it, or its connection with it, ends by our will. A client that takes nothing has left by its own.
    pub(super) fn is_cut(&self) -> bool {
        self.state().cut || self.line.is_cut()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(watch) = self.watch.get() {
            watch.abort();
        }
        if self.is_cut()
            && let Some((hold, _)) = &mut self.state().ended
        {
            hold.nobody_hung_up();
        }
    }
}

async fn watch(stream: Weak<Stream>, end: impl Future<Output = ()>) {
    let cut = tokio::select! {
        () = end => true,
        () = stalled(&stream) => false,
    };
    let Some(line) = stream.upgrade().map(|stream| {
        let mut state = stream.state();
        state.has_to_end = true;
        state.cut = cut;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        stream.line.clone()
    }) else {
        return;
    };
    tokio::time::sleep(RESET_PATIENCE).await;
    if stream.upgrade().is_some() {
        if cut {
            line.cut();
        }
        line.end_now();
    }
}

/// Completes when the client has taken nothing for long, though there was something.
async fn stalled(stream: &Weak<Stream>) {
    let mut before = None;
    loop {
        tokio::time::sleep(WRITE_STALL_MAX / 2).await;
        let Some(stream) = stream.upgrade() else {
            return;
        };
        let state = stream.state();
        let waits = (state.taken < state.given).then_some(state.taken);
        if waits.is_some() && waits == before {
            return;
        }
        before = waits;
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
