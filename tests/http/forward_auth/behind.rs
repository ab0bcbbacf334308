//! A proxy with a token, and a customer whose requests it asks about.

use keyledger::tokens::Role;
use serde_json::Value;

use crate::http::client::{Answer, Client};
use crate::http::stage::{Stage, id_of, secret_of};

/// A customer behind a proxy that has a token.
pub struct Behind {
    pub stage: Stage,
    pub proxy: Client,
    pub token: String,
    pub account: String,
    pub key: String,
    pub secret: String,
}

pub const ASK: &str = "/v1/forward-auth";

impl Behind {
    pub async fn proxy(credits: &str) -> Behind {
        Behind::on(Stage::open().await, credits).await
    }

    pub async fn on(stage: Stage, credits: &str) -> Behind {
        let (_, token) = stage.tokens.create(Role::Metering, "proxy").await.unwrap();
        let (account, made) = stage.customer(credits).await;
        Behind {
            proxy: stage.stranger(),
            token: token.expose_text_to_its_maker().to_owned(),
            account,
            key: id_of(&made["key"]).to_owned(),
            secret: secret_of(&made).to_owned(),
            stage,
        }
    }

    pub async fn send(&self, method: &str, path: &str, more: &[(&str, &str)]) -> Answer {
        let bearer = format!("Bearer {}", self.secret);
        let mut headers = more.to_vec();
        if !more.iter().any(|(name, _)| *name == "authorization") {
            headers.push(("authorization", &bearer));
        }
        if !more.iter().any(|(name, _)| *name == "x-keyledger-forward-auth") {
            headers.push(("x-keyledger-forward-auth", &self.token));
        }
        self.proxy.send(method.parse().unwrap(), path, &headers, "").await
    }

    /// As nginx asks.
    pub async fn ask(&self, method: &str, target: &str) -> Answer {
        self.send("GET", ASK, &[("x-original-method", method), ("x-original-uri", target)])
            .await
    }

    pub async fn settle(&self, asked: &Answer, more: &[(&str, &str)]) -> Answer {
        let mut headers = more.to_vec();
        for name in ["x-keyledger-account", "x-keyledger-reservation"] {
            headers.push((name, asked.header(name)));
        }
        self.send("POST", "/v1/forward-auth-settle", &headers).await
    }

    pub async fn balance(&self) -> Value {
        let head = self.stage.harness.log().head().await.unwrap().position;
        let path = format!("{}/balance?after=0:{head}", self.account);
        self.stage.operator.get(&path).await.json(200)
    }

    pub async fn nothing_moved(&self) {
        let balance = self.balance().await;
        assert_eq!((&balance["reserved"], &balance["charged"]), (&"0".into(), &"0".into()));
    }
}
