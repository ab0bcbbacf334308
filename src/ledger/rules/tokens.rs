//! Access tokens in the system's own history: that one was made, and that it is good for nothing any more.
//!
//! Not here: their texts and whether one is let in. A token works from a row that is written after its event, and no longer
//! from the moment that the row says so, which is before its event.

use keyledger_events::{Event, KeyName, Position, Timestamp, TokenCreated, TokenId, TokenRevoked, TokenRole};
use serde::{Deserialize, Serialize};

use crate::ledger::account::Account;
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refusal::Refusal;
use crate::ledger::remembered::Made;

/// Writes down that a token will be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    pub token: TokenId,
    pub role: TokenRole,
    pub name: KeyName,
}

/// Writes down that a token was stopped. Again changes nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeToken {
    pub token: TokenId,
    pub name: KeyName,
}

/// A token as the log knows it: of a repetition the first one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenFacts {
    pub token: TokenId,
    pub role: TokenRole,
    pub name: KeyName,
    pub created_at: Timestamp,
    /// Where the log says so.
    pub position: Position,
}

impl Command for CreateToken {
    type Reply = TokenFacts;
    const NAME: &'static str = "create_token";

    fn target(&self) -> Target {
        Target::System
    }

    fn decide(&self, _: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let created = TokenCreated {
            token: self.token,
            role: self.role,
            name: self.name.clone(),
        };
        Ok(vec![created.into()])
    }

    fn reply(&self, account: &Account, by: &By) -> Option<TokenFacts> {
        match account.remembered.made_by(&by.command) {
            Ok(Some(Made::Token(facts))) => Some(facts.as_ref().clone()),
            Ok(None) => Some(TokenFacts {
                token: self.token,
                role: self.role,
                name: self.name.clone(),
                created_at: account.touched_at,
                position: account.position,
            }),
            Ok(Some(_)) | Err(_) => None,
        }
    }
}

impl Command for RevokeToken {
    type Reply = ();
    const NAME: &'static str = "revoke_token";

    fn target(&self) -> Target {
        Target::System
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        if given.account.ended_tokens.contains(&self.token) {
            return Ok(vec![]);
        }
        let revoked = TokenRevoked {
            token: self.token,
            name: self.name.clone(),
        };
        Ok(vec![revoked.into()])
    }

    fn reply(&self, _: &Account, _: &By) -> Option<()> {
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use keyledger_events::{AccountId, Actor, CommandId, EventId, Recorded, Shard};

    use super::*;
    use crate::ledger::command::Limits;

    const NOW: Timestamp = Timestamp::EPOCH;

    fn token(n: u128) -> TokenId {
        TokenId::from_parts(1, n)
    }

    fn name() -> KeyName {
        KeyName::parse("Jenkins").unwrap()
    }

    fn by(command: &str) -> By {
        By {
            actor: Actor::Token(token(9)),
            command: CommandId::parse(command).unwrap(),
        }
    }

    /// Carries a command out, and says how many events that were.
    fn carry_out<C: Command>(system: &mut Account, command: &C, by: &By) -> Result<usize, Refusal> {
        let limits = Limits::default();
        let given = Given {
            account: system,
            by,
            now: NOW,
            limits: &limits,
        };
        let events = command.ask(given)?;
        let many = events.len();
        for event in events {
            let recorded = Recorded {
                id: EventId::from_parts(1, 1),
                shard: Shard(0),
                position: system.position.next(),
                account: AccountId::SYSTEM,
                seq: system.seq.next(),
                time: NOW,
                actor: command.actor(system, by),
                command: by.command.clone(),
                sealed: None,
                event,
            };
            system.evolve(&recorded).unwrap();
        }
        Ok(many)
    }

    fn make(token: TokenId) -> CreateToken {
        CreateToken {
            token,
            role: TokenRole::Auditor,
            name: name(),
        }
    }

    #[test]
    fn a_repeated_request_is_told_of_the_first_ones_token() {
        let mut system = Account::nobody(AccountId::SYSTEM);
        let named = by("idem:aa.01");
        assert_eq!(carry_out(&mut system, &make(token(1)), &named), Ok(1));
        assert_eq!(carry_out(&mut system, &make(token(2)), &named), Ok(0));
        let told = make(token(2)).reply(&system, &named).unwrap();
        assert_eq!((told.token, told.position), (token(1), Position(1)));
        let other = carry_out(&mut system, &make(token(2)), &by("idem:aa.02"));
        assert_eq!(other, Err(Refusal::IdempotencyMismatch));
    }

    #[test]
    fn a_token_ends_once_also_one_that_the_log_never_heard_of() {
        let mut system = Account::nobody(AccountId::SYSTEM);
        let revoke = RevokeToken {
            token: token(1),
            name: name(),
        };
        assert_eq!(carry_out(&mut system, &revoke, &by("a")), Ok(1));
        assert_eq!(carry_out(&mut system, &revoke, &by("b")), Ok(0));
    }
}
