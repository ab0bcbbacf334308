//! Proves that statements, log and views say the same, and compares a file of the platform's own with the ledger.
//!
//! In: the database, as its owner, a period, and accounts. Out: what was equal, and the first thing that was not.
//!
//! Promise: nothing is changed. Each account is looked at as it was at one moment, while everything goes on. Memory does
//! not grow with the events, nor with the lines of a file.
//!
//! Not here: repairing. `keyledger rebuild` folds a view again.

mod account;
mod charges;
mod compare;
mod difference;
mod usage;

use keyledger_events::{AccountId, DecodeError, Position, Recorded, Shard};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection as _, PgConnection, Row as _};
use uuid::Uuid;

use crate::clock;
use crate::log::{Log, ReadError, Stored};
use crate::statements::{Period, StatementError};
pub use compare::{Columns, Compared, Example, FileError, Found, MatchedBy, TheirFile, compare};
pub use difference::Difference;

/// Why it cannot be told whether all is equal.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error("the database cannot be reached: {0}")]
    Unreachable(#[from] sqlx::Error),
    #[error(transparent)]
    Statement(#[from] StatementError),
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error("the event at {position} cannot be read: {error}")]
    Event { position: Position, error: DecodeError },
    #[error("there is no account {account}")]
    UnknownAccount { account: AccountId },
    #[error("{view} has no checkpoint; run `keyledger migrate`")]
    NoCheckpoint { view: &'static str },
    #[error(transparent)]
    File(#[from] FileError),
}

/// What was looked at, and whether it is equal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconciled {
    pub accounts: u64,
    /// Events that were folded.
    pub events: u64,
    /// Lines of statements that were compared with the log.
    pub lines: u64,
    /// Rows of the charges' view that were compared with the log.
    pub charges: u64,
    /// Micro-credits that all accounts own at the end of the period.
    pub owned: i128,
    pub accounts_different: u64,
    pub first: Option<Difference>,
}

/// The accounts whose ids are read at once.
const ACCOUNTS_AT_ONCE: i64 = 1_000;

/// Compares the statements of accounts, or of all where none is named, with the log, and the views with it. Tells after every
/// account how many were looked at.
pub async fn reconcile(
    database_url: &str,
    accounts: &[AccountId],
    period: Period,
    mut progress: impl FnMut(u64),
) -> Result<Reconciled, ReconcileError> {
    // First: a pool would go on trying for half a minute where there is no server.
    let mut connection = PgConnection::connect(database_url).await?;
    let pool = PgPoolOptions::new().max_connections(1).connect(database_url).await?;
    let mut all = Reconciled::default();
    for shard in shards(&mut connection).await? {
        let log = Log::new(pool.clone(), shard);
        let mut after = AccountId::from_bytes([0; 16]);
        loop {
            let page = if accounts.is_empty() {
                accounts_after(&mut connection, shard, after).await?
            } else {
                accounts.to_vec()
            };
            for account in &page {
                let proof = account::prove(&mut connection, &log, *account, period, clock::now()).await?;
                all.add(proof);
                progress(all.accounts);
            }
            match page.last() {
                Some(last) if accounts.is_empty() => after = *last,
                Some(_) | None => break,
            }
        }
        if accounts.is_empty()
            && let Some(extra) = account_of_no_event(&mut connection, shard).await?
        {
            all.accounts_different += 1;
            all.first = all.first.take().or(Some(extra));
        }
    }
    Ok(all)
}

impl Reconciled {
    fn add(&mut self, proof: account::Proof) {
        self.accounts += 1;
        self.events += proof.events;
        self.lines += proof.lines;
        self.charges += proof.charges;
        self.owned += i128::from(proof.owned);
        if let Some(difference) = proof.first {
            self.accounts_different += 1;
            self.first = self.first.take().or(Some(difference));
        }
    }
}

async fn shards(connection: &mut PgConnection) -> Result<Vec<Shard>, ReconcileError> {
    let shards: Vec<i16> = sqlx::query_scalar("select shard from log_head order by shard")
        .fetch_all(connection)
        .await?;
    Ok(shards.into_iter().map(|shard| Shard(shard.unsigned_abs())).collect())
}

fn decoded(events: &[Stored]) -> Result<Vec<Recorded>, ReconcileError> {
    let decoded = events.iter().map(|stored| {
        let position = stored.position;
        stored
            .decode()
            .map_err(|error| ReconcileError::Event { position, error })
    });
    decoded.collect()
}

fn shard_column(shard: Shard) -> i16 {
    i16::try_from(shard.0).unwrap_or(i16::MAX)
}

async fn accounts_after(
    connection: &mut PgConnection,
    shard: Shard,
    after: AccountId,
) -> Result<Vec<AccountId>, ReconcileError> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "(select account_id from events
          where shard = $1 and account_id > $2 and type = 'keyledger.AccountOpened.v1' and type not in
              ('keyledger.KeyUsed.v1', 'keyledger.CreditsReserved.v1', 'keyledger.CreditsCharged.v1')
          order by account_id limit $3)
         union all
         (select account_id from archive_accounts
          where shard = $1 and account_id > $2 and first_seq = 1 and 'keyledger.AccountOpened.v1' = any(types)
          order by account_id limit $3)
         order by account_id limit $3",
    )
    .bind(shard_column(shard))
    .bind(Uuid::from_bytes(after.to_bytes()))
    .bind(ACCOUNTS_AT_ONCE)
    .fetch_all(connection)
    .await?;
    Ok(ids
        .into_iter()
        .map(|id| AccountId::from_bytes(id.into_bytes()))
        .collect())
}

/// A balance whose account the log does not know.
async fn account_of_no_event(
    connection: &mut PgConnection,
    shard: Shard,
) -> Result<Option<Difference>, ReconcileError> {
    let row = sqlx::query(
        "select b.account_id, c.position from views.balance b
         join views.checkpoints c on c.projection = 'balance' and c.shard = $1
         where not exists (select from events e where e.account_id = b.account_id and e.seq = 1 and e.shard = $1)
           and not exists (select from archive_accounts a
                           where a.account_id = b.account_id and a.first_seq = 1 and a.shard = $1)
         order by b.account_id limit 1",
    )
    .bind(shard_column(shard))
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let account = AccountId::from_bytes(row.try_get::<Uuid, _>("account_id")?.into_bytes());
    Ok(Some(Difference {
        account,
        what: "views.balance",
        position: None,
        log: None,
        other: Some("a row".to_owned()),
    }))
}
