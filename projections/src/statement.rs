//! What a statement tells: every movement of the credits that an account owns.
//!
//! What an account owns is what is available to it and what is held for it: a hold moves nothing, its charge does.
//!
//! Law: opening + the sum of the movements = closing, and the sums are those of the balance.

use std::collections::BTreeMap;

use keyledger_events::{
    AccountId, Actor, CorrectionId, Credits, Endpoint, Event, GrantId, GrantSource, KeyId, PaidWork, PlanPeriod,
    Position, Reason, Recorded, RefundId, ReservationId, Scopes, Seq, Timestamp,
};

use crate::{FoldError, add};

/// One event that moved credits, or could have: the work of a test key moves none and is told too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    pub account: AccountId,
    pub seq: Seq,
    pub position: Position,
    pub at: Timestamp,
    pub actor: Actor,
    /// Micro-credits, below zero where the account has less afterwards.
    pub amount: i64,
    pub what: Moved,
}

/// What moved them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    Grant(Granted),
    Charge(Charged),
    Refund(Refunded),
    Expiry { grant: GrantId },
    Correction { correction: CorrectionId, reason: Reason },
}

/// Credits that came: `given` less what rolled over from a grant of before, which the account owned already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    pub grant: GrantId,
    pub source: GrantSource,
    pub reference: Option<String>,
    pub reason: Option<Reason>,
    pub starts_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub endpoints: Option<Scopes>,
    pub period: Option<PlanPeriod>,
    pub given: Credits,
    pub rolled_over: Credits,
}

/// Credits that were spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charged {
    pub charge: ReservationId,
    pub work: PaidWork,
    pub quantity: u64,
    pub reserved_at: Timestamp,
}

/// Credits of a charge that came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refunded {
    pub refund: RefundId,
    pub charge: ReservationId,
    pub work: PaidWork,
    pub reason: Reason,
    pub charged_at: Timestamp,
}

impl Movement {
    /// The types of the events that are movements.
    pub const TYPES: [&str; 5] = [
        "keyledger.CreditsGranted.v1",
        "keyledger.CreditsExpired.v1",
        "keyledger.CreditsCharged.v1",
        "keyledger.CreditsRefunded.v1",
        "keyledger.CreditsCorrected.v1",
    ];

    /// The movement that an event is, if it is one.
    pub fn of(recorded: Recorded) -> Option<Movement> {
        let (amount, what) = moved(recorded.event)?;
        Some(Movement {
            account: recorded.account,
            seq: recorded.seq,
            position: recorded.position,
            at: recorded.time,
            actor: recorded.actor,
            amount,
            what,
        })
    }

    /// The work that was charged, or whose charge was taken back.
    pub fn work(&self) -> Option<&PaidWork> {
        match &self.what {
            Moved::Charge(charged) => Some(&charged.work),
            Moved::Refund(refunded) => Some(&refunded.work),
            Moved::Grant(_) | Moved::Expiry { .. } | Moved::Correction { .. } => None,
        }
    }
}

fn moved(event: Event) -> Option<(i64, Moved)> {
    match event {
        Event::CreditsGranted(e) => {
            let rolled_over = e.rolled_over.map_or(Credits::ZERO, |part| part.amount);
            let granted = Granted {
                grant: e.grant,
                source: e.source,
                reference: e.reference,
                reason: e.reason,
                starts_at: e.starts_at,
                expires_at: e.expires_at,
                endpoints: e.endpoints,
                period: e.period,
                given: e.amount,
                rolled_over,
            };
            Some((e.amount.micros() - rolled_over.micros(), Moved::Grant(granted)))
        }
        Event::CreditsCharged(e) => {
            let charged = Charged {
                charge: e.reservation,
                work: e.work,
                quantity: e.quantity,
                reserved_at: e.reserved_at,
            };
            Some((-e.charged.micros(), Moved::Charge(charged)))
        }
        Event::CreditsRefunded(e) => {
            let refunded = Refunded {
                refund: e.refund,
                charge: e.reservation,
                work: e.work,
                reason: e.reason,
                charged_at: e.charged_at,
            };
            Some((e.amount.micros(), Moved::Refund(refunded)))
        }
        // Where all of it repaid what was owed, nothing is gone.
        Event::CreditsExpired(e) if e.amount.is_zero() => None,
        Event::CreditsExpired(e) => Some((-e.amount.micros(), Moved::Expiry { grant: e.grant })),
        Event::CreditsCorrected(e) => {
            let correction = Moved::Correction {
                correction: e.correction,
                reason: e.reason,
            };
            Some((-e.amount.micros(), correction))
        }
        // Held and given back, used and refused, renamed and closed: the account owns as much as before.
        Event::AccountOpened(_)
        | Event::AccountRenamed(_)
        | Event::ExternalRefChanged(_)
        | Event::CreditLimitChanged(_)
        | Event::AccountClosed(_)
        | Event::ThresholdsSet(_)
        | Event::ThresholdReached(_)
        | Event::PlanStarted(_)
        | Event::PlanEnded(_)
        | Event::GrantStarted(_)
        | Event::KeyCreated(_)
        | Event::KeyRenamed(_)
        | Event::KeyDeleted(_)
        | Event::KeyRotated(_)
        | Event::KeyUseDenied(_)
        | Event::KeySpendingLimited(_)
        | Event::KeyUsed(_)
        | Event::CreditsReserved(_)
        | Event::CreditsReleased(_)
        | Event::TokenCreated(_)
        | Event::TokenRevoked(_)
        | Event::PortalSessionInvited(_)
        | Event::OperatorSessionInvited(_)
        | Event::PersonalDataErased(_)
        | Event::PricesPublished(_) => None,
    }
}

/// Sums of movements, in micro-credits, each from zero up: those of the balance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    pub granted: i64,
    pub charged: i64,
    pub refunded: i64,
    pub expired: i64,
    /// What corrections took away.
    pub corrected: i64,
}

impl Sums {
    /// What the account owns by them: available and held.
    pub const fn owned(&self) -> i64 {
        self.granted - self.charged + self.refunded - self.expired - self.corrected
    }

    /// Adds a movement.
    pub fn take(&mut self, movement: &Movement) -> Result<(), FoldError> {
        let sum = match &movement.what {
            Moved::Grant(_) => &mut self.granted,
            Moved::Charge(_) => &mut self.charged,
            Moved::Refund(_) => &mut self.refunded,
            Moved::Expiry { .. } => &mut self.expired,
            Moved::Correction { .. } => &mut self.corrected,
        };
        let from_zero = match &movement.what {
            Moved::Grant(_) | Moved::Refund(_) => movement.amount,
            Moved::Charge(_) | Moved::Expiry { .. } | Moved::Correction { .. } => -movement.amount,
        };
        add(sum, from_zero, movement.position)
    }
}

/// What was charged, and what of charges of any time was taken back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    pub charges: u64,
    /// Units of the charges.
    pub quantity: u64,
    /// Micro-credits.
    pub charged: i64,
    pub refunded: i64,
}

impl Spent {
    fn take(&mut self, movement: &Movement) -> Result<(), FoldError> {
        match &movement.what {
            Moved::Charge(charged) => {
                self.charges += 1;
                self.quantity = self.quantity.saturating_add(charged.quantity);
                add(&mut self.charged, -movement.amount, movement.position)
            }
            Moved::Refund(_) => add(&mut self.refunded, movement.amount, movement.position),
            Moved::Grant(_) | Moved::Expiry { .. } | Moved::Correction { .. } => Ok(()),
        }
    }
}

/// One day, UTC, on which something moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Day {
    pub sums: Sums,
    pub spent: Spent,
}

/// Movements added up: all, by key, by endpoint and by day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    pub movements: u64,
    pub sums: Sums,
    pub spent: Spent,
    /// `None`: the dashboard.
    pub by_key: BTreeMap<Option<KeyId>, Spent>,
    pub by_endpoint: BTreeMap<Endpoint, Spent>,
    pub by_day: BTreeMap<Timestamp, Day>,
}

impl Tally {
    pub fn take(&mut self, movement: &Movement) -> Result<(), FoldError> {
        self.movements += 1;
        self.sums.take(movement)?;
        self.spent.take(movement)?;
        if let Some(work) = movement.work() {
            self.by_key.entry(work.key).or_default().take(movement)?;
            match self.by_endpoint.get_mut(&work.endpoint) {
                Some(spent) => spent.take(movement)?,
                None => self
                    .by_endpoint
                    .entry(work.endpoint.clone())
                    .or_default()
                    .take(movement)?,
            }
        }
        let day = self.by_day.entry(movement.at.start_of_day()).or_default();
        day.sums.take(movement)?;
        day.spent.take(movement)
    }
}
