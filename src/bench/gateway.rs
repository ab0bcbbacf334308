//! What the gateway adds: the same small answer fetched straight, through a bare proxy of the same make, through nginx
//! where it is installed, and through the gateway with a ledger that writes to disk, without a journal and with one.
//!
//! Everything runs on one machine and takes from the same cores, the load and the upstream included, so only the
//! ratios mean something.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use keyledger_events::Shard;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::bank::{Customer, roomy};
use super::figure::Figure;
use super::measure::{Seen, run};
use super::nginx::Nginx;
use super::wire::Wire;
use crate::config::Config;
use crate::gateway::{Gateway, GatewayOptions};
use crate::ledger::Ledger;
use crate::log::{Log, open_pool, service_options};
use crate::shelf::Shelf;

/// What to measure.
#[derive(Debug, Clone)]
pub struct GatewayBench {
    /// A database that this version has migrated, as its owner. It will be filled.
    pub database_url: String,
    /// Connections at once, one measurement each.
    pub connections: Vec<usize>,
    pub each: Duration,
    /// Where nginx may keep its files while it runs.
    pub directory: PathBuf,
}

/// A small answer, as a data API gives it.
const BODY_BYTES: usize = 1_024;
const WARM_UP: Duration = Duration::from_millis(300);
/// As many customers as connections at most.
const KEYS: usize = 64;

/// Measures, telling `tell` each line as it is known. For each number of connections the straight way comes first.
pub async fn gateway(options: GatewayBench, mut tell: impl FnMut(&Figure)) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let upstream = serve(stop.clone(), |_| async { Ok::<_, Infallible>(fixed()) }).await?;
    let bare = bare_proxy(upstream, stop.clone()).await?;
    let nginx = Nginx::start(&options.directory, upstream).await?;
    let pool = open_pool(service_options(&options.database_url)?, 8);
    // Settlements follow their answers, so a moment's load leaves more holds open than it has connections.
    let writer_stop = CancellationToken::new();
    let (ledger, writer) = Ledger::start(Log::new(pool, Shard(0)), roomy(), writer_stop.clone());
    let keys: Arc<[String]> = make_keys(&ledger).await?.into();
    let (metered, serving) = metering(ledger.clone(), upstream, None, stop.clone()).await?;
    let journal = options.directory.with_extension("journal");
    let (journaled, serving_too) = metering(ledger, upstream, Some(&journal), stop.clone()).await?;
    let mut ways = vec![("straight", upstream), ("bare proxy", bare)];
    ways.extend(nginx.as_ref().map(|nginx| ("nginx", nginx.address)));
    ways.push(("gateway", metered));
    ways.push(("gateway with a journal", journaled));
    for connections in &options.connections {
        for (what, address) in &ways {
            fetch(what, *address, &keys, *connections, WARM_UP).await?;
            tell(&fetch(what, *address, &keys, *connections, options.each).await?);
        }
    }
    stop.cancel();
    serving.await?;
    serving_too.await?;
    writer_stop.cancel();
    writer.await?;
    if let Some(nginx) = nginx {
        nginx.stop().await?;
    }
    std::fs::remove_dir_all(&journal)?;
    Ok(())
}

async fn fetch(
    what: &str,
    address: SocketAddr,
    keys: &Arc<[String]>,
    connections: usize,
    during: Duration,
) -> anyhow::Result<Figure> {
    run(what, connections, during, |worker, end| {
        let key = keys.get(worker % KEYS).cloned().unwrap_or_default();
        async move { one_connection(address, key, end).await }
    })
    .await
}

/// One request after the other on one connection, until the time is over.
async fn one_connection(address: SocketAddr, key: String, end: Instant) -> anyhow::Result<Seen> {
    let mut wire = Wire::open(address).await?;
    let mut seen = Seen::default();
    while Instant::now() < end {
        let request = Request::get("/serp").header("x-api-key", &key).body(Full::default())?;
        seen.note(&mut wire, request, StatusCode::OK).await?;
    }
    Ok(seen)
}

fn fixed() -> Response<Full<Bytes>> {
    static BODY: [u8; BODY_BYTES] = [b'7'; BODY_BYTES];
    Response::new(Full::new(Bytes::from_static(&BODY)))
}

/// A server as the gateway's: HTTP/1.1, kept alive, written at once.
async fn serve<S, F, B, E>(stop: CancellationToken, answer: S) -> anyhow::Result<SocketAddr>
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Some(Ok((socket, _))) = stop.run_until_cancelled(listener.accept()).await {
            let (answer, stop) = (answer.clone(), stop.clone());
            tokio::spawn(async move {
                let _ = socket.set_nodelay(true);
                let serving = server::Builder::new().serve_connection(TokioIo::new(socket), service_fn(answer));
                // How a connection of a benchmark ends is nobody's concern.
                let _ = stop.run_until_cancelled(serving).await;
            });
        }
    });
    Ok(address)
}

/// What the gateway would be without keys, holds and counting: the same server and the same client, back to back.
async fn bare_proxy(upstream: SocketAddr, stop: CancellationToken) -> anyhow::Result<SocketAddr> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<HttpConnector, Incoming> = Client::builder(TokioExecutor::new()).build(connector);
    let authority: Authority = upstream.to_string().parse()?;
    let host = HeaderValue::from_str(authority.as_str())?;
    serve(stop, move |mut request: Request<Incoming>| {
        let (client, authority, host) = (client.clone(), authority.clone(), host.clone());
        async move {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            let uri = Uri::builder().scheme("http").authority(authority).path_and_query(path);
            *request.uri_mut() = uri.build()?;
            request.headers_mut().insert("host", host);
            Ok::<_, anyhow::Error>(client.request(request).await?)
        }
    })
    .await
}

async fn metering(
    ledger: Ledger,
    upstream: SocketAddr,
    journal: Option<&Path>,
    stop: CancellationToken,
) -> anyhow::Result<(SocketAddr, tokio::task::JoinHandle<()>)> {
    let text = format!(
        "[gateway]\nupstream = \"http://{upstream}\"\n\
         [[prices]]\nendpoint = \"serp\"\nmatch = \"GET /serp\"\nprice = \"0.5\"\n"
    );
    let config = Config::parse(&text).map_err(|complaints| anyhow::anyhow!("{complaints:?}"))?;
    let gateway = Gateway::new(GatewayOptions {
        ledger,
        prices: Shelf::of_file(config.prices),
        config: config.gateway.context("the bench configures a gateway")?,
        key_prefix: config.key_prefix,
    });
    if let Some(directory) = journal {
        gateway.keep_settlements(directory)?;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    Ok((address, tokio::spawn(gateway.serve(listener, stop))))
}

/// Keys of as many customers, for as many connections.
async fn make_keys(ledger: &Ledger) -> anyhow::Result<Vec<String>> {
    let mut keys = Vec::with_capacity(KEYS);
    for _ in 0..KEYS {
        keys.push(Customer::open(ledger).await?.key);
    }
    Ok(keys)
}
