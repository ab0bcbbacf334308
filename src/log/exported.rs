//! What an export reads beside the log itself: where an account's or a key's events lie, and an account's by position.

use keyledger_events::{AccountId, KeyId, Position, Seq};
use sqlx::Row as _;
use uuid::Uuid;

use super::archived::{Whose, with_archived};
use super::{Log, ReadError, Stored, bigint, in_time, position};

impl Log {
    /// Whose key it is.
    pub async fn account_of_key(&self, key: KeyId) -> Result<Option<AccountId>, ReadError> {
        let here = in_time(async {
            let row =
                // Where what leads to the key is archived, the archive knows whose it is.
                sqlx::query(
                    "select account_id from events where shard = $1 and key_id = $2 and leads_key order by position limit 1",
                )
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
        .await?;
        match here {
            Some(account) => Ok(Some(account)),
            None => self.archived_account_of_key(key).await,
        }
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
        let here = self.ends(statement, account, None, first, last).await?;
        Ok(around(
            here,
            self.archived_ends(Whose::Account(account), first, last).await?,
        ))
    }

    /// The same of a key.
    pub async fn ends_of_key(
        &self,
        account: AccountId,
        key: KeyId,
        first: Position,
        last: Position,
    ) -> Result<Option<(Position, Position)>, ReadError> {
        let statement = "select (select at from key_events_after($1, $2, $5, $3 - 1, 1)) as first,
                    (select at from key_events_before($1, $2, $5, $4 + 1, null, 1, null) where part = 'event') as last";
        let here = self.ends(statement, account, Some(key), first, last).await?;
        Ok(around(here, self.archived_ends(Whose::Key(key), first, last).await?))
    }

    async fn ends(
        &self,
        statement: &'static str,
        account: AccountId,
        key: Option<KeyId>,
        first: Position,
        last: Position,
    ) -> Result<Option<(Position, Position)>, ReadError> {
        in_time(async {
            let asked = sqlx::query(statement)
                .bind(self.shard_column())
                .bind(Uuid::from_bytes(account.to_bytes()))
                .bind(bigint(first.0))
                .bind(bigint(last.0).min(i64::MAX - 1));
            let asked = match key {
                None => asked,
                Some(key) => asked.bind(Uuid::from_bytes(key.to_bytes())),
            };
            let row = asked.fetch_one(&self.pool).await?;
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
        let (archived, here) = in_time(async {
            // An account's seqs rise with the positions: the event at the position, or the last one before it, says which
            // seq to go on from.
            let rows = sqlx::query(
                "(select position, body from events
                  where shard = $1 and account_id = $2 and seq > coalesce(
                      (select seq from events where shard = $1 and position = $3 and account_id = $2),
                      (select seq from events where shard = $1 and account_id = $2 and position <= $3
                       order by seq desc limit 1), 0)
                  order by seq limit $4)
                 union all
                 (select s.last, null
                  from archive_accounts a join archive_segments s on s.shard = a.shard and s.number = a.number
                  where a.shard = $1 and a.account_id = $2 order by a.number desc limit 1)",
            )
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(account.to_bytes()))
            .bind(bigint(after.0))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
            with_archived(&rows)
        })
        .await?;
        if archived <= after.0 {
            return Ok(here);
        }
        let before = self.archived_up_to(Whose::Account(account), Position(1), after).await?;
        let seq = before.map_or(Seq::START, |(seq, _)| seq);
        self.account_events(account, seq, limit).await
    }
}

/// The ends of what is in Postgres and of what is archived, as one.
fn around(here: Option<(Position, Position)>, there: Option<(Position, Position)>) -> Option<(Position, Position)> {
    match (here, there) {
        (Some(here), Some(there)) => Some((here.0.min(there.0), here.1.max(there.1))),
        (one, other) => one.or(other),
    }
}
