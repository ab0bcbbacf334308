//! The API over HTTP, and beside it what axum does for anybody: read JSON, answer JSON.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Full;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::bank::{Customer, roomy};
use super::figure::Figure;
use super::measure::{Seen, run};
use super::wire::Wire;
use crate::config::Config;
use crate::http::serve;
use crate::service::{Roles, Service, ServiceOptions};
use crate::tokens::{Keeper, Role};

/// What an API needs for `POST /v1/reservations`.
pub(super) const CONFIG: &str = "[[prices]]\nendpoint = \"serp\"\nmatch = \"GET /serp\"\nprice = \"0.5\"\n";

/// Makes a token for whoever asks: the header that shows it.
pub(super) async fn let_in(database_url: &str) -> anyhow::Result<HeaderValue> {
    let (_, token) = Keeper::open(database_url)?.create(Role::Metering, "bench").await?;
    Ok(HeaderValue::from_str(&format!(
        "Bearer {}",
        token.expose_text_to_its_maker()
    ))?)
}

/// The body that verifies a key and holds.
pub(super) fn asking(key: &str) -> String {
    json!({"secret": key, "endpoint": "serp"}).to_string()
}

pub(super) fn asked(token: &HeaderValue, body: String) -> anyhow::Result<Request<Full<Bytes>>> {
    Ok(Request::post("/v1/reservations")
        .header(AUTHORIZATION, token)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::from(body))?)
}

/// `POST /v1/reservations` by the text of a key: verify and hold, two events. `callers` are connections.
pub async fn http(
    database_url: &str,
    nats_url: &str,
    metrics: PrometheusHandle,
    settings: &Settings,
) -> anyhow::Result<Figure> {
    let options = ServiceOptions {
        database_url: database_url.to_owned(),
        nats_url: nats_url.to_owned(),
        stream_prefix: "BENCH".to_owned(),
        config: Config::parse(CONFIG).map_err(|complaints| anyhow::anyhow!("{complaints:?}"))?,
        api: ([127, 0, 0, 1], 0).into(),
        health: None,
        gateway: ([127, 0, 0, 1], 0).into(),
        roles: Roles::parse("api").context("no such role")?,
        ledger: roomy(),
    };
    let service = Service::start(options, metrics).await?;
    let address = service.api.context("an API without an address")?;
    let token = let_in(database_url).await?;
    let mut bodies = Vec::new();
    for _ in 0..settings.accounts {
        let customer = Customer::open(&service.ledger).await?;
        bodies.push(asking(&customer.key));
    }
    let bodies: Arc<[String]> = bodies.into();
    let figure = run("http", settings.callers, settings.each, |worker, end| {
        let (bodies, token) = (Arc::clone(&bodies), token.clone());
        async move {
            let mut wire = Wire::open(address).await?;
            let mut seen = Seen::default();
            let mut turn = worker.wrapping_mul(7_919);
            while Instant::now() < end {
                turn = turn.wrapping_add(1);
                let body = bodies.get(turn % bodies.len()).cloned().unwrap_or_default();
                seen.note(&mut wire, asked(&token, body)?, StatusCode::CREATED).await?;
            }
            Ok(seen)
        }
    })
    .await?;
    service.stop().await;
    Ok(figure.with("accounts", settings.accounts).of_events(2))
}

/// The same number of connections to an axum handler that sends back the JSON that it was sent.
pub async fn echo(settings: &Settings) -> anyhow::Result<Figure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = Router::new().route("/echo", post(|Json(said): Json<Value>| async { Json(said) }));
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, router, stop.clone()));
    let body = asking(&"k".repeat(60));
    let figure = run("echo", settings.callers, settings.each, |_, end| {
        let body = Bytes::from(body.clone());
        async move {
            let mut wire = Wire::open(address).await?;
            let mut seen = Seen::default();
            while Instant::now() < end {
                let request = Request::post("/echo")
                    .header(CONTENT_TYPE, "application/json")
                    .body(Full::new(body.clone()))?;
                seen.note(&mut wire, request, StatusCode::OK).await?;
            }
            Ok(seen)
        }
    })
    .await?;
    stop.cancel();
    serving.await?;
    Ok(figure)
}
