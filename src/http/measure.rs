//! Figures of every request: how many, with which status, how long. By path pattern, so that ids do not become labels.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;

/// A client may invent methods; a label may not.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN
        .into_iter()
        .find(|known| *known == method.as_str())
        .unwrap_or("other")
}

/// Counts and times a request. A client that hangs up is counted with the status `499`.
pub async fn measure(request: Request, next: Next) -> Response {
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let mut counted = Counted {
        method: method_label(request.method()),
        path,
        status: 499,
        began: Instant::now(),
    };
    let response = next.run(request).await;
    counted.status = response.status().as_u16();
    response
}

/// Counts when it is dropped, and so also when the handler is.
struct Counted {
    method: &'static str,
    path: String,
    status: u16,
    began: Instant,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        let status = self.status.to_string();
        tracing::debug!(method = self.method, path, status, "http.request");
        metrics::counter!(
            "keyledger_http_requests_total", "method" => self.method, "path" => path.clone(), "status" => status
        )
        .increment(1);
        metrics::histogram!("keyledger_http_request_seconds", "method" => self.method, "path" => path)
            .record(self.began.elapsed());
    }
}
