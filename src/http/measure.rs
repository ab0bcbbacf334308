//! Figures of every request: how many, with which status, how long. By path pattern, so that ids do not become labels.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use futures_util::future::BoxFuture;
use http::{Method, Response, StatusCode};
use metrics::{Counter, Histogram};
use rustc_hash::FxHashMap;
use tower::{Layer, Service};

/// A client may invent methods; a label may not.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", OTHER_METHOD];
const OTHER_METHOD: &str = "other";
const NO_ROUTE: &str = "unmatched";
/// Of a client that hung up.
const CLIENT_GONE: u16 = 499;

/// Counts and times requests. A client that hangs up is counted with the status `499`.
#[derive(Debug, Clone, Default)]
pub struct Measure {
    figures: Arc<Figures>,
}

/// The figures of all routes, each looked up by its labels once.
#[derive(Debug, Default)]
struct Figures {
    by_path: RwLock<FxHashMap<String, Arc<[OfMethod; METHODS.len()]>>>,
}

#[derive(Debug, Default)]
struct OfMethod {
    seconds: OnceLock<Histogram>,
    by_status: RwLock<Vec<(u16, Counter)>>,
}

impl<S> Layer<S> for Measure {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        let figures = Arc::clone(&self.figures);
        Measured { inner, figures }
    }
}

/// A route whose requests are counted and timed.
#[derive(Debug, Clone)]
pub struct Measured<S> {
    inner: S,
    figures: Arc<Figures>,
}

impl<S, B> Service<Request> for Measured<S>
where
    S: Service<Request, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<B>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let mut counted = Counted::begin(&self.figures, &request);
        let answering = self.inner.call(request);
        Box::pin(async move {
            let response = answering.await?;
            counted.answered(response.status());
            Ok(response)
        })
    }
}

impl Figures {
    fn of(&self, path: &str) -> Arc<[OfMethod; METHODS.len()]> {
        if let Some(known) = self.by_path.read().unwrap_or_else(PoisonError::into_inner).get(path) {
            return Arc::clone(known);
        }
        // As many as there are routes: what was asked for is no path of ours until a route has taken it.
        let mut by_path = self.by_path.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(by_path.entry(path.to_owned()).or_default())
    }
}

impl OfMethod {
    fn count(&self, labels: &Labels<'_>, status: u16) {
        let count_known = |known: &[(u16, Counter)]| {
            let found = known.iter().find(|(of, _)| *of == status);
            found.map(|(_, counter)| counter.increment(1)).is_some()
        };
        if count_known(&self.by_status.read().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let mut known = self.by_status.write().unwrap_or_else(PoisonError::into_inner);
        if !count_known(&known) {
            let counter = metrics::counter!(
                "keyledger_http_requests_total",
                "method" => labels.method, "path" => labels.path.to_owned(), "status" => status.to_string()
            );
            counter.increment(1);
            known.push((status, counter));
        }
    }

    fn seconds(&self, labels: &Labels<'_>) -> &Histogram {
        self.seconds.get_or_init(|| {
            metrics::histogram!(
                "keyledger_http_request_seconds", "method" => labels.method, "path" => labels.path.to_owned()
            )
        })
    }
}

struct Labels<'a> {
    method: &'static str,
    path: &'a str,
}

/// Counts when it is dropped, and so also when the handler is.
struct Counted {
    figures: Arc<[OfMethod; METHODS.len()]>,
    method: usize,
    path: Option<MatchedPath>,
    status: u16,
    began: Instant,
}

impl Counted {
    fn begin(figures: &Figures, request: &Request) -> Counted {
        let path = request.extensions().get::<MatchedPath>().cloned();
        Counted {
            figures: figures.of(path.as_ref().map_or(NO_ROUTE, MatchedPath::as_str)),
            method: place_of(request.method()),
            path,
            status: CLIENT_GONE,
            began: Instant::now(),
        }
    }

    fn answered(&mut self, status: StatusCode) {
        self.status = status.as_u16();
    }
}

fn place_of(method: &Method) -> usize {
    let known = METHODS.iter().position(|known| *known == method.as_str());
    known.unwrap_or(METHODS.len() - 1)
}

impl Drop for Counted {
    fn drop(&mut self) {
        let labels = Labels {
            method: METHODS.get(self.method).copied().unwrap_or(OTHER_METHOD),
            path: self.path.as_ref().map_or(NO_ROUTE, MatchedPath::as_str),
        };
        tracing::debug!(
            method = labels.method,
            path = labels.path,
            status = self.status,
            "http.request"
        );
        if let Some(figures) = self.figures.get(self.method) {
            figures.count(&labels, self.status);
            figures.seconds(&labels).record(self.began.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use futures_util::FutureExt as _;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tower::ServiceExt as _;

    use super::*;

    /// Asks, and waits for the answer or hangs up at once.
    fn ask(router: &Router, method: &str, path: &str, waits: bool) {
        let request = Request::builder().method(method).uri(path).body(Body::empty());
        let mut answering = router.clone().oneshot(request.unwrap()).boxed();
        let answered = answering.as_mut().now_or_never();
        assert_eq!(answered.is_some(), waits);
    }

    #[test]
    fn a_request_is_counted_once_by_what_became_of_it() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let shown = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let router = Router::new()
                .route("/keys/{key}", get(|| async { "one" }))
                .route("/wait", get(std::future::pending::<()>))
                .layer(Measure::default());
            for (method, path) in [
                ("GET", "/keys/1"),
                ("GET", "/keys/2"),
                ("HEAD", "/keys/1"),
                ("BREW", "/keys/1"),
                ("GET", "/a"),
                ("GET", "/b"),
            ] {
                ask(&router, method, path, true);
            }
            ask(&router, "GET", "/wait", false);
        });
        let text = shown.render();
        let mut lines: Vec<&str> = text.lines().filter(|line| line.contains("requests_total{")).collect();
        lines.sort_unstable();
        let counted = [
            r#"{method="GET",path="/keys/{key}",status="200"} 2"#,
            r#"{method="GET",path="/wait",status="499"} 1"#,
            r#"{method="GET",path="unmatched",status="404"} 2"#,
            r#"{method="HEAD",path="/keys/{key}",status="200"} 1"#,
            r#"{method="other",path="/keys/{key}",status="405"} 1"#,
        ];
        assert_eq!(
            lines,
            counted.map(|line| format!("keyledger_http_requests_total{line}"))
        );
        let timed = r#"keyledger_http_request_seconds_count{method="GET",path="/keys/{key}"} 2"#;
        assert!(text.contains(timed), "{text}");
    }
}
