//! Durable commands a second: verify a key and hold credits, then charge them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyledger_events::{
    AccountId, AccountName, Actor, CommandId, Credits, Endpoint, Environment, GrantSource, KeyDigest, KeyName,
    KeyPrefix, KeySecret, Shard,
};
use tokio_util::sync::CancellationToken;

use super::baseline::one_row_commits;
use super::measure::{Figures, Seen, run};
use crate::clock;
use crate::ledger::{
    By, ChargeReservation, CreateKey, GrantCredits, KeyLimits, Ledger, LedgerOptions, Limits, OpenAccount, Payer,
    Price, ReserveCredits, SubmitError, Usage,
};
use crate::log::{Log, open_pool, service_options};

/// What to measure.
#[derive(Debug, Clone)]
pub struct CommandsOptions {
    /// A database that this version has migrated, as its owner. It will be filled.
    pub database_url: String,
    pub accounts: usize,
    pub concurrencies: Vec<usize>,
    pub each: Duration,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Customer {
    pub account: AccountId,
    digest: KeyDigest,
}

/// More than any measurement can spend.
const CREDITS_EACH: i64 = 1_000_000_000_000_000;
pub(super) const ONE: i64 = 500_000;

/// Measures, telling `tell` each line as it is known.
pub async fn commands(options: CommandsOptions, mut tell: impl FnMut(&Figures)) -> anyhow::Result<Vec<Figures>> {
    let pool = open_pool(service_options(&options.database_url)?, 8);
    let owner = open_pool(options.database_url.parse()?, 64);
    let stop = CancellationToken::new();
    // Every hold is closed at once, so the bounds on open ones only have to leave room for the callers.
    let limits = Limits {
        open_reservations_per_key_max: 10_000,
        ..Limits::default()
    };
    let ledger_options = LedgerOptions {
        limits,
        account_bytes_max: 2 << 30,
        ..LedgerOptions::default()
    };
    let (ledger, writer) = Ledger::start(Log::new(pool, Shard(0)), ledger_options, stop.clone());
    let customers: Arc<[Customer]> = open_customers(&ledger, options.accounts).await?.into();
    let mut all = Vec::new();
    let mut note = |figures: Figures| {
        tell(&figures);
        all.push(figures);
    };
    for concurrency in [1, 64] {
        note(one_row_commits(&owner, concurrency, options.each).await?);
    }
    for (what, count) in [
        ("reserve + charge, many accounts", customers.len()),
        ("reserve + charge, one account", 1),
    ] {
        for concurrency in &options.concurrencies {
            note(reserve_and_charge(what, &ledger, &customers, count, *concurrency, options.each).await?);
        }
    }
    stop.cancel();
    writer.await?;
    Ok(all)
}

async fn reserve_and_charge(
    what: &str,
    ledger: &Ledger,
    customers: &Arc<[Customer]>,
    count: usize,
    concurrency: usize,
    during: Duration,
) -> anyhow::Result<Figures> {
    run(what, concurrency, during, |worker, end| {
        let (ledger, customers) = (ledger.clone(), Arc::clone(customers));
        async move {
            let mut seen = Seen::default();
            let mut turn = worker * 7_919;
            while Instant::now() < end {
                turn += 1;
                let Some(customer) = customers.get(turn % count) else {
                    continue;
                };
                once(&ledger, *customer, &mut seen).await?;
            }
            Ok(seen)
        }
    })
    .await
}

async fn once(ledger: &Ledger, customer: Customer, seen: &mut Seen) -> anyhow::Result<()> {
    let reservation = clock::fresh_reservation_id();
    let begin = Instant::now();
    let reserve = ReserveCredits {
        payer: Payer::Key(customer.digest),
        reservation,
        endpoint: endpoint()?,
        quantity: 1,
        price: Price {
            unit: credits(ONE)?,
            version: 0,
        },
        ttl_seconds: 900,
        usage: Usage::default(),
        once: None,
    };
    match ledger.submit(reserve, by()?).await {
        Ok(_) => seen.took.push(begin.elapsed()),
        Err(SubmitError::Refused { .. } | SubmitError::Busy) => {
            seen.refused += 1;
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    }
    let begin = Instant::now();
    let charge = ChargeReservation {
        account: customer.account,
        reservation,
        quantity: None,
    };
    ledger.submit(charge, by()?).await?;
    seen.took.push(begin.elapsed());
    Ok(())
}

async fn open_customers(ledger: &Ledger, count: usize) -> anyhow::Result<Vec<Customer>> {
    let opening: Vec<_> = (0..count)
        .map(|_| {
            let ledger = ledger.clone();
            tokio::spawn(async move { open_customer(&ledger).await })
        })
        .collect();
    let mut customers = Vec::with_capacity(count);
    for opened in opening {
        customers.push(opened.await??);
    }
    Ok(customers)
}

pub(super) async fn open_customer(ledger: &Ledger) -> anyhow::Result<Customer> {
    let account = clock::fresh_account_id();
    let open = OpenAccount {
        account,
        name: AccountName::parse("Bench")?,
        external_ref: None,
        credit_limit: Credits::ZERO,
    };
    ledger.submit(open, by()?).await?;
    let secret = KeySecret::from_random(&KeyPrefix::default(), Environment::Test, clock::random_secret_bits());
    let create = CreateKey {
        account,
        key: clock::fresh_key_id(),
        name: KeyName::parse("Bench")?,
        preview: secret.preview(),
        digest: secret.digest(),
        environment: Environment::Test,
        expires_at: None,
        limits: KeyLimits::default(),
    };
    ledger.submit(create, by()?).await?;
    let grant = GrantCredits {
        account,
        grant: clock::fresh_grant_id(),
        amount: credits(CREDITS_EACH)?,
        priority: 0,
        expires_at: None,
        source: GrantSource::Promotion,
        reference: None,
    };
    ledger.submit(grant, by()?).await?;
    Ok(Customer {
        account,
        digest: secret.digest(),
    })
}

pub(super) fn by() -> anyhow::Result<By> {
    let command = CommandId::parse("bench").ok_or_else(|| anyhow::anyhow!("no command id"))?;
    Ok(By {
        actor: Actor::System,
        command,
    })
}

pub(super) fn credits(micros: i64) -> anyhow::Result<Credits> {
    Credits::from_micros(micros).ok_or_else(|| anyhow::anyhow!("an amount out of range"))
}

fn endpoint() -> anyhow::Result<Endpoint> {
    Ok(Endpoint::parse("serp")?)
}
