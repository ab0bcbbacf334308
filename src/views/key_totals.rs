//! Which keys used how much: the chart by key.

use keyledger_events::{AccountId, Credits, KeyId, Timestamp};
use sqlx::Row as _;

use super::key_label::key_label;
use super::{Columns as _, KeyLabel, ViewError, Views, time_column, uuid_of};

/// What one key used, or the dashboard, which has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTotal {
    /// `None` is the dashboard.
    pub key: Option<KeyId>,
    pub label: Option<KeyLabel>,
    pub uses: u64,
    pub charged: Credits,
}

/// The keys with the most credits, and what all others used together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyTotals {
    /// Most credits first.
    pub first: Vec<KeyTotal>,
    /// How many more were used.
    pub others: u64,
    pub others_uses: u64,
    pub others_charged: Credits,
}

impl Views {
    /// What an account's keys used since the hour of a moment: the first `limit` one by one, the others added up.
    pub async fn key_totals(&self, account: AccountId, since: Timestamp, limit: u32) -> Result<KeyTotals, ViewError> {
        // Goes along `usage_key_hour_idx`, which holds all that is asked for, so that no row of the table is looked at.
        let rows = sqlx::query(
            "with totals as materialized (
                 select caller_id, sum(uses)::bigint as uses, sum(charged)::bigint as charged
                 from views.usage where account_id = $1 and hour >= $2
                 group by caller_id
             ), first as (
                 select * from totals order by charged desc, uses desc, caller_id limit $3
             ), rest as (
                 select count(*) as keys, coalesce(sum(uses), 0)::bigint as uses, coalesce(sum(charged), 0)::bigint as charged
                 from totals where caller_id not in (select caller_id from first)
             )
             select f.*, r.keys as others, r.uses as others_uses, r.charged as others_charged,
                 n.name as key_name, n.preview as key_preview, n.deleted_at as key_deleted_at
             from first f cross join rest r
             left join views.key_list n on n.account_id = $1 and n.key_id = f.caller_id
             order by f.charged desc, f.uses desc, f.caller_id",
        )
        .bind(uuid_of(account.to_bytes()))
        .bind(time_column(since.start_of_hour()))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        let Some(last) = rows.last() else {
            return Ok(KeyTotals::default());
        };
        let first = rows.iter().map(|row| {
            let caller: uuid::Uuid = row.try_get("caller_id")?;
            Ok(KeyTotal {
                key: (caller != uuid_of(account.to_bytes())).then(|| KeyId::from_bytes(caller.into_bytes())),
                label: key_label(row)?,
                uses: row.count("uses")?,
                charged: row.credits("charged")?,
            })
        });
        Ok(KeyTotals {
            first: first.collect::<Result<_, ViewError>>()?,
            others: last.count("others")?,
            others_uses: last.count("others_uses")?,
            others_charged: last.credits("others_charged")?,
        })
    }
}
