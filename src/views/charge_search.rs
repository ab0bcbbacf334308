//! Billing lines of one key, one endpoint, or some days.

use keyledger_events::{AccountId, Endpoint, KeyId, Timestamp};
use sqlx::postgres::PgRow;

use super::charges::{Charge, ChargeCursor, charge};
use super::key_label::key_label;
use super::{KeyLabel, ListOf, ViewError, Views, list, time_column, uuid_of};

/// Which billing lines to look for. All, unless said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChargeSearch {
    pub key: Option<KeyId>,
    pub endpoint: Option<Endpoint>,
    /// Charged at this moment or later.
    pub from: Option<Timestamp>,
    /// Charged before this moment.
    pub to: Option<Timestamp>,
}

/// A billing line as people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeLine {
    pub charge: Charge,
    /// Of its key. `None` too when the key list does not know the key yet.
    pub label: Option<KeyLabel>,
}

/// A statement for each set of filters, so that each has a plan that goes by its own index.
///
/// Time does not run backwards in a shard, so a range of time is a range of positions, and its ends are looked up.
macro_rules! charges {
    ($filter:literal) => {
        concat!(
            "select c.position as at, exists (select from views.balance where account_id = $2) as known, l.*,
                 n.name as key_name, n.preview as key_preview, n.deleted_at as key_deleted_at
             from views.checkpoints c
             left join lateral (
                 select * from views.charges
                 where account_id = $2 and shard = $1 and ($3::bigint is null or position < $3)
                   and ($5::timestamptz is null or position >= coalesce((
                       select first.position from views.charges first
                       where first.account_id = $2 and first.shard = $1 and first.charged_at >= $5
                       order by first.charged_at, first.position limit 1), 9223372036854775807))
                   and ($6::timestamptz is null or position < coalesce((
                       select next.position from views.charges next
                       where next.account_id = $2 and next.shard = $1 and next.charged_at >= $6
                       order by next.charged_at, next.position limit 1), 9223372036854775807))
                   and ",
            $filter,
            " order by position desc limit $4
             ) l on true
             left join views.key_list n on n.account_id = $2 and n.key_id = l.key_id
             where c.projection = 'charges' and c.shard = $1
             order by l.position desc"
        )
    };
}

fn line(row: &PgRow) -> Result<ChargeLine, ViewError> {
    Ok(ChargeLine {
        charge: charge(row)?,
        label: key_label(row)?,
    })
}

impl Views {
    /// An account's charges that are looked for, the latest first.
    pub async fn charges_found(
        &self,
        account: AccountId,
        search: &ChargeSearch,
        limit: u32,
        after: Option<ChargeCursor>,
    ) -> ListOf<Charge, ChargeCursor> {
        let rows = self.charge_rows(account, search, limit, after).await?;
        list(&rows, "reservation_id", limit, charge, |charge| charge.position)
    }

    /// The same, with what their keys are called.
    pub async fn charge_lines(
        &self,
        account: AccountId,
        search: &ChargeSearch,
        limit: u32,
        after: Option<ChargeCursor>,
    ) -> ListOf<ChargeLine, ChargeCursor> {
        let rows = self.charge_rows(account, search, limit, after).await?;
        list(&rows, "reservation_id", limit, line, |line| line.charge.position)
    }

    async fn charge_rows(
        &self,
        account: AccountId,
        search: &ChargeSearch,
        limit: u32,
        after: Option<ChargeCursor>,
    ) -> Result<Vec<PgRow>, ViewError> {
        let key = search.key.map(|key| uuid_of(key.to_bytes()));
        let endpoint = search.endpoint.as_ref().map(|endpoint| endpoint.as_str().to_owned());
        let statement = match (&key, &endpoint) {
            (None, None) => charges!("$7::uuid is null and $8::text is null"),
            (Some(_), None) => charges!("key_id = $7 and $8::text is null"),
            (None, Some(_)) => charges!("$7::uuid is null and endpoint = $8"),
            (Some(_), Some(_)) => charges!("key_id = $7 and endpoint = $8"),
        };
        Ok(sqlx::query(statement)
            .bind(self.shard_column())
            .bind(uuid_of(account.to_bytes()))
            .bind(after.map(|position| i64::try_from(position.0).unwrap_or(i64::MAX)))
            .bind(i64::from(limit) + 1)
            .bind(search.from.map(time_column))
            .bind(search.to.map(time_column))
            .bind(key)
            .bind(endpoint)
            .fetch_all(&self.pool)
            .await?)
    }
}
