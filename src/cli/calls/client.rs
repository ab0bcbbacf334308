//! One request to the API, over HTTP/1.1, with TLS or without.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use bytes::Bytes;
use clap::ArgMatches;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::uri::{Authority, Scheme};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use keyledger::config::client_tls;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// Handshakes included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longer than any call of ours takes to begin its answer, the statement of a long history too; and longer than it is silent
/// within one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// A body that is shown is in memory.
const SHOWN_BYTES_MAX: usize = 1 << 30;

/// Of an answer that is not good.
const PROBLEM_BYTES_MAX: usize = 1 << 20;

/// Where the API is, and who asks.
pub(super) struct Client {
    scheme: Scheme,
    authority: Authority,
    /// Before every path: an API may live below one.
    prefix: String,
    authorization: Option<HeaderValue>,
    tls: Option<TlsConnector>,
}

/// A request that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outgoing {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    idempotency_key: Option<String>,
    body: Option<(String, Vec<u8>)>,
    /// What to add to the command for the same to be asked again.
    repeated_by: Option<String>,
}

/// Nothing was answered, or not all of it was understood and passed on.
#[derive(Debug)]
pub(super) enum Away {
    /// Nothing was sent.
    Before(anyhow::Error),
    /// It may have been carried out.
    Afterwards(anyhow::Error),
}

impl std::fmt::Display for Away {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Away::Before(error) | Away::Afterwards(error)) = self;
        write!(f, "{error:#}")
    }
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    content_type: String,
    /// Of an answer that is not good.
    pub(super) problem: Option<Value>,
    pub(super) body: Body,
}

/// The body of a good answer.
pub(super) struct Body(Incoming);

impl Outgoing {
    pub(super) fn new(
        method: &str,
        path: String,
        query: Vec<(String, String)>,
        idempotency_key: Option<String>,
        body: Option<(String, Vec<u8>)>,
    ) -> Outgoing {
        Outgoing {
            method: method.to_owned(),
            path,
            query,
            idempotency_key,
            body,
            repeated_by: None,
        }
    }

    pub(super) fn repeated_by(self, repeated_by: Option<String>) -> Outgoing {
        Outgoing { repeated_by, ..self }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn how_to_repeat(&self) -> Option<&str> {
        self.repeated_by.as_deref()
    }

    pub(super) fn set_query(&mut self, name: &str, value: &str) {
        self.query.retain(|(other, _)| other != name);
        self.query.push((name.to_owned(), value.to_owned()));
    }

    fn target(&self, prefix: &str) -> String {
        let pairs: Vec<String> = self
            .query
            .iter()
            .map(|(name, value)| format!("{name}={}", escaped(value)))
            .collect();
        let mark = if pairs.is_empty() { "" } else { "?" };
        format!("{prefix}{}{mark}{}", self.path, pairs.join("&"))
    }
}

/// A text as it stands in an address (RFC 3986): what is not unreserved is written out.
pub(super) fn escaped(text: &str) -> String {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes()
        .map(|byte| {
            if unreserved(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

fn token(given: &ArgMatches) -> anyhow::Result<Option<HeaderValue>> {
    let text = match given.get_one::<String>("@token") {
        Some(file) => Some(std::fs::read_to_string(file).with_context(|| format!("{file} cannot be read"))?),
        None => std::env::var("KEYLEDGER_TOKEN").ok(),
    };
    let Some(text) = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    // The text is never repeated, not even in the complaint.
    let mut value =
        HeaderValue::try_from(format!("Bearer {text}")).map_err(|_| anyhow!("the access token is no token"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

impl Client {
    pub(super) fn from_environment(given: &ArgMatches) -> anyhow::Result<Client> {
        let url = given.get_one::<String>("@url").map(String::as_str).unwrap_or_default();
        let uri: Uri = url.parse().with_context(|| format!("{url} is no address"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme().cloned(), uri.authority().cloned()) else {
            bail!("{url} is no address: it begins with http:// or https://");
        };
        ensure!(
            [Scheme::HTTP, Scheme::HTTPS].contains(&scheme)
                && uri.query().is_none()
                && !authority.as_str().contains('@'),
            "{url} is no address of an API"
        );
        let tls = if scheme == Scheme::HTTPS {
            let file = given.get_one::<String>("@ca").map(String::as_str);
            Some(TlsConnector::from(client_tls(file).map_err(|what| anyhow!(what))?))
        } else {
            None
        };
        Ok(Client {
            prefix: uri.path().trim_end_matches('/').trim_end_matches("/v1").to_owned(),
            scheme,
            authority,
            authorization: token(given)?,
            tls,
        })
    }

    fn request(&self, outgoing: &Outgoing) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(outgoing.method.as_str())
            .uri(outgoing.target(&self.prefix))
            .header(HOST, self.authority.as_str())
            .header(USER_AGENT, concat!("keyledger/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json, */*;q=0.5");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(key) = &outgoing.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let mut bytes = Bytes::new();
        if let Some((content_type, body)) = &outgoing.body {
            request = request.header(CONTENT_TYPE, content_type);
            bytes = body.clone().into();
        }
        request.body(Full::new(bytes)).context("this cannot be asked for")
    }

    /// Sends a request on a connection of its own.
    pub(super) async fn send(&self, outgoing: &Outgoing) -> Result<Answer, Away> {
        let request = self.request(outgoing).map_err(Away::Before)?;
        let connecting = async {
            let tcp = self.connected().await?;
            anyhow::Ok(match &self.tls {
                None => Sender::over(tcp).await?,
                Some(tls) => {
                    let host = self.authority.host().trim_matches(['[', ']']).to_owned();
                    Sender::over(tls.connect(ServerName::try_from(host)?, tcp).await?).await?
                }
            })
        };
        let at = || format!("{}://{} cannot be reached", self.scheme, self.authority);
        let mut sender = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected.with_context(at).map_err(Away::Before)?,
            Err(_) => {
                return Err(Away::Before(anyhow!(
                    "{}: no connection within {CONNECT_TIMEOUT:?}",
                    at()
                )));
            }
        };
        let answered = match tokio::time::timeout(ANSWER_TIMEOUT, sender.0.send_request(request)).await {
            Ok(answered) => answered.context("the answer did not come").map_err(Away::Afterwards)?,
            Err(_) => return Err(Away::Afterwards(anyhow!("no answer came within {ANSWER_TIMEOUT:?}"))),
        };
        Answer::new(answered).await.map_err(Away::Afterwards)
    }

    async fn connected(&self) -> anyhow::Result<TcpStream> {
        let port = self.authority.port_u16();
        let port = port.unwrap_or(if self.scheme == Scheme::HTTPS { 443 } else { 80 });
        let host = self.authority.host().trim_matches(['[', ']']);
        let tcp = TcpStream::connect((host, port)).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }
}

/// Sends on one connection.
struct Sender(hyper::client::conn::http1::SendRequest<Full<Bytes>>);

impl Sender {
    async fn over<S>(socket: S) -> anyhow::Result<Sender>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
        // Ends with the answer; what breaks on it, the answer tells.
        tokio::spawn(connection);
        Ok(Sender(sender))
    }
}

impl Answer {
    async fn new(answered: http::Response<Incoming>) -> anyhow::Result<Answer> {
        let (parts, body) = answered.into_parts();
        let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let mut answer = Answer {
            status: parts.status,
            content_type: content_type.unwrap_or_default().to_owned(),
            problem: None,
            body: Body(body),
        };
        if !answer.status.is_success() {
            let bytes = answer.body.collected(PROBLEM_BYTES_MAX).await?;
            answer.problem = serde_json::from_slice(&bytes).ok().filter(Value::is_object);
        }
        Ok(answer)
    }

    pub(super) fn is_json(&self) -> bool {
        let (kind, _) = self.content_type.split_once(';').unwrap_or((&self.content_type, ""));
        kind.trim().eq_ignore_ascii_case("application/json")
    }

    /// The whole body.
    pub(super) async fn collected(mut self) -> anyhow::Result<Vec<u8>> {
        self.body.collected(SHOWN_BYTES_MAX).await
    }
}

impl Body {
    /// The next bytes.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        loop {
            let frame = match tokio::time::timeout(ANSWER_TIMEOUT, self.0.frame()).await {
                Ok(frame) => frame.transpose().context("the answer broke off")?,
                Err(_) => bail!("the answer broke off: nothing more came within {ANSWER_TIMEOUT:?}"),
            };
            match frame.map(Frame::into_data) {
                Some(Ok(bytes)) => return Ok(Some(bytes)),
                // Trailers.
                Some(Err(_)) => {}
                None => return Ok(None),
            }
        }
    }

    async fn collected(&mut self, bytes_max: usize) -> anyhow::Result<Vec<u8>> {
        let mut whole = Vec::new();
        while let Some(bytes) = self.next().await? {
            ensure!(
                whole.len().saturating_add(bytes.len()) <= bytes_max,
                "the answer has more than {bytes_max} bytes"
            );
            whole.extend_from_slice(&bytes);
        }
        Ok(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_stands_in_the_address_as_it_was_said() {
        let mut outgoing = Outgoing::new("GET", "/v1/accounts".to_owned(), Vec::new(), None, None);
        assert_eq!(outgoing.target(""), "/v1/accounts");
        outgoing.set_query("search", "Ä & b");
        outgoing.set_query("limit", "1");
        outgoing.set_query("limit", "2");
        assert_eq!(
            outgoing.target("/ledger"),
            "/ledger/v1/accounts?search=%C3%84%20%26%20b&limit=2"
        );
    }
}
