//! What an account spends, and how long what it has will last.

use keyledger_events::{AccountId, Credits, Timestamp};
use sqlx::postgres::PgRow;

use super::available::available;
use super::runway::{Lot, Runway, runway};
use super::{At, Columns as _, ViewError, Views, time_column, uuid_of};

/// What was spent, and what is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spending {
    /// Charged since the moment that was asked for: the month's beginning.
    pub charged: Credits,
    /// Taken back since then, of charges of any time.
    pub refunded: Credits,
    /// Charged in the last seven days and not taken back in them.
    pub charged_week: Credits,
    /// As the balance has it.
    pub available: Credits,
    /// Grants that something is left of and that every endpoint can use, in the order in which they burn.
    pub lots: Vec<Lot>,
}

const WEEK_SECONDS: u32 = 7 * 86_400;
/// More than anybody has; what comes after them is left out, so that nothing is promised too much.
const LOTS_MAX: i64 = 1_000;

impl Spending {
    /// How long what is available lasts at the mean pace of the last seven days. `None` when nothing was charged in them.
    pub fn runway(&self, now: Timestamp) -> Option<Runway> {
        runway(&self.lots, self.available, self.charged_week, now)
    }
}

impl Views {
    /// What an account has spent since a moment and in the last seven days before `now`, hour by hour: the hour that
    /// the moment lies in counts whole. The position is that of the view that is further behind.
    pub async fn spending(
        &self,
        account: AccountId,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<At<Option<Spending>>, ViewError> {
        let rows = sqlx::query(concat!(
"select (select min(position) from views.checkpoints where projection in ('usage', 'balance') and shard = $1) as at,
                 b.account_id, ",
            available!(),
            " as available,
                 u.since, u.refunded, u.week, g.grant_id, g.remaining, g.expires_at
             from (select) one
             left join views.balance b on b.account_id = $2
             cross join (
                 select coalesce(sum(charged) filter (where hour >= $3), 0)::bigint as since,
                     coalesce(sum(refunded) filter (where hour >= $3), 0)::bigint as refunded,
                     greatest(coalesce(sum(charged - refunded) filter (where hour >= $4), 0), 0)::bigint as week
                 from views.usage_by_endpoint where account_id = $2 and hour >= least($3, $4)
             ) u
             left join lateral (
                 select grant_id, remaining, priority, expires_at, granted_at from views.grants
                 where account_id = $2 and remaining > 0 and started and endpoints is null and (expires_at is null or expires_at > $5)
                 order by priority, expires_at nulls last, granted_at, grant_id limit $6
             ) g on true
             order by g.priority, g.expires_at nulls last, g.granted_at, g.grant_id"
))
        .bind(self.shard_column())
        .bind(uuid_of(account.to_bytes()))
        .bind(time_column(since.start_of_hour()))
        .bind(time_column(now.minus_seconds(WEEK_SECONDS).start_of_hour()))
        .bind(time_column(now))
        .bind(LOTS_MAX)
        .fetch_all(&self.pool)
        .await?;
        let row = rows.first().ok_or(ViewError::Corrupt { what: "no checkpoint" })?;
        let value = if row.has("account_id")? {
            Some(Spending {
                charged: row.credits("since")?,
                refunded: row.credits("refunded")?,
                charged_week: row.credits("week")?,
                available: row.credits("available")?,
                lots: lots(&rows)?,
            })
        } else {
            None
        };
        Ok(At {
            position: row.position("at")?,
            value,
        })
    }
}

/// One row a lot, or one row without any.
fn lots(rows: &[PgRow]) -> Result<Vec<Lot>, ViewError> {
    let mut lots = Vec::with_capacity(rows.len());
    for row in rows {
        if row.has("grant_id")? {
            lots.push(Lot {
                left: row.credits("remaining")?,
                expires_at: row.time_or_none("expires_at")?,
            });
        }
    }
    Ok(lots)
}
