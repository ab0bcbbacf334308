//! Shows a request as it arrived here, so that one can see what a gateway took out and put in.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Value, json};

use crate::Demo;

pub(crate) async fn count(State(demo): State<Demo>, request: Request, next: Next) -> Response {
    demo.requests.fetch_add(1, Ordering::Relaxed);
    next.run(request).await
}

/// Header names are in lower case, each with all its values. `requests` counts what reached the whole API, this one
/// included.
pub(crate) async fn echo(
    State(demo): State<Demo>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Json<Value> {
    let mut seen: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in &headers {
        seen.entry(name.as_str())
            .or_default()
            .push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    Json(json!({
        "method": method.as_str(),
        "path": uri.path(),
        "query": uri.query(),
        "headers": seen,
        "body_bytes": body.len(),
        "requests": demo.requests.load(Ordering::Relaxed),
    }))
}
