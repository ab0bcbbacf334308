//! Which tokens there are.

use keyledger_events::TokenId;
use uuid::Uuid;

use super::Tokens;
use super::keeping::{Token, read};

/// A page of tokens, the newest first.
#[derive(Debug)]
pub struct Listed {
    pub tokens: Vec<Token>,
    /// Go on below this one.
    pub next: Option<TokenId>,
}

impl Tokens {
    /// At most `limit` tokens below one in the list, those that were revoked only where `all` is said.
    pub async fn list(&self, all: bool, limit: u32, below: Option<TokenId>) -> Result<Listed, sqlx::Error> {
        let rows = sqlx::query(
            "select * from access_tokens where ($1 or revoked_at is null) and ($2::uuid is null or token_id < $2)
             order by token_id desc limit $3",
        )
        .bind(all)
        .bind(below.map(|id| Uuid::from_bytes(id.to_bytes())))
        .bind(i64::from(limit) + 1)
        .fetch_all(&self.pool)
        .await?;
        let mut tokens: Vec<Token> = rows.iter().map(read).collect::<Result<_, _>>()?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = tokens.len() > limit;
        tokens.truncate(limit);
        Ok(Listed {
            next: tokens.last().map(|last| last.id).filter(|_| more),
            tokens,
        })
    }
}
