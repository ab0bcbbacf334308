//! Ledgers with customers who can pay anything, for the load to spend.

use std::sync::Arc;

use anyhow::Context as _;
use keyledger_events::{
    AccountId, AccountName, Actor, CommandId, Credits, Endpoint, Environment, GrantSource, KeyDigest, KeyName,
    ReservationId, Shard, base62_secret,
};
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::filled::Filled;
use crate::bus::Bus;
use crate::clock;
use crate::forward::{self, ForwardOptions};
use crate::ledger::{
    By, ChargeReservation, CreateKey, GrantCredits, KeyLimits, Ledger, LedgerOptions, Limits, OpenAccount, Payer,
    Price, ReserveCredits, SubmitError, Usage,
};
use crate::log::{Log, open_pool, service_options};

/// One ledger for each shard, and everybody's customers.
#[derive(Debug)]
pub(super) struct Bank {
    pub customers: Arc<[Customer]>,
    ledgers: Vec<(Ledger, JoinHandle<()>)>,
    logs: Vec<Log>,
    forwarding: Vec<JoinHandle<()>>,
    stop_forwarding: CancellationToken,
    stop: CancellationToken,
}

/// Who spends, and at which ledger.
#[derive(Clone)]
pub(super) struct Customer {
    pub account: AccountId,
    pub ledger: Ledger,
    /// The text of its key, for those who have to show it. Of a database that is thrown away.
    pub key: String,
    digest: KeyDigest,
}

impl std::fmt::Debug for Customer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Customer")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

/// More than any measurement can spend.
const CREDITS_EACH: i64 = 1_000_000_000_000_000;
pub(super) const KEY_HEAD: &str = "sk_test_";
const PRICE: i64 = 500_000;
/// Connections of a ledger: the writer's, and a few for loading.
const CONNECTIONS: u32 = 4;
/// Openings under way at once.
const OPENING: usize = 256;

impl Bank {
    /// Starts a ledger for each shard and opens the accounts, one after the other of them.
    pub(super) async fn open(database_url: &str, accounts: usize, shards: u16) -> anyhow::Result<Bank> {
        Bank::open_among_others(database_url, None, accounts, shards).await
    }

    /// With a NATS server the ledgers and those of other processes have one of them decide for all.
    pub(super) async fn open_among_others(
        database_url: &str,
        nats_url: Option<&str>,
        accounts: usize,
        shards: u16,
    ) -> anyhow::Result<Bank> {
        let mut bank = Bank::without_customers(database_url, nats_url, shards).await?;
        let mut customers = Vec::with_capacity(accounts);
        let numbers: Vec<usize> = (0..accounts).collect();
        for some in numbers.chunks(OPENING) {
            let opening: Vec<_> = some
                .iter()
                .filter_map(|number| bank.ledgers.get(number % bank.ledgers.len()))
                .map(|(ledger, _)| {
                    let ledger = ledger.clone();
                    tokio::spawn(async move { Customer::open(&ledger).await })
                })
                .collect();
            for opened in opening {
                customers.push(opened.await??);
            }
        }
        bank.customers = customers.into();
        Ok(bank)
    }

    /// Customers that are in the log already, as far apart from each other as they can be.
    pub(super) async fn of_filled(database_url: &str, filled: &Filled, accounts: usize) -> anyhow::Result<Bank> {
        let mut bank = Bank::without_customers(database_url, None, 1).await?;
        let (ledger, _) = bank.ledgers.first().context("no ledger")?;
        let apart = (filled.accounts / u64::try_from(accounts)?.max(1)).max(1);
        let customer = |number: u64| {
            let key = filled.key_text(number);
            Customer {
                account: filled.account(number),
                ledger: ledger.clone(),
                digest: KeyDigest::of(&key),
                key,
            }
        };
        let numbers = (0..filled.accounts).step_by(usize::try_from(apart)?).take(accounts);
        bank.customers = numbers.map(customer).collect();
        Ok(bank)
    }

    async fn without_customers(database_url: &str, nats_url: Option<&str>, shards: u16) -> anyhow::Result<Bank> {
        add_shards(&open_pool(database_url.parse()?, 1), shards).await?;
        let (stop, stop_forwarding) = (CancellationToken::new(), CancellationToken::new());
        let (mut ledgers, mut logs, mut forwarding) = (Vec::new(), Vec::new(), Vec::new());
        for shard in 0..shards.max(1) {
            let log = Log::new(open_pool(service_options(database_url)?, CONNECTIONS), Shard(shard));
            let (ledger, outbox, writer) = Ledger::start_among_others(log.clone(), roomy(), stop.clone());
            if let Some(nats_url) = nats_url {
                let options = ForwardOptions {
                    log: log.clone(),
                    bus: Bus::connect(nats_url, "BENCH").await?,
                    ledger: ledger.clone(),
                    outbox,
                };
                forwarding.push(forward::start(options, stop_forwarding.clone()));
            }
            ledgers.push((ledger, writer));
            logs.push(log);
        }
        Ok(Bank {
            customers: Arc::default(),
            ledgers,
            logs,
            forwarding,
            stop_forwarding,
            stop,
        })
    }

    pub(super) fn ledgers(&self) -> impl Iterator<Item = &Ledger> {
        self.ledgers.iter().map(|(ledger, _)| ledger)
    }

    /// The log of each ledger, for what works beside it in its process.
    pub(super) fn logs(&self) -> &[Log] {
        &self.logs
    }

    pub(super) async fn close(self) -> anyhow::Result<()> {
        self.stop_forwarding.cancel();
        for forwarding in self.forwarding {
            forwarding.await?;
        }
        self.stop.cancel();
        for (_, writer) in self.ledgers {
            writer.await?;
        }
        Ok(())
    }
}

/// A shard is a head of its own.
async fn add_shards(owner: &PgPool, shards: u16) -> anyhow::Result<()> {
    sqlx::query(
        "insert into log_head (shard, position, recorded_at)
         select number, 0, 'epoch' from generate_series(0, $1 - 1) as number on conflict do nothing",
    )
    .bind(i32::from(shards.max(1)))
    .execute(owner)
    .await
    .context("a shard's head cannot be made")?;
    Ok(())
}

/// A load leaves more holds open than any customer would.
pub(super) fn roomy() -> LedgerOptions {
    LedgerOptions {
        limits: Limits {
            open_reservations_per_key_max: u32::MAX,
            open_reservations_per_account_max: u32::MAX,
            ..Limits::default()
        },
        account_bytes_max: 2 << 30,
        ..LedgerOptions::default()
    }
}

/// How an operation ended.
#[derive(Debug)]
pub(super) enum Ended {
    Done(ReservationId),
    Refused,
}

impl Customer {
    /// An account with a key and all the credits in the world.
    pub(super) async fn open(ledger: &Ledger) -> anyhow::Result<Customer> {
        let account = clock::fresh_account_id();
        let open = OpenAccount {
            account,
            name: AccountName::parse("Bench")?,
            external_ref: None,
            credit_limit: Credits::ZERO,
        };
        ledger.submit(open, by()?).await?;
        let key = base62_secret(KEY_HEAD, clock::random_secret_bits());
        let digest = KeyDigest::of(&key);
        let create = CreateKey {
            account,
            key: clock::fresh_key_id(),
            name: KeyName::parse("Bench")?,
            preview: format!("{KEY_HEAD}..."),
            digest,
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
            starts_at: None,
            endpoints: None,
            reason: None,
        };
        ledger.submit(grant, by()?).await?;
        Ok(Customer {
            account,
            ledger: ledger.clone(),
            key,
            digest,
        })
    }

    /// Verifies the key and holds what one request costs: two events.
    pub(super) async fn reserve(&self) -> anyhow::Result<Ended> {
        let hold = hold(self.digest, "serp", Usage::default())?;
        let reservation = hold.reservation;
        match self.ledger.submit(hold, by()?).await {
            Ok(_) => Ok(Ended::Done(reservation)),
            Err(SubmitError::Refused { .. } | SubmitError::Busy) => Ok(Ended::Refused),
            Err(error) => Err(error.into()),
        }
    }

    /// Charges a hold whole: one event.
    pub(super) async fn charge(&self, reservation: ReservationId) -> anyhow::Result<()> {
        let charge = ChargeReservation {
            account: self.account,
            reservation,
            quantity: None,
        };
        self.ledger.submit(charge, by()?).await?;
        Ok(())
    }
}

/// What a request asks of the ledger before it is let through.
pub(super) fn hold(digest: KeyDigest, endpoint: &str, usage: Usage) -> anyhow::Result<ReserveCredits> {
    Ok(ReserveCredits {
        payer: Payer::Key(digest),
        reservation: clock::fresh_reservation_id(),
        endpoint: Endpoint::parse(endpoint)?,
        quantity: 1,
        price: Price {
            unit: credits(PRICE)?,
            version: 0,
        },
        ttl_seconds: 900,
        usage,
        once: None,
    })
}

pub(super) fn by() -> anyhow::Result<By> {
    let command = CommandId::parse("bench").context("no command id")?;
    Ok(By {
        actor: Actor::System,
        command,
    })
}

pub(super) fn credits(micros: i64) -> anyhow::Result<Credits> {
    Credits::from_micros(micros).context("an amount out of range")
}
