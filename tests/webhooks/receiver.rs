//! A platform's own receiver: takes what it is told, or not, and checks each signature with an implementation of Standard
//! Webhooks that is not ours.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use keyledger::config::WebhookConfig;
use keyledger::webhooks::{Kind, Secrets};
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::harness::until;

/// Where it listens, and what it took.
#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    go_on: Arc<Notify>,
}

#[derive(Default)]
struct Heard {
    /// In the order in which they were taken.
    taken: Vec<Message>,
    asked: usize,
    /// What is answered: to messages of some account, or to all.
    answers: BTreeMap<String, StatusCode>,
    answer: StatusCode,
    hangs: bool,
}

/// A message that was taken: its signature was right.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub id: String,
    pub body: Value,
}

impl Message {
    pub fn account(&self) -> &str {
        self.body["data"]["account"].as_str().unwrap()
    }

    pub fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap()
    }
}

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

impl Receiver {
    pub async fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Receiver {
            address: listener.local_addr().unwrap(),
            heard: Arc::default(),
            go_on: Arc::default(),
        };
        let router = Router::new().route("/hooks", post(hear)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    pub fn config(&self, name: &str, kinds: &[Kind]) -> WebhookConfig {
        WebhookConfig {
            name: name.to_owned(),
            url: format!("http://{}/hooks", self.address).parse().unwrap(),
            tls: None,
            secrets: Secrets::parse(SECRET).unwrap(),
            kinds: kinds.to_vec(),
        }
    }

    /// Answers so from now on.
    pub fn answer(&self, status: StatusCode) {
        self.heard.lock().unwrap().answer = status;
    }

    /// Answers so to messages of one account.
    pub fn answer_to(&self, account: &str, status: StatusCode) {
        self.heard.lock().unwrap().answers.insert(account.to_owned(), status);
    }

    /// Takes requests and says nothing.
    pub fn hang(&self, hangs: bool) {
        self.heard.lock().unwrap().hangs = hangs;
    }

    /// Hangs no more, and answers those who wait.
    pub fn let_go(&self) {
        self.hang(false);
        self.go_on.notify_waiters();
    }

    pub fn taken(&self) -> Vec<Message> {
        self.heard.lock().unwrap().taken.clone()
    }

    /// Requests so far, those that were not taken among them.
    pub fn asked(&self) -> usize {
        self.heard.lock().unwrap().asked
    }

    pub async fn has_taken(&self, count: usize) -> Vec<Message> {
        until("the receiver has taken enough", async || self.taken().len() >= count).await;
        self.taken()
    }

    pub async fn was_asked(&self, times: usize) {
        until("the receiver was asked", async || self.asked() >= times).await;
    }
}

async fn hear(State(receiver): State<Receiver>, headers: HeaderMap, body: String) -> StatusCode {
    let right = Webhook::new(SECRET).unwrap().verify(body.as_bytes(), &headers).is_ok();
    let hangs = {
        let mut heard = receiver.heard.lock().unwrap();
        heard.asked += 1;
        heard.hangs
    };
    if hangs {
        receiver.go_on.notified().await;
    }
    let mut heard = receiver.heard.lock().unwrap();
    if !right {
        return StatusCode::UNAUTHORIZED;
    }
    let body: Value = serde_json::from_str(&body).unwrap();
    let account = body["data"]["account"].as_str().unwrap().to_owned();
    let answer = heard.answers.get(&account).copied().unwrap_or(heard.answer);
    if answer.is_success() {
        let id = headers["webhook-id"].to_str().unwrap().to_owned();
        heard.taken.push(Message { id, body });
    }
    answer
}
