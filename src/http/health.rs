//! Whether this process lives, whether it can do its work, and its figures.

use std::collections::BTreeMap;
use std::pin::Pin;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;

/// Finds out whether the process can do its work. Implemented where the rooms are put together.
pub trait Health: Send + Sync {
    /// Asks everything that the process needs. Bounded in time by the implementor: whoever asks has little patience.
    fn check(&self) -> Pin<Box<dyn Future<Output = Readiness> + Send + '_>>;
}

/// Whether all that is needed is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Readiness {
    /// Whether requests can be served.
    pub ready: bool,
    /// Each thing that was looked at. Some may be wrong while the process is ready: it works without the bus.
    pub checks: BTreeMap<String, Check>,
}

/// How one thing stands. `detail` is for operators: no secrets, no addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Check {
    pub ok: bool,
    pub detail: String,
}

/// Says that the process runs, and nothing else.
///
/// 200 always.
#[utoipa::path(get, path = "/healthz", tag = "service", security(()), responses(
    (status = 200, description = "The process runs.", body = String, content_type = "text/plain", example = "ok"),
))]
pub(super) async fn healthz() -> &'static str {
    "ok"
}

/// Says whether the process can serve requests.
///
/// 200 ready. 503 not ready: send requests elsewhere.
#[utoipa::path(get, path = "/readyz", tag = "service", security(()), responses(
    (status = 200, description = "Ready.", body = Readiness),
    (status = 503, description = "Not ready: send requests elsewhere.", body = Readiness),
))]
pub(super) async fn readyz(State(app): State<App>) -> (StatusCode, Json<Readiness>) {
    readiness(app.health.as_ref()).await
}

pub(super) async fn readiness(health: &dyn Health) -> (StatusCode, Json<Readiness>) {
    let readiness = health.check().await;
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness))
}

/// Gives the process's figures as Prometheus reads them.
///
/// 200 always.
#[utoipa::path(get, path = "/metrics", tag = "service", security(()), responses(
    (status = 200, description = "Prometheus text format 0.0.4.", body = String, content_type = "text/plain"),
))]
pub(super) async fn metrics(State(app): State<App>) -> Figures {
    figures(&app.metrics)
}

type Figures = ([(http::HeaderName, &'static str); 1], String);

pub(super) fn figures(metrics: &PrometheusHandle) -> Figures {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render())
}
