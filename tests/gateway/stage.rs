//! A gateway with all around it: ledger, data API, and a customer with a key.

use std::net::SocketAddr;
use std::time::Duration;

use demo_data_api::DemoOptions;
use keyledger::clock;
use keyledger::config::Config;
use keyledger::gateway::{Gateway, GatewayOptions};
use keyledger::ledger::{CreateKey, DeleteKey, KeyLimits, Ledger};
use keyledger::log::Log;
use keyledger::shelf::Shelf;
use keyledger_events::{
    AccountId, CreditsCharged, CreditsReleased, DeleteReason, Environment, Event, KeyDigest, KeyId, KeyName, KeyUsed,
    base62_secret,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::raw::{self, Answer};
use crate::harness::{Harness, until};
use crate::ledger::customer::{Customer, by_system};
use crate::ledger::writers::whole_log;

pub struct Stage {
    log: Log,
    /// Whatever has to live as long as the stage.
    around: Option<Harness>,
    pub ledger: Ledger,
    pub customer: Customer,
    pub key: KeyId,
    /// The text of the key.
    pub secret: String,
    pub gateway: SocketAddr,
    pub stop: CancellationToken,
    pub served: tokio::task::JoinHandle<()>,
}

/// What a settled request left in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    Charged { quantity: u64, credits: String },
    Released { cause: &'static str },
}

const PRICES: &str = r#"
    [[prices]]
    endpoint = "ai_visibility"
    match = "GET /ai-visibility/{*rest}"
    price = "0.5"
    unit = "conversation"
    quantity = { json = "/conversations" }
    quantity_max = 10
    [[prices]]
    endpoint = "conversions"
    match = "GET /conversions"
    price = "0.1"
    unit = "row"
    quantity = { header = "X-Result-Count" }
    quantity_max = 20
    [[prices]]
    endpoint = "serp_result"
    match = "GET /serp/results/{id}"
    price = "0.5"
    once_per = "path"
    [[prices]]
    endpoint = "short"
    match = "GET /capped/shortfall"
    price = "0.5"
    quantity = { header = "X-Result-Count" }
    quantity_max = 2
    when_more = "shortfall"
    [[prices]]
    endpoint = "topped"
    match = "GET /capped/top-up"
    price = "0.5"
    quantity = { header = "X-Result-Count" }
    quantity_max = 2
    when_more = "top-up"
    [[prices]]
    endpoint = "serp"
    match = "ANY /serp"
    price = "0.5"
    unit = "request"
    [[prices]]
    endpoint = "serp_task"
    match = "ANY /serp/{*rest}"
    price = "0.5"
    unit = "request"
    [[prices]]
    endpoint = "echo"
    match = "ANY /echo"
    price = "0.5"
    unit = "request"
    [[prices]]
    endpoint = "limited"
    match = "GET /limited"
    price = "0.5"
    unit = "request"
    rate_per_second = 1
"#;

impl Stage {
    /// In front of the demo data API, with 100 credits and short patience.
    pub async fn open() -> Stage {
        Stage::with_credits("100").await
    }

    pub async fn with_credits(credits: &str) -> Stage {
        Stage::start(demo_data_api().await, credits).await
    }

    /// In front of whatever stands at this address.
    pub async fn in_front_of(upstream: SocketAddr) -> Stage {
        Stage::start(upstream, "100").await
    }

    /// In front of this, with so many credits.
    pub async fn start(upstream: SocketAddr, credits: &str) -> Stage {
        let harness = Harness::start().await;
        let (log, ledger) = (harness.log(), harness.ledger());
        Stage::on(log, ledger, Some(harness), upstream, credits).await
    }

    /// With a `[gateway]` of the test's own, and its own prices before the usual ones.
    pub async fn configured(gateway: &str, prices: &str) -> Stage {
        let harness = Harness::start().await;
        let (log, ledger) = (harness.log(), harness.ledger());
        let text = format!("[gateway]\n{gateway}\n{prices}\n{PRICES}");
        Stage::on_config(log, ledger, Some(harness), &text, "100").await
    }

    /// In front of the demo data API, with these lines in `[gateway.rate_limits]`.
    pub async fn limited(limits: &str) -> Stage {
        let upstream = demo_data_api().await;
        let more = format!("[gateway.rate_limits]\n{limits}");
        Stage::start(upstream, "100").await.with(upstream, &more).await
    }

    /// On a ledger that was started elsewhere.
    pub async fn on(log: Log, ledger: Ledger, around: Option<Harness>, upstream: SocketAddr, credits: &str) -> Stage {
        Stage::on_config(log, ledger, around, &before(upstream, ""), credits).await
    }

    async fn on_config(log: Log, ledger: Ledger, around: Option<Harness>, text: &str, credits: &str) -> Stage {
        let customer = Customer::open(&ledger, credits).await;
        let (key, secret) = generate_key(&ledger, customer.account).await;
        let stop = CancellationToken::new();
        let (address, served) = serve(ledger.clone(), Some(log.clone()), text, stop.clone()).await;
        Stage {
            log,
            around,
            ledger,
            customer,
            key,
            secret,
            gateway: address,
            stop,
            served,
        }
    }

    /// The same in front of this upstream, with more lines for `[gateway]`.
    pub async fn with(self, upstream: SocketAddr, more: &str) -> Stage {
        let text = before(upstream, more);
        let (gateway, served) = serve(self.ledger.clone(), Some(self.log.clone()), &text, self.stop.clone()).await;
        Stage {
            gateway,
            served,
            ..self
        }
    }

    /// The same in front of the demo data API, without a log to read published prices in.
    pub async fn deaf(self) -> Stage {
        let text = before(demo_data_api().await, "");
        let (gateway, served) = serve(self.ledger.clone(), None, &text, self.stop.clone()).await;
        Stage {
            gateway,
            served,
            ..self
        }
    }

    /// The same gateway in a process of its own, which knows nothing but the log. The one before goes on.
    pub async fn in_another_process(self, upstream: SocketAddr, more: &str) -> Stage {
        let ledger = self.around.as_ref().expect("a harness").ledger();
        Stage { ledger, ..self }.with(upstream, more).await
    }

    /// A request with the key, on a connection that closes after it.
    pub fn request(&self, method: &str, target: &str, more: &str) -> String {
        let secret = &self.secret;
        format!(
            "{method} {target} HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer {secret}\r\n{more}Connection: close\r\n\r\n"
        )
    }

    pub async fn get(&self, target: &str) -> Answer {
        raw::send(self.gateway, &self.request("GET", target, "")).await
    }

    pub async fn send(&self, request: &str) -> Answer {
        raw::send(self.gateway, request).await
    }

    /// From now on nobody reaches the database.
    pub async fn delete_key(&self, key: KeyId) {
        let delete = DeleteKey {
            account: self.customer.account,
            key,
            reason: DeleteReason::Requested,
        };
        self.ledger.submit(delete, by_system()).await.unwrap();
    }

    pub async fn without_database(&self) {
        self.around.as_ref().expect("a harness").close_database().await;
    }

    pub async fn events(&self) -> Vec<Event> {
        let log = whole_log(&self.log).await;
        log.into_iter().map(|recorded| recorded.event).collect()
    }

    /// How many calls the ledger held credits for.
    pub async fn holds(&self) -> usize {
        let events = self.events().await;
        events
            .iter()
            .filter(|event| matches!(event, Event::CreditsReserved(_)))
            .count()
    }

    async fn settled_so_far(&self) -> Vec<Settled> {
        self.events().await.into_iter().filter_map(settled).collect()
    }

    /// Waits until so many requests have settled, and a moment longer for one that should not.
    pub async fn settled(&self, count: usize) -> Vec<Settled> {
        until("the requests have settled", async || {
            self.settled_so_far().await.len() >= count
        })
        .await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let settled = self.settled_so_far().await;
        assert_eq!(settled.len(), count, "{settled:?}");
        settled
    }

    /// Nothing was ever held.
    pub async fn nothing_was_held(&self) {
        let held = self
            .events()
            .await
            .iter()
            .filter(|event| matches!(event, Event::CreditsReserved(_)))
            .count();
        assert_eq!(held, 0);
    }

    pub async fn uses(&self) -> Vec<KeyUsed> {
        let used = |event| {
            if let Event::KeyUsed(used) = event {
                Some(used)
            } else {
                None
            }
        };
        self.events().await.into_iter().filter_map(used).collect()
    }
}

/// The usual `[gateway]` in front of this upstream, with more lines in it.
fn before(upstream: SocketAddr, more: &str) -> String {
    format!(
        "[gateway]\nupstream = \"http://{upstream}\"\nupstream_timeout_seconds = 1\n\
         idle_body_timeout_seconds = 1\nrequest_body_bytes_max = 1000\n{more}\n{PRICES}"
    )
}

async fn serve(
    ledger: Ledger,
    log: Option<Log>,
    text: &str,
    stop: CancellationToken,
) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let config = Config::parse(text).unwrap();
    let prices = Shelf::of_file(config.prices);
    if let Some(log) = log {
        prices.follow(log, ledger.key_signals().prices(), stop.clone());
    }
    let gateway = Gateway::new(GatewayOptions {
        ledger,
        prices,
        config: config.gateway.unwrap(),
        key_prefix: config.key_prefix,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(gateway.serve(listener, stop)))
}

fn settled(event: Event) -> Option<Settled> {
    if let Event::CreditsCharged(CreditsCharged { quantity, charged, .. }) = event {
        Some(Settled::Charged {
            quantity,
            credits: charged.to_string(),
        })
    } else if let Event::CreditsReleased(CreditsReleased { cause, .. }) = event {
        Some(Settled::Released { cause: cause.as_str() })
    } else {
        None
    }
}

pub fn charged(quantity: u64, credits: &str) -> Settled {
    Settled::Charged {
        quantity,
        credits: credits.to_owned(),
    }
}

pub fn released(cause: &'static str) -> Settled {
    Settled::Released { cause }
}

pub async fn generate_key(ledger: &Ledger, account: AccountId) -> (KeyId, String) {
    limited_key(ledger, account, KeyLimits::default()).await
}

/// A key that is limited to what is said.
pub async fn limited_key(ledger: &Ledger, account: AccountId, limits: KeyLimits) -> (KeyId, String) {
    let secret = base62_secret("sk_live_", clock::random_secret_bits());
    let key = clock::fresh_key_id();
    let create = CreateKey {
        account,
        key,
        name: KeyName::parse("Gateway").unwrap(),
        preview: "sk_live_...".to_owned(),
        digest: KeyDigest::of(&secret),
        environment: Environment::Live,
        expires_at: None,
        limits,
    };
    ledger.submit(create, by_system()).await.unwrap();
    (key, secret)
}

pub async fn demo_data_api() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(demo_data_api::serve(
        listener,
        DemoOptions::default(),
        std::future::pending(),
    ));
    address
}
