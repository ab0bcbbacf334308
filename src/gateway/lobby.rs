//! Where a connection waits for a request: only its socket is there, and the bytes that have come of a head.
//!
//! In: a socket, and how long one waits. Out: the bytes up to the end of a head at least, once they are there.
//!
//! Promise: a client that sends its head slowly, or nothing, costs little more than its socket: the HTTP server with its
//! buffers is made when there is something for it to do. Each head has its own time, however its bytes are spread.
//!
//! Not here: whether a head is well-formed. Whatever is no beginning of one is handed over at once, to be refused.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::ready;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// As much of a head as is gathered; the HTTP server refuses whatever is as long and has no end.
pub(super) const HEAD_BYTES_MAX: usize = 16 << 10;
const PIECE_BYTES: usize = 2 << 10;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// How a connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// For how long one waits in the lobby.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    /// For the first byte.
    pub quiet: Duration,
    /// From there to the end of the head.
    pub head: Duration,
}

/// Waits for a head. `None`: the client has left, took too long, or everything is coming to an end.
pub(super) async fn wait<S>(
    socket: &mut S,
    mut bytes: Vec<u8>,
    waits: Waits,
    stop: &CancellationToken,
) -> Option<(Protocol, Bytes)>
where
    S: AsyncRead + Unpin,
{
    let mut seen = 0;
    let mut until = Instant::now() + if bytes.is_empty() { waits.quiet } else { waits.head };
    loop {
        if let Some(protocol) = whole(&bytes, seen) {
            return Some((protocol, bytes.into()));
        }
        seen = bytes.len();
        let read = tokio::select! {
            biased;
            read = read_some(socket, &mut bytes) => read,
            // A head that has begun is waited for: it has a few seconds at most.
            () = stop.cancelled(), if seen == 0 => return None,
            () = tokio::time::sleep_until(until) => return None,
        };
        if read.ok()? == 0 {
            return None;
        }
        if seen == 0 {
            until = Instant::now() + waits.head;
        }
    }
}

/// Reads what there is. Holds no memory while there is nothing.
async fn read_some<S: AsyncRead + Unpin>(socket: &mut S, bytes: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut piece = [MaybeUninit::uninit(); PIECE_BYTES];
        let mut piece = ReadBuf::uninit(&mut piece);
        ready!(Pin::new(&mut *socket).poll_read(cx, &mut piece))?;
        bytes.extend_from_slice(piece.filled());
        std::task::Poll::Ready(Ok(piece.filled().len()))
    })
    .await
}

/// Whether there is enough for the HTTP server: a whole head, or something that cannot become one. Of the first `seen`
/// bytes that is known not to be so.
fn whole(bytes: &[u8], seen: usize) -> Option<Protocol> {
    // Empty lines before a request are skipped (RFC 9112 section 2.2).
    let blank = bytes.iter().take_while(|byte| b"\r\n".contains(byte)).count();
    let head = bytes.get(blank..).unwrap_or_default();
    if blank == 0 && head.starts_with(PREFACE) {
        return Some(Protocol::Http2);
    }
    if blank == 0 && !head.is_empty() && PREFACE.starts_with(head) {
        return None;
    }
    let begins = head.first().is_none_or(u8::is_ascii_alphabetic);
    // Two bytes of an end may have come before.
    let new = bytes.get(seen.saturating_sub(2).max(blank)..).unwrap_or_default();
    let ends = new.windows(2).any(|two| two == b"\n\n") || new.windows(3).any(|three| three == b"\n\r\n");
    (!begins || ends || bytes.len() >= HEAD_BYTES_MAX).then_some(Protocol::Http1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes have to come, one by one, and what they are then.
    fn one_by_one(bytes: &[u8]) -> Option<(usize, Protocol)> {
        (1..=bytes.len()).find_map(|length| {
            let protocol = whole(&bytes[..length], length - 1)?;
            Some((length, protocol))
        })
    }

    #[test]
    fn a_head_is_whole_at_its_empty_line() {
        for head in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "PRI * HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(
                one_by_one(head.as_bytes()),
                Some((head.len(), Protocol::Http1)),
                "{head:?}"
            );
            assert_eq!(whole(head.as_bytes(), 0), Some(Protocol::Http1), "{head:?}");
        }
        assert_eq!(one_by_one(PREFACE), Some((PREFACE.len(), Protocol::Http2)));
        assert_eq!(one_by_one(b"GET / HTTP/1.1\r\nHost: a\r\n"), None);
        assert_eq!(one_by_one(b"\r\n\r\n\r\n"), None);
    }

    #[test]
    fn what_cannot_be_a_head_is_handed_over_at_once() {
        assert_eq!(one_by_one(b"\x16\x03\x01"), Some((1, Protocol::Http1)));
        let long = [b'a'; HEAD_BYTES_MAX];
        assert_eq!(whole(&long, HEAD_BYTES_MAX - 1), Some(Protocol::Http1));
        assert_eq!(whole(&long[1..], 0), None);
    }
}
