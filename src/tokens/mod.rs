//! Access tokens: who may call the HTTP API, and what each may do there.
//!
//! In: the text that a caller shows. Out: the token's id and role.
//!
//! Promise: a text is stored nowhere, only its SHA-256; a typo costs no look-up; a revoked token is refused within 5 s by
//! every process, at once by the one that revoked it. No database, no caller: an unchecked token is never let through. No
//! token works that the log does not tell of, but those that were made before it told of tokens.
//!
//! Not here: HTTP, customers' keys, who may read which account (a role spans all of them).

mod cache;
mod keeper;
mod keeping;
mod list;
mod role;
mod secret;

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyledger_events::{KeyDigest, TokenId};
use sqlx::{PgPool, Row as _};
use uuid::Uuid;

use cache::Cache;

pub use keeper::{Keeper, NotMade};
pub use keeping::{CreateError, Created, RevokeError, Revoked, Token};
pub use role::{Right, Role};
pub use secret::TokenSecret;

/// The access tokens of an installation. Cheap to clone; clones share what they remember.
#[derive(Debug, Clone)]
pub struct Tokens {
    pool: PgPool,
    cache: Arc<Cache>,
}

/// Who calls: the token that was shown, and its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    pub token: TokenId,
    pub role: Role,
}

/// Why a text names no caller.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Malformed, unknown and revoked are one answer: nobody learns which texts once were tokens.
    #[error("not a valid access token")]
    Invalid,
    /// The tokens could not be read. Nothing is known about the text; ask again.
    #[error("the access tokens cannot be read: {0}")]
    Unavailable(#[from] sqlx::Error),
    #[error("the access tokens could not be read within {limit_s} s")]
    TimedOut { limit_s: u64 },
}

/// A check that takes longer has lost its connection without being told.
const CHECK_SECONDS_MAX: u64 = 5;

impl Tokens {
    /// Looks at the tokens through a pool of the service's role.
    pub fn new(pool: PgPool) -> Tokens {
        Tokens {
            pool,
            cache: Arc::new(Cache::default()),
        }
    }

    /// Says who shows this text.
    ///
    /// Costs nothing for a text that cannot be a token, a hash for one seen in the last 5 s, else one indexed look-up.
    pub async fn check(&self, text: &str) -> Result<Caller, TokenError> {
        let secret = TokenSecret::parse(text).ok_or(TokenError::Invalid)?;
        let digest = secret.digest();
        if let Some(caller) = self.cache.get(&digest, Instant::now()) {
            return Ok(caller);
        }
        let asked_at = Instant::now();
        let limit = Duration::from_secs(CHECK_SECONDS_MAX);
        let found = tokio::time::timeout(limit, self.find(digest))
            .await
            .map_err(|_| TokenError::TimedOut {
                limit_s: CHECK_SECONDS_MAX,
            })??;
        let caller = found.ok_or(TokenError::Invalid)?;
        // Fresh from when it was asked, not from when the answer came: a slow answer is an old one.
        self.cache.put(digest, caller, asked_at);
        Ok(caller)
    }

    async fn find(&self, digest: KeyDigest) -> Result<Option<Caller>, sqlx::Error> {
        let row = sqlx::query("select token_id, role from access_tokens where digest = $1 and revoked_at is null")
            .bind(digest.as_bytes().as_slice())
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let token: Uuid = row.try_get("token_id")?;
        let role: String = row.try_get("role")?;
        // A role that this program does not know (a newer one wrote it) gives no right at all.
        Ok(Role::parse(&role).map(|role| Caller {
            token: TokenId::from_bytes(token.into_bytes()),
            role,
        }))
    }
}
