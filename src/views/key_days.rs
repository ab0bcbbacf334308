//! What a page of keys shows beside each: its days of use, and how many networks it is used from.

use keyledger_events::{AccountId, Credits, KeyId, Timestamp};

use super::{Columns as _, ViewError, Views, time_column, uuid_of};

/// A key's use on one day, UTC. Days without any have no entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDay {
    pub key: KeyId,
    pub day: Timestamp,
    pub uses: u64,
    pub charged: Credits,
}

/// How many networks a key was used from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyNetworks {
    pub key: KeyId,
    /// 32 means that many or more.
    pub networks: u64,
}

/// A page has fewer.
const KEYS_MAX: usize = 200;

impl Views {
    /// The use of some keys of an account by day since the day of `since`, key by key, in order of time. More than 200
    /// keys, and those behind are left out.
    pub async fn key_days(
        &self,
        account: AccountId,
        keys: &[KeyId],
        since: Timestamp,
    ) -> Result<Vec<KeyDay>, ViewError> {
        let keys = keys.iter().take(KEYS_MAX);
        let rows = sqlx::query(
            "select k.key_id, d.day, d.uses, d.charged
             from unnest($2::uuid[]) as k (key_id)
             cross join lateral (
                 select date_trunc('day', hour, 'UTC') as day, sum(uses)::bigint as uses, sum(charged)::bigint as charged
                 from views.usage where account_id = $1 and caller_id = k.key_id and hour >= $3
                 group by 1
             ) d
             order by k.key_id, d.day",
        )
        .bind(uuid_of(account.to_bytes()))
        .bind(keys.map(|key| uuid_of(key.to_bytes())).collect::<Vec<_>>())
        .bind(time_column(since.start_of_day()))
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(KeyDay {
                    key: row.key("key_id")?,
                    day: row.time("day")?,
                    uses: row.count("uses")?,
                    charged: row.credits("charged")?,
                })
            })
            .collect()
    }

    /// How many networks each of some keys was used from since a moment. A key that was used from none has no entry.
    pub async fn key_networks(
        &self,
        account: AccountId,
        keys: &[KeyId],
        since: Timestamp,
    ) -> Result<Vec<KeyNetworks>, ViewError> {
        let keys = keys.iter().take(KEYS_MAX);
        let rows = sqlx::query(
            "select key_id, count(*) as networks from views.key_networks
             where account_id = $1 and key_id = any($2) and last_used_at >= $3
             group by key_id order by key_id",
        )
        .bind(uuid_of(account.to_bytes()))
        .bind(keys.map(|key| uuid_of(key.to_bytes())).collect::<Vec<_>>())
        .bind(time_column(since))
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(KeyNetworks {
                    key: row.key("key_id")?,
                    networks: row.count("networks")?,
                })
            })
            .collect()
    }
}
