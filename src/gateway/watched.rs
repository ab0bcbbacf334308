//! The socket that the HTTP server reads from and writes to.
//!
//! In: a socket, and bytes that were read from it before. Out: the same, and word to the `line` of what left.
//!
//! Promise: a client that takes nothing of what is written for too long loses its connection, and with it what it has
//! not paid for. What the HTTP server says by itself, when no request is there to be answered (that it could not read a
//! head) reaches the client as a problem document of ours.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::Sleep;

use super::bare;
use super::line::Line;

/// The socket, and what there is to know of it.
#[derive(Debug)]
pub(super) struct Watched<S> {
    socket: S,
    /// Read before, and to be read again.
    early: Bytes,
    line: Line,
    stall_max: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    /// Our words in place of the HTTP server's own, as far as they have not left.
    words: Option<Bytes>,
}

impl<S> Watched<S> {
    pub(super) fn new(socket: S, early: Bytes, line: Line, stall_max: Duration) -> Watched<S> {
        Watched {
            socket,
            early,
            line,
            stall_max,
            stalled: None,
            words: None,
        }
    }

    /// The socket, and what was read of it by nobody.
    pub(super) fn into_parts(self) -> (S, Bytes) {
        (self.socket, self.early)
    }

    /// Whether the client was told that its head could not be read.
    pub(super) fn refused(&self) -> bool {
        self.words.is_some()
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
        let stall_max = self.stall_max;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(stall_max)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Takes what the HTTP server says by itself, and keeps our own words for it.
    fn takes_over(&mut self, said: &[u8]) -> bool {
        if self.words.is_none() {
            if !self.line.awaits_no_answer() {
                return false;
            }
            self.line.closing();
            self.words = Some(bare::in_our_words(said));
        }
        true
    }
}

impl<S: Write + Unpin> Watched<S> {
    /// Writes what is ours to say.
    fn poll_words(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(words) = self.words.as_mut().filter(|words| !words.is_empty()) {
            let written = Pin::new(&mut self.socket).poll_write(cx, words);
            if let Poll::Ready(Ok(length)) = &written {
                if *length == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                words.advance(*length);
            }
            ready!(self.watch(cx, written))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Read + Unpin> Read for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, buf);
        }
        let length = self.early.len().min(buf.remaining());
        let read = self.early.split_to(length);
        if self.early.is_empty() {
            // Lets go of the memory.
            self.early = Bytes::new();
        }
        buf.put_slice(&read);
        Poll::Ready(Ok(()))
    }
}

impl<S: Write + Unpin> Write for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.takes_over(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        self.line.gives();
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.told(&written, bytes.len());
        self.watch(cx, written)
    }

    /// The server flushes the socket only when its own buffer is empty: then all bodies that it has taken have left.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_words(cx))?;
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
        self.line.closing();
        ready!(self.poll_words(cx))?;
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
        if bytes.first().is_some_and(|first| self.takes_over(first)) {
            return Poll::Ready(Ok(bytes.iter().map(|piece| piece.len()).sum()));
        }
        self.line.gives();
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bytes);
        self.told(&written, bytes.iter().map(|piece| piece.len()).sum());
        self.watch(cx, written)
    }
}
