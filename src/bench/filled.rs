//! A log as an installation has it after years, made in minutes: the events that the rules would have written, encoded
//! and appended in large batches, without asking the rules.
//!
//! Ids and keys follow from numbers, so that nothing needs to be kept to use them afterwards. They are scattered, as
//! chance would, so that neighbours in time are none in an index.

use anyhow::Context as _;
use keyledger_events::{
    AccountId, AccountName, AccountOpened, Actor, Channel, CommandId, Credits, CreditsCharged, CreditsGranted,
    CreditsReserved, Endpoint, Environment, Event, EventId, GrantId, GrantPart, GrantSource, KeyCreated, KeyDigest,
    KeyId, KeyName, KeyUsed, PaidWork, Position, Recorded, ReservationId, Seq, Shard, Timestamp, base62_secret,
};
use tokio::sync::mpsc;

use super::bank::{KEY_HEAD, credits};
use crate::clock;
use crate::log::{Batch, KeysOfBlock, Log, open_pool, service_options};

/// How much there is to be.
#[derive(Debug, Clone, Copy)]
pub struct Filling {
    pub accounts: u64,
    /// Keys of all accounts together; each has one at least.
    pub keys: u64,
    /// Holds that are open at the end.
    pub holds: u64,
    /// Events in all. What accounts, keys and holds take comes first, the rest is requests that were charged.
    pub events: u64,
}

/// Whose ids and keys are where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filled {
    pub accounts: u64,
    pub keys: u64,
    /// Events that were written.
    pub events: u64,
    began: Timestamp,
    salt: u128,
}

const PRICE_MICROS: i64 = 500_000;
const GRANT_MICROS: i64 = 1_000_000_000_000;
const EVENTS_A_BATCH: usize = 2_000;
/// Batches that wait to be appended.
const BATCHES_AHEAD: usize = 4;
/// What is written happened in this time before now.
const PAST_SECONDS: u32 = 86_400;
/// Open holds stay so for as long as the API lets them.
const HOLD_SECONDS: u32 = 86_400;
const NUMBER_BITS: u32 = 40;
/// Odd, so that no two numbers are scattered to one.
const SCATTER: u128 = 0x9e_3779_b97f;

impl Filled {
    pub(super) fn account(&self, number: u64) -> AccountId {
        AccountId::from_parts(self.began.ms(), self.bits(number % self.accounts))
    }

    fn grant(&self, account: u64) -> GrantId {
        GrantId::from_parts(self.began.ms(), self.bits(account))
    }

    /// Keys are dealt out one by one: key `n` is account `n`'s, and the first one after all accounts is the first one's
    /// second.
    pub(super) fn key(&self, number: u64) -> KeyId {
        // Other bits than any account's: a view tells the two apart.
        KeyId::from_parts(self.began.ms(), self.bits(number % self.keys) ^ (1 << NUMBER_BITS))
    }

    /// The text of a key. Of a database that is thrown away.
    pub(super) fn key_text(&self, number: u64) -> String {
        let bits = KeyDigest::of(&format!("{} {}", self.salt, number % self.keys));
        base62_secret(KEY_HEAD, *bits.as_bytes())
    }

    fn bits(&self, number: u64) -> u128 {
        let mask = (1 << NUMBER_BITS) - 1;
        (self.salt << NUMBER_BITS) | (u128::from(number).wrapping_mul(SCATTER) & mask)
    }
}

/// Writes it all after the log's head, and lets Postgres look at what it has.
pub(super) async fn fill(database_url: &str, filling: Filling) -> anyhow::Result<Filled> {
    let log = Log::new(open_pool(service_options(database_url)?, 1), Shard(0));
    let head = log.head().await?;
    let accounts = filling.accounts.max(1);
    let keys = filling.keys.max(accounts);
    let requests = filling.events.saturating_sub(2 * accounts + keys + 2 * filling.holds) / 3;
    let filled = Filled {
        accounts,
        keys,
        events: 2 * accounts + keys + 2 * filling.holds + 3 * requests,
        began: clock::now().minus_seconds(PAST_SECONDS).max(head.recorded_at),
        salt: clock::random_id_bits() >> (128 - NUMBER_BITS),
    };
    let scribe = Scribe::begin(filled, head.position)?;
    let (batches, mut waiting) = mpsc::channel(BATCHES_AHEAD);
    let writing = tokio::task::spawn_blocking(move || scribe.write(requests, filling.holds, &batches));
    while let Some(batch) = waiting.recv().await {
        log.append(&batch).await?;
    }
    writing.await??;
    let owner = open_pool(database_url.parse()?, 1);
    sqlx::query("vacuum (analyze) events").execute(&owner).await?;
    owner.close().await;
    Ok(filled)
}

/// Writes one event after the other, at an even pace from then till now.
#[derive(Debug)]
struct Scribe {
    filled: Filled,
    seqs: Vec<u64>,
    keys_of_blocks: Vec<KeysOfBlock>,
    position: Position,
    time: Timestamp,
    /// Between two events.
    pace_micros: i64,
    command: CommandId,
    key_name: KeyName,
    endpoint: Endpoint,
    price: Credits,
    batch: Batch,
}

impl Scribe {
    fn begin(filled: Filled, head: Position) -> anyhow::Result<Scribe> {
        let past = clock::now().micros() - filled.began.micros();
        Ok(Scribe {
            filled,
            seqs: vec![0; usize::try_from(filled.accounts)?],
            keys_of_blocks: vec![KeysOfBlock::default(); usize::try_from(filled.accounts)?],
            position: head,
            time: filled.began,
            pace_micros: past.max(0) / i64::try_from(filled.events)?,
            command: CommandId::parse("bench").context("no command id")?,
            key_name: KeyName::parse("Bench")?,
            endpoint: Endpoint::parse("serp")?,
            price: credits(PRICE_MICROS)?,
            batch: Batch::default(),
        })
    }

    fn write(mut self, requests: u64, holds: u64, batches: &mpsc::Sender<Batch>) -> anyhow::Result<()> {
        let Filled { accounts, keys, .. } = self.filled;
        for account in 0..accounts {
            self.open(account)?;
            self.hand_on(batches)?;
        }
        for key in 0..keys {
            self.make_key(key)?;
            self.hand_on(batches)?;
        }
        for request in 0..requests {
            let reserved_at = self.hold(request)?;
            self.charge(request, reserved_at)?;
            self.hand_on(batches)?;
        }
        for request in requests..requests + holds {
            self.hold(request)?;
            self.hand_on(batches)?;
        }
        if !self.batch.is_empty() {
            batches.blocking_send(self.batch)?;
        }
        Ok(())
    }

    fn hand_on(&mut self, batches: &mpsc::Sender<Batch>) -> anyhow::Result<()> {
        if self.batch.len() >= EVENTS_A_BATCH {
            batches.blocking_send(std::mem::take(&mut self.batch))?;
        }
        Ok(())
    }

    fn note(&mut self, account: u64, event: impl Into<Event>) -> anyhow::Result<()> {
        let account = account % self.filled.accounts;
        let event = event.into();
        let place = usize::try_from(account)?;
        let seq = self.seqs.get_mut(place).context("no account")?;
        *seq += 1;
        let keys_of_block = self.keys_of_blocks.get_mut(place).context("no account")?;
        let leads_key = keys_of_block.leads(Seq(*seq), event.key());
        self.position = self.position.next();
        self.time = Timestamp::from_micros(self.time.micros() + self.pace_micros).unwrap_or(self.time);
        let recorded = Recorded {
            id: EventId::from_parts(self.time.ms(), clock::random_id_bits()),
            shard: Shard(0),
            position: self.position,
            account: self.filled.account(account),
            seq: Seq(*seq),
            time: self.time,
            actor: Actor::System,
            command: self.command.clone(),
            sealed: None,
            event,
        };
        self.batch.push(&recorded, leads_key);
        Ok(())
    }

    fn open(&mut self, account: u64) -> anyhow::Result<()> {
        let opened = AccountOpened {
            name: AccountName::parse("Bench")?,
            external_ref: None,
            credit_limit: Credits::ZERO,
        };
        self.note(account, opened)?;
        let granted = CreditsGranted {
            grant: self.filled.grant(account),
            amount: credits(GRANT_MICROS)?,
            priority: 0,
            expires_at: None,
            source: GrantSource::Purchase,
            reference: None,
            starts_at: None,
            endpoints: None,
            period: None,
            rolled_over: None,
            reason: None,
            repays: Credits::ZERO,
        };
        self.note(account, granted)
    }

    fn make_key(&mut self, key: u64) -> anyhow::Result<()> {
        let created = KeyCreated {
            key: self.filled.key(key),
            name: self.key_name.clone(),
            preview: format!("{KEY_HEAD}..."),
            digest: KeyDigest::of(&self.filled.key_text(key)),
            environment: Environment::Test,
            expires_at: None,
            replaces: None,
            scopes: None,
            rate_limit: None,
            spending_limit: None,
        };
        self.note(key, created)
    }

    /// Uses one key after the other, and holds what a request costs. Tells when.
    fn hold(&mut self, request: u64) -> anyhow::Result<Timestamp> {
        let key = request % self.filled.keys;
        let used = KeyUsed {
            key: self.filled.key(key),
            endpoint: self.endpoint.clone(),
            reservation: self.reservation(request),
            request: None,
            network: None,
            user_agent: None,
            environment: Environment::Live,
        };
        self.note(key, used)?;
        let reserved = CreditsReserved {
            reservation: self.reservation(request),
            work: self.work(key),
            quantity: 1,
            amount: self.price,
            from: vec![self.part(key)],
            on_limit: Credits::ZERO,
            expires_at: self.time.plus_seconds(HOLD_SECONDS),
            once: None,
        };
        self.note(key, reserved)?;
        Ok(self.time)
    }

    fn charge(&mut self, request: u64, reserved_at: Timestamp) -> anyhow::Result<()> {
        let key = request % self.filled.keys;
        let charged = CreditsCharged {
            reservation: self.reservation(request),
            work: self.work(key),
            quantity: 1,
            charged: self.price,
            returned: Credits::ZERO,
            spent: vec![self.part(key)],
            returned_to: Vec::new(),
            charged_on_limit: Credits::ZERO,
            returned_to_limit: Credits::ZERO,
            reserved_at,
            client_left: None,
        };
        self.note(key, charged)
    }

    fn reservation(&self, request: u64) -> ReservationId {
        ReservationId::from_parts(self.filled.began.ms(), self.filled.bits(request))
    }

    fn work(&self, key: u64) -> PaidWork {
        PaidWork {
            key: Some(self.filled.key(key)),
            channel: Channel::Api,
            endpoint: self.endpoint.clone(),
            unit_price: self.price,
            price_version: 0,
            environment: Environment::Live,
        }
    }

    fn part(&self, key: u64) -> GrantPart {
        GrantPart {
            grant: self.filled.grant(key % self.filled.accounts),
            amount: self.price,
        }
    }
}
