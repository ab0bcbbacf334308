//! How soon the customer's pages answer when an account has very many keys and a long history.
//!
//! The history is made by the ledger's own commands and reaches the views by the service's own projector. What is
//! measured is what a visitor finds: every page of the navigation, a place far down each list, and one of each kind of
//! page that they lead to.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use keyledger_events::{AccountId, Environment, KeyDigest, KeyName, KeyPrefix, KeySecret};

use super::bank::{Customer, by, hold};
use super::figure::Figure;
use super::measure::{Seen, run};
use super::visitor::{Visitor, shape};
use crate::clock;
use crate::ledger::{ChargeReservation, CreateKey, KeyLimits, Ledger, Usage};
use crate::log::{open_pool, service_options};
use crate::service::Service;
use crate::sessions::{Invitation, Invited, Lifetimes, Sessions, Whose};
use crate::views::ViewName;

/// What to fill and how long to measure.
#[derive(Debug, Clone)]
pub struct PagesBench {
    /// Where the service's database is, as its owner.
    pub database_url: String,
    pub keys: u64,
    pub events: u64,
    /// Visitors at once.
    pub visitors: usize,
    pub each: Duration,
}

/// Commands under way at once while the history is made.
const WRITERS: usize = 256;
/// A charged request is this many events: used, held, charged.
const EVENTS_A_REQUEST: u64 = 3;
/// Pages down a list that count as far.
const FAR: usize = 50;
/// As it was: places on the slider.
const THEN: [u32; 3] = [300, 617, 999];
const ENDPOINTS: [&str; 3] = ["serp", "ai-visibility", "conversions"];
const VIEWS: [ViewName; 5] = [
    ViewName::KeyList,
    ViewName::Balance,
    ViewName::Charges,
    ViewName::Reservations,
    ViewName::Usage,
];
/// The views may stand behind by as much as was written.
const VIEWS_WAIT_MAX: Duration = Duration::from_secs(1_800);

/// Fills one account through a running service, then measures its pages, telling `tell` each line as it is known.
pub async fn pages(service: &Service, options: PagesBench, mut tell: impl FnMut(&Figure)) -> anyhow::Result<()> {
    let address = service.api.context("the service has no API and so no pages")?;
    let begin = Instant::now();
    let account = fill(&service.ledger, &options).await?;
    let head = *service.ledger.committed().borrow();
    eprintln!("{} events written in {} s", head, begin.elapsed().as_secs());
    for view in VIEWS {
        service.views.wait_for(view, head, VIEWS_WAIT_MAX).await?;
    }
    eprintln!("all views are there after {} s", begin.elapsed().as_secs());
    let pool = open_pool(service_options(&options.database_url)?, 1);
    let cookie = enter(&Sessions::new(pool, Lifetimes::default()), address, account).await?;
    let mut found = find(address, &cookie).await?;
    // The slider's places: all over the account's life, none just beside a mark that a look before left.
    found.extend(THEN.map(|place| {
        (
            format!("/portal/then, {place} of 1000"),
            format!("/portal/then?part={place}"),
        )
    }));
    for (what, path) in found {
        tell(&visit(&what, address, &cookie, path, &options).await?);
    }
    Ok(())
}

/// One account with as many keys and events as told.
async fn fill(ledger: &Ledger, options: &PagesBench) -> anyhow::Result<AccountId> {
    let account = Customer::open(ledger).await?.account;
    let keys = Arc::new(boxed_keys(options.keys.max(1)));
    let ready = Arc::clone(&keys);
    let (keys_ledger, many) = (ledger.clone(), options.keys.max(1));
    side_by_side(many, move |turn| {
        let (ledger, keys) = (keys_ledger.clone(), Arc::clone(&ready));
        async move { create(&ledger, account, turn, pick(&keys, turn)?).await }
    })
    .await?;
    let requests = options.events.saturating_sub(many) / EVENTS_A_REQUEST;
    let ledger = ledger.clone();
    side_by_side(requests, move |turn| {
        let (ledger, keys) = (ledger.clone(), Arc::clone(&keys));
        async move { request(&ledger, account, turn, pick(&keys, turn)?.digest()).await }
    })
    .await?;
    Ok(account)
}

fn boxed_keys(many: u64) -> Vec<KeySecret> {
    let prefix = KeyPrefix::default();
    (0..many)
        .map(|_| KeySecret::from_random(&prefix, Environment::Live, clock::random_secret_bits()))
        .collect()
}

fn pick(keys: &[KeySecret], turn: u64) -> anyhow::Result<&KeySecret> {
    let index = usize::try_from(turn)? % keys.len().max(1);
    keys.get(index).context("no keys")
}

/// Does something for every number below `many`, with as many under way as the ledger likes.
async fn side_by_side<W, F>(many: u64, work: W) -> anyhow::Result<()>
where
    W: Fn(u64) -> F + Clone + Send + 'static,
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let next = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (next, work) = (Arc::clone(&next), work.clone());
            tokio::spawn(async move {
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    if turn >= many {
                        return anyhow::Ok(());
                    }
                    work(turn).await?;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await??;
    }
    Ok(())
}

async fn create(ledger: &Ledger, account: AccountId, turn: u64, secret: &KeySecret) -> anyhow::Result<()> {
    let create = CreateKey {
        account,
        key: clock::fresh_key_id(),
        name: KeyName::parse(&format!("Integration {turn}"))?,
        preview: secret.preview(),
        digest: secret.digest(),
        environment: Environment::Live,
        expires_at: None,
        limits: KeyLimits::default(),
    };
    ledger.submit(create, by()?).await?;
    Ok(())
}

/// A request that fetched data.
async fn request(ledger: &Ledger, account: AccountId, turn: u64, digest: KeyDigest) -> anyhow::Result<()> {
    let endpoint = ENDPOINTS.get(usize::try_from(turn % 3)?).copied().unwrap_or("serp");
    let usage = Usage {
        request: Some(format!("req-{turn}")),
        network: Some(format!("198.51.{}.0/24", turn % 200)),
        user_agent: Some("Looker".to_owned()),
    };
    let hold = hold(digest, endpoint, usage)?;
    let reservation = hold.reservation;
    ledger.submit(hold, by()?).await?;
    let charge = ChargeReservation {
        account,
        reservation,
        quantity: None,
    };
    ledger.submit(charge, by()?).await?;
    Ok(())
}

/// Follows an invitation: the cookie.
async fn enter(sessions: &Sessions, address: SocketAddr, account: AccountId) -> anyhow::Result<String> {
    let invitation = Invitation {
        whose: Whose::Account(account),
        name: Some("Bench".to_owned()),
        return_url: None,
        read_only: false,
        by: clock::fresh_token_id(),
    };
    let invited = sessions
        .invite(clock::fresh_portal_session_id(), invitation, clock::now())
        .await?;
    let Invited::Now { link, .. } = invited else {
        anyhow::bail!("a fresh id has a stay already");
    };
    let mut visitor = Visitor::connect(address, "").await?;
    let path = format!("/portal/open/{}", link.expose_text_to_its_holder());
    let entered = visitor.get(&path).await?;
    let cookie = entered.header("set-cookie")?;
    Ok(cookie.split(';').next().unwrap_or_default().to_owned())
}

/// The pages that there are: what to call each, and its address.
async fn find(address: SocketAddr, cookie: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut visitor = Visitor::connect(address, cookie).await?;
    let mut found = Vec::new();
    let mut shapes = BTreeSet::new();
    let home = visitor.page("/portal/keys").await?;
    for place in home.navigation() {
        let page = visitor.page(&place).await?;
        shapes.insert(shape(&place));
        found.push((shape(&place), place.clone()));
        let mut next = page.next();
        let mut far = 0;
        while let Some(address) = next.take_if(|_| far < FAR) {
            far += 1;
            next = visitor.page(&address).await?.next();
            if far == FAR || next.is_none() {
                found.push((format!("{}, page {}", shape(&place), far + 1), address));
            }
        }
        for lead in page.leads() {
            if shapes.insert(shape(&lead)) {
                found.push((shape(&lead), lead));
            }
        }
    }
    Ok(found)
}

async fn visit(
    what: &str,
    address: SocketAddr,
    cookie: &str,
    path: String,
    options: &PagesBench,
) -> anyhow::Result<Figure> {
    run(what, options.visitors, options.each, |_, end| {
        let (cookie, path) = (cookie.to_owned(), path.clone());
        async move {
            let mut visitor = Visitor::connect(address, &cookie).await?;
            let mut seen = Seen::default();
            while Instant::now() < end {
                let begin = Instant::now();
                visitor.page(&path).await?;
                seen.took.push(begin.elapsed());
            }
            Ok(seen)
        }
    })
    .await
}
