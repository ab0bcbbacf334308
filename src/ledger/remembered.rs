//! Commands that came with an idempotency key, and what they made: a repetition gets the first one's answer.

use std::collections::{HashMap, VecDeque};

use keyledger_events::{
    CommandId, CorrectionId, Credits, CreditsGranted, Event, KeyId, PlanStarted, PortalSessionId, Recorded, RefundId,
    Timestamp, TokenCreated,
};
use serde::{Deserialize, Serialize};

use super::account::{Account, Key};
use super::refusal::Refusal;
use super::rules::{AccountFacts, TokenFacts};
use super::schedule::Publication;

/// Remembered longer than the promised 24 h, so that a client's clock does not matter.
const REMEMBERED_SECONDS: u32 = 25 * 3600;

/// What an idempotent command's id begins with. After it: the scope's hash, a point, the request's fingerprint.
const MARK: &str = "idem:";

/// Whether a command of a moment is remembered no more, wherever it is asked for: also by an account in memory that has
/// folded nothing since.
pub(super) fn is_forgotten(at: Timestamp, now: Timestamp) -> bool {
    at.plus_seconds(REMEMBERED_SECONDS) <= now
}

/// What keyed commands made, by scope.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    by_scope: HashMap<String, Memory>,
    order: VecDeque<(Timestamp, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    fingerprint: String,
    made: Made,
}

/// What a remembered command made, as far as its answer needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Made {
    /// Of an account that was opened, changed or closed: as it was then.
    Account(Box<AccountFacts>),
    Key(KeyId),
    /// Of a key that was changed or deleted: as it was then.
    ChangedKey(Box<Key>),
    Grant {
        at: Timestamp,
        grant: CreditsGranted,
    },
    Refund {
        at: Timestamp,
        refund: RefundId,
        amount: Credits,
    },
    Plan {
        at: Timestamp,
        plan: PlanStarted,
    },
    EndedPlan,
    Correction {
        at: Timestamp,
        correction: CorrectionId,
    },
    Thresholds(Vec<Credits>),
    Prices(Publication),
    Token(Box<TokenFacts>),
    Session(PortalSessionId),
    Erased,
}

/// Names a command by its idempotency key: the same caller, key and request give the same id.
///
/// `scope` and `fingerprint` are hexadecimal hashes; together they fit a command id.
pub fn idempotent_command_id(scope: &str, fingerprint: &str) -> Option<CommandId> {
    CommandId::parse(&format!("{MARK}{scope}.{fingerprint}"))
}

/// Where the key of a command is good, if a key names it.
pub(super) fn scope_of(command: &CommandId) -> Option<&str> {
    parts(command).map(|(scope, _)| scope)
}

fn parts(command: &CommandId) -> Option<(&str, &str)> {
    command.as_str().strip_prefix(MARK)?.split_once('.')
}

impl Remembered {
    pub fn len(&self) -> usize {
        self.by_scope.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_scope.is_empty()
    }

    /// What this command made when it came before; refused when that was another request under the same key.
    pub fn made_by(&self, command: &CommandId) -> Result<Option<&Made>, Refusal> {
        match parts(command).and_then(|(scope, fingerprint)| Some((self.by_scope.get(scope)?, fingerprint))) {
            None => Ok(None),
            Some((memory, fingerprint)) if memory.fingerprint == fingerprint => Ok(Some(&memory.made)),
            Some(_) => Err(Refusal::IdempotencyMismatch),
        }
    }

    /// Folds an event, after the account has. Of one that a keyed command caused it keeps what the command made.
    pub(super) fn note(account: &mut Account, recorded: &Recorded) {
        account.remembered.forget(recorded.time);
        let Some((scope, fingerprint)) = parts(&recorded.command) else {
            return;
        };
        let Some(made) = made(account, recorded) else { return };
        let remembered = &mut account.remembered;
        if let Some(before) = remembered.by_scope.get_mut(scope) {
            // The first of a command's events says what it made; later ones of the same kind say more of it.
            if std::mem::discriminant(&before.made) == std::mem::discriminant(&made) {
                before.made = made;
            }
            return;
        }
        remembered.order.push_back((recorded.time, scope.to_owned()));
        let memory = Memory {
            fingerprint: fingerprint.to_owned(),
            made,
        };
        remembered.by_scope.insert(scope.to_owned(), memory);
    }

    /// Forgets what commands made: it says what accounts and keys were called.
    pub(super) fn forget_all(&mut self) {
        *self = Remembered::default();
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.order.front() {
            if !is_forgotten(*at, now) {
                break;
            }
            if let Some((_, scope)) = self.order.pop_front() {
                self.by_scope.remove(&scope);
            }
        }
    }
}

fn made(account: &Account, recorded: &Recorded) -> Option<Made> {
    let at = recorded.time;
    let changed = |key| {
        let key = account.keys.get(&key)?;
        Some(Made::ChangedKey(Box::new(key.clone())))
    };
    match &recorded.event {
        Event::AccountOpened(_)
        | Event::AccountClosed(_)
        | Event::AccountRenamed(_)
        | Event::ExternalRefChanged(_)
        | Event::CreditLimitChanged(_) => AccountFacts::of(account).map(|facts| Made::Account(Box::new(facts))),
        Event::KeyCreated(e) => Some(Made::Key(e.key)),
        Event::KeyRenamed(e) => changed(e.key),
        Event::KeyDeleted(e) => changed(e.key),
        Event::KeySpendingLimited(e) => changed(e.key),
        // Beside its plan: that is what the command made.
        Event::CreditsGranted(e) if e.period.is_some() => None,
        Event::CreditsGranted(e) => Some(Made::Grant { at, grant: e.clone() }),
        Event::CreditsRefunded(e) => Some(Made::Refund {
            at,
            refund: e.refund,
            amount: e.amount,
        }),
        Event::PlanStarted(e) => Some(Made::Plan { at, plan: e.clone() }),
        Event::PlanEnded(_) => Some(Made::EndedPlan),
        Event::CreditsCorrected(e) => Some(Made::Correction {
            at,
            correction: e.correction,
        }),
        Event::ThresholdsSet(e) => Some(Made::Thresholds(e.thresholds.clone())),
        Event::PricesPublished(_) => account.schedule.last().map(Made::Prices),
        Event::TokenCreated(e) => Some(Made::Token(Box::new(token(e, recorded)))),
        Event::PersonalDataErased(_) => Some(Made::Erased),
        Event::PortalSessionInvited(e) => Some(Made::Session(e.session)),
        Event::OperatorSessionInvited(e) => Some(Made::Session(e.session)),
        Event::TokenRevoked(_)
        | Event::ThresholdReached(_)
        | Event::GrantStarted(_)
        | Event::KeyRotated(_)
        | Event::KeyUseDenied(_)
        | Event::KeyUsed(_)
        | Event::CreditsExpired(_)
        | Event::CreditsReserved(_)
        | Event::CreditsCharged(_)
        | Event::CreditsReleased(_) => None,
    }
}

fn token(created: &TokenCreated, recorded: &Recorded) -> TokenFacts {
    TokenFacts {
        token: created.token,
        role: created.role,
        name: created.name.clone(),
        created_at: recorded.time,
        position: recorded.position,
    }
}
