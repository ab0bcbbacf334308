//! Keys of an account by state and by a part of their name.

use keyledger_events::{AccountId, KeyId, Timestamp};

use super::keys::key;
use super::{Key, KeyState, ListOf, Views, list, time_column, uuid_of};

/// Which keys to look for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySearch {
    /// Any, unless said.
    pub state: Option<KeyState>,
    /// A part of the name, whatever its case. Any, unless said.
    pub name: Option<String>,
}

/// The keys that are looked for, at most `$7`: of the account `$2`, in the state `$3` at the moment `$4`, with `$5` in
/// their names, below `$6`.
macro_rules! found_keys {
    () => {
        "select * from views.key_list
             where account_id = $2 and ($6::uuid is null or key_id < $6)
               and ($3::text is null or $3 = case
                   when deleted_at is not null or stops_at <= $4 then 'deleted'
                   when expires_at <= $4 then 'expired'
                   else 'active' end)
               and ($5::text is null or strpos(lower(name), lower($5)) > 0)
             order by key_id desc limit $7"
    };
}
pub(super) use found_keys;

impl Views {
    /// An account's keys that are as they are looked for at `now`, newest first. Looks at the account's own keys only.
    pub async fn keys_found(
        &self,
        account: AccountId,
        search: &KeySearch,
        now: Timestamp,
        limit: u32,
        after: Option<KeyId>,
    ) -> ListOf<Key, KeyId> {
        // Whether the account exists is the key list's own to say only once it has keys; the balance knows it before.
        let rows = sqlx::query(concat!(
            "select c.position as at, exists (select from views.balance where account_id = $2) as known, k.*
             from views.checkpoints c
             left join lateral (
                 ",
            found_keys!(),
            "
             ) k on true
             where c.projection = 'key_list' and c.shard = $1
             order by k.key_id desc"
        ))
        .bind(self.shard_column())
        .bind(uuid_of(account.to_bytes()))
        .bind(search.state.map(KeyState::as_str))
        .bind(time_column(now))
        .bind(search.name.as_deref())
        .bind(after.map(|id| uuid_of(id.to_bytes())))
        .bind(i64::from(limit) + 1)
        .fetch_all(&self.pool)
        .await?;
        list(&rows, "key_id", limit, key, |key| key.id)
    }
}
