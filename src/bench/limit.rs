//! The limit: rows of ours under indexes of ours, a thousand a statement, and nothing else. No ledger on this Postgres
//! can be faster, since none appends less.

use std::time::Instant;

use anyhow::Context as _;
use keyledger_events::Shard;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use uuid::Uuid;

use super::Settings;
use super::bank::{Bank, Ended};
use super::figure::Figure;
use super::measure::{Seen, run};
use crate::clock;
use crate::log::{EVENTS_A_BLOCK, Log, open_pool, service_options};

/// Events of one request that was let through, as the ledger wrote them.
#[derive(Debug, Clone)]
struct Pair {
    types: [String; 2],
    bodies: [Vec<u8>; 2],
}

const PAIRS: usize = 500;
const EVENTS: u64 = 1_000;

const INSERT: &str = "\
insert into events (shard, position, account_id, seq, event_id, type, key_id, recorded_at, body, leads_key)
select $1, row.position, row.account_id, row.seq, row.event_id, row.type, row.key_id, now(), row.body, row.leads_key
from unnest($2::bigint[], $3::uuid[], $4::bigint[], $5::uuid[], $6::text[], $7::uuid[], $8::bytea[], $9::boolean[])
    as row (position, account_id, seq, event_id, type, key_id, body, leads_key)";

/// One operation is a statement of 1,000 events. `callers` are connections, each with a shard of its own.
pub async fn limit(database_url: &str, settings: &Settings) -> anyhow::Result<Figure> {
    let pair = sample(database_url).await?;
    let options: PgConnectOptions = database_url.parse()?;
    let accounts = settings.accounts.max(1);
    let figure = run("limit", settings.callers, settings.each, |worker, end| {
        let (pair, options) = (pair.clone(), options.clone());
        async move {
            let mut connection = PgConnection::connect_with(&options).await?;
            let shard = i16::try_from(worker)? + 1;
            let last: i64 = sqlx::query_scalar("select coalesce(max(position), 0) from events where shard = $1")
                .bind(shard)
                .fetch_one(&mut connection)
                .await?;
            let mut rows = Rows::new(shard, last, accounts, &pair);
            let mut seen = Seen::default();
            while Instant::now() < end {
                let begin = Instant::now();
                rows.next();
                rows.insert(&mut connection).await?;
                seen.took.push(begin.elapsed());
            }
            Ok(seen)
        }
    })
    .await?;
    Ok(figure.with("accounts", accounts).of_events(EVENTS))
}

/// Lets the ledger write what a request is.
async fn sample(database_url: &str) -> anyhow::Result<Pair> {
    let bank = Bank::open(database_url, 1, 1).await?;
    let customer = bank.customers.first().context("no customer")?;
    let before = *customer.ledger.committed().borrow();
    anyhow::ensure!(matches!(customer.reserve().await?, Ended::Done(_)), "a refused sample");
    let log = Log::new(open_pool(service_options(database_url)?, 1), Shard(0));
    let written = log.read(before, 2).await?;
    bank.close().await?;
    let [used, held] = written.as_slice() else {
        anyhow::bail!("a request is {} events", written.len());
    };
    Ok(Pair {
        types: [
            used.decode()?.event.type_name().to_owned(),
            held.decode()?.event.type_name().to_owned(),
        ],
        bodies: [used.body.clone(), held.body.clone()],
    })
}

/// One statement's arrays, filled anew for each.
#[derive(Debug)]
struct Rows {
    shard: i16,
    last: i64,
    accounts: Vec<(Uuid, Uuid, i64)>,
    turn: usize,
    positions: Vec<i64>,
    account_ids: Vec<Uuid>,
    seqs: Vec<i64>,
    event_ids: Vec<Uuid>,
    types: Vec<String>,
    key_ids: Vec<Uuid>,
    bodies: Vec<Vec<u8>>,
    leads_key: Vec<bool>,
}

impl Rows {
    fn new(shard: i16, last: i64, accounts: usize, pair: &Pair) -> Rows {
        let id = || Uuid::from_bytes(clock::fresh_account_id().to_bytes());
        Rows {
            shard,
            last,
            accounts: (0..accounts).map(|_| (id(), id(), 0)).collect(),
            turn: 0,
            positions: Vec::new(),
            account_ids: Vec::new(),
            seqs: Vec::new(),
            event_ids: Vec::new(),
            types: (0..PAIRS).flat_map(|_| pair.types.clone()).collect(),
            key_ids: Vec::new(),
            bodies: (0..PAIRS).flat_map(|_| pair.bodies.clone()).collect(),
            leads_key: Vec::new(),
        }
    }

    fn next(&mut self) {
        for old in [&mut self.account_ids, &mut self.event_ids, &mut self.key_ids] {
            old.clear();
        }
        self.positions.clear();
        self.seqs.clear();
        self.leads_key.clear();
        for _ in 0..PAIRS {
            self.turn += 1;
            let turn = self.turn % self.accounts.len();
            let Some((account, key, seq)) = self.accounts.get_mut(turn) else {
                return;
            };
            for _ in 0..2 {
                *seq += 1;
                self.last += 1;
                self.positions.push(self.last);
                self.account_ids.push(*account);
                self.key_ids.push(*key);
                self.seqs.push(*seq);
                // Each account has one key, so this is what `KeysOfBlock` would tell.
                self.leads_key
                    .push(*seq == 1 || seq.unsigned_abs().is_multiple_of(EVENTS_A_BLOCK));
                self.event_ids
                    .push(Uuid::from_bytes(clock::fresh_account_id().to_bytes()));
            }
        }
    }

    async fn insert(&self, connection: &mut PgConnection) -> anyhow::Result<()> {
        sqlx::query(INSERT)
            .bind(self.shard)
            .bind(&self.positions)
            .bind(&self.account_ids)
            .bind(&self.seqs)
            .bind(&self.event_ids)
            .bind(&self.types)
            .bind(&self.key_ids)
            .bind(&self.bodies)
            .bind(&self.leads_key)
            .execute(connection)
            .await?;
        Ok(())
    }
}
