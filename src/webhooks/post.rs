//! Sending one message.
//!
//! Promise: an attempt ends after 17 s whatever the receiver does; of its answer no more than the head is believed, and no
//! more than 64 KiB are read; a redirect is not followed.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::patience::Outcome;
use crate::config::ClientTls;
use crate::connector::Connector;

const ATTEMPT_MAX: Duration = Duration::from_secs(15);
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// For what comes after the head: it changes nothing.
const REST_MAX: Duration = Duration::from_secs(2);
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Sends to one receiver.
#[derive(Debug)]
pub(super) struct Post {
    url: Uri,
    client: Client<Connector, Full<Bytes>>,
}

/// What is sent.
pub(super) struct Letter<'a> {
    pub id: &'a str,
    pub at_seconds: i64,
    pub signature: &'a str,
    pub body: &'a str,
}

impl Post {
    pub(super) fn new(url: Uri, tls: Option<&ClientTls>) -> Post {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .build(Connector::new(tls, ATTEMPT_MAX));
        Post { url, client }
    }

    pub(super) async fn send(&self, letter: &Letter<'_>) -> Outcome {
        let Some(request) = self.request(letter) else {
            return Outcome::Silent { why: "cannot be sent" };
        };
        let response = match tokio::time::timeout(ATTEMPT_MAX, self.client.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_connect() => return Outcome::Unreachable,
            Ok(Err(_)) => {
                return Outcome::Silent {
                    why: "broke the connection",
                };
            }
            Err(_) => {
                return Outcome::Silent {
                    why: "did not answer within 15 s",
                };
            }
        };
        let outcome = answered(&response);
        // So that the connection can be used again. What it says is nothing to us.
        let rest = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
        let _ = tokio::time::timeout(REST_MAX, rest).await;
        outcome
    }

    fn request(&self, letter: &Letter<'_>) -> Option<Request<Full<Bytes>>> {
        let mut request = Request::new(Full::new(Bytes::copy_from_slice(letter.body.as_bytes())));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("keyledger/", env!("CARGO_PKG_VERSION"))),
        );
        for (name, value) in [
            ("webhook-id", letter.id),
            ("webhook-timestamp", &letter.at_seconds.to_string()),
            ("webhook-signature", letter.signature),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).ok()?);
        }
        Some(request)
    }
}

fn answered(response: &Response<Incoming>) -> Outcome {
    let retry_after = response.headers().get(RETRY_AFTER);
    Outcome::Answered {
        status: response.status().as_u16(),
        retry_after_seconds: retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok()),
    }
}
