//! Commands that came with an idempotency key, and what they made: a repetition gets the first one's answer.

use std::collections::{HashMap, VecDeque};

use keyledger_events::{
    CommandId, CorrectionId, Credits, CreditsGranted, Event, KeyId, PlanStarted, Recorded, RefundId, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::refusal::Refusal;

/// Remembered longer than the promised 24 h, so that a client's clock does not matter.
const REMEMBERED_SECONDS: u32 = 25 * 3600;

/// What an idempotent command's id begins with. After it: the scope's hash, a point, the request's fingerprint.
const MARK: &str = "idem:";

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

/// What a remembered command made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Made {
    Key(KeyId),
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
    Correction {
        at: Timestamp,
        correction: CorrectionId,
    },
}

/// Names a command by its idempotency key: the same caller, key and request give the same id.
///
/// `scope` and `fingerprint` are hexadecimal hashes; together they fit a command id.
pub fn idempotent_command_id(scope: &str, fingerprint: &str) -> Option<CommandId> {
    CommandId::parse(&format!("{MARK}{scope}.{fingerprint}"))
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

    /// Folds an event that a keyed command caused.
    pub fn note(&mut self, recorded: &Recorded) {
        while let Some((at, _)) = self.order.front() {
            if at.plus_seconds(REMEMBERED_SECONDS) > recorded.time {
                break;
            }
            if let Some((_, scope)) = self.order.pop_front() {
                self.by_scope.remove(&scope);
            }
        }
        let made = match &recorded.event {
            Event::KeyCreated(e) => Made::Key(e.key),
            // Beside its plan: that is what the command made.
            Event::CreditsGranted(e) if e.period.is_some() => return,
            Event::CreditsGranted(e) => Made::Grant {
                at: recorded.time,
                grant: e.clone(),
            },
            Event::CreditsRefunded(e) => Made::Refund {
                at: recorded.time,
                refund: e.refund,
                amount: e.amount,
            },
            Event::PlanStarted(e) => Made::Plan {
                at: recorded.time,
                plan: e.clone(),
            },
            Event::CreditsCorrected(e) => Made::Correction {
                at: recorded.time,
                correction: e.correction,
            },
            Event::AccountOpened(_)
            | Event::ThresholdsSet(_)
            | Event::ThresholdReached(_)
            | Event::PlanEnded(_)
            | Event::GrantStarted(_)
            | Event::AccountClosed(_)
            | Event::AccountRenamed(_)
            | Event::ExternalRefChanged(_)
            | Event::CreditLimitChanged(_)
            | Event::KeyRenamed(_)
            | Event::KeyDeleted(_)
            | Event::KeyRotated(_)
            | Event::KeyUseDenied(_)
            | Event::KeySpendingLimited(_)
            | Event::KeyUsed(_)
            | Event::CreditsExpired(_)
            | Event::CreditsReserved(_)
            | Event::CreditsCharged(_)
            | Event::CreditsReleased(_) => return,
        };
        if let Some((scope, fingerprint)) = parts(&recorded.command) {
            self.order.push_back((recorded.time, scope.to_owned()));
            self.by_scope.insert(
                scope.to_owned(),
                Memory {
                    fingerprint: fingerprint.to_owned(),
                    made,
                },
            );
        }
    }
}
