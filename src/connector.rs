//! Connections to an upstream, with TLS or without.
//!
//! Promise: a connection that takes longer than 5 s, handshake included, or longer than leaves room for a second one
//! within the upstream's own time-out, has failed. A certificate is checked against the name in the configured URL,
//! always. A connection knows whether it was ever used before.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tower::Service;

use crate::config::ClientTls;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes connections for one upstream.
#[derive(Clone)]
pub(crate) struct Connector {
    tcp: HttpConnector,
    tls: Option<TlsConnector>,
    patience: Duration,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("tls", &self.tls.is_some()).finish()
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: Socket,
    turns: Turns,
}

#[derive(Debug)]
enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Who spoke on a connection, and how often: it goes with the connection, and with errors on it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns(Arc<AtomicU64>);

impl Turns {
    /// Whether the connection had answered before, and has said nothing to the last request.
    pub(crate) fn left_unanswered(&self) -> bool {
        // Odd: we spoke last. One: nobody ever answered.
        let turns = self.0.load(Ordering::Relaxed);
        turns > 1 && turns % 2 == 1
    }

    fn speak(&self, ours: bool) {
        let last = self.0.load(Ordering::Relaxed) % 2 == 1;
        if last != ours {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Connector {
    /// `upstream_timeout`: within which two attempts have to find room.
    pub(crate) fn new(tls: Option<&ClientTls>, upstream_timeout: Duration) -> Connector {
        let mut tcp = HttpConnector::new();
        let patience = CONNECT_TIMEOUT.min(upstream_timeout * 2 / 5);
        tcp.set_connect_timeout(Some(patience));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        Connector {
            tcp,
            tls: tls.map(|tls| TlsConnector::from(Arc::clone(&tls.0))),
            patience,
        }
    }
}

async fn connect(mut tcp: HttpConnector, tls: Option<TlsConnector>, uri: Uri) -> io::Result<Socket> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let socket = tcp.call(uri).await.map_err(io::Error::other)?;
    let Some(tls) = tls else {
        return Ok(Socket::Plain(socket.into_inner()));
    };
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    let stream = tls.connect(name, socket.into_inner()).await?;
    Ok(Socket::Tls(Box::new(stream)))
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_ready(cx).map_err(io::Error::other)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.patience, connect(self.tcp.clone(), self.tls.clone(), uri));
        Box::pin(async move {
            let socket = connecting.await.map_err(|_| io::ErrorKind::TimedOut)??;
            let turns = Turns::default();
            Ok(TokioIo::new(Stream { socket, turns }))
        })
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.turns.clone())
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        let read = match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        };
        if buf.remaining() < room {
            self.turns.speak(false);
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.turns.speak(true);
        match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Plain(stream) => stream.is_write_vectored(),
            Socket::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.turns.speak(true);
        match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Socket::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_left_unanswered_only_after_it_has_answered() {
        let turns = Turns::default();
        let said = |ours| {
            turns.speak(ours);
            turns.left_unanswered()
        };
        assert_eq!(
            [true, true, false, false, true, true, false].map(said),
            [false, false, false, false, true, true, false]
        );
    }
}
