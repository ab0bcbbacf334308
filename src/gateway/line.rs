//! One client's connection, watched: when bytes have really left, when they do not, and when it has to end.
//!
//! In: what the bodies on it and its socket (`watched`) tell. Out: settlements, and word of what the connection is to do.
//!
//! Promise: a parcel counts as delivered once every byte before its end is in the kernel's hands; a parcel whose
//! connection ends first is dropped, and its hold is released. Its charge is written down right before the socket is
//! given the last bytes, and taken back if it does not take them: a process that is killed has charged what its clients
//! have, and may charge for what they lack only if it is killed within that one call.
//!
//! Where bodies share a connection (HTTP/2), `stream` says when all of one has been taken, and the flush after that
//! counts here. Where they do not, the line also knows when the connection rests: the request was read to its end, its
//! answer has left, and nothing else has come.
//!
//! Not here: HTTP.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::hold::{Hold, Settlement};
use super::stream::Stream;

/// What the two ends of a connection tell each other: the bodies that go in, and the socket that they leave by.
#[derive(Clone)]
pub(super) struct Line(Arc<Mutex<State>>);

struct State {
    /// HTTP/2: several bodies at once.
    streams: bool,
    /// Any request has come.
    asked: bool,
    /// A request's body is not known to have been read to its end.
    unread: bool,
    /// Requests whose answers the HTTP server has not taken to their ends.
    under_way: usize,
    /// Since when none has been.
    quiet_since: Instant,
    /// All that there was to do is done.
    rests: bool,
    /// The HTTP server is about to close it.
    closing: bool,
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

/// A request under way, until this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Line);

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

impl Line {
    pub(super) fn new(streams: bool) -> Line {
        Line(Arc::new(Mutex::new(State {
            streams,
            asked: false,
            unread: false,
            under_way: 0,
            quiet_since: Instant::now(),
            rests: false,
            closing: false,
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

    /// A request has come, with a body that is still to be read or without.
    pub(super) fn asked(&self, unread: bool) -> UnderWay {
        let mut state = self.state();
        state.asked = true;
        state.unread = unread;
        state.rests = false;
        drop(state);
        self.begin()
    }

    /// Something is under way that nobody asked for anew.
    pub(super) fn begin(&self) -> UnderWay {
        self.state().under_way += 1;
        UnderWay(self.clone())
    }

    /// The request's body was read to its end, and its end was as its framing says.
    pub(super) fn all_read(&self) {
        self.state().unread = false;
    }

    /// Whether there is nothing that an answer could belong to.
    pub(super) fn awaits_no_answer(&self) -> bool {
        let state = self.state();
        !state.streams && (!state.asked || state.rests)
    }

    /// Since when nothing is under way, and whether anything ever was. `None`: something is.
    pub(super) fn quiet(&self) -> Option<(Instant, bool)> {
        let state = self.state();
        (state.under_way == 0).then_some((state.quiet_since, state.asked))
    }

    /// Whether the HTTP server could be taken away without a loss: it has no request, no answer and no will to close.
    pub(super) fn rests(&self) -> bool {
        let state = self.state();
        state.rests && !state.closing
    }

    pub(super) fn closing(&self) {
        self.state().closing = true;
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
    pub(super) fn gives(&self) {
        for (hold, settlement) in &mut self.state().leaving {
            hold.write_down(*settlement);
        }
    }

    /// The socket has not taken all that it was given.
    pub(super) fn keeps(&self) {
        let offered = {
            let mut state = self.state();
            state.leaving.iter_mut().for_each(|(hold, _)| hold.take_back());
            std::mem::take(&mut state.offered)
        };
        let there = offered.iter().filter_map(Weak::upgrade);
        there.for_each(|stream| stream.keeps());
    }

    /// The socket has taken all that it was given. A stream that gave more learns that from its parcels.
    pub(super) fn gave(&self) {
        self.state().offered.clear();
    }

    /// Everything that the HTTP server had is in the kernel's hands.
    pub(super) fn flushed(&self) {
        let left = {
            let mut state = self.state();
            // On a connection of many bodies an end is for all of them and stands, and there is no rest.
            if !state.streams && state.asked && state.under_way == 0 {
                state.end = None;
                state.rests = !state.unread;
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

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way = state.under_way.saturating_sub(1);
        if state.under_way > 0 {
            return;
        }
        state.quiet_since = Instant::now();
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
