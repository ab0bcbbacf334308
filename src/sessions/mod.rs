//! Portal sessions: a platform opens one for an account, a person follows its link once and then shows a cookie.
//! Operators have them for pages of their own.
//!
//! In: an account and what the platform says of the person; a link; a cookie. Out: whose pages these are.
//!
//! Promise: a link is good once and for five minutes, decided by one statement; a stay ends after its idle time, after
//! its whole time, and at sign-out, at once and in every process. Only digests are stored.
//!
//! Whose cookie one was is remembered in the process, and believed by nobody: the database is asked each time.
//!
//! Not here: HTTP, cookies' attributes, what the pages show.

mod claims;
mod erase;
mod operators;
mod secret;

use std::sync::Arc;
use std::time::Duration;

use keyledger_events::{AccountId, PortalSessionId, Timestamp, TokenId};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row as _};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::clock;
use crate::log::timestamp;
pub use claims::Claim;
use claims::Claims;
pub use operators::OperatorSession;
pub use secret::{CookieSecret, LinkSecret};

/// How long a link may wait to be followed.
pub const LINK_SECONDS: u32 = 5 * 60;

/// A stay is written down as seen at most this often: a page view need not be a write.
const SEEN_AGAIN: time::Duration = time::Duration::minutes(1);

/// How long a stay lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Without a page being looked at.
    pub idle: Duration,
    /// In all.
    pub absolute: Duration,
}

impl Default for Lifetimes {
    fn default() -> Lifetimes {
        Lifetimes {
            idle: Duration::from_secs(30 * 60),
            absolute: Duration::from_secs(12 * 60 * 60),
        }
    }
}

/// The portal sessions of an installation. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sessions {
    pool: PgPool,
    lifetimes: Lifetimes,
    claims: Arc<Claims>,
}

/// Whose pages a stay opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Account(AccountId),
    /// The operators' own, from which they look at all accounts.
    Operator,
}

/// What a platform asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    pub whose: Whose,
    /// Who this is, for the account's history.
    pub name: Option<String>,
    /// Where the pages lead back to.
    pub return_url: Option<String>,
    /// Always so for an operator.
    pub read_only: bool,
    pub by: TokenId,
}

/// Whether a link was made.
#[derive(Debug)]
pub enum Invited {
    Now {
        link: LinkSecret,
        expires_at: Timestamp,
    },
    /// There is a stay with this id: its link was told of before.
    Before {
        expires_at: Timestamp,
    },
}

/// A stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: PortalSessionId,
    pub account: AccountId,
    pub name: Option<String>,
    pub return_url: Option<String>,
    pub read_only: bool,
}

/// The sessions could not be read or written. Nothing is known about who this is; ask again.
#[derive(Debug, thiserror::Error)]
#[error("the portal sessions cannot be reached: {0}")]
pub struct SessionsAway(#[from] sqlx::Error);

/// Why a link opens nothing.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Never issued, mistyped, or removed long ago.
    #[error("no such link")]
    Unknown,
    /// It was followed before, and opened this session.
    #[error("the link was used before")]
    Used { session: PortalSessionId, whose: Whose },
    #[error("the link has expired")]
    Expired,
    #[error(transparent)]
    Away(#[from] SessionsAway),
}

fn column(moment: Timestamp) -> OffsetDateTime {
    let nanos = i128::from(moment.micros()) * 1_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

impl Whose {
    fn account(self) -> Option<Uuid> {
        match self {
            Whose::Account(account) => Some(Uuid::from_bytes(account.to_bytes())),
            Whose::Operator => None,
        }
    }

    fn read(row: &PgRow) -> Result<Whose, sqlx::Error> {
        let account: Option<Uuid> = row.try_get("account_id")?;
        Ok(account.map_or(Whose::Operator, |account| {
            Whose::Account(AccountId::from_bytes(account.into_bytes()))
        }))
    }
}

impl Session {
    fn claim(&self) -> Claim {
        Claim {
            session: self.id,
            whose: Whose::Account(self.account),
        }
    }
}

fn session(row: &PgRow) -> Result<Session, sqlx::Error> {
    Ok(Session {
        id: PortalSessionId::from_bytes(row.try_get::<Uuid, _>("session_id")?.into_bytes()),
        account: AccountId::from_bytes(row.try_get::<Uuid, _>("account_id")?.into_bytes()),
        name: row.try_get("name")?,
        return_url: row.try_get("return_url")?,
        read_only: row.try_get("read_only")?,
    })
}

impl Sessions {
    /// Looks at the sessions through a pool of the service's role.
    pub fn new(pool: PgPool, lifetimes: Lifetimes) -> Sessions {
        Sessions {
            pool,
            lifetimes,
            claims: Arc::default(),
        }
    }

    /// How long a browser has any use for the cookie.
    pub fn absolute(&self) -> Duration {
        self.lifetimes.absolute
    }

    /// When a link expires that is made at a moment.
    fn link_expires_at(made_at: Timestamp) -> Timestamp {
        made_at.plus_seconds(LINK_SECONDS)
    }

    /// Makes a link onto a stay with this id, unless there is one with it: its text exists nowhere else. When the answer is
    /// lost, the link expires unseen.
    pub async fn invite(
        &self,
        id: PortalSessionId,
        asked: Invitation,
        now: Timestamp,
    ) -> Result<Invited, SessionsAway> {
        let link = LinkSecret::from_random(clock::random_secret_bits());
        let expires_at = Sessions::link_expires_at(now);
        let made = sqlx::query(
            "with unopened as (
                 delete from portal_sessions where opened_at is null and link_expires_at < $8 - interval '2 days'
             )
             insert into portal_sessions
                 (session_id, account_id, name, return_url, read_only, created_by, link_digest, created_at, link_expires_at)
             select $1, $2, case when erased.so then null else $3 end, case when erased.so then null else $4 end, $5, $6, $7, $8, $9
             from (select exists (
                 select from data_keys where account_id = $2 and erased_at is not null) as so) erased
             on conflict on constraint portal_sessions_pkey do nothing",
        )
        .bind(Uuid::from_bytes(id.to_bytes()))
        .bind(asked.whose.account())
        .bind(asked.name)
        .bind(asked.return_url)
        .bind(asked.read_only || asked.whose == Whose::Operator)
        .bind(Uuid::from_bytes(asked.by.to_bytes()))
        .bind(link.digest().as_bytes().as_slice())
        .bind(column(now))
        .bind(column(expires_at))
        .execute(&self.pool)
        .await?;
        if made.rows_affected() == 1 {
            return Ok(Invited::Now { link, expires_at });
        }
        let before = sqlx::query("select link_expires_at from portal_sessions where session_id = $1")
            .bind(Uuid::from_bytes(id.to_bytes()))
            .fetch_one(&self.pool)
            .await?;
        Ok(Invited::Before {
            expires_at: timestamp(before.try_get("link_expires_at")?).unwrap_or(expires_at),
        })
    }

    /// Follows a link. Of any number who try, one gets the cookie.
    pub async fn open(&self, link: &LinkSecret, now: Timestamp) -> Result<(CookieSecret, Whose), LinkError> {
        let cookie = CookieSecret::from_random(clock::random_secret_bits());
        if let Some(claim) = self.take(link, &cookie, now).await? {
            self.claims.note(&cookie, Some(claim));
            return Ok((cookie, claim.whose));
        }
        match self.taken(link).await? {
            None => Err(LinkError::Unknown),
            Some((_, _, false)) => Err(LinkError::Expired),
            Some((session, whose, true)) => Err(LinkError::Used { session, whose }),
        }
    }

    async fn take(
        &self,
        link: &LinkSecret,
        cookie: &CookieSecret,
        now: Timestamp,
    ) -> Result<Option<Claim>, SessionsAway> {
        let opened = sqlx::query(
            "update portal_sessions set opened_at = $2, last_seen_at = $2, ends_at = $3, cookie_digest = $4
             where link_digest = $1 and opened_at is null and link_expires_at > $2
             returning session_id, account_id",
        )
        .bind(link.digest().as_bytes().as_slice())
        .bind(column(now))
        .bind(column(now) + self.lifetimes.absolute)
        .bind(cookie.digest().as_bytes().as_slice())
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = opened else { return Ok(None) };
        let id: Uuid = row.try_get("session_id")?;
        Ok(Some(Claim {
            session: PortalSessionId::from_bytes(id.into_bytes()),
            whose: Whose::read(&row)?,
        }))
    }

    /// The session of a link that could not be taken, and whether it was ever opened.
    async fn taken(&self, link: &LinkSecret) -> Result<Option<(PortalSessionId, Whose, bool)>, SessionsAway> {
        let row = sqlx::query(
            "select session_id, account_id, opened_at is not null as used from portal_sessions where link_digest = $1",
        )
        .bind(link.digest().as_bytes().as_slice())
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let id: Uuid = row.try_get("session_id")?;
        let used = row.try_get("used")?;
        Ok(Some((
            PortalSessionId::from_bytes(id.into_bytes()),
            Whose::read(&row)?,
            used,
        )))
    }

    /// Whose pages a cookie opened when it was last shown here, if it did. It may be over since: ask before anybody sees
    /// anything.
    pub fn claim(&self, cookie: &CookieSecret) -> Option<Claim> {
        self.claims.of(cookie)
    }

    /// Whose pages a cookie opens now, and notes that somebody was here. `None`: the stay is over, or never was.
    pub async fn visit(&self, cookie: &CookieSecret, now: Timestamp) -> Result<Option<Session>, SessionsAway> {
        self.find(cookie, now, true).await
    }

    /// The same without a note: a page that is left open does not keep its session alive.
    pub async fn glance(&self, cookie: &CookieSecret, now: Timestamp) -> Result<Option<Session>, SessionsAway> {
        self.find(cookie, now, false).await
    }

    async fn find(&self, cookie: &CookieSecret, now: Timestamp, note: bool) -> Result<Option<Session>, SessionsAway> {
        let row = sqlx::query(
            "with alive as (
                 select * from portal_sessions
                 where cookie_digest = $1 and ends_at > $2 and last_seen_at > $3 and account_id is not null
             ), seen as (
                 update portal_sessions set last_seen_at = $2
                 where $5 and session_id in (select session_id from alive where last_seen_at < $4)
             )
             select * from alive",
        )
        .bind(cookie.digest().as_bytes().as_slice())
        .bind(column(now))
        .bind(column(now) - self.lifetimes.idle)
        .bind(column(now) - SEEN_AGAIN)
        .bind(note)
        .fetch_optional(&self.pool)
        .await?;
        let found = row.as_ref().map(session).transpose()?;
        self.claims.note(cookie, found.as_ref().map(Session::claim));
        Ok(found)
    }

    /// Ends a stay, for every process at once.
    pub async fn end(&self, cookie: &CookieSecret, now: Timestamp) -> Result<(), SessionsAway> {
        sqlx::query(
            "update portal_sessions set cookie_digest = null, ends_at = least(ends_at, $2) where cookie_digest = $1",
        )
        .bind(cookie.digest().as_bytes().as_slice())
        .bind(column(now))
        .execute(&self.pool)
        .await?;
        self.claims.note(cookie, None);
        Ok(())
    }
}
