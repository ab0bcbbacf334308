//! Making and revoking tokens, in the log and in the table that callers are checked against.
//!
//! Order: a token's event is in the log before its row is there; its row is revoked before that event is in the log. So a
//! process that dies in between leaves an event about a token that nobody has seen and that opens nothing, or a token that
//! is stopped already and whose revocation is told a moment later, by the sweeper of any process.

use std::time::Instant;

use keyledger_events::{Actor, CommandId, KeyName, Position, Shard, Timestamp, TokenId};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{Role, TokenSecret, Tokens};
use crate::clock;
use crate::ledger::{By, CreateToken, Ledger, RevokeToken, SubmitError};
use crate::log::{bigint, time_column, timestamp};

/// A token, without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub id: TokenId,
    /// As the table has it: a newer version may know more roles.
    pub role: String,
    pub name: String,
    pub created_at: Timestamp,
    /// `tok_…` or `system`. `None`: it was made before the log told of tokens.
    pub created_by: Option<String>,
    /// Where the log says that it was made. `None`: as above.
    pub position: Option<Position>,
    pub revoked_at: Option<Timestamp>,
    pub revoked_by: Option<String>,
    /// Where the log says that it was revoked.
    pub revoked_position: Option<Position>,
}

/// A token that was made, now or when the same request came before.
#[derive(Debug)]
pub struct Created {
    pub token: Token,
    /// Not there when it was told before.
    pub secret: Option<TokenSecret>,
    pub shard: Shard,
    pub position: Position,
}

/// A token that is stopped.
#[derive(Debug)]
pub struct Revoked {
    pub token: Token,
    /// It was before.
    pub replayed: bool,
    pub shard: Shard,
}

/// Why there is no new token.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// As the ledger says: nothing was written, or it is not known.
    #[error("the log does not tell of the token: {0}")]
    NotInLog(#[from] SubmitError),
    /// The log tells of a token that opens nothing, or that nobody has the text of. Ask again.
    #[error("the access token cannot be stored: {0}")]
    NotStored(#[from] sqlx::Error),
}

/// Why a token is not revoked, or not wholly.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    #[error("there is no such token")]
    Unknown,
    /// Nothing is known to have changed. Ask again.
    #[error("the access tokens cannot be written: {0}")]
    NotStored(#[from] sqlx::Error),
    /// The token is stopped, everywhere within 5 s. The log will say so later, without being asked again.
    #[error("the token is stopped, and the log does not say so yet: {0}")]
    NotInLog(#[from] SubmitError),
}

fn moment(column: time::OffsetDateTime) -> Timestamp {
    timestamp(column).unwrap_or(Timestamp::EPOCH)
}

/// Longer than a revocation that is under way takes.
const UNTOLD_SECONDS: f64 = 10.0;
/// Told at once after a crash; the rest comes later.
const UNTOLD_MAX: i64 = 50;

pub(super) fn read(row: &PgRow) -> Result<Token, sqlx::Error> {
    let position = |column: Option<i64>| column.and_then(|column| u64::try_from(column).ok()).map(Position);
    let id: Uuid = row.try_get("token_id")?;
    let revoked_at: Option<time::OffsetDateTime> = row.try_get("revoked_at")?;
    Ok(Token {
        id: TokenId::from_bytes(id.into_bytes()),
        role: row.try_get("role")?,
        name: row.try_get("name")?,
        created_at: moment(row.try_get("created_at")?),
        created_by: row.try_get("created_by")?,
        position: position(row.try_get("position")?),
        revoked_at: revoked_at.map(moment),
        revoked_by: row.try_get("revoked_by")?,
        revoked_position: position(row.try_get("revoked_position")?),
    })
}

impl Tokens {
    /// Makes a token. Its text exists nowhere but in what is returned.
    ///
    /// The same command again is told of the same token, and of its text only where nobody was before: a first attempt that
    /// did not come as far as the row is brought to its end by the repetition.
    pub async fn create(&self, ledger: &Ledger, role: Role, name: KeyName, by: By) -> Result<Created, CreateError> {
        let actor = by.actor;
        let command = CreateToken {
            token: clock::fresh_token_id(),
            role: role.recorded(),
            name,
        };
        let answer = ledger.submit(command, by).await?;
        let facts = answer.reply;
        let secret = TokenSecret::from_random(clock::random_secret_bits());
        let made = sqlx::query(
            "insert into access_tokens (token_id, digest, role, name, created_at, created_by, position)
             values ($1, $2, $3, $4, $5, $6, $7) on conflict on constraint access_tokens_pkey do nothing",
        )
        .bind(Uuid::from_bytes(facts.token.to_bytes()))
        .bind(secret.digest().as_bytes().as_slice())
        .bind(facts.role.as_str())
        .bind(facts.name.as_str())
        .bind(time_column(facts.created_at))
        .bind(actor.to_string())
        .bind(bigint(facts.position.0))
        .execute(&self.pool)
        .await?;
        let row = sqlx::query("select * from access_tokens where token_id = $1")
            .bind(Uuid::from_bytes(facts.token.to_bytes()))
            .fetch_one(&self.pool)
            .await?;
        Ok(Created {
            token: read(&row)?,
            secret: (made.rows_affected() == 1).then_some(secret),
            shard: answer.shard,
            position: answer.position,
        })
    }

    /// Ends a token: at once here, everywhere within 5 s, and then in the log.
    pub async fn revoke(&self, ledger: &Ledger, token: TokenId, by: By) -> Result<Revoked, RevokeError> {
        let stopped = self.stop(token, by.actor).await?.ok_or(RevokeError::Unknown)?;
        let shard = ledger.shard();
        // Told already; or stopped before the log told of tokens, which it does not do afterwards.
        if stopped.revoked_position.is_some() || stopped.revoked_by.is_none() {
            return Ok(Revoked {
                token: stopped,
                replayed: true,
                shard,
            });
        }
        let (replayed, position) = self.tell(ledger, &stopped, by.command).await?;
        Ok(Revoked {
            token: Token {
                revoked_position: Some(position),
                ..stopped
            },
            replayed,
            shard,
        })
    }

    /// Tells the log who stopped a token.
    async fn tell(
        &self,
        ledger: &Ledger,
        stopped: &Token,
        command: CommandId,
    ) -> Result<(bool, Position), RevokeError> {
        let actor = stopped.revoked_by.as_deref().and_then(|by| by.parse().ok());
        let by = By {
            actor: actor.unwrap_or(Actor::System),
            command,
        };
        let name = KeyName::parse(&stopped.name).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        let token = stopped.id;
        let answer = ledger.submit(RevokeToken { token, name }, by).await?;
        sqlx::query("update access_tokens set revoked_position = $2 where token_id = $1 and revoked_position is null")
            .bind(Uuid::from_bytes(token.to_bytes()))
            .bind(bigint(answer.position.0))
            .execute(&self.pool)
            .await?;
        Ok((answer.replayed, answer.position))
    }

    /// Stops a token without a word to the log.
    async fn stop(&self, token: TokenId, by: Actor) -> Result<Option<Token>, sqlx::Error> {
        let row = sqlx::query(
            "update access_tokens
             set revoked_at = coalesce(revoked_at, now()), revoked_by = case when revoked_at is null then $2 else revoked_by end
             where token_id = $1 returning *",
        )
        .bind(Uuid::from_bytes(token.to_bytes()))
        .bind(by.to_string())
        .fetch_optional(&self.pool)
        .await?;
        self.cache.forget(token, Instant::now());
        row.as_ref().map(read).transpose()
    }

    /// Tells the log of revocations that it has not heard of, because a process died or could not reach it.
    pub async fn tell_of_revocations(&self, ledger: &Ledger) -> Result<(), RevokeError> {
        let rows = sqlx::query(
            "select * from access_tokens
             where revoked_by is not null and revoked_position is null and revoked_at < now() - make_interval(secs => $1)
             order by token_id limit $2",
        )
        .bind(UNTOLD_SECONDS)
        .bind(UNTOLD_MAX)
        .fetch_all(&self.pool)
        .await?;
        for row in &rows {
            self.tell(ledger, &read(row)?, clock::fresh_command_id()).await?;
        }
        Ok(())
    }
}
