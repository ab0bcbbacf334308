//! What a page that is open keeps showing anew.

use keyledger_events::{AccountId, Credits, KeyId, Timestamp};

use super::available::available;
use super::{At, Columns as _, ViewError, Views, uuid_of};

/// An account's credits, and how some of its keys are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    pub available: Credits,
    pub reserved: Credits,
    /// By id.
    pub keys: Vec<LiveKey>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveKey {
    pub id: KeyId,
    pub last_used_at: Option<Timestamp>,
    pub uses: u64,
}

/// Keys asked for at once: more than a page shows.
pub const LIVE_KEYS_MAX: usize = 50;

impl Views {
    /// An account's credits and the use of these keys of it, at the position of the view that is further behind. Keys
    /// that it does not have are left out. `None` when there is no such account.
    pub async fn live(&self, account: AccountId, keys: &[KeyId]) -> Result<At<Option<Live>>, ViewError> {
        let keys = keys.iter().take(LIVE_KEYS_MAX);
        let rows = sqlx::query(concat!(
            "select (select min(position) from views.checkpoints
                     where projection in ('balance', 'key_list') and shard = $1) as at,
                 b.account_id, ",
            available!(),
            " as available, b.reserved,
                 k.key_id, k.last_used_at, k.uses
             from (select) one
             left join views.balance b on b.account_id = $2
             left join views.key_list k on k.account_id = $2 and k.key_id = any($3::uuid[])
             order by k.key_id"
        ))
        .bind(self.shard_column())
        .bind(uuid_of(account.to_bytes()))
        .bind(keys.map(|key| uuid_of(key.to_bytes())).collect::<Vec<_>>())
        .fetch_all(&self.pool)
        .await?;
        let first = rows.first().ok_or(ViewError::Corrupt { what: "no checkpoint" })?;
        let position = first.position("at")?;
        if !first.has("account_id")? {
            return Ok(At { position, value: None });
        }
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            if row.has("key_id")? {
                found.push(LiveKey {
                    id: row.key("key_id")?,
                    last_used_at: row.time_or_none("last_used_at")?,
                    uses: row.count("uses")?,
                });
            }
        }
        Ok(At {
            position,
            value: Some(Live {
                available: first.credits("available")?,
                reserved: first.credits("reserved")?,
                keys: found,
            }),
        })
    }
}
