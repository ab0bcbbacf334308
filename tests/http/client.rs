//! A tiny HTTP client for tests.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as Legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Sends requests to one server under one token.
#[derive(Clone)]
pub struct Client {
    legacy: Legacy<HttpConnector, Full<Bytes>>,
    server: SocketAddr,
    token: Option<String>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Client {
    pub fn new(server: SocketAddr, token: Option<String>) -> Client {
        // A connection each, so that a server that closes one under a request disturbs no other test.
        let legacy = Legacy::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build_http();
        Client { legacy, server, token }
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.server));
        let own = |name: &str| headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        if let (Some(token), false) = (&self.token, own("authorization")) {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let (parts, body) = self.legacy.request(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    /// A file: the headers and bytes of an answer that had to be good.
    pub async fn download(&self, path: &str) -> (HeaderMap, Bytes) {
        self.download_with(path, &[]).await
    }

    pub async fn download_with(&self, path: &str, headers: &[(&str, &str)]) -> (HeaderMap, Bytes) {
        let mut request = Request::get(format!("http://{}{path}", self.server));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self
            .legacy
            .request(request.body(Full::default()).unwrap())
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let (parts, body) = answer.into_parts();
        (parts.headers, body.collect().await.unwrap().to_bytes())
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.post_with(path, &[], body).await
    }

    pub async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
        let headers: Vec<_> = headers
            .iter()
            .copied()
            .chain([("content-type", "application/json")])
            .collect();
        self.send(Method::POST, path, &headers, body.to_string()).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        let json = [("content-type", "application/json")];
        self.send(Method::PATCH, path, &json, body.to_string()).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        let json = [("content-type", "application/json")];
        self.send(Method::PUT, path, &json, body.to_string()).await
    }
}

impl Answer {
    /// The body of an answer that had to have this status.
    pub fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The code of a problem that had to have this status.
    pub fn problem(&self, status: u16) -> String {
        let document = self.json(status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(document["status"], status);
        document["code"].as_str().unwrap().to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn position(&self) -> &str {
        self.header("ledger-position")
    }
}
