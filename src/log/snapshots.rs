//! Snapshots of account state: a shortcut for loading, never a truth.

use std::collections::HashMap;
use std::time::Instant;

use keyledger_events::{AccountId, Position, Seq};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{DataKeyFound, Log, ReadError, bigint, in_time, position};

/// A cached fold of an account's history up to `seq`.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub account: AccountId,
    pub seq: Seq,
    pub position: Position,
    pub state: Vec<u8>,
}

fn snapshot(row: &PgRow) -> Result<Snapshot, ReadError> {
    let account: Uuid = row.try_get("account_id")?;
    let seq: i64 = row.try_get("seq")?;
    Ok(Snapshot {
        account: AccountId::from_bytes(account.into_bytes()),
        seq: Seq(seq.unsigned_abs()),
        position: position(row.try_get("position")?)?,
        state: row.try_get("state")?,
    })
}

impl Log {
    /// The snapshots of these accounts that have this form, or without one no snapshots, and the data keys of those that ever had one.
    pub async fn shortcuts(
        &self,
        accounts: &[AccountId],
        format: Option<i32>,
    ) -> Result<(Vec<Snapshot>, HashMap<AccountId, DataKeyFound>), ReadError> {
        let ids: Vec<Uuid> = accounts
            .iter()
            .map(|account| Uuid::from_bytes(account.to_bytes()))
            .collect();
        let asked_at = Instant::now();
        in_time(async {
            let rows = sqlx::query(
                "select wanted.account_id, s.seq, s.position, s.state, k.account_id is not null as keyed, k.key
                 from unnest($2::uuid[]) as wanted (account_id)
                 left join account_snapshots s on s.shard = $1 and s.account_id = wanted.account_id and s.format = $3
                 left join data_keys k on k.shard = $1 and k.account_id = wanted.account_id
                 where s.account_id is not null or k.account_id is not null",
            )
            .bind(self.shard_column())
            .bind(&ids)
            .bind(format)
            .fetch_all(&self.pool)
            .await?;
            let (mut snapshots, mut keys) = (Vec::new(), HashMap::new());
            for row in &rows {
                if row.try_get::<Option<i64>, _>("seq")?.is_some() {
                    snapshots.push(snapshot(row)?);
                }
                if row.try_get("keyed")? {
                    let (account, key) = self.data_key_in(row, asked_at)?;
                    keys.insert(account, key);
                }
            }
            Ok((snapshots, keys))
        })
        .await
    }

    /// At most `limit` snapshots of this form, of the accounts after one, by account.
    pub async fn snapshots_after(
        &self,
        after: Option<AccountId>,
        limit: u32,
        format: i32,
    ) -> Result<Vec<Snapshot>, ReadError> {
        in_time(async {
            let rows = sqlx::query(
                "select account_id, seq, position, state from account_snapshots
                 where shard = $1 and format = $2 and ($3::uuid is null or account_id > $3) order by account_id limit $4",
            )
            .bind(self.shard_column())
            .bind(format)
            .bind(after.map(|account| Uuid::from_bytes(account.to_bytes())))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
            rows.iter().map(snapshot).collect()
        })
        .await
    }

    /// Keeps a snapshot, unless a later one of the same form is there already.
    pub async fn keep_snapshot(&self, snapshot: &Snapshot, format: i32) -> Result<(), ReadError> {
        in_time(async {
            sqlx::query(
                "insert into account_snapshots (shard, account_id, seq, position, format, state)
                 select $1, $2, $3, $4, $5, $6
                 -- Somebody may still have in memory what was erased.
                 where not exists (
                     select from data_keys k where k.shard = $1 and k.account_id = $2 and k.erased_at is not null)
                 on conflict on constraint account_snapshots_pkey do update
                 set seq = excluded.seq, position = excluded.position, format = excluded.format, state = excluded.state
                 where account_snapshots.seq < excluded.seq or account_snapshots.format <> excluded.format",
            )
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(snapshot.account.to_bytes()))
            .bind(bigint(snapshot.seq.0))
            .bind(bigint(snapshot.position.0))
            .bind(format)
            .bind(&snapshot.state)
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }

    /// Forgets an account's snapshot and its marks for replays, those too that somebody kept just while its data key was destroyed:
    /// the next one who wants the account reads its events.
    pub async fn forget_shortcuts(&self, account: AccountId) -> Result<(), ReadError> {
        in_time(async {
            sqlx::query(
                "with marks as (delete from replay_marks where shard = $1 and account_id = $2)
                 delete from account_snapshots where shard = $1 and account_id = $2",
            )
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(account.to_bytes()))
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }
}
