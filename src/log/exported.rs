//! What an export reads beside the log itself: where an account's or a key's events lie, and an account's by position.

use keyledger_events::{AccountId, KeyId, Position};
use sqlx::Row as _;
use uuid::Uuid;

use super::read::all_stored;
use super::{Log, ReadError, Stored, bigint, in_time, position};

impl Log {
    /// Whose key it is.
    pub async fn account_of_key(&self, key: KeyId) -> Result<Option<AccountId>, ReadError> {
        in_time(async {
            let row =
                sqlx::query("select account_id from events where shard = $1 and key_id = $2 order by position limit 1")
                    .bind(self.shard_column())
                    .bind(Uuid::from_bytes(key.to_bytes()))
                    .fetch_optional(&self.pool)
                    .await?;
            let account = |row: sqlx::postgres::PgRow| row.try_get::<Uuid, _>("account_id");
            Ok(row
                .map(account)
                .transpose()?
                .map(|id| AccountId::from_bytes(id.into_bytes())))
        })
        .await
    }

    /// The positions of the account's first and last event from a position to another one.
    pub async fn ends_of_account(
        &self,
        account: AccountId,
        first: Position,
        last: Position,
    ) -> Result<Option<(Position, Position)>, ReadError> {
        // By seq, which rises with the position: the account's own index leads there.
        let statement = "select (select position from events where shard = $1 and account_id = $2 and position >= $3
                     order by seq limit 1) as first,
                    (select position from events where shard = $1 and account_id = $2 and position <= $4
                     order by seq desc limit 1) as last";
        self.ends(statement, Uuid::from_bytes(account.to_bytes()), first, last)
            .await
    }

    /// The same of a key.
    pub async fn ends_of_key(
        &self,
        key: KeyId,
        first: Position,
        last: Position,
    ) -> Result<Option<(Position, Position)>, ReadError> {
        let statement = "select (select position from events where shard = $1 and key_id = $2 and position >= $3
                     order by position limit 1) as first,
                    (select position from events where shard = $1 and key_id = $2 and position <= $4
                     order by position desc limit 1) as last";
        self.ends(statement, Uuid::from_bytes(key.to_bytes()), first, last)
            .await
    }

    async fn ends(
        &self,
        statement: &'static str,
        of: Uuid,
        first: Position,
        last: Position,
    ) -> Result<Option<(Position, Position)>, ReadError> {
        in_time(async {
            let row = sqlx::query(statement)
                .bind(self.shard_column())
                .bind(of)
                .bind(bigint(first.0))
                .bind(bigint(last.0))
                .fetch_one(&self.pool)
                .await?;
            let found: (Option<i64>, Option<i64>) = (row.try_get("first")?, row.try_get("last")?);
            let (Some(first), Some(last)) = found else {
                return Ok(None);
            };
            Ok((first <= last).then_some((position(first)?, position(last)?)))
        })
        .await
    }

    /// At most `limit` events of an account after a position, in order.
    pub async fn account_events_after(
        &self,
        account: AccountId,
        after: Position,
        limit: u32,
    ) -> Result<Vec<Stored>, ReadError> {
        in_time(async {
            // An account's seqs rise with the positions: the event at the position, or the last one before it, says which
            // seq to go on from.
            let rows = sqlx::query(
                "select position, body from events
                 where shard = $1 and account_id = $2 and seq > coalesce(
                     (select seq from events where shard = $1 and position = $3 and account_id = $2),
                     (select seq from events where shard = $1 and account_id = $2 and position <= $3
                      order by seq desc limit 1), 0)
                 order by seq limit $4",
            )
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(account.to_bytes()))
            .bind(bigint(after.0))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
            all_stored(&rows)
        })
        .await
    }
}
