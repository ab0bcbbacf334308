//! A caller over TCP: one request, one answer, JSON.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::HeaderMap;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::{Client as Pool, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Sends requests with one credential. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    base: String,
    credential: String,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub json: Value,
}

impl Client {
    pub fn new(base: &str, credential: &str) -> Client {
        Client {
            pool: Pool::builder(TokioExecutor::new()).build_http(),
            base: base.to_owned(),
            credential: credential.to_owned(),
        }
    }

    /// `None` when the connection broke or nobody listens.
    pub async fn try_call(&self, method: Method, path: &str, body: Option<Value>) -> Option<Reply> {
        let (status, headers, bytes) = self.send(method, path, &[], body).await?;
        Some(Reply {
            status,
            headers,
            json: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        })
    }

    /// The same without a body, with more headers.
    pub async fn try_tell(&self, method: Method, path: &str, more: &[(&str, &str)]) -> Option<Reply> {
        let (status, headers, bytes) = self.send(method, path, more, None).await?;
        Some(Reply {
            status,
            headers,
            json: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        })
    }

    /// With more headers and a body.
    pub async fn post_with(&self, path: &str, more: &[(&str, &str)], body: Value) -> Reply {
        let sent = self.send(Method::POST, path, more, Some(body)).await;
        let (status, headers, bytes) = sent.unwrap_or_else(|| panic!("POST {path} was not answered"));
        Reply {
            status,
            headers,
            json: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        }
    }

    /// The answer's body as it came.
    pub async fn get_text(&self, path: &str) -> String {
        let (status, _, bytes) = self.send(Method::GET, path, &[], None).await.expect("an answer");
        assert!(status.is_success(), "GET {path} answered {status}");
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        more: &[(&str, &str)],
        body: Option<Value>,
    ) -> Option<(StatusCode, HeaderMap, Bytes)> {
        let mut request = Request::builder().method(method);
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        let request = request
            .uri(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {}", self.credential))
            .header("content-type", "application/json")
            .body(Full::from(body.map(|body| body.to_string()).unwrap_or_default()))
            .unwrap();
        let response = self.pool.request(request).await.ok()?;
        let (status, headers) = (response.status(), response.headers().clone());
        Some((status, headers, response.into_body().collect().await.ok()?.to_bytes()))
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.try_call(Method::GET, path, None)
            .await
            .unwrap_or_else(|| panic!("GET {path} was not answered"))
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.try_call(Method::POST, path, Some(body))
            .await
            .unwrap_or_else(|| panic!("POST {path} was not answered"))
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.try_call(Method::DELETE, path, None)
            .await
            .unwrap_or_else(|| panic!("DELETE {path} was not answered"))
    }
}

impl Reply {
    /// A text in the answer.
    pub fn text(&self, pointer: &str) -> String {
        let text = self.json.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_else(|| panic!("no {pointer} in {} {}", self.status, self.json))
            .to_owned()
    }

    pub fn position(&self) -> String {
        self.headers
            .get("ledger-position")
            .expect("a Ledger-Position")
            .to_str()
            .unwrap()
            .to_owned()
    }
}
