//! One account in the books: what it is known to have, and whether an event may come next.

use keyledger_events::{AccountId, Event, GrantId, KeyId, PlanId, ReservationId, Timestamp};

use super::super::fact::{Busy, Entry, Fact};
use super::credits::Grant;
use super::holds::{Hold, Settled};
use super::keys::Key;
use super::{Entered, Fast, SUM, Wrong};

/// What an account came to, in micro-credits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub granted: i64,
    pub charged: i64,
    pub refunded: i64,
    pub expired: i64,
    pub reserved: i64,
    pub corrected: i64,
}

/// How much of an account the file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Has {
    /// All of it, from its first event on.
    Whole,
    /// From somewhere on.
    Part,
    /// What is about one key, from its creation on.
    WholeKey,
    PartOfKey,
}

#[derive(Debug)]
pub(crate) struct Account {
    pub(super) has: Has,
    seq: u64,
    pub(super) opened: bool,
    pub(super) closed: bool,
    /// What was known of people here is gone.
    erased: bool,
    /// Micro-credits, as all amounts here.
    pub(super) credit_limit: i64,
    /// Charged on the credit limit and not repaid.
    pub(super) owed: i64,
    /// Held on the credit limit.
    pub(super) held_on_limit: i64,
    /// What every endpoint can use of the grants.
    pub(super) free: i64,
    pub(super) sums: Sums,
    pub(super) keys: Fast<KeyId, Key>,
    /// Those with something left or held.
    pub(super) grants: Vec<Grant>,
    pub(super) open: Fast<ReservationId, Hold>,
    pub(super) settled: Fast<ReservationId, Settled>,
    /// The periods that each gave for; none once it has ended.
    pub(super) plans: Fast<PlanId, Option<u32>>,
}

pub(super) fn add(sum: &mut i64, more: i64) -> Entered {
    *sum = sum.checked_add(more).ok_or(SUM)?;
    Ok(())
}

impl Account {
    pub(super) fn begin(first: &Entry<'_>, of_key: bool) -> Account {
        let is_birth = matches!(first.fact, Fact::Other(Event::KeyCreated(_)));
        let has = match (of_key, first.seq == 1) {
            (true, _) if is_birth => Has::WholeKey,
            (true, _) => Has::PartOfKey,
            (false, true) => Has::Whole,
            (false, false) => Has::Part,
        };
        Account {
            has,
            seq: if has == Has::Whole {
                0
            } else {
                first.seq.saturating_sub(1)
            },
            opened: false,
            closed: false,
            erased: false,
            credit_limit: 0,
            owed: 0,
            held_on_limit: 0,
            free: 0,
            sums: Sums::default(),
            keys: Fast::default(),
            grants: Vec::new(),
            open: Fast::default(),
            settled: Fast::default(),
            plans: Fast::default(),
        }
    }

    /// Whether the event has the next place in the account's history; of a key's events, a later one.
    pub(super) fn follows(&mut self, entry: &Entry<'_>) -> Entered {
        let next = self.seq.saturating_add(1);
        let follows = if self.is_of_key() {
            entry.seq >= next
        } else {
            entry.seq == next
        };
        if !follows {
            return Err("its seq is not the next one of its account");
        }
        let of_all = matches!(
            entry.fact,
            Fact::Other(
                Event::PricesPublished(_)
                    | Event::TokenCreated(_)
                    | Event::TokenRevoked(_)
                    | Event::OperatorSessionInvited(_)
            )
        );
        if of_all != (entry.account == AccountId::SYSTEM) {
            return Err("it belongs to the other kind of history");
        }
        let opens = matches!(entry.fact, Fact::Other(Event::AccountOpened(_)));
        if !of_all && self.has == Has::Whole && self.opened == opens {
            return Err("an account is opened first, and once");
        }
        self.seq = entry.seq;
        Ok(())
    }

    pub(super) fn is_whole(&self) -> bool {
        self.has == Has::Whole
    }

    pub(super) fn is_of_key(&self) -> bool {
        matches!(self.has, Has::WholeKey | Has::PartOfKey)
    }

    /// Of what this account's keys and holds are, nothing is missing.
    pub(super) fn knows_holds(&self) -> bool {
        matches!(self.has, Has::Whole | Has::WholeKey)
    }

    /// What is not there was never there, or it lies before the file's beginning.
    pub(super) fn missing(&self, why: Wrong) -> Entered {
        if self.knows_holds() { Err(why) } else { Ok(()) }
    }

    /// What may still be held by any use, in micro-credits. Meaningless of an account that is not whole.
    pub(in crate::audit::file) fn available(&self) -> i64 {
        self.free - self.owed - self.held_on_limit
    }

    pub(in crate::audit::file) fn is_complete(&self) -> bool {
        self.is_whole()
    }

    pub(in crate::audit::file) fn sums(&self) -> Sums {
        self.sums
    }

    pub(super) fn enter(&mut self, entry: &Entry<'_>) -> Entered {
        let at = entry.time;
        match &entry.fact {
            Fact::Busy(Busy::Used(used)) => self.used(used, at),
            Fact::Busy(Busy::Held(held)) => self.held(held, at),
            Fact::Busy(Busy::Charged(charged)) => self.charged(charged, at),
            Fact::Busy(Busy::Released(released)) => self.released(released, at),
            Fact::Other(event) => self.other(event, at),
        }
    }

    fn other(&mut self, event: &Event, at: Timestamp) -> Entered {
        match event {
            Event::AccountOpened(e) => {
                self.opened = true;
                self.limit(e.credit_limit)
            }
            Event::CreditLimitChanged(e) => self.limit(e.credit_limit),
            Event::AccountClosed(_) => {
                if std::mem::replace(&mut self.closed, true) {
                    return Err("the account is closed already");
                }
                Ok(())
            }
            Event::PersonalDataErased(_) => {
                if std::mem::replace(&mut self.erased, true) {
                    return Err("personal data is erased already");
                }
                Ok(())
            }
            Event::KeyCreated(e) => self.key_created(e),
            Event::KeyRenamed(e) => self.knows_key(e.key),
            Event::KeySpendingLimited(e) => self.knows_key(e.key),
            Event::KeyUseDenied(e) => self.knows_key(e.key),
            Event::KeyDeleted(e) => self.key_deleted(e),
            Event::KeyRotated(e) => self.key_rotated(e),
            Event::CreditsGranted(e) => self.granted(e),
            Event::GrantStarted(e) => self.started(e, at),
            Event::CreditsExpired(e) => self.expired(e, at),
            Event::CreditsRefunded(e) => self.refunded(e),
            Event::CreditsCorrected(e) => self.corrected(e),
            Event::PlanStarted(e) => match self.plans.insert(e.plan, Some(0)) {
                None => Ok(()),
                Some(_) => Err("the plan is there already"),
            },
            Event::PlanEnded(e) => match self.plans.insert(e.plan, None) {
                Some(Some(_)) => Ok(()),
                Some(None) => Err("the plan has ended already"),
                None => self.missing("the account has no such plan"),
            },
            Event::AccountRenamed(_)
            | Event::ExternalRefChanged(_)
            | Event::ThresholdsSet(_)
            | Event::ThresholdReached(_)
            | Event::PricesPublished(_)
            | Event::TokenCreated(_)
            | Event::TokenRevoked(_)
            | Event::PortalSessionInvited(_)
            | Event::OperatorSessionInvited(_) => Ok(()),
            // Read as facts of their own, whichever way their bytes were read.
            Event::KeyUsed(_) | Event::CreditsReserved(_) | Event::CreditsCharged(_) | Event::CreditsReleased(_) => {
                Ok(())
            }
        }
    }

    fn limit(&mut self, limit: keyledger_events::Credits) -> Entered {
        if limit.is_negative() {
            return Err("a credit limit is below zero");
        }
        self.credit_limit = limit.micros();
        Ok(())
    }

    pub(super) fn grant_place(&self, id: GrantId) -> Option<usize> {
        self.grants.iter().position(|grant| grant.id == id)
    }
}
