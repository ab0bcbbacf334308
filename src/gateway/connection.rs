//! One client's connection: TLS where that is configured, and HTTP/1.1 or HTTP/2 on it.
//!
//! Promise: whoever says nothing for 5 s is gone, be it in the TLS handshake, before the first byte, or in a head. At
//! the end answers under way are let finish, as long as the gateway has patience.
//!
//! HTTP/2 is chosen by ALPN, or without TLS by a client that knows beforehand and begins with its preface. A connection
//! on which nobody asks anything for a minute is told to go away.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::exchange::{Shared, exchange};
use super::line::{Line, Watched};

/// A client that has not sent its head by then is not going to. Also how long an idle connection is kept.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(5);
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 16 << 10;
const HEADER_LIST_BYTES_MAX: u32 = 16 << 10;
/// What the server may hold of one body before the upstream is made to wait.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// What a client may send of one body before the upstream has taken it.
const WINDOW_BYTES: u32 = 64 << 10;
const STREAMS_MAX: u32 = 128;
const STREAMS_IDLE_MAX: Duration = Duration::from_secs(60);
const PING_EVERY: Duration = Duration::from_secs(20);
const PREFACE: &[u8] = b"PRI * HTTP/2.0";
const PREFACE_PAUSE: Duration = Duration::from_millis(10);

/// What a connection is served with.
pub(super) struct Connection {
    pub shared: Arc<Shared>,
    /// Where the tasks of its streams are counted, so that the end waits for them.
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    pub give_up: CancellationToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

impl Connection {
    pub(super) async fn serve(self, socket: TcpStream, peer: SocketAddr) {
        // Answers are written whole; waiting to fill a packet would only delay their last one.
        let _ = socket.set_nodelay(true);
        let client = peer.ip().to_canonical();
        let served = match self.shared.config.tls.clone() {
            None => {
                let Some(protocol) = self.in_time(preface(&socket)).await else {
                    return;
                };
                self.speak(socket, protocol, client).await
            }
            Some(tls) => {
                let handshake = TlsAcceptor::from(tls.0).accept(socket);
                let Some(stream) = self.in_time(handshake).await else {
                    return;
                };
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let protocol = if http2 { Protocol::Http2 } else { Protocol::Http1 };
                self.speak(stream, protocol, client).await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection ended early");
        }
    }

    async fn in_time<T>(&self, opening: impl Future<Output = io::Result<T>>) -> Option<T> {
        let opened = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            opened = tokio::time::timeout(HEADER_READ_TIMEOUT, opening) => opened,
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

    async fn speak<S>(&self, socket: S, protocol: Protocol, client: IpAddr) -> hyper::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let line = Line::new(protocol == Protocol::Http2);
        let service = service_fn(|request: Request<Incoming>| {
            line.asked();
            let answering = exchange(Arc::clone(&self.shared), client, line.clone(), request);
            async move { Ok::<_, Infallible>(answering.await) }
        });
        let socket = Watched::new(TokioIo::new(socket), line.clone());
        let served = match protocol {
            Protocol::Http1 => {
                let serving = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_READ_TIMEOUT)
                    .max_headers(HEADERS_MAX)
                    .max_header_size(HEADER_BYTES_MAX)
                    .max_buf_size(BUFFER_BYTES_MAX)
                    .serve_connection(socket, service);
                self.until_it_ends(pin!(serving), http1::Connection::graceful_shutdown, &line)
                    .await
            }
            Protocol::Http2 => {
                let serving = http2::Builder::new(Tracked(self.tasks.clone()))
                    .timer(TokioTimer::new())
                    .max_concurrent_streams(STREAMS_MAX)
                    .max_header_list_size(HEADER_LIST_BYTES_MAX)
                    .max_send_buf_size(BUFFER_BYTES_MAX)
                    .initial_stream_window_size(WINDOW_BYTES)
                    .keep_alive_interval(PING_EVERY)
                    .serve_connection(socket, service);
                self.until_it_ends(pin!(serving), http2::Connection::graceful_shutdown, &line)
                    .await
            }
        };
        line.over();
        served
    }

    /// Drives a connection until it is over by itself, or has to be.
    async fn until_it_ends<C>(
        &self,
        mut serving: Pin<&mut C>,
        go_away: impl Fn(Pin<&mut C>),
        line: &Line,
    ) -> hyper::Result<()>
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut going = false;
        loop {
            let idle = line.idle_until(STREAMS_IDLE_MAX);
            tokio::select! {
                biased;
                ended = serving.as_mut() => return ended,
                () = poll_fn(|cx| line.poll_end(cx)) => {
                    // A stream that ends the connection has said whose will that is.
                    if !line.has_streams() {
                        line.cut();
                    }
                    return Ok(());
                }
                () = self.give_up.cancelled() => {
                    line.cut();
                    return Ok(());
                }
                () = self.stop.cancelled(), if !going => {
                    going = true;
                    go_away(serving.as_mut());
                }
                () = tokio::time::sleep_until(idle), if line.has_streams() && !going => {
                    if line.idle_until(STREAMS_IDLE_MAX) <= tokio::time::Instant::now() {
                        going = true;
                        go_away(serving.as_mut());
                    }
                }
            }
        }
    }
}

/// Looks at the first bytes without taking them.
async fn preface(socket: &TcpStream) -> io::Result<Protocol> {
    let mut seen = [0; PREFACE.len()];
    loop {
        let length = socket.peek(&mut seen).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if seen[..length] != PREFACE[..length] {
            return Ok(Protocol::Http1);
        }
        if length == PREFACE.len() {
            return Ok(Protocol::Http2);
        }
        // Looking does not wait for more than there is.
        tokio::time::sleep(PREFACE_PAUSE).await;
    }
}

/// Runs the tasks of streams where they are counted.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F> Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}
