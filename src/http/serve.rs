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
use tokio::time::MissedTickBehavior;
use tokio_io_timeout::TimeoutWriter;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::heads::{Answer, Heads, Heard};

/// How long a client may take its time.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// From its connection, and then from the first byte of a request, to the end of the head. A client that takes longer is gone,
    /// or holds the connection on purpose.
    head: Duration,
    /// Between an answer and the next head. Longer than the minute that many clients and proxies keep connections for, so that
    /// mostly they close first: a request that meets a connection on its end is lost.
    idle: Duration,
    /// To take something of what is written to it. The kernel says that it took something once a third of the socket's buffer is
    /// free, which has 4 MB at most: who reads 45 KB/s is served, however large that is.
    stall: Duration,
}

const PATIENCE: Patience = Patience {
    head: Duration::from_secs(5),
    idle: Duration::from_secs(75),
    stall: Duration::from_secs(30),
};
/// How often it is looked whether a head is overdue, within the time for one. A timer for each head would cost each request.
const HEAD_LOOKS: u32 = 4;
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
                let connection = serve_connection(socket, peer, router.clone(), stop.clone(), PATIENCE);
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

async fn serve_connection(socket: TcpStream, peer: Peer, router: Router, stop: CancellationToken, patience: Patience) {
    // Answers are written whole; waiting to fill a packet would only delay their last one.
    let _ = socket.set_nodelay(true);
    // The HTTP server would wait for ever, and with it the place of the connection.
    let mut socket = TimeoutWriter::new(socket);
    socket.set_timeout(Some(patience.stall));
    let heads = Heads::first();
    let socket = Heard {
        socket: Box::pin(socket),
        heads: Arc::clone(&heads),
    };
    let router = TowerToHyperService::new(router);
    let service = service_fn(|mut request: Request<Incoming>| {
        let answering = heads.answering();
        request.extensions_mut().insert(peer);
        let answered = router.call(request);
        async move {
            answered.await.map(|answer| {
                answer.map(|body| Answer {
                    body,
                    _answering: answering,
                })
            })
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.idle)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), service);
    let mut serving = std::pin::pin!(serving);
    let mut looks = tokio::time::interval(patience.head / HEAD_LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended early");
                }
                return;
            }
            _ = looks.tick() => {
                if heads.overdue(patience.head) {
                    return;
                }
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

    /// Serves one connection, and gives both its ends.
    async fn connected(patience: Patience) -> (TcpStream, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let router = Router::new().route("/", get(|| async { vec![b'a'; BODY_BYTES] }));
        let (peer, stop) = (Peer(Ipv4Addr::LOCALHOST.into()), CancellationToken::new());
        let serving = tokio::spawn(serve_connection(socket, peer, router, stop, patience));
        (client, serving)
    }

    /// The same, with a client that asks for more than sockets hold.
    async fn asked(patience: Patience) -> (TcpStream, tokio::task::JoinHandle<()>) {
        let (mut client, serving) = connected(patience).await;
        client.write_all(ASK).await.unwrap();
        (client, serving)
    }

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    async fn read_answer(client: &mut TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 200 "));
        let mut body = vec![0; BODY_BYTES];
        client.read_exact(&mut body).await.unwrap();
    }

    async fn ends(serving: tokio::task::JoinHandle<()>) {
        let ended = tokio::time::timeout(Duration::from_secs(20), serving).await;
        assert!(ended.is_ok(), "its place would be gone for ever");
    }

    #[tokio::test]
    async fn a_head_is_waited_for_and_then_has_to_come() {
        let patience = Patience {
            head: Duration::from_millis(200),
            ..PATIENCE
        };
        let (mut client, serving) = asked(patience).await;
        read_answer(&mut client).await;
        // A connection may be quiet for longer than a head may take, and then be of use again.
        tokio::time::sleep(4 * patience.head).await;
        client.write_all(ASK).await.unwrap();
        // An answer may take longer, too.
        tokio::time::sleep(4 * patience.head).await;
        read_answer(&mut client).await;
        assert!(!serving.is_finished());
        client.write_all(&ASK[..5]).await.unwrap();
        ends(serving).await;
    }

    #[tokio::test]
    async fn whoever_says_nothing_or_half_of_it_loses_the_connection() {
        for said in [&b""[..], b"GET / HT"] {
            let patience = Patience {
                head: Duration::from_millis(100),
                ..PATIENCE
            };
            let (mut client, serving) = connected(patience).await;
            client.write_all(said).await.unwrap();
            ends(serving).await;
        }
    }

    #[tokio::test]
    async fn a_connection_that_is_quiet_for_too_long_ends() {
        let patience = Patience {
            idle: Duration::from_millis(200),
            ..PATIENCE
        };
        let (mut client, serving) = asked(patience).await;
        read_answer(&mut client).await;
        ends(serving).await;
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_loses_its_connection() {
        let patience = Patience {
            stall: Duration::from_millis(100),
            ..PATIENCE
        };
        let (client, serving) = asked(patience).await;
        ends(serving).await;
        drop(client);
    }

    #[tokio::test]
    async fn a_client_that_reads_slowly_has_all_of_its_answer() {
        let patience = Patience {
            stall: Duration::from_secs(2),
            ..PATIENCE
        };
        let (mut client, serving) = asked(patience).await;
        let (began, mut read) = (std::time::Instant::now(), 0);
        let mut piece = vec![0; BODY_BYTES / 128];
        while read < BODY_BYTES {
            read += client.read(&mut piece).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(began.elapsed() > patience.stall && !serving.is_finished());
    }
}
