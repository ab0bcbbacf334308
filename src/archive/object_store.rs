//! A bucket of an S3-compatible store.
//!
//! In: names and bytes. Out: bytes, or why not. What is signed, and how, is rusty-s3's; what is sent goes over hyper.
//!
//! Promise: a request ends after 60 s. What was not answered, and what the store could not do at the moment, is asked for
//! again, three times in all: everything here may be done twice. No credential is in any error.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, RANGE};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rusty_s3::actions::{GetObject, PutObject};
use rusty_s3::{Credentials, S3Action as _, UrlStyle};

use super::environment::Environment;
use super::place::Bucket;
use super::store::StoreError;
use crate::clock;
use crate::config::{ClientTls, client_tls};
use crate::connector::Connector;

const ATTEMPT_MAX: Duration = Duration::from_secs(60);
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);
/// A signature is good for that long.
const SIGNED_FOR: Duration = Duration::from_secs(300);
const IDLE_MAX: Duration = Duration::from_secs(30);
/// A segment of 65,536 events of the longest kind, packed, is less.
const FILE_BYTES_MAX: usize = 1 << 30;
const COMPLAINT_BYTES_MAX: usize = 4 << 10;

#[derive(Clone)]
pub(super) struct ObjectStore {
    bucket: rusty_s3::Bucket,
    prefix: String,
    credentials: Option<Credentials>,
    client: Client<Connector, Full<Bytes>>,
}

impl std::fmt::Debug for ObjectStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectStore")
            .field("bucket", &self.bucket.base_url().as_str())
            .finish_non_exhaustive()
    }
}

/// One thing to do.
#[derive(Debug, Clone)]
enum Asked {
    Put(Bytes),
    Get(Option<(u64, u64)>),
}

/// What one attempt came to.
enum Attempt {
    Done(Vec<u8>),
    Never(StoreError),
    PerhapsLater(String),
}

impl ObjectStore {
    pub(super) fn open(bucket: &Bucket, environment: &Environment) -> Result<ObjectStore, StoreError> {
        let refused = |why: String| StoreError::Refused { why };
        let style = if bucket.path_style {
            UrlStyle::Path
        } else {
            UrlStyle::VirtualHost
        };
        let tls = (bucket.endpoint.scheme() == "https")
            .then(|| client_tls(environment.ca_file.as_deref()).map(ClientTls))
            .transpose()
            .map_err(refused)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .build(Connector::new(tls.as_ref(), ATTEMPT_MAX));
        Ok(ObjectStore {
            bucket: rusty_s3::Bucket::new(
                bucket.endpoint.clone(),
                style,
                bucket.name.clone(),
                bucket.region.clone(),
            )
            .map_err(|error| refused(error.to_string()))?,
            prefix: bucket.prefix.clone(),
            credentials: environment.credentials.clone(),
            client,
        })
    }

    pub(super) async fn put(&self, name: &str, file: Vec<u8>) -> Result<(), StoreError> {
        self.ask(name, &Asked::Put(file.into())).await.map(drop)
    }

    pub(super) async fn read(&self, name: &str, part: Option<(u64, u64)>) -> Result<Vec<u8>, StoreError> {
        if part.is_some_and(|(_, bytes)| bytes == 0) {
            return Ok(Vec::new());
        }
        self.ask(name, &Asked::Get(part)).await
    }

    async fn ask(&self, name: &str, asked: &Asked) -> Result<Vec<u8>, StoreError> {
        let mut why = String::new();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(PAUSE * 2_u32.pow(attempt)).await;
            }
            let request = self.request(name, asked)?;
            let outcome = match tokio::time::timeout(ATTEMPT_MAX, self.attempt(request)).await {
                Ok(outcome) => outcome,
                Err(_) => Attempt::PerhapsLater("it did not answer within 60 s".to_owned()),
            };
            match outcome {
                Attempt::Done(bytes) => return Ok(bytes),
                Attempt::Never(error) => return Err(error),
                Attempt::PerhapsLater(said) => why = said,
            }
        }
        Err(StoreError::Unreachable { why })
    }

    fn request(&self, name: &str, asked: &Asked) -> Result<Request<Full<Bytes>>, StoreError> {
        let unfit = |_| StoreError::Refused {
            why: "the request cannot be written".to_owned(),
        };
        let name = format!("{}{name}", self.prefix);
        let now = jiff::Timestamp::from_microsecond(clock::now().micros()).unwrap_or_default();
        let credentials = self.credentials.as_ref();
        let (method, url, body) = match asked {
            Asked::Put(bytes) => {
                let put = PutObject::new(&self.bucket, credentials, &name);
                (Method::PUT, put.sign_with_time(SIGNED_FOR, &now), bytes.clone())
            }
            Asked::Get(_) => {
                let get = GetObject::new(&self.bucket, credentials, &name);
                (Method::GET, get.sign_with_time(SIGNED_FOR, &now), Bytes::new())
            }
        };
        let uri: Uri = url.as_str().parse().map_err(|_| StoreError::Refused {
            why: "its address cannot be written".to_owned(),
        })?;
        let mut request = Request::new(Full::new(body));
        if let Asked::Get(Some((at, bytes))) = asked {
            let range = format!("bytes={at}-{}", at.saturating_add(bytes - 1));
            request
                .headers_mut()
                .insert(RANGE, HeaderValue::from_str(&range).map_err(unfit)?);
        } else if let Asked::Put(bytes) = asked {
            request.headers_mut().insert(CONTENT_LENGTH, bytes.len().into());
        }
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        Ok(request)
    }

    async fn attempt(&self, request: Request<Full<Bytes>>) -> Attempt {
        let is_part = request.headers().contains_key(RANGE);
        let response = match self.client.request(request).await {
            Ok(response) => response,
            // The address is signed, so none of it is told: what broke is enough.
            Err(error) if error.is_connect() => {
                return Attempt::PerhapsLater("no connection came about".to_owned());
            }
            Err(_) => return Attempt::PerhapsLater("it broke the connection".to_owned()),
        };
        let status = response.status();
        let bytes_max = if status.is_success() {
            FILE_BYTES_MAX
        } else {
            COMPLAINT_BYTES_MAX
        };
        let body = match Limited::new(response.into_body(), bytes_max).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return Attempt::PerhapsLater("its answer broke off".to_owned()),
        };
        match status {
            // Whoever was asked for a part and gives all of it does not know ranges.
            StatusCode::OK if is_part => Attempt::Never(StoreError::Refused {
                why: "it does not give parts of files".to_owned(),
            }),
            StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::PARTIAL_CONTENT => {
                Attempt::Done(body.into())
            }
            StatusCode::NOT_FOUND => Attempt::Never(StoreError::Absent),
            // Nothing of the file is there: it is shorter than it was.
            StatusCode::RANGE_NOT_SATISFIABLE => Attempt::Done(Vec::new()),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                Attempt::PerhapsLater(format!("it answers {status}"))
            }
            status if status.is_server_error() => Attempt::PerhapsLater(format!("it answers {status}")),
            status => Attempt::Never(StoreError::Refused {
                why: format!("{status}{}", code(&body)),
            }),
        }
    }
}

/// `: AccessDenied`, where the store's complaint has a code.
fn code(complaint: &[u8]) -> String {
    let text = String::from_utf8_lossy(complaint);
    let code = text
        .split_once("<Code>")
        .and_then(|(_, rest)| Some(rest.split_once("</Code>")?.0));
    code.map_or_else(String::new, |code| format!(": {code}"))
}
