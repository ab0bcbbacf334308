//! HTTP/2 on one connection: many streams at once, each with a task of its own.
//!
//! Promise: a connection on which no stream is under way for `idle_seconds` (before its first one for `head_seconds`) is
//! told to go away, and is closed when it does not. Streams under way are let finish.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};
use tokio_util::task::TaskTracker;

use super::connection::{Connection, tell};
use super::exchange::exchange;
use super::line::Line;
use super::stream;
use super::watched::Watched;
use crate::config::ClientsConfig;

const HEADER_LIST_BYTES_MAX: u32 = 16 << 10;
/// What the connection may hold of one stream's answer before the upstream is made to wait.
const BUFFER_BYTES_MAX: usize = 32 << 10;
/// What a client may send of one body before the upstream has taken it.
const WINDOW_BYTES: u32 = 64 << 10;
/// The same of all bodies on a connection together.
const CONNECTION_WINDOW_BYTES: u32 = 256 << 10;
const STREAMS_MAX: u32 = 128;
/// Streams that were reset before anything was done for them: a client that has so many waiting is not asking but
/// flooding (CVE-2023-44487), and loses its connection.
const RESETS_WAITING_MAX: usize = 20;
const PING_EVERY: Duration = Duration::from_secs(20);

impl Connection {
    pub(super) async fn speak_http2<S>(&self, socket: S, begun: Bytes, client: IpAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let line = Line::new(true);
        let service = service_fn(|request: Request<Incoming>| {
            let under_way = line.asked(!request.body().is_end_stream());
            let answering = exchange(Arc::clone(&self.shared), client, line.clone(), under_way, request);
            async move { Ok::<_, Infallible>(answering.await) }
        });
        let stall_max = self.clients().stall;
        let socket = Watched::new(TokioIo::new(socket), begun, line.clone(), stall_max);
        let streams = Streams {
            tasks: self.tasks.clone(),
            line: line.clone(),
            stall_max,
        };
        let serving = http2::Builder::new(streams)
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .max_send_buf_size(BUFFER_BYTES_MAX)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_pending_accept_reset_streams(RESETS_WAITING_MAX)
            .keep_alive_interval(PING_EVERY)
            .serve_connection(socket, service);
        {
            let mut serving = pin!(serving);
            let mut going = false;
            let mut quiet = Quiet::new(self.clients());
            loop {
                tokio::select! {
                    biased;
                    ended = serving.as_mut() => {
                        tell(ended);
                        break;
                    }
                    // A stream that ends the connection has said whose will that is.
                    () = poll_fn(|cx| line.poll_end(cx)) => break,
                    () = self.give_up.cancelled() => {
                        line.cut();
                        break;
                    }
                    () = self.stop.cancelled(), if !going => {
                        going = true;
                        serving.as_mut().graceful_shutdown();
                    }
                    () = poll_fn(|cx| quiet.poll_over(cx, &line)) => {
                        if going {
                            break;
                        }
                        going = true;
                        quiet.told_to_go();
                        serving.as_mut().graceful_shutdown();
                    }
                }
            }
        }
        line.over();
    }
}

/// How long a connection may be quiet.
struct Quiet {
    head: Duration,
    idle: Duration,
    /// Since when it has been asked to go.
    going: Option<Instant>,
    sleep: Pin<Box<Sleep>>,
}

impl Quiet {
    fn new(config: &ClientsConfig) -> Quiet {
        Quiet {
            head: config.head,
            idle: config.idle,
            going: None,
            sleep: Box::pin(tokio::time::sleep(config.head)),
        }
    }

    /// From now on there is less patience.
    fn told_to_go(&mut self) {
        self.going = Some(Instant::now());
    }

    /// Until when it may be quiet. `None`: something is under way.
    fn until(&self, line: &Line) -> Option<Instant> {
        let (since, asked) = line.quiet()?;
        Some(match self.going {
            Some(going) => since.max(going) + self.head,
            None if asked => since + self.idle,
            None => since + self.head,
        })
    }

    /// Completes when the connection was quiet for too long. The line wakes whoever asks when it becomes quiet.
    fn poll_over(&mut self, cx: &mut Context<'_>, line: &Line) -> Poll<()> {
        loop {
            let Some(until) = self.until(line) else {
                return Poll::Pending;
            };
            if self.sleep.deadline() != until {
                self.sleep.as_mut().reset(until);
            }
            ready!(self.sleep.as_mut().poll(cx));
            if self.until(line) == Some(until) {
                return Poll::Ready(());
            }
        }
    }
}

/// Runs the tasks of streams where they are counted and watched.
#[derive(Clone)]
struct Streams {
    tasks: TaskTracker,
    line: Line,
    stall_max: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        self.tasks.spawn(stream::run(self.line.clone(), self.stall_max, task));
    }
}
