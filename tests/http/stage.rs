//! An API with all around it: ledger, projector, tokens, prices.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use keyledger::config::{ForwardAuthConfig, PagesConfig, RateLimits};
use keyledger::http::{Check, ForwardAuth, Health, Readiness, Served, Tail, router, serve};
use keyledger::ledger::{By, Ledger};
use keyledger::pages::{self, PagesOptions};
use keyledger::prices::{PriceBook, PriceEntry, QuantityEntry, SettleAt};
use keyledger::projector::{Projector, ProjectorOptions};
use keyledger::requests::Requests;
use keyledger::service::Watchtower;
use keyledger::sessions::{Lifetimes, Sessions};
use keyledger::shelf::Shelf;
use keyledger::tokens::{Role, Tokens};
use keyledger::webhooks::Deliveries;
use keyledger_events::{Actor, KeyPrefix, TokenId};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use crate::harness::{EarlierTokens, Harness, nobody};

pub struct Stage {
    pub harness: Harness,
    pub address: SocketAddr,
    pub tokens: EarlierTokens,
    pub ledger: Ledger,
    pub operator: Client,
    pub operator_token: (TokenId, String),
    /// Ends the server and nothing else.
    pub stop: CancellationToken,
    pub served: JoinHandle<()>,
    projecting: CancellationToken,
}

struct Ready(bool);

impl Health for Ready {
    fn check(&self) -> Pin<Box<dyn Future<Output = Readiness> + Send + '_>> {
        let check = Check {
            ok: self.0,
            detail: "as the test wants it".to_owned(),
        };
        let checks = BTreeMap::from([("postgres".to_owned(), check)]);
        Box::pin(std::future::ready(Readiness { ready: self.0, checks }))
    }
}

fn prices() -> PriceBook {
    let entry = |endpoint: &str, quantity: QuantityEntry, quantity_max| PriceEntry {
        endpoint: endpoint.to_owned(),
        pattern: format!("GET /{endpoint}"),
        price: "0.5".to_owned(),
        unit: "request".to_owned(),
        quantity,
        quantity_max,
        upstream: None,
        when_more: None,
        once_per: None,
        ..PriceEntry::default()
    };
    PriceBook::new(
        &[
            entry("serp", QuantityEntry::Fixed, None),
            entry("echo", QuantityEntry::Fixed, None),
            entry(
                "ai_visibility",
                QuantityEntry::Json("/conversations".to_owned()),
                Some(50),
            ),
            PriceEntry {
                rate_per_second: Some(1),
                rate_burst: Some(2),
                ..entry("limited", QuantityEntry::Fixed, None)
            },
            PriceEntry {
                once_per: Some("path".to_owned()),
                ..entry("result", QuantityEntry::Fixed, None)
            },
            PriceEntry {
                when_more: Some("top-up".to_owned()),
                ..entry("topped", QuantityEntry::Header("x-count".to_owned()), Some(2))
            },
            // The demo data API counts there as its caller asks it to.
            PriceEntry {
                when_more: Some("top-up".to_owned()),
                pattern: "GET /ai-visibility/{brand}".to_owned(),
                ..entry("topped", QuantityEntry::Header("x-result-count".to_owned()), Some(2))
            },
            PriceEntry {
                settle: SettleAt::AtOnce,
                ..entry("conversions", QuantityEntry::Fixed, None)
            },
        ],
        0,
    )
    .unwrap()
}

/// One recorder a process: whoever comes first installs it.
fn metrics() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap())
        .clone()
}

impl Stage {
    pub async fn open() -> Stage {
        Stage::with_health(true).await
    }

    pub async fn with_health(ready: bool) -> Stage {
        Stage::on(Harness::start().await, ready).await
    }

    /// On servers that were started elsewhere.
    pub async fn on(harness: Harness, ready: bool) -> Stage {
        Stage::asked_from(harness, ready, ForwardAuthConfig::default()).await
    }

    /// Where proxies may ask from these networks only.
    pub async fn asked_from(harness: Harness, ready: bool, config: ForwardAuthConfig) -> Stage {
        Stage::configured(harness, ready, config, PagesConfig::default()).await
    }

    /// With the customer's pages as a platform sets them up.
    pub async fn with_pages(config: PagesConfig) -> Stage {
        Stage::configured(Harness::start().await, true, ForwardAuthConfig::default(), config).await
    }

    async fn configured(harness: Harness, ready: bool, config: ForwardAuthConfig, pages: PagesConfig) -> Stage {
        let projecting = harness.stop.child_token();
        let options = ProjectorOptions {
            log: harness.log(),
            pool: harness.another_pool(),
            bus: None,
        };
        Projector::start(options, projecting.clone());
        let tokens = EarlierTokens::new(harness.service_pool());
        let sessions = Sessions::new(harness.service_pool(), Lifetimes::default());
        let ledger = harness.ledger();
        let committed = ledger.committed();
        let shelf = Shelf::of_file(prices());
        shelf.follow(harness.log(), ledger.key_signals().prices(), harness.stop.child_token());
        let app = Served {
            forward_auth: ForwardAuth::new(&ledger, RateLimits::default(), config),
            ledger,
            log: harness.log(),
            tree: harness.tree(),
            views: harness.views(),
            prices: shelf.clone(),
            upstreams: None,
            tokens: Tokens::clone(&tokens),
            sessions: sessions.clone(),
            deliveries: Deliveries::new(harness.service_pool()),
            tail: Tail::new(harness.log(), committed, harness.stop.child_token()),
            requests: Requests::new(harness.service_pool()),
            pages_url: None,
            key_prefix: KeyPrefix::default(),
            health: Arc::new(Ready(ready)),
            metrics: metrics(),
        };
        let listener = TcpListener::bind(nobody()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = harness.stop.child_token();
        let pages = PagesOptions {
            ledger: app.ledger.clone(),
            log: harness.log(),
            tree: harness.tree(),
            views: harness.views(),
            prices: shelf,
            sessions,
            deliveries: Deliveries::new(harness.service_pool()),
            key_prefix: KeyPrefix::default(),
            config: pages,
            lookout: Arc::new(Watchtower {
                log: harness.log(),
                views: harness.views(),
                bus: None,
                relay: None,
            }),
            stop: stop.clone(),
        };
        let ledger = app.ledger.clone();
        let router = router(app).nest("/portal", pages::router(pages));
        let served = tokio::spawn(serve(listener, router, stop.clone()));
        let (id, secret) = tokens.create(Role::Operator, "tests").await.unwrap();
        let operator_token = (id, secret.expose_text_to_its_maker().to_owned());
        Stage {
            operator: Client::new(address, Some(operator_token.1.clone())),
            harness,
            address,
            tokens,
            ledger,
            operator_token,
            stop,
            served,
            projecting,
        }
    }

    /// A client with a new token of a role.
    pub async fn client(&self, role: Role) -> Client {
        let (_, secret) = self.tokens.create(role, role.as_str()).await.unwrap();
        Client::new(self.address, Some(secret.expose_text_to_its_maker().to_owned()))
    }

    pub fn stranger(&self) -> Client {
        Client::new(self.address, None)
    }

    /// Revokes a token as the command line does. Whether it was one until now.
    pub async fn revoke(&self, token: TokenId) -> bool {
        let by = By {
            actor: Actor::System,
            command: keyledger::clock::fresh_command_id(),
        };
        !self.tokens.revoke(&self.ledger, token, by).await.unwrap().replayed
    }

    /// From now on the views stay where they are.
    pub fn stop_projector(&self) {
        self.projecting.cancel();
    }

    /// Opens an account; its address below `/v1`.
    pub async fn account(&self) -> String {
        let opened = self.operator.post("/v1/accounts", json!({"name": "Acme"})).await;
        format!("/v1/accounts/{}", id_of(&opened.json(201)))
    }

    /// Opens an account with credits and a key: its address and the key's answer.
    pub async fn customer(&self, amount: &str) -> (String, Value) {
        let account = self.account().await;
        let grant = json!({"amount": amount, "source": "purchase"});
        self.operator.post(&format!("{account}/grants"), grant).await.json(201);
        let key = self
            .operator
            .post(&format!("{account}/keys"), json!({"name": "Looker Studio"}))
            .await
            .json(201);
        (account, key)
    }
}

pub fn id_of(resource: &Value) -> &str {
    resource["id"].as_str().unwrap()
}

pub fn secret_of(new_key: &Value) -> &str {
    new_key["secret"].as_str().unwrap()
}
