//! Data keys of accounts: read, made with the first event that needs one, and destroyed.
//!
//! Promise: a key is in the table when the first event that it sealed is in the log: one statement writes both. A key that is
//! destroyed is never made again. What is remembered here is believed for five seconds.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keyledger_events::{AccountId, Recorded, Timestamp};
use lru::LruCache;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{Log, ReadError, in_time, time_column};
use crate::personal::{self, DataKey};

/// What there is of an account's data key.
#[derive(Debug, Clone)]
pub enum DataKeyFound {
    There(DataKey),
    /// It was destroyed.
    Erased,
    /// It is there, and this process cannot use it: it is damaged, or wrapped under a key that this process was not given.
    Unusable,
}

/// How long another process's erasure may go unnoticed here.
const FRESH: Duration = Duration::from_secs(5);
/// Some 300 bytes each.
const KEYS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(16_383);

/// Keys that were read a moment ago.
pub(super) struct Kept(Mutex<LruCache<AccountId, (DataKeyFound, Instant)>>);

impl Default for Kept {
    fn default() -> Kept {
        Kept(Mutex::new(LruCache::new(KEYS_MAX)))
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(..)")
    }
}

impl Kept {
    fn keys(&self) -> MutexGuard<'_, LruCache<AccountId, (DataKeyFound, Instant)>> {
        // Each change under the lock is whole, so a panic elsewhere leaves nothing half done here.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, account: AccountId, now: Instant) -> Option<DataKeyFound> {
        let mut keys = self.keys();
        let (found, seen) = keys.get(&account)?;
        (now.saturating_duration_since(*seen) < FRESH).then(|| found.clone())
    }

    fn put(&self, account: AccountId, found: DataKeyFound, seen: Instant) {
        self.keys().put(account, (found, seen));
    }
}

impl Log {
    /// The data keys of these accounts, as they are now. An account that never had one has no entry.
    pub async fn data_keys(&self, accounts: &[AccountId]) -> Result<HashMap<AccountId, DataKeyFound>, ReadError> {
        let ids: Vec<Uuid> = accounts.iter().map(|id| Uuid::from_bytes(id.to_bytes())).collect();
        let asked_at = Instant::now();
        in_time(async {
            let rows =
                sqlx::query("select account_id, key from data_keys where shard = $1 and account_id = any($2::uuid[])")
                    .bind(self.shard_column())
                    .bind(&ids)
                    .fetch_all(&self.pool)
                    .await?;
            let mut found = HashMap::with_capacity(rows.len());
            for row in &rows {
                let (account, key) = self.data_key_in(row, asked_at)?;
                found.insert(account, key);
            }
            Ok(found)
        })
        .await
    }

    /// An account's data key, as a row has it that was asked for then.
    pub(super) fn data_key_in(&self, row: &PgRow, asked_at: Instant) -> Result<(AccountId, DataKeyFound), ReadError> {
        let account = AccountId::from_bytes(row.try_get::<Uuid, _>("account_id")?.into_bytes());
        let key = match row.try_get::<Option<Vec<u8>>, _>("key")? {
            None => DataKeyFound::Erased,
            Some(stored) => match DataKey::stored(&stored, account) {
                Ok(key) => DataKeyFound::There(key),
                Err(error) => {
                    tracing::error!(%account, %error, "a data key cannot be used");
                    DataKeyFound::Unusable
                }
            },
        };
        self.data_keys.put(account, key.clone(), asked_at);
        Ok((account, key))
    }

    /// Puts back what is sealed in events, or says that it is gone. No question for events without anything sealed.
    pub async fn open(&self, events: &mut [Recorded]) -> Result<(), ReadError> {
        match self.open_most(events).await?.is_empty() {
            true => Ok(()),
            false => Err(UNUSABLE),
        }
    }

    /// The same, and gives the accounts of those events that stay sealed, because this process cannot use their data keys.
    pub async fn open_most(&self, events: &mut [Recorded]) -> Result<HashSet<AccountId>, ReadError> {
        let now = Instant::now();
        let mut keys = HashMap::new();
        let mut unknown = Vec::new();
        for recorded in events.iter().filter(|recorded| recorded.sealed.is_some()) {
            let account = recorded.account;
            if keys.contains_key(&account) || unknown.contains(&account) {
                continue;
            }
            match self.data_keys.get(account, now) {
                Some(found) => _ = keys.insert(account, found),
                None => unknown.push(account),
            }
        }
        if !unknown.is_empty() {
            keys.extend(self.data_keys(&unknown).await?);
        }
        let mut sealed = HashSet::new();
        for recorded in events {
            if opened(recorded, keys.get(&recorded.account)).is_err() {
                sealed.insert(recorded.account);
            }
        }
        Ok(sealed)
    }

    /// Destroys an account's data key, and leaves word that there never will be another; and with it, in one transaction, the
    /// account's snapshot and its marks for replays, which say what it said. Again changes nothing else.
    pub async fn destroy_data_key(&self, account: AccountId, now: Timestamp) -> Result<(), ReadError> {
        in_time(async {
            sqlx::query(
                "with marks as (delete from replay_marks where shard = $1 and account_id = $2),
                     snapshot as (delete from account_snapshots where shard = $1 and account_id = $2)
                 insert into data_keys (shard, account_id, made_at, erased_at) values ($1, $2, $3, $3)
                 on conflict on constraint data_keys_pkey do update set key = null, erased_at = excluded.erased_at
                 where data_keys.erased_at is null",
            )
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(account.to_bytes()))
            .bind(time_column(now))
            .execute(&self.pool)
            .await?;
            self.data_keys.put(account, DataKeyFound::Erased, Instant::now());
            Ok(())
        })
        .await
    }
}

const UNUSABLE: ReadError = ReadError::Corrupt {
    what: "a data key that cannot be used",
};

/// Opens an event with its account's data key. Without one what was sealed is gone; and what another key sealed, in a log that was
/// brought here without its keys, is too.
pub(crate) fn opened(recorded: &mut Recorded, key: Option<&DataKeyFound>) -> Result<(), ReadError> {
    match key {
        Some(DataKeyFound::There(key)) => {
            if let Err(error) = personal::open(recorded, key) {
                tracing::error!(position = %recorded.position, %error, "what an event says of people shows as erased");
                recorded.event.erase();
            }
        }
        Some(DataKeyFound::Unusable) if recorded.sealed.is_some() => return Err(UNUSABLE),
        Some(DataKeyFound::Erased | DataKeyFound::Unusable) | None => {
            if recorded.sealed.is_some() {
                recorded.event.erase();
            }
        }
    }
    Ok(())
}
