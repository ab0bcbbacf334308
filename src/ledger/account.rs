//! An account as the deciders see it: a fold of its own history, kept in memory.
//!
//! Promise: the state depends on nothing but the events, so any process that has read them decides the same.

mod credits;
mod deadlines;
mod key;
mod keys;
mod plans;
mod refunds;
mod spending;
mod thresholds;

use std::collections::{BTreeSet, HashMap, VecDeque};

use keyledger_events::{
    AccountId, AccountName, Credits, Event, KeyId, PlanId, Position, Recorded, ReservationId, Seq, Timestamp, TokenId,
};
use serde::{Deserialize, Serialize};

pub use credits::{Grant, Hold, Outcome, Settled};
pub use deadlines::Deadlines;
pub use key::{Key, KeyLimits, Rotated};
pub use keys::Keys;
pub use spending::Spending;
pub use thresholds::Threshold;

use super::opener::Opener;
use super::paid_results::PaidResults;
use super::plan::Plan;
use super::refunded_charges::RefundedCharges;
use super::remembered::Remembered;
use super::schedule::Schedule;

/// Version of the form below. A snapshot of another version is thrown away.
pub const STATE_FORMAT: i32 = 8;

/// An account: opened or not, its keys, its credits, its open holds, and what was settled of late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub id: AccountId,
    pub seq: Seq,
    /// Position of the last event.
    pub position: Position,
    /// Time of the last event.
    pub touched_at: Timestamp,
    /// `None` until it is opened.
    pub opened: Option<Opened>,
    /// When it was closed; since then only time does anything.
    pub closed_at: Option<Timestamp>,
    /// When what was known of people here was erased.
    pub erased_at: Option<Timestamp>,
    pub keys: Keys,
    /// Grants with something left or held, in burn order.
    pub grants: Vec<Grant>,
    pub open: HashMap<ReservationId, Hold>,
    pub settled: HashMap<ReservationId, Settled>,
    pub remembered: Remembered,
    /// Results that were charged within a day, by rules that charge for a result once.
    pub paid: PaidResults,
    /// Charges that something was refunded of, for as long as more could be.
    pub refunds: RefundedCharges,
    /// Plans that go on.
    pub plans: Vec<Plan>,
    /// The last plans that ended.
    pub ended_plans: VecDeque<PlanId>,
    /// Balances at which to tell, the highest first.
    pub thresholds: Vec<Threshold>,
    /// Which price book holds when. The system's own history alone has one.
    pub schedule: Schedule,
    /// Access tokens that were revoked. The system's own history alone has them: platforms have few, of 16 bytes each.
    pub ended_tokens: BTreeSet<TokenId>,
    pub totals: Totals,
    /// Charged on the credit limit and not yet repaid by a grant.
    pub owed: Credits,
    /// Endpoints that the keys' scopes name, all keys together.
    scopes_named: usize,
    /// Moments that the keys' clients left near the end, all keys together.
    hang_ups_kept: usize,
    /// Open holds by the moment that they end.
    pub(super) deadlines: Deadlines,
    /// Keys that have a successor and still work, by the moment that they stop.
    pub(super) stopping: BTreeSet<(Timestamp, KeyId)>,
    /// Settled ids by the moment that they were settled.
    settled_order: VecDeque<(Timestamp, ReservationId)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    pub name: AccountName,
    pub external_ref: Option<String>,
    pub credit_limit: Credits,
    pub at: Timestamp,
    /// By which it is found again when the same is asked for once more.
    pub opener: Option<Opener>,
}

/// Sums over the whole history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    pub granted: Credits,
    pub charged: Credits,
    pub refunded: Credits,
    pub expired: Credits,
    pub reserved: Credits,
    /// What corrections took away.
    pub corrected: Credits,
}

/// An event that cannot follow this history. The log is wrong, or this program is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {position} of account {account} cannot follow: {why}")]
pub struct Inconsistent {
    pub account: AccountId,
    pub position: Position,
    pub why: &'static str,
}

/// A moment that a fold names by what it found wrong.
type Folded = Result<(), &'static str>;

const SUM: &str = "a sum leaves its bounds";

impl Account {
    /// Nobody yet: the state before the first event.
    pub fn nobody(id: AccountId) -> Account {
        Account {
            id,
            seq: Seq::START,
            position: Position::START,
            touched_at: Timestamp::EPOCH,
            opened: None,
            closed_at: None,
            erased_at: None,
            keys: Keys::default(),
            grants: Vec::new(),
            open: HashMap::new(),
            settled: HashMap::new(),
            remembered: Remembered::default(),
            paid: PaidResults::default(),
            refunds: RefundedCharges::default(),
            plans: Vec::new(),
            ended_plans: VecDeque::new(),
            thresholds: Vec::new(),
            schedule: Schedule::default(),
            ended_tokens: BTreeSet::new(),
            totals: Totals::default(),
            owed: Credits::ZERO,
            scopes_named: 0,
            hang_ups_kept: 0,
            deadlines: Deadlines::default(),
            stopping: BTreeSet::new(),
            settled_order: VecDeque::new(),
        }
    }

    /// What a use of any endpoint may hold: granted − charged + refunded − expired − reserved − corrected, without what is
    /// set aside. Below zero only on a credit limit.
    pub fn available(&self) -> Credits {
        let totals = &self.totals;
        let micros = totals.granted.micros() - totals.charged.micros() + totals.refunded.micros()
            - totals.expired.micros()
            - totals.reserved.micros()
            - totals.corrected.micros()
            - self.set_aside();
        Credits::from_micros(micros).unwrap_or(Credits::ZERO)
    }

    /// Bytes that the state takes, roughly: what the cache is bounded by.
    pub fn weight(&self) -> usize {
        512 + self.keys.len() * 450
            + self.scopes_named * 64
            + self.hang_ups_kept * 8
            + self.stopping.len() * 40
            + self.grants.len() * 120
            + self.open.len() * 400
            + self.settled.len() * 220
            + self.remembered.len() * 600
            + self.paid.len() * 100
            + self.refunds.len() * 200
            + self.plans.len() * 150
            + self.ended_plans.len() * 16
            + self.ended_tokens.len() * 24
    }

    /// Folds the next event of this account's history.
    pub fn evolve(&mut self, recorded: &Recorded) -> Result<(), Inconsistent> {
        let broken = |why| Inconsistent {
            account: self.id,
            position: recorded.position,
            why,
        };
        if recorded.account != self.id {
            return Err(broken("it is another account's"));
        }
        if recorded.seq != self.seq.next() {
            return Err(broken("its seq is not the next one"));
        }
        // The system's own history is no customer's account: it is never opened, and holds what is true for all of them.
        let of_all = is_of_the_system(&recorded.event);
        if of_all != (self.id == AccountId::SYSTEM) {
            return Err(broken("it belongs to the other kind of history"));
        }
        if self.opened.is_none() && !of_all && !matches!(recorded.event, Event::AccountOpened(_)) {
            return Err(broken("the account is not open"));
        }
        let (id, position) = (self.id, recorded.position);
        self.fold(recorded).map_err(|why| Inconsistent {
            account: id,
            position,
            why,
        })?;
        self.arm_thresholds();
        Remembered::note(self, recorded);
        self.forget_settled(recorded.time);
        self.refunds.forget(recorded.time);
        self.seq = recorded.seq;
        self.position = recorded.position;
        self.touched_at = recorded.time;
        Ok(())
    }

    fn fold(&mut self, recorded: &Recorded) -> Folded {
        let at = recorded.time;
        match &recorded.event {
            Event::AccountOpened(e) => {
                if self.opened.is_some() {
                    return Err("the account is open already");
                }
                self.opened = Some(Opened {
                    name: e.name.clone(),
                    external_ref: e.external_ref.clone(),
                    credit_limit: e.credit_limit,
                    at,
                    opener: Opener::of(&recorded.command),
                });
            }
            Event::AccountRenamed(e) => self.opened_mut()?.name = e.name.clone(),
            Event::ExternalRefChanged(e) => self.opened_mut()?.external_ref = e.external_ref.clone(),
            Event::CreditLimitChanged(e) => self.opened_mut()?.credit_limit = e.credit_limit,
            Event::AccountClosed(_) => {
                if self.closed_at.replace(at).is_some() {
                    return Err("the account is closed already");
                }
            }
            Event::KeyCreated(e) => {
                if self.keys.insert(Key::created(e, at)).is_some() {
                    return Err("the key is there already");
                }
                self.scopes_named += e.scopes.as_ref().map_or(0, |scopes| scopes.endpoints().len());
            }
            Event::KeyRenamed(e) => self.key_mut(e.key)?.name = e.name.clone(),
            Event::KeyDeleted(e) => {
                let key = self.key_mut(e.key)?;
                if key.deleted.is_some() {
                    return Err("the key is deleted already");
                }
                key.deleted = Some((at, e.reason));
                if let Some(rotated) = key.rotated {
                    self.stopping.remove(&(rotated.stops_at, e.key));
                }
            }
            Event::KeyRotated(e) => {
                if !self.keys.contains_key(&e.successor) {
                    return Err("the account has no such successor");
                }
                let key = self.key_mut(e.key)?;
                if key.deleted.is_some() || key.rotated.is_some() {
                    return Err("the key is deleted or rotated already");
                }
                let (successor, stops_at) = (e.successor, e.stops_at);
                key.rotated = Some(Rotated { successor, stops_at });
                self.stopping.insert((stops_at, e.key));
            }
            Event::KeyUsed(e) => {
                self.key_mut(e.key)?;
            }
            Event::KeySpendingLimited(e) => self.key_mut(e.key)?.limits.spending = e.limit,
            Event::KeyUseDenied(e) => _ = self.key_mut(e.key)?.denied_at.insert(e.reason, at),
            Event::CreditsGranted(e) => self.granted(e, at)?,
            Event::CreditsExpired(e) => self.lapsed(e)?,
            Event::GrantStarted(e) => self.started(e)?,
            Event::PlanStarted(e) => self.plan_started(e, at)?,
            Event::PlanEnded(e) => self.plan_ended(e)?,
            Event::ThresholdsSet(e) => self.thresholds_set(e)?,
            Event::ThresholdReached(e) => self.threshold_reached(e)?,
            Event::CreditsReserved(e) => self.reserved(e, at)?,
            Event::CreditsCharged(e) => self.charged(e, at)?,
            Event::CreditsReleased(e) => self.released(e, at)?,
            Event::CreditsRefunded(e) => self.refunded(e, at)?,
            Event::CreditsCorrected(e) => self.corrected(e)?,
            Event::PricesPublished(e) => self.schedule.published(e, at)?,
            Event::TokenCreated(e) => {
                if self.ended_tokens.contains(&e.token) {
                    return Err("the token was revoked before it was made");
                }
            }
            Event::TokenRevoked(e) => {
                if !self.ended_tokens.insert(e.token) {
                    return Err("the token is revoked already");
                }
            }
            Event::PersonalDataErased(_) => self.erase(at)?,
            // Their names are the pages' concern.
            Event::PortalSessionInvited(_) | Event::OperatorSessionInvited(_) => {}
        }
        Ok(())
    }

    /// Keeps nothing that says who the people here are.
    fn erase(&mut self, at: Timestamp) -> Folded {
        if self.closed_at.is_none() {
            return Err("the account is not closed");
        }
        if self.erased_at.replace(at).is_some() {
            return Err("the account's personal data is erased already");
        }
        let opened = self.opened_mut()?;
        opened.name = AccountName::erased();
        opened.external_ref = None;
        self.keys.forget_names();
        self.remembered.forget_all();
        Ok(())
    }

    fn opened_mut(&mut self) -> Result<&mut Opened, &'static str> {
        self.opened.as_mut().ok_or("the account is not open")
    }

    fn key_mut(&mut self, key: KeyId) -> Result<&mut Key, &'static str> {
        self.keys.get_mut(&key).ok_or("the account has no such key")
    }
}

/// Whether an event says what is true for all accounts.
fn is_of_the_system(event: &Event) -> bool {
    matches!(
        event,
        Event::PricesPublished(_) | Event::TokenCreated(_) | Event::TokenRevoked(_) | Event::OperatorSessionInvited(_)
    )
}
