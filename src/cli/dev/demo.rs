//! The demo customer: one account, kept from start to start, and a fresh key each time.
//!
//! A key's text is stored nowhere, so a later start cannot show the first one's. It makes a new key, and the keys of the
//! last few starts go on working. Everything goes through the API, as any platform would do it.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use keyledger::service::Service;
use keyledger::tokens::{Role, TokenSecret};
use serde_json::{Value, json};

/// What a start shows of the demo.
pub struct Demo {
    pub account: String,
    pub key: String,
    /// The key's text, on its way from the creating response to the one who started this.
    pub secret: String,
    pub operator_token: TokenSecret,
    /// Opens the demo customer's pages, once.
    pub pages: String,
    /// Opens the operators' pages, once.
    pub operator_pages: String,
}

const CREDITS: &str = "100";
const KEY_NAME: &str = "Demo";
const KEYS_KEPT_MAX: usize = 5;

impl Demo {
    /// Finds the demo account or opens it with its credits, and makes a key.
    pub async fn open(service: &Service, data_dir: &Path) -> anyhow::Result<Demo> {
        let made = service
            .tokens
            .create_by_system(&service.ledger, Role::Operator, "keyledger dev");
        let (_, operator_token) = made.await?;
        let api = Api::new(service, &operator_token)?;
        let remembered = data_dir.join("demo-account");
        let account = match std::fs::read_to_string(&remembered) {
            Ok(account)
                if api
                    .call(Method::GET, &format!("/v1/accounts/{account}"), None)
                    .await
                    .is_ok() =>
            {
                account
            }
            Ok(_) | Err(_) => {
                let account = api.open_account().await?;
                std::fs::write(&remembered, &account)?;
                account
            }
        };
        let keys = format!("/v1/accounts/{account}/keys");
        let (created, position) = api.send(Method::POST, &keys, Some(json!({ "name": KEY_NAME }))).await?;
        let sessions = format!("/v1/accounts/{account}/portal-sessions");
        let invited = api
            .call(Method::POST, &sessions, Some(json!({ "name": "Demo" })))
            .await?;
        let operator = api
            .call(Method::POST, "/v1/operator-sessions", Some(json!({ "name": "Demo" })))
            .await?;
        let demo = Demo {
            operator_pages: text(&operator, "/url")?,
            pages: text(&invited, "/url")?,
            account,
            key: text(&created, "/key/id")?,
            secret: text(&created, "/secret")?,
            operator_token,
        };
        api.delete_old_keys(&keys, &position).await?;
        Ok(demo)
    }
}

/// A caller of our own API.
struct Api {
    client: Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    authorization: String,
}

impl Api {
    fn new(service: &Service, token: &TokenSecret) -> anyhow::Result<Api> {
        Ok(Api {
            client: Client::builder(TokioExecutor::new()).build_http(),
            address: service.api.context("the API does not run")?,
            authorization: format!("Bearer {}", token.expose_text_to_its_maker()),
        })
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        Ok(self.send(method, path, body).await?.0)
    }

    /// The answer, and the position at which it is true.
    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<(Value, String)> {
        let request = Request::builder()
            .method(&method)
            .uri(format!("http://{}{path}", self.address))
            .header("authorization", &self.authorization)
            .header("content-type", "application/json")
            .body(Full::from(body.map(|body| body.to_string()).unwrap_or_default()))?;
        let response = self.client.request(request).await?;
        let status = response.status();
        let position = response
            .headers()
            .get("ledger-position")
            .and_then(|position| position.to_str().ok());
        let position = position.unwrap_or_default().to_owned();
        let answer = response.into_body().collect().await?.to_bytes();
        anyhow::ensure!(status.is_success(), "{method} {path} answered {status}");
        Ok((serde_json::from_slice(&answer)?, position))
    }

    async fn open_account(&self) -> anyhow::Result<String> {
        let account = json!({ "name": "Demo customer", "external_ref": "demo" });
        let account = text(&self.call(Method::POST, "/v1/accounts", Some(account)).await?, "/id")?;
        let grant = json!({ "amount": CREDITS, "source": "promotion", "reference": "demo" });
        self.call(Method::POST, &format!("/v1/accounts/{account}/grants"), Some(grant))
            .await?;
        Ok(account)
    }

    /// Deletes the demo's keys of earlier starts, but for the last few. The list is newest first.
    async fn delete_old_keys(&self, keys: &str, after: &str) -> anyhow::Result<()> {
        let list = self
            .call(Method::GET, &format!("{keys}?limit=200&after={after}"), None)
            .await?;
        let items = list
            .pointer("/items")
            .and_then(Value::as_array)
            .context("a list without items")?;
        let demos = items
            .iter()
            .filter(|key| key.pointer("/name").and_then(Value::as_str) == Some(KEY_NAME));
        for old in demos.skip(KEYS_KEPT_MAX) {
            self.call(Method::DELETE, &format!("{keys}/{}", text(old, "/id")?), None)
                .await?;
        }
        Ok(())
    }
}

fn text(value: &Value, pointer: &str) -> anyhow::Result<String> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    Ok(text.with_context(|| format!("an answer without {pointer}"))?.to_owned())
}
