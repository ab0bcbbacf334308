//! When the head of a request has to be there: soon after its first byte, however long the connection was quiet before it.
//!
//! In: what is read from the socket, and which answers begin and end. Out: whether a head is overdue.
//!
//! The HTTP server has one time for both, from the end of an answer to the end of the next head. Proxies keep connections for a
//! minute and more, and would lose requests that they send while the server closes one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// The heads of one connection, one after the other.
#[derive(Debug)]
pub(super) struct Heads {
    opened: Instant,
    /// Milliseconds after `opened` when a head was first waited for that is not there yet; or one of these.
    since: AtomicU64,
}

/// A head is there, and its answer has not ended.
const ANSWERING: u64 = u64::MAX;
/// The last answer has ended, and nothing has come since.
const QUIET: u64 = u64::MAX - 1;

impl Heads {
    /// Of a connection that was opened just now: whoever opens one is to say what for.
    pub(super) fn first() -> Arc<Heads> {
        Arc::new(Heads {
            opened: Instant::now(),
            since: AtomicU64::new(0),
        })
    }

    /// The head of a request is there. The answer is to be given this body instead of its own.
    pub(super) fn answering(self: &Arc<Heads>) -> Answering {
        self.since.store(ANSWERING, Ordering::Relaxed);
        Answering(Arc::clone(self))
    }

    /// Whether a head has taken longer than this.
    pub(super) fn overdue(&self, most: Duration) -> bool {
        match self.since.load(Ordering::Relaxed) {
            ANSWERING | QUIET => false,
            since => self.opened.elapsed().saturating_sub(Duration::from_millis(since)) > most,
        }
    }

    fn heard(&self) {
        if self.since.load(Ordering::Relaxed) == QUIET {
            let since = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(QUIET - 1);
            self.since.store(since, Ordering::Relaxed);
        }
    }
}

/// An answer under way, until this is dropped.
#[derive(Debug)]
pub(super) struct Answering(Arc<Heads>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.since.store(QUIET, Ordering::Relaxed);
    }
}

/// The body of an answer, with which the answer ends.
#[derive(Debug)]
pub(super) struct Answer {
    pub body: Body,
    pub _answering: Answering,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket whose first bytes of a head are noticed.
#[derive(Debug)]
pub(super) struct Heard<S> {
    pub socket: S,
    pub heads: Arc<Heads>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, into);
        if into.filled().len() > before {
            self.heads.heard();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}
