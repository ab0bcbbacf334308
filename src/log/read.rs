//! Reading: the log from a position, an account's history, a key's history, and who owns a digest.

use std::collections::HashSet;

use futures_util::{StreamExt as _, TryStreamExt as _};
use keyledger_events::{AccountId, DecodeError, KeyDigest, KeyId, Position, Recorded, Seq};
use serde::Deserialize;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::archived::with_archived;
use super::{Log, ReadError, bigint, in_time, position};

/// An event as the log keeps it.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    pub position: Position,
    /// The canonical bytes.
    pub body: Vec<u8>,
}

/// The bytes as the text that they are.
impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.position, String::from_utf8_lossy(&self.body))
    }
}

impl Stored {
    pub fn decode(&self) -> Result<Recorded, DecodeError> {
        Recorded::decode_loosely(&self.body)
    }

    /// What it is and whose, also where it is of a type that is not known here.
    pub fn label(&self) -> Result<Label<'_>, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// What every event says of itself, whatever it says beside that.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Label<'a> {
    pub id: &'a str,
    #[serde(rename = "type")]
    pub type_name: &'a str,
    /// The account.
    pub subject: &'a str,
}

/// The part of an account's history to read: everything after `after`.
#[derive(Debug, Clone, Copy)]
pub struct AccountHistory {
    pub account: AccountId,
    pub after: Seq,
}

/// Events of an account that are read at once where some of them are archived.
const EVENTS_A_PAGE: u32 = 2_000;
/// Accounts whose archived events are fetched at once.
const ARCHIVED_AT_ONCE: usize = 4;
/// Of accounts whose archived events are where another one's could not be had just now.
const NOT_ASKED: ReadError = ReadError::Corrupt {
    what: "archived events, whose store cannot be reached",
};

pub(super) fn stored(row: &PgRow) -> Result<Stored, ReadError> {
    Ok(Stored {
        position: position(row.try_get("position")?)?,
        body: row.try_get("body")?,
    })
}

pub(super) fn all_stored(rows: &[PgRow]) -> Result<Vec<Stored>, ReadError> {
    rows.iter().map(stored).collect()
}

/// Hands a page of an account over, and tells whether there may be more.
fn hand_over(
    history: &mut AccountHistory,
    page: Vec<Stored>,
    each: &mut impl FnMut(AccountId, Stored) -> Result<(), ReadError>,
) -> Result<bool, ReadError> {
    let read = u32::try_from(page.len()).unwrap_or(u32::MAX);
    page.into_iter().try_for_each(|stored| each(history.account, stored))?;
    history.after = Seq(history.after.0.saturating_add(u64::from(read)));
    Ok(read >= EVENTS_A_PAGE)
}

impl Log {
    /// At most `limit` events after a position, in order, without a gap.
    pub async fn read(&self, after: Position, limit: u32) -> Result<Vec<Stored>, ReadError> {
        let end = Position(after.0.saturating_add(u64::from(limit)));
        let (archived, here) = in_time(async {
            // Positions have no gap, so the last one is known. With `limit` instead, a Postgres that has no statistics yet
            // reads and sorts everything that follows, for each page again.
            let rows = sqlx::query(
                "(select position, body from events where shard = $1 and position > $2 and position <= $3 order by position)
                 union all
                 (select last, null from archive_segments where shard = $1 order by number desc limit 1)",
            )
            .bind(self.shard_column())
            .bind(bigint(after.0))
            .bind(bigint(end.0))
            .fetch_all(&self.pool)
            .await?;
            with_archived(&rows)
        })
        .await?;
        if archived <= after.0 {
            return Ok(here);
        }
        let mut events = self.archived_after(after, end.min(Position(archived))).await?;
        events.extend(here);
        Ok(events)
    }

    /// Hands every later event of the accounts to `each`, account by account, in order, one at a time: a long history
    /// needs no memory of its length. Whose event it is does not have to be read from its bytes. Of accounts that have archived
    /// events among these none is handed over: they are given back, for `read_archived_accounts`.
    pub async fn read_accounts(
        &self,
        accounts: &[AccountHistory],
        mut each: impl FnMut(AccountId, Stored) -> Result<(), ReadError>,
    ) -> Result<Vec<AccountHistory>, ReadError> {
        let ids: Vec<Uuid> = accounts
            .iter()
            .map(|a| Uuid::from_bytes(a.account.to_bytes()))
            .collect();
        let afters: Vec<i64> = accounts.iter().map(|a| bigint(a.after.0)).collect();
        // Nothing waits for an archive while Postgres is in the middle of an answer.
        let mut archived = Vec::new();
        let mut rows = sqlx::query(
            "select wanted.account_id, wanted.after, a.until, e.position, e.body
             from unnest($2::uuid[], $3::bigint[]) as wanted (account_id, after)
             cross join lateral (
                 select max(last_seq) as until from archive_accounts where shard = $1 and account_id = wanted.account_id
             ) a
             left join events e on e.shard = $1 and e.account_id = wanted.account_id and e.seq > wanted.after
                 and (a.until is null or a.until <= wanted.after)
             where e.position is not null or a.until > wanted.after
             order by e.account_id, e.seq",
        )
        .bind(self.shard_column())
        .bind(&ids)
        .bind(&afters)
        .fetch(&self.pool);
        while let Some(row) = in_time(async { Ok(rows.try_next().await?) }).await? {
            let account = AccountId::from_bytes(row.try_get::<Uuid, _>("account_id")?.into_bytes());
            match row.try_get::<Option<i64>, _>("position")? {
                Some(_) => each(account, stored(&row)?)?,
                None => archived.push(AccountHistory {
                    account,
                    after: Seq(position(row.try_get("after")?)?.0),
                }),
            }
        }
        Ok(archived)
    }

    /// The same, wherever the events are. Gives the accounts whose archived events cannot be had, and why: of those some may have
    /// been handed over. A store that cannot be reached is asked once, and not for each of them.
    pub async fn read_archived_accounts(
        &self,
        accounts: Vec<AccountHistory>,
        mut each: impl FnMut(AccountId, Stored) -> Result<(), ReadError>,
    ) -> Result<Vec<(AccountId, ReadError)>, ReadError> {
        let mut away = Vec::new();
        let page_of = async |history: AccountHistory| {
            let page = self.account_events(history.account, history.after, EVENTS_A_PAGE).await;
            (history, page)
        };
        let mut left: HashSet<AccountId> = accounts.iter().map(|history| history.account).collect();
        let mut long = Vec::new();
        // Nothing else is waited for while these are under way: who is not asked for an answer takes none.
        let mut first_pages = futures_util::stream::iter(accounts)
            .map(page_of)
            .buffered(ARCHIVED_AT_ONCE);
        while let Some((mut history, page)) = first_pages.next().await {
            left.remove(&history.account);
            match page {
                Ok(events) => {
                    if hand_over(&mut history, events, &mut each)? {
                        long.push(history);
                    }
                }
                Err(error) if error.is_of_store() => {
                    let with_it = left.into_iter().chain(long.into_iter().map(|history| history.account));
                    away.push((history.account, error));
                    away.extend(with_it.map(|account| (account, NOT_ASKED)));
                    return Ok(away);
                }
                Err(error) if error.is_of_archive() => away.push((history.account, error)),
                Err(error) => return Err(error),
            }
        }
        for mut history in long {
            loop {
                let (same, page) = page_of(history).await;
                history = same;
                match page {
                    Ok(events) => {
                        if !hand_over(&mut history, events, &mut each)? {
                            break;
                        }
                    }
                    Err(error) if error.is_of_archive() => {
                        away.push((history.account, error));
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(away)
    }

    /// The account of each digest that is known; an unknown one has no entry.
    pub async fn owners(&self, digests: &[KeyDigest]) -> Result<Vec<(KeyDigest, AccountId)>, ReadError> {
        let wanted: Vec<Vec<u8>> = digests.iter().map(|digest| digest.as_bytes().to_vec()).collect();
        in_time(async {
            let rows = sqlx::query(
                "select key_digest, account_id from events
                 where shard = $1 and key_digest is not null and key_digest = any($2::bytea[])
                 union all
                 select key_digest, account_id from archive_digests
                 where shard = $1 and key_digest = any($2::bytea[])",
            )
            .bind(self.shard_column())
            .bind(&wanted)
            .fetch_all(&self.pool)
            .await?;
            let owner = |row: &PgRow| {
                let digest: Vec<u8> = row.try_get("key_digest")?;
                let account: Uuid = row.try_get("account_id")?;
                let digest = digest.try_into().map_err(|_| ReadError::Corrupt {
                    what: "a digest of another length",
                })?;
                Ok((
                    KeyDigest::from_bytes(digest),
                    AccountId::from_bytes(account.into_bytes()),
                ))
            };
            rows.iter().map(owner).collect()
        })
        .await
    }

    /// The accounts that were opened under these idempotency keys, each named by its scope's 40 digits, within a day.
    pub async fn opened_by(&self, scopes: &[&str]) -> Result<Vec<AccountId>, ReadError> {
        let here = in_time(async {
            let rows = sqlx::query(
                "select account_id from events
                 where shard = $1 and type = 'keyledger.AccountOpened.v1'
                   and substring(encode(body, 'escape') from '\"commandid\":\"idem:([0-9a-f]{40})') = any($2::text[])
                   and recorded_at > now() - interval '26 hours'
                 order by position",
            )
            .bind(self.shard_column())
            .bind(scopes)
            .fetch_all(&self.pool)
            .await?;
            let account = |row: &PgRow| {
                Ok(AccountId::from_bytes(
                    row.try_get::<Uuid, _>("account_id")?.into_bytes(),
                ))
            };
            rows.iter().map(account).collect::<Result<Vec<_>, ReadError>>()
        })
        .await?;
        let mut opened = self.archived_opened_by(scopes).await?;
        opened.extend(here);
        opened.dedup();
        Ok(opened)
    }

    /// At most `limit` events of an account after a place in its history, in order.
    pub async fn account_events(&self, account: AccountId, after: Seq, limit: u32) -> Result<Vec<Stored>, ReadError> {
        let (archived, here) = in_time(async {
            let rows = sqlx::query(
                "(select position, body from events
                  where shard = $1 and account_id = $2 and seq > $3 order by seq limit $4)
                 union all
                 (select last_seq, null from archive_accounts
                  where shard = $1 and account_id = $2 order by number desc limit 1)",
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
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if archived <= after.0 || limit == 0 {
            return Ok(here);
        }
        let mut events = self
            .archived_of_account(account, after, Seq(archived), None, limit)
            .await?;
        events.extend(here);
        events.truncate(limit);
        Ok(events)
    }

    /// At most `limit` of the price books that the system's own history has after a place in it, in order.
    pub async fn price_books(&self, after: Seq, limit: u32) -> Result<Vec<Stored>, ReadError> {
        let (archived, here) = in_time(async {
            // The type stands in the statement, so that the index of the seldom ones is seen to hold it.
            let rows = sqlx::query(
                "(select position, body from events
                  where shard = $1 and account_id = $2 and type = 'keyledger.PricesPublished.v1' and seq > $3
                  order by seq limit $4)
                 union all
                 (select last_seq, null from archive_accounts
                  where shard = $1 and account_id = $2 order by number desc limit 1)",
            )
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(AccountId::SYSTEM.to_bytes()))
            .bind(bigint(after.0))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
            with_archived(&rows)
        })
        .await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if archived <= after.0 || limit == 0 {
            return Ok(here);
        }
        let books = Some(["keyledger.PricesPublished.v1"].as_slice());
        let mut events = self
            .archived_of_account(AccountId::SYSTEM, after, Seq(archived), books, limit)
            .await?;
        events.extend(here);
        events.truncate(limit);
        Ok(events)
    }

    /// At most `limit` events of one key of an account after a position, in order. Another account's key has none here.
    pub async fn key_events(
        &self,
        account: AccountId,
        key: KeyId,
        after: Position,
        limit: u32,
    ) -> Result<Vec<Stored>, ReadError> {
        let (archived, here) = in_time(async {
            let rows = sqlx::query(
                "(select at as position, bytes as body from key_events_after($1, $4, $2, $3, $5))
                 union all
                 (select last_position, null from archive_keys
                  where shard = $1 and key_id = $2 order by number desc limit 1)",
            )
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(key.to_bytes()))
            .bind(bigint(after.0))
            .bind(Uuid::from_bytes(account.to_bytes()))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
            with_archived(&rows)
        })
        .await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if archived <= after.0 || limit == 0 {
            return Ok(here);
        }
        let mut events = self
            .archived_of_key(account, key, after, Position(archived), limit)
            .await?;
        events.extend(here);
        events.truncate(limit);
        Ok(events)
    }
}
