//! What a page of keys shows beside each: its days of use, and how many networks it was used from.

use keyledger_events::{AccountId, Credits, KeyId, Timestamp};

use super::key_search::found_keys;
use super::{Columns as _, KeySearch, KeyState, ViewError, Views, time_column, uuid_of};

/// How a key was used since some day. A key that was not has no days and no networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    pub key: KeyId,
    /// 32 means that many or more.
    pub networks: u64,
    /// In order of time. Days without any use have no entry.
    pub days: Vec<KeyDay>,
}

/// A key's use on one day, UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDay {
    pub day: Timestamp,
    pub uses: u64,
    pub charged: Credits,
}

/// A page of the key list, as [`Views::keys_found`] is asked for it.
#[derive(Debug, Clone, Copy)]
pub struct KeyPage<'a> {
    pub search: &'a KeySearch,
    pub now: Timestamp,
    pub limit: u32,
    pub after: Option<KeyId>,
}

impl Views {
    /// The use of the keys on one page of an account's list since the day of `since`. It asks for the page by itself, so
    /// that it can be asked at the same time as the page.
    pub async fn keys_use(
        &self,
        account: AccountId,
        page: KeyPage<'_>,
        since: Timestamp,
    ) -> Result<Vec<KeyUse>, ViewError> {
        let rows = sqlx::query(concat!(
            "select k.key_id, n.networks, d.day, coalesce(d.uses, 0) as uses, coalesce(d.charged, 0) as charged
             from (",
            found_keys!(),
            ") k
             cross join lateral (
                 select count(*) as networks from views.key_networks
                 where account_id = $2 and key_id = k.key_id and last_used_at >= $1
             ) n
             left join lateral (
                 select date_trunc('day', hour, 'UTC') as day, sum(uses)::bigint as uses, sum(charged)::bigint as charged
                 from views.usage where account_id = $2 and caller_id = k.key_id and hour >= $1
                 group by 1
             ) d on true
             order by k.key_id, d.day"
        ))
        .bind(time_column(since.start_of_day()))
        .bind(uuid_of(account.to_bytes()))
        .bind(page.search.state.map(KeyState::as_str))
        .bind(time_column(page.now))
        .bind(page.search.name.as_deref())
        .bind(page.after.map(|id| uuid_of(id.to_bytes())))
        .bind(i64::from(page.limit))
        .fetch_all(&self.pool)
        .await?;
        let mut keys: Vec<KeyUse> = Vec::new();
        for row in &rows {
            let key = row.key("key_id")?;
            if keys.last().is_none_or(|last| last.key != key) {
                keys.push(KeyUse {
                    key,
                    networks: row.count("networks")?,
                    days: Vec::new(),
                });
            }
            if let (Some(day), Some(last)) = (row.time_or_none("day")?, keys.last_mut()) {
                last.days.push(KeyDay {
                    day,
                    uses: row.count("uses")?,
                    charged: row.credits("charged")?,
                });
            }
        }
        Ok(keys)
    }
}
