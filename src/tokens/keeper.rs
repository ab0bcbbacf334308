//! Tokens where no service runs: with a writer of its own, that appends like any other process's.

use keyledger_events::{Actor, KeyName, Shard, TextError, TokenId};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{CreateError, RevokeError, Revoked, Role, TokenSecret, Tokens};
use crate::clock;
use crate::ledger::{By, Ledger, LedgerOptions};
use crate::log::{Log, open_pool, service_options};

/// Makes and revokes tokens as the system. Its writer ends with it.
#[derive(Debug)]
pub struct Keeper {
    tokens: Tokens,
    ledger: Ledger,
    _stop: DropGuard,
}

/// Why there is no new token.
#[derive(Debug, thiserror::Error)]
pub enum NotMade {
    /// Nothing was written.
    #[error("the token's name {0}")]
    Name(#[from] TextError),
    #[error(transparent)]
    Create(#[from] CreateError),
}

/// One appends, the others read and write rows.
const CONNECTIONS_MAX: u32 = 3;

impl Keeper {
    /// Connects when first asked for something.
    pub fn open(database_url: &str) -> Result<Keeper, sqlx::Error> {
        let pool = open_pool(service_options(database_url)?, CONNECTIONS_MAX);
        let stop = CancellationToken::new();
        let log = Log::new(pool.clone(), Shard(0));
        let (ledger, _) = Ledger::start(log, LedgerOptions::default(), stop.clone());
        Ok(Keeper {
            tokens: Tokens::new(pool),
            ledger,
            _stop: stop.drop_guard(),
        })
    }

    pub async fn create(&self, role: Role, name: &str) -> Result<(TokenId, TokenSecret), NotMade> {
        self.tokens.create_by_system(&self.ledger, role, name).await
    }

    pub async fn revoke(&self, token: TokenId) -> Result<Revoked, RevokeError> {
        self.tokens.revoke(&self.ledger, token, by_system()).await
    }
}

fn by_system() -> By {
    By {
        actor: Actor::System,
        command: clock::fresh_command_id(),
    }
}

impl Tokens {
    /// Makes a token that nobody of the API asked for.
    pub async fn create_by_system(
        &self,
        ledger: &Ledger,
        role: Role,
        name: &str,
    ) -> Result<(TokenId, TokenSecret), NotMade> {
        let created = self.create(ledger, role, KeyName::parse(name)?, by_system()).await?;
        // A command with a name of its own has not come before.
        let secret = created.secret.ok_or(CreateError::NotStored(sqlx::Error::RowNotFound))?;
        Ok((created.token.id, secret))
    }
}
