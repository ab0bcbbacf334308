//! One client's connection, watched: when bytes have really left, when they do not, and when it has to end.
//!
//! In: a socket. Out: the same socket for the HTTP server, and word of what became of the bytes.
//!
//! Promise: a parcel counts as delivered once every byte before its end is in the kernel's hands; a parcel whose
//! connection ends first is dropped, and its hold is released. Its charge is written down right before the socket is
//! given the last bytes, and taken back if it does not take them: a process that is killed has charged what its clients
//! have, and may charge for what they lack only if it is killed within that one call. A client that does not read for 30 s loses its
//! connection, and with it what it has not paid for.
//!
//! Where bodies share a connection (HTTP/2), `parcel` says when all of one has been taken, and the flush after that
//! counts here.
//!
//! Not here: HTTP.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::{Instant, Sleep};

use super::hold::{Hold, Settlement};
use super::parcel::Stream;

pub(super) const WRITE_STALL_MAX: Duration = Duration::from_secs(30);

/// What the two ends of a connection tell each other: the bodies that go in, and the socket that they leave by.
#[derive(Clone)]
pub(super) struct Line(Arc<Mutex<State>>);

struct State {
    /// HTTP/2: several bodies at once.
    streams: bool,
    asked: Instant,
    waker: Option<Waker>,
    /// Whole bodies that the HTTP server has and the socket may not have yet.
    leaving: Vec<(Hold, Settlement)>,
    /// Streams whose last bytes the HTTP server looks at, to give them to the socket.
    offered: Vec<Weak<Stream>>,
    /// Completes when the connection must not go on.
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// It ends by our will: nobody hung up.
    cut: bool,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

impl Line {
    pub(super) fn new(streams: bool) -> Line {
        Line(Arc::new(Mutex::new(State {
            streams,
            asked: Instant::now(),
            waker: None,
            leaving: Vec::new(),
            offered: Vec::new(),
            end: None,
            cut: false,
        })))
    }

    pub(super) fn has_streams(&self) -> bool {
        self.state().streams
    }

    /// A request has come.
    pub(super) fn asked(&self) {
        self.state().asked = Instant::now();
    }

    /// When nobody will have asked anything for so long.
    pub(super) fn idle_until(&self, idle: Duration) -> Instant {
        self.state().asked + idle
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change under the lock is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Settles a hold once all that was written so far has left. Called before the server asks to flush the last byte.
    pub(super) fn settle_when_flushed(&self, hold: Hold, settlement: Settlement) {
        self.state().leaving.push((hold, settlement));
    }

    /// Ends the connection when a future completes. The body under way is dropped with it.
    pub(super) fn end_when(&self, end: impl Future<Output = ()> + Send + 'static) {
        self.state().end = Some(Box::pin(end));
    }

    /// Polled beside the connection, in the same task: completes when the connection must not go on.
    pub(super) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        state.waker = Some(cx.waker().clone());
        match &mut state.end {
            Some(end) => end.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    /// Ends the connection now, with all that is under way on it.
    pub(super) fn end_now(&self) {
        let mut state = self.state();
        state.end = Some(Box::pin(std::future::ready(())));
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Says that the connection ends by our will, before it does.
    pub(super) fn cut(&self) {
        self.state().cut = true;
    }

    pub(super) fn is_cut(&self) -> bool {
        self.state().cut
    }

    /// The socket is given a stream's last bytes next.
    pub(super) fn offers(&self, stream: Weak<Stream>) {
        self.state().offered.push(stream);
    }

    /// The socket is given bytes now.
    fn gives(&self) {
        for (hold, settlement) in &mut self.state().leaving {
            hold.write_down(*settlement);
        }
    }

    /// The socket has not taken all that it was given.
    fn keeps(&self) {
        let offered = {
            let mut state = self.state();
            state.leaving.iter_mut().for_each(|(hold, _)| hold.take_back());
            std::mem::take(&mut state.offered)
        };
        let there = offered.iter().filter_map(Weak::upgrade);
        there.for_each(|stream| stream.keeps());
    }

    /// The socket has taken all that it was given. A stream that gave more learns that from its parcels.
    fn gave(&self) {
        self.state().offered.clear();
    }

    fn flushed(&self) {
        let left = {
            let mut state = self.state();
            if state.leaving.is_empty() {
                return;
            }
            // On a connection of many bodies an end is for all of them and stands.
            if !state.streams {
                state.end = None;
            }
            std::mem::take(&mut state.leaving)
        };
        for (hold, settlement) in left {
            hold.settle(settlement);
        }
    }

    /// The connection is over: what has not left never will.
    pub(super) fn over(&self) {
        let (mut left, end, cut) = {
            let mut state = self.state();
            (std::mem::take(&mut state.leaving), state.end.take(), state.cut)
        };
        if cut {
            left.iter_mut().for_each(|(hold, _)| hold.nobody_hung_up());
        }
        drop((left, end));
    }
}

/// The socket that the HTTP server writes to.
#[derive(Debug)]
pub(super) struct Watched<S> {
    socket: S,
    line: Line,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    pub(super) fn new(socket: S, line: Line) -> Watched<S> {
        Watched {
            socket,
            line,
            stalled: None,
        }
    }

    /// Tells the line whether all bytes were taken.
    fn told(&self, written: &Poll<io::Result<usize>>, offered: usize) {
        match written {
            Poll::Ready(Ok(taken)) if *taken == offered => self.line.gave(),
            Poll::Ready(Ok(_) | Err(_)) | Poll::Pending => self.line.keeps(),
        }
    }

    /// Passes a write's result on, and fails it once it has been pending for too long.
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_STALL_MAX)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: Read + Unpin> Read for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl<S: Write + Unpin> Write for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.line.gives();
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.told(&written, bytes.len());
        self.watch(cx, written)
    }

    /// The server flushes the socket only when its own buffer is empty: then all bodies that it has taken have left.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.gives();
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.line.flushed();
        } else {
            self.line.keeps();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.line.gives();
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bytes);
        self.told(&written, bytes.iter().map(|piece| piece.len()).sum());
        self.watch(cx, written)
    }
}
