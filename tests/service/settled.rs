//! Services that are killed between what was decided about a delivery and what is known of it.

use std::path::PathBuf;

use hyper::Method;
use keyledger::tokens::Role;
use keyledger_events::Event;
use tempfile::TempDir;

use super::client::{Client, Reply};
use super::gate::Gate;
use super::process::{Customer, Service, Site};
use crate::gateway::raw::Stub;
use crate::harness::{EarlierTokens, Harness, until};
use crate::ledger::writers::whole_log;

const FIVE: &str = "HTTP/1.1 200 OK\r\nX-Result-Count: 5\r\nContent-Length: 4\r\n\r\ndata";
const TOPPED: &str = r#"
[[prices]]
endpoint = "topped"
match = "GET /topped"
price = "0.5"
quantity = { header = "X-Result-Count" }
quantity_max = 2
when_more = "top-up"
"#;

/// A service that tops up, its customer, and a proxy that asks it.
pub struct Scene {
    pub site: Site,
    pub service: Option<Service>,
    pub token: String,
    customer: Customer,
    journal: PathBuf,
    _kept_in: TempDir,
}

/// A hold that a proxy was told of.
pub struct Held {
    account: String,
    reservation: String,
}

impl Scene {
    pub async fn open() -> Scene {
        let kept_in = tempfile::tempdir().unwrap();
        let more = format!("journal_dir = {:?}", kept_in.path());
        let site = Site::on(Harness::start().await, &more).await;
        site.price(TOPPED);
        site.stand_before(Stub::answering(FIVE).await.address);
        let service = site.serve().await;
        let customer = Customer::open(&site.operator(&service), "100").await;
        let tokens = EarlierTokens::new(site.harness.service_pool());
        let (_, token) = tokens.create(Role::Metering, "proxy").await.unwrap();
        Scene {
            site,
            service: Some(service),
            token: token.expose_text_to_its_maker().to_owned(),
            customer,
            journal: kept_in.path().join("settlements.journal"),
            _kept_in: kept_in,
        }
    }

    pub fn service(&self) -> &Service {
        self.service.as_ref().expect("a service that runs")
    }

    pub async fn kill_9(&mut self) {
        self.service.take().expect("a service that runs").kill_9().await;
    }

    pub async fn serve_again(&mut self) {
        self.service = Some(self.site.serve().await);
    }

    /// The headers in which nginx asks.
    pub fn asking(&self) -> [(&'static str, String); 4] {
        [
            ("authorization", format!("Bearer {}", self.customer.secret)),
            ("x-keyledger-forward-auth", self.token.clone()),
            ("x-original-method", "GET".to_owned()),
            ("x-original-uri", "/topped".to_owned()),
        ]
    }

    pub async fn ask(&self) -> Held {
        let client = Client::new(&self.service().api, &self.customer.secret);
        let asking = self.asking();
        let headers = asking.each_ref().map(|(name, value)| (*name, value.as_str()));
        let asked = client
            .try_tell(Method::GET, "/v1/forward-auth", &headers[1..])
            .await
            .unwrap();
        assert_eq!(asked.status, 200);
        let header = |name: &str| asked.headers[name].to_str().unwrap().to_owned();
        Held {
            account: header("x-keyledger-account"),
            reservation: header("x-keyledger-reservation"),
        }
    }

    /// The headers that tell of five units.
    pub fn telling(&self, held: &Held) -> [(&'static str, String); 5] {
        [
            ("x-keyledger-forward-auth", self.token.clone()),
            ("x-keyledger-account", held.account.clone()),
            ("x-keyledger-reservation", held.reservation.clone()),
            ("x-keyledger-upstream-status", "200".to_owned()),
            ("x-keyledger-quantity", "5".to_owned()),
        ]
    }

    /// `None` when it broke off.
    fn settle(&self, held: &Held) -> impl Future<Output = Option<Reply>> + Send + use<> {
        let client = Client::new(&self.service().api, "");
        let headers = self.telling(held);
        async move {
            let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
            client.try_tell(Method::POST, "/v1/forward-auth-settle", &headers).await
        }
    }

    /// Units and credits of every charge in the log.
    pub async fn charges(&self) -> Vec<(u64, String)> {
        let charge = |event| {
            if let Event::CreditsCharged(charged) = event {
                Some((charged.quantity, charged.charged.to_string()))
            } else {
                None
            }
        };
        let log = whole_log(&self.site.harness.log()).await;
        log.into_iter().filter_map(|recorded| charge(recorded.event)).collect()
    }

    async fn journal_is_empty(&self) {
        until("nothing is owed any more", async || {
            std::fs::read(&self.journal).unwrap().is_empty()
        })
        .await;
    }
}

pub fn both(times: usize) -> Vec<(u64, String)> {
    vec![vec![(2, "1".to_owned()), (3, "1.5".to_owned())]; times].concat()
}

/// What happens to the append of a service that was killed while it was under way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Append {
    IsRolledBack,
    ComesLate,
}

async fn gateway_is_killed_before_its_top_up_is_known(append: Append) {
    let mut scene = Scene::open().await;
    let mut gate = Gate::before_a_top_up(&scene.site.harness).await;
    let client = Client::new(&scene.service().gateway, &scene.customer.secret);
    let answer = client.try_call(Method::GET, "/topped", None).await.unwrap();
    assert_eq!(answer.headers["credits-charged"], "2.5");
    until("the top-up is being appended", async || gate.waiting().await).await;
    scene.kill_9().await;
    if append == Append::IsRolledBack {
        gate.end_who_waits().await;
        gate.open().await;
    }
    scene.serve_again().await;
    if append == Append::ComesLate {
        gate.open().await;
    }
    until("it is charged", async || !scene.charges().await.is_empty()).await;
    scene.journal_is_empty().await;
    assert_eq!(scene.charges().await, both(1));
}

#[tokio::test]
async fn kill_of_a_gateway_between_a_charge_and_its_top_up_charges_both_once() {
    gateway_is_killed_before_its_top_up_is_known(Append::IsRolledBack).await;
}

#[tokio::test]
async fn kill_of_a_gateway_whose_append_comes_late_charges_both_once() {
    gateway_is_killed_before_its_top_up_is_known(Append::ComesLate).await;
}

#[tokio::test]
async fn kill_between_two_tellings_of_a_proxy_tops_up_once() {
    let mut scene = Scene::open().await;
    let (lost, told) = (scene.ask().await, scene.ask().await);
    assert_eq!(scene.settle(&told).await.unwrap().status, 200);
    let mut gate = Gate::before_a_top_up(&scene.site.harness).await;
    let first = tokio::spawn(scene.settle(&lost));
    until("the top-up is being appended", async || gate.waiting().await).await;
    scene.kill_9().await;
    assert!(first.await.unwrap().is_none(), "nobody was told");
    gate.end_who_waits().await;
    gate.open().await;
    for _ in 0..2 {
        scene.serve_again().await;
        // A telling that was lost, and one that was answered by another process.
        for held in [&lost, &told] {
            let answer = scene.settle(held).await.unwrap();
            assert_eq!(
                (answer.status.as_u16(), answer.text("/top_up/charged")),
                (200, "1.5".to_owned())
            );
        }
        scene.kill_9().await;
    }
    assert_eq!(scene.charges().await, both(2));
}
