//! Stays of operators: opened with an access token of that role, and over as soon as that token is revoked.

use keyledger_events::{PortalSessionId, Timestamp};
use sqlx::Row as _;
use uuid::Uuid;

use super::{Claim, CookieSecret, SEEN_AGAIN, Sessions, SessionsAway, Whose, column};

/// An operator's stay. It looks at everything and changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorSession {
    pub id: PortalSessionId,
    pub name: Option<String>,
}

impl Sessions {
    /// The operator whose cookie this is now, and notes that somebody was here. `None`: the stay is over, or never was,
    /// or is a customer's.
    pub async fn visit_operator(
        &self,
        cookie: &CookieSecret,
        now: Timestamp,
    ) -> Result<Option<OperatorSession>, SessionsAway> {
        self.find_operator(cookie, now, true).await
    }

    /// The same without a note.
    pub async fn glance_operator(
        &self,
        cookie: &CookieSecret,
        now: Timestamp,
    ) -> Result<Option<OperatorSession>, SessionsAway> {
        self.find_operator(cookie, now, false).await
    }

    async fn find_operator(
        &self,
        cookie: &CookieSecret,
        now: Timestamp,
        note: bool,
    ) -> Result<Option<OperatorSession>, SessionsAway> {
        let row = sqlx::query(
            "with alive as (
                 select s.session_id, s.name, s.last_seen_at from portal_sessions s
                 join access_tokens t on t.token_id = s.created_by and t.role = 'operator' and t.revoked_at is null
                 where s.cookie_digest = $1 and s.ends_at > $2 and s.last_seen_at > $3 and s.account_id is null
             ), seen as (
                 update portal_sessions set last_seen_at = $2
                 where $5 and session_id in (select session_id from alive where last_seen_at < $4)
             )
             select session_id, name from alive",
        )
        .bind(cookie.digest().as_bytes().as_slice())
        .bind(column(now))
        .bind(column(now) - self.lifetimes.idle)
        .bind(column(now) - SEEN_AGAIN)
        .bind(note)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else {
            self.claims.note(cookie, None);
            return Ok(None);
        };
        let id: Uuid = row.try_get("session_id")?;
        let id = PortalSessionId::from_bytes(id.into_bytes());
        let claim = Claim {
            session: id,
            whose: Whose::Operator,
        };
        self.claims.note(cookie, Some(claim));
        Ok(Some(OperatorSession {
            id,
            name: row.try_get("name")?,
        }))
    }
}
