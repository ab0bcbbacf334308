//! What an account spends, and how long what it has will last.

use keyledger_events::{AccountId, Credits, Timestamp};

use super::{At, Columns as _, ViewError, Views, time_column, uuid_of};

/// What was spent, and what is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spending {
    /// Charged since the moment that was asked for: the month's beginning.
    pub charged: Credits,
    /// Charged in the last seven days.
    pub charged_week: Credits,
    /// As the balance has it.
    pub available: Credits,
}

const WEEK_DAYS: u8 = 7;
const WEEK_SECONDS: u32 = 7 * 86_400;

impl Spending {
    /// Whole days that what is available lasts at the mean pace of the last seven days. `None` when nothing was charged
    /// in them; 0 when nothing is available.
    pub fn runway_days(&self) -> Option<u64> {
        let week = u128::from(self.charged_week.micros().unsigned_abs());
        let available = u128::from(u64::try_from(self.available.micros()).unwrap_or_default());
        let days = (available * u128::from(WEEK_DAYS)).checked_div(week)?;
        Some(u64::try_from(days).unwrap_or(u64::MAX))
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
        let row = sqlx::query(
            "select (select min(position) from views.checkpoints where projection in ('usage', 'balance') and shard = $1) as at,
                 b.account_id, b.granted - b.charged + b.refunded - b.expired - b.reserved as available,
                 u.since, u.week
             from (select) one
             left join views.balance b on b.account_id = $2
             cross join (
                 select coalesce(sum(charged) filter (where hour >= $3), 0)::bigint as since,
                     coalesce(sum(charged) filter (where hour >= $4), 0)::bigint as week
                 from views.usage_by_endpoint where account_id = $2 and hour >= least($3, $4)
             ) u",
        )
        .bind(self.shard_column())
        .bind(uuid_of(account.to_bytes()))
        .bind(time_column(since.start_of_hour()))
        .bind(time_column(now.minus_seconds(WEEK_SECONDS).start_of_hour()))
        .fetch_one(&self.pool)
        .await?;
        let value = if row.has("account_id")? {
            Some(Spending {
                charged: row.credits("since")?,
                charged_week: row.credits("week")?,
                available: row.credits("available")?,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn spending(available: i64, week: i64) -> Spending {
        let credits = |micros| Credits::from_micros(micros).unwrap();
        Spending {
            charged: Credits::ZERO,
            charged_week: credits(week),
            available: credits(available),
        }
    }

    #[test]
    fn credits_last_as_long_as_at_the_pace_of_the_last_week() {
        assert_eq!(spending(100_000_000, 70_000_000).runway_days(), Some(10));
        assert_eq!(spending(99_999_999, 70_000_000).runway_days(), Some(9));
        assert_eq!(spending(0, 1).runway_days(), Some(0));
        assert_eq!(spending(-5, 1).runway_days(), Some(0));
        assert_eq!(spending(5, 0).runway_days(), None);
    }

    #[test]
    fn the_most_there_can_be_is_no_overflow() {
        let most = 9_000_000_000_000_000;
        assert_eq!(spending(most, 1).runway_days(), Some(7 * 9_000_000_000_000_000));
    }
}
