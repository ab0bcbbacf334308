//! One client's connection: TLS where that is configured, and HTTP/1.1 or HTTP/2 on it.
//!
//! Promise: whoever says nothing for `head_seconds` is gone, be it in the TLS handshake, before the first byte, or in a
//! head; a connection on which nothing is under way is kept for `idle_seconds`. At the end answers under way are let
//! finish, as long as the gateway has patience.
//!
//! Between requests of HTTP/1.1 a connection is a socket in the `lobby`; the HTTP server is made when a head is there,
//! and put away when its answer has left and nothing else has come. HTTP/2 is chosen by ALPN, or without TLS by a client
//! that knows beforehand and begins with its preface.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Request;
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::exchange::{Shared, exchange};
use super::line::Line;
use super::lobby::{self, HEAD_BYTES_MAX, Protocol, Waits};
use super::watched::Watched;
use crate::config::{ClientsConfig, ServerTls};

const HEADERS_MAX: usize = 64;
/// What the server may hold of one body before the upstream is made to wait, and of a head and what follows it.
const BUFFER_BYTES_MAX: usize = 32 << 10;
/// A client that was refused in the middle of sending would lose the refusal to a reset, were the socket closed at once.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES: usize = 64 << 10;

/// What a connection is served with.
pub(super) struct Connection {
    pub shared: Arc<Shared>,
    /// Where the tasks of its streams are counted, so that the end waits for them.
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    pub give_up: CancellationToken,
}

/// How the serving of a connection ended.
enum Ended {
    /// The HTTP server is done with the connection, or has nothing to do on it.
    Over(hyper::Result<()>),
    Rests,
    /// It was ended from outside.
    Cut,
}

impl Connection {
    pub(super) async fn serve(self, socket: TcpStream, peer: SocketAddr) {
        // Answers are written whole; waiting to fill a packet would only delay their last one.
        let _ = socket.set_nodelay(true);
        let client = peer.ip().to_canonical();
        match self.shared.config.tls.clone() {
            None => self.speak(socket, None, client).await,
            // Boxed, so that a connection without TLS does not carry the room for it.
            Some(tls) => Box::pin(self.serve_tls(socket, tls, client)).await,
        }
    }

    async fn serve_tls(&self, socket: TcpStream, tls: ServerTls, client: IpAddr) {
        let Some(stream) = self.shake_hands(socket, tls).await else {
            return;
        };
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let protocol = if http2 { Protocol::Http2 } else { Protocol::Http1 };
        self.speak(stream, Some(protocol), client).await;
    }

    async fn shake_hands(&self, socket: TcpStream, tls: ServerTls) -> Option<TlsStream<TcpStream>> {
        let handshake = TlsAcceptor::from(tls.0).accept(socket);
        let opened = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            opened = tokio::time::timeout(self.clients().head, handshake) => opened,
        };
        match opened {
            Ok(Ok(opened)) => Some(opened),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a connection did not open");
                None
            }
            Err(_) => None,
        }
    }

    pub(super) fn clients(&self) -> &ClientsConfig {
        &self.shared.config.clients
    }

    /// Speaks the agreed protocol, or whichever the client begins with where none was agreed.
    async fn speak<S>(&self, mut socket: S, agreed: Option<Protocol>, client: IpAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if agreed == Some(Protocol::Http2) {
            return Box::pin(self.speak_http2(socket, Bytes::new(), client)).await;
        }
        let ClientsConfig { head, idle, .. } = *self.clients();
        let mut bytes = Vec::new();
        let mut quiet = head;
        let mut agreed = agreed;
        loop {
            let waits = Waits { quiet, head };
            let Some((protocol, begun)) = lobby::wait(&mut socket, bytes, waits, &self.stop).await else {
                return;
            };
            if agreed.is_none() && protocol == Protocol::Http2 {
                return Box::pin(self.speak_http2(socket, begun, client)).await;
            }
            agreed = Some(Protocol::Http1);
            match Box::pin(self.speak_http1(socket, begun, client)).await {
                Some((rested, more)) => (socket, bytes) = (rested, more),
                None => return,
            }
            quiet = idle;
        }
    }

    /// Serves the request whose head has come, and those that follow without a pause. Gives the socket back, and what has
    /// come of a next head, if the connection may go on.
    async fn speak_http1<S>(&self, socket: S, begun: Bytes, client: IpAddr) -> Option<(S, Vec<u8>)>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let line = Line::new(false);
        let service = service_fn(|request: Request<Incoming>| {
            let under_way = line.asked(!request.body().is_end_stream());
            let answering = exchange(Arc::clone(&self.shared), client, line.clone(), under_way, request);
            async move { Ok::<_, Infallible>(answering.await) }
        });
        let socket = Watched::new(TokioIo::new(socket), begun, line.clone(), self.clients().stall);
        let mut serving = http1::Builder::new()
            .timer(TokioTimer::new())
            // The head is there. What can follow here is a pause after a request whose body was not read to its end.
            .header_read_timeout(self.clients().idle)
            .max_headers(HEADERS_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .max_buf_size(BUFFER_BYTES_MAX)
            .serve_connection(socket, service);
        let ended = self.until_it_ends(Pin::new(&mut serving), &line).await;
        match ended {
            Ended::Rests => {
                let parts = serving.into_parts();
                let (socket, early) = parts.io.into_parts();
                let more = [parts.read_buf, early].concat();
                Some((socket.into_inner(), more))
            }
            Ended::Over(result) => {
                tell(result);
                let parts = serving.into_parts();
                line.over();
                if parts.io.refused() {
                    linger(parts.io.into_parts().0.into_inner()).await;
                }
                None
            }
            Ended::Cut => {
                drop(serving);
                line.over();
                None
            }
        }
    }

    /// Drives a connection until there is nothing more to do on it.
    async fn until_it_ends<I, B, S>(&self, mut serving: Pin<&mut http1::Connection<I, S>>, line: &Line) -> Ended
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin,
        S: hyper::service::HttpService<Incoming, ResBody = B>,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        B: http_body::Body + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut going = false;
        loop {
            tokio::select! {
                biased;
                ended = serving.as_mut() => return Ended::Over(ended),
                () = poll_fn(|cx| line.poll_end(cx)) => {
                    line.cut();
                    return Ended::Cut;
                }
                () = poll_fn(|_| if line.rests() { Poll::Ready(()) } else { Poll::Pending }) => return Ended::Rests,
                () = self.give_up.cancelled() => {
                    line.cut();
                    return Ended::Cut;
                }
                () = self.stop.cancelled(), if !going => {
                    going = true;
                    serving.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

pub(super) fn tell(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Reads for a moment what is still on its way.
async fn linger(mut socket: impl AsyncRead + Unpin) {
    let mut left = LINGER_BYTES;
    let mut piece = BytesMut::new();
    let reading = async {
        while left > 0 {
            piece.clear();
            match socket.read_buf(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(length) => left = left.saturating_sub(length),
            }
        }
    };
    // Whether the client has closed or not, it had its moment.
    let _ = tokio::time::timeout(LINGER, reading).await;
}
