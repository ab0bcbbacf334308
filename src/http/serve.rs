//! The HTTP server: takes connections, bounded in number and patience, and ends in order.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutWriter;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A client that takes longer to say what it wants is gone, or holds the connection on purpose.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(5);
/// So long a client may take nothing of what is written to it. The kernel says that it took something once a third of the
/// socket's buffer is free, which has 4 MB at most: who reads 45 KB/s is served, however large that is.
const STALL_MAX: Duration = Duration::from_secs(30);
const HEADERS_MAX: usize = 64;
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// Each takes a socket and some buffers; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4_096;
/// At the end, for answers under way.
const PATIENCE_AT_END: Duration = Duration::from_secs(10);
/// When the process is out of sockets, trying again at once would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who is at the other end of a request's connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub IpAddr);

/// Serves until `stop` is cancelled, then lets answers under way end, for 10 s at most.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    let give_up = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        match accepted {
            Ok((socket, peer, place)) => {
                let connection = serve_connection(socket, peer, router.clone(), stop.clone(), STALL_MAX);
                let give_up = give_up.clone();
                connections.spawn(async move {
                    tokio::select! {
                        () = connection => {}
                        () = give_up.cancelled() => {}
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(PATIENCE_AT_END, connections.wait()).await.is_err() {
        give_up.cancel();
        connections.wait().await;
    }
}

/// Waits for room first, so that what cannot be served stays in the kernel's queue and costs nothing here.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, Peer, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(room).acquire_owned().await.map_err(std::io::Error::other)?;
    let (socket, peer) = listener.accept().await?;
    Ok((socket, Peer(peer.ip().to_canonical()), place))
}

async fn serve_connection(socket: TcpStream, peer: Peer, router: Router, stop: CancellationToken, stall_max: Duration) {
    // Answers are written whole; waiting to fill a packet would only delay their last one.
    let _ = socket.set_nodelay(true);
    // The HTTP server would wait for ever, and with it the place of the connection.
    let mut socket = TimeoutWriter::new(socket);
    socket.set_timeout(Some(stall_max));
    let socket = Box::pin(socket);
    let router = TowerToHyperService::new(router);
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), service);
    let mut serving = std::pin::pin!(serving);
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended early");
                }
                return;
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                serving.as_mut().graceful_shutdown();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const BODY_BYTES: usize = 32 << 20;

    /// Serves one connection, whose client asks for more than sockets hold, and gives both.
    async fn asked(stall_max: Duration) -> (TcpStream, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let router = Router::new().route("/", get(|| async { vec![b'a'; BODY_BYTES] }));
        let peer = Peer(Ipv4Addr::LOCALHOST.into());
        let serving = tokio::spawn(serve_connection(
            socket,
            peer,
            router,
            CancellationToken::new(),
            stall_max,
        ));
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        (client, serving)
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_loses_its_connection() {
        let (client, serving) = asked(Duration::from_millis(100)).await;
        let ended = tokio::time::timeout(Duration::from_secs(20), serving).await;
        assert!(ended.is_ok(), "its place would be gone for ever");
        drop(client);
    }

    #[tokio::test]
    async fn a_client_that_reads_slowly_has_all_of_its_answer() {
        let stall_max = Duration::from_secs(2);
        let (mut client, serving) = asked(stall_max).await;
        let (began, mut read) = (std::time::Instant::now(), 0);
        let mut piece = vec![0; BODY_BYTES / 128];
        while read < BODY_BYTES {
            read += client.read(&mut piece).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(began.elapsed() > stall_max && !serving.is_finished());
    }
}
