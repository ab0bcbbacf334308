//! The pieces of an answer's body, as the HTTP server takes them.
//!
//! Promise: a byte counts as taken when it is taken out of its piece, into the connection's own buffer or the socket,
//! and not when the piece is given to the server, which may keep it for as long as the client wants no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes};

use super::stream::Stream;

/// A piece of a body.
#[derive(Debug)]
pub(super) struct Parcel {
    bytes: Bytes,
    tally: Option<Tally>,
    stream: Option<Arc<Stream>>,
}

/// How many bytes of a body have been taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(Arc<AtomicU64>);

impl Tally {
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, length: usize) {
        self.0.fetch_add(count(length), Ordering::Relaxed);
    }
}

impl Parcel {
    pub(super) fn new(bytes: Bytes, tally: Option<Tally>, stream: Option<Arc<Stream>>) -> Parcel {
        if let Some(stream) = &stream {
            stream.given(count(bytes.len()));
        }
        Parcel { bytes, tally, stream }
    }

    /// The same, of a stream.
    pub(super) fn of(self, stream: Option<Arc<Stream>>) -> Parcel {
        Parcel::new(self.bytes, self.tally, stream)
    }
}

impl From<String> for Parcel {
    fn from(text: String) -> Parcel {
        Parcel::new(text.into(), None, None)
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
        if let Some(tally) = &self.tally {
            tally.add(length);
        }
        if let Some(stream) = &self.stream {
            stream.taken(count(length));
        }
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
