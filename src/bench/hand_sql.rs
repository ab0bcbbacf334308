//! What a team would write by hand: the rules as SQL, one SQL transaction a command, and the same events inserted.
//!
//! It keeps a balance under a row lock, knows the key by its digest, and does nothing else that a ledger must do: no
//! grants that expire, no gapless positions, no answer to a repeated command.

use std::time::Instant;

use anyhow::Context as _;
use sqlx::postgres::PgPool;
use sqlx::{Executor as _, Row as _};
use uuid::Uuid;

use super::Settings;
use super::figure::Figure;
use super::measure::{Seen, run};
use crate::clock;
use crate::log::open_pool;

/// As many connections as help Postgres on few cores; more only wait for each other.
const CONNECTIONS_MAX: u32 = 32;
const BODY_BYTES: usize = 300;

const TABLES: &str = "\
drop schema if exists hand cascade;
create schema hand;
create sequence hand.positions;
create table hand.accounts (account_id uuid primary key, available bigint not null, held bigint not null, seq bigint not null);
create table hand.keys (digest bytea primary key, key_id uuid not null, account_id uuid not null, deleted_at timestamptz);
create table hand.holds (reservation_id uuid primary key, account_id uuid not null, amount bigint not null);
create table hand.events (like public.events including all);
with account as (
    insert into hand.accounts select gen_random_uuid(), 1000000000000000, 0, 0 from generate_series(1, $ACCOUNTS) returning account_id
)
insert into hand.keys select sha256(account_id::text::bytea), gen_random_uuid(), account_id, null from account";

const CHECK_KEY: &str = "select key_id, account_id from hand.keys where digest = $1 and deleted_at is null";
const LOCK: &str = "select available, seq from hand.accounts where account_id = $1 for update";
const HOLD: &str =
    "update hand.accounts set available = available - $2, held = held + $2, seq = seq + 2 where account_id = $1";
const REMEMBER: &str = "insert into hand.holds values ($1, $2, $3)";
const EVENT: &str = "\
insert into hand.events (shard, position, account_id, seq, event_id, type, key_id, recorded_at, body)
values (0, nextval('hand.positions'), $1, $2, $3, $4, $5, now(), $6)";
const TAKE_HOLD: &str = "delete from hand.holds where reservation_id = $1 returning amount";
const CHARGE: &str = "update hand.accounts set held = held - $2, seq = seq + 1 where account_id = $1 returning seq";

/// The same in one statement each.
const HOLD_AT_ONCE: &str = "\
with key as (select key_id, account_id from hand.keys where digest = $1 and deleted_at is null),
account as (
    update hand.accounts a set available = available - $2, held = held + $2, seq = seq + 2
    from key where a.account_id = key.account_id and a.available >= $2 returning a.account_id, a.seq, key.key_id
),
hold as (insert into hand.holds select $3, account_id, $2 from account)
insert into hand.events (shard, position, account_id, seq, event_id, type, key_id, recorded_at, body)
select 0, nextval('hand.positions'), account_id, seq - 1 + n, gen_random_uuid(), type, key_id, now(), $4
from account, (values (0, 'KeyUsed'), (1, 'CreditsReserved')) as event (n, type)";
const CHARGE_AT_ONCE: &str = "\
with hold as (delete from hand.holds where reservation_id = $1 returning account_id, amount),
account as (
    update hand.accounts a set held = held - hold.amount, seq = seq + 1
    from hold where a.account_id = hold.account_id returning a.account_id, a.seq
)
insert into hand.events (shard, position, account_id, seq, event_id, type, recorded_at, body)
select 0, nextval('hand.positions'), account_id, seq, gen_random_uuid(), 'CreditsCharged', now(), $2 from account";

/// How the SQL is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One statement after the other in a SQL transaction, as most code does.
    Transaction,
    /// One statement for each command.
    Statement,
}

const PRICE: i64 = 500_000;

/// Whole cycles: verify, hold, charge; three events. `callers` share 32 connections at most.
pub async fn hand_sql(database_url: &str, settings: &Settings, style: Style) -> anyhow::Result<Figure> {
    let callers = u32::try_from(settings.callers)?;
    let pool = open_pool(database_url.parse()?, callers.min(CONNECTIONS_MAX));
    let accounts = settings.accounts.max(1);
    pool.execute(sqlx::AssertSqlSafe(TABLES.replace("$ACCOUNTS", &accounts.to_string())))
        .await?;
    let digests: Vec<Vec<u8>> = sqlx::query_scalar("select digest from hand.keys")
        .fetch_all(&pool)
        .await?;
    // All connections are there before anybody looks at a clock.
    let mut opened = Vec::new();
    for _ in 0..callers.min(CONNECTIONS_MAX) {
        opened.push(pool.acquire().await?);
    }
    drop(opened);
    let name = match style {
        Style::Transaction => "hand-sql",
        Style::Statement => "hand-sql-statement",
    };
    let figure = run(name, settings.callers, settings.each, |worker, end| {
        let (pool, digests) = (pool.clone(), digests.clone());
        async move {
            let mut seen = Seen::default();
            let mut turn = worker.wrapping_mul(7_919);
            while Instant::now() < end {
                turn = turn.wrapping_add(1);
                let digest = digests.get(turn % digests.len()).context("no key")?;
                let begin = Instant::now();
                let done = match style {
                    Style::Transaction => by_transactions(&pool, digest).await?,
                    Style::Statement => by_statements(&pool, digest).await?,
                };
                if done {
                    seen.took.push(begin.elapsed());
                } else {
                    seen.refused += 1;
                }
            }
            Ok(seen)
        }
    })
    .await?;
    pool.close().await;
    Ok(figure
        .with("accounts", accounts)
        .with("connections", callers.min(CONNECTIONS_MAX))
        .of_events(3))
}

fn fresh() -> Uuid {
    Uuid::from_bytes(clock::fresh_account_id().to_bytes())
}

async fn by_transactions(pool: &PgPool, digest: &[u8]) -> anyhow::Result<bool> {
    let reservation = fresh();
    let mut transaction = pool.begin().await?;
    let Some(key) = sqlx::query(CHECK_KEY)
        .bind(digest)
        .fetch_optional(&mut *transaction)
        .await?
    else {
        return Ok(false);
    };
    let (key, account): (Uuid, Uuid) = (key.try_get("key_id")?, key.try_get("account_id")?);
    let row = sqlx::query(LOCK).bind(account).fetch_one(&mut *transaction).await?;
    let (available, seq): (i64, i64) = (row.try_get("available")?, row.try_get("seq")?);
    if available < PRICE {
        return Ok(false);
    }
    sqlx::query(HOLD)
        .bind(account)
        .bind(PRICE)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(REMEMBER)
        .bind(reservation)
        .bind(account)
        .bind(PRICE)
        .execute(&mut *transaction)
        .await?;
    for (after, kind) in [(1, "KeyUsed"), (2, "CreditsReserved")] {
        event(&mut transaction, account, seq + after, kind, Some(key)).await?;
    }
    transaction.commit().await?;
    let mut transaction = pool.begin().await?;
    let amount: i64 = sqlx::query_scalar(TAKE_HOLD)
        .bind(reservation)
        .fetch_one(&mut *transaction)
        .await?;
    let seq: i64 = sqlx::query_scalar(CHARGE)
        .bind(account)
        .bind(amount)
        .fetch_one(&mut *transaction)
        .await?;
    event(&mut transaction, account, seq, "CreditsCharged", None).await?;
    transaction.commit().await?;
    Ok(true)
}

async fn event(
    transaction: &mut sqlx::PgTransaction<'_>,
    account: Uuid,
    seq: i64,
    kind: &str,
    key: Option<Uuid>,
) -> anyhow::Result<()> {
    sqlx::query(EVENT)
        .bind(account)
        .bind(seq)
        .bind(fresh())
        .bind(kind)
        .bind(key)
        .bind([7_u8; BODY_BYTES].as_slice())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

async fn by_statements(pool: &PgPool, digest: &[u8]) -> anyhow::Result<bool> {
    let reservation = fresh();
    let body = [7_u8; BODY_BYTES];
    let held = sqlx::query(HOLD_AT_ONCE)
        .bind(digest)
        .bind(PRICE)
        .bind(reservation)
        .bind(body.as_slice())
        .execute(pool)
        .await?;
    if held.rows_affected() != 2 {
        return Ok(false);
    }
    let charged = sqlx::query(CHARGE_AT_ONCE)
        .bind(reservation)
        .bind(body.as_slice())
        .execute(pool)
        .await?;
    Ok(charged.rows_affected() == 1)
}
