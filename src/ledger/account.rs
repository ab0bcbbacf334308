//! An account as the deciders see it: a fold of its own history, kept in memory.
//!
//! Promise: the state depends on nothing but the events, so any process that has read them decides the same.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use keyledger_events::{
    AccountId, AccountName, Credits, CreditsCharged, CreditsGranted, CreditsReleased, CreditsReserved, DeleteReason,
    Environment, Event, GrantId, GrantPart, GrantSource, KeyDigest, KeyId, KeyName, OnceMark, PaidWork, Position,
    Recorded, ReleaseCause, ReservationId, Seq, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::paid_results::PaidResults;
use super::remembered::Remembered;

/// Version of the form below. A snapshot of another version is thrown away.
pub const STATE_FORMAT: i32 = 2;

/// How long a settled reservation is remembered: longer than a new id may be old (15 min) and ahead (1 min) together,
/// so an id that is forgotten is also too old to be taken for a new one.
const SETTLED_REMEMBERED_SECONDS: u32 = 20 * 60;

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
    pub keys: BTreeMap<KeyId, Key>,
    /// Grants with something left or held, in burn order.
    pub grants: Vec<Grant>,
    pub open: HashMap<ReservationId, Hold>,
    pub settled: HashMap<ReservationId, Settled>,
    pub remembered: Remembered,
    /// Results that were charged within a day, by rules that charge for a result once.
    pub paid: PaidResults,
    pub totals: Totals,
    /// Charged on the credit limit and not yet repaid by a grant.
    pub owed: Credits,
    /// Open holds by the moment that they end.
    pub(super) deadlines: BTreeSet<(Timestamp, ReservationId)>,
    /// Settled ids by the moment that they were settled.
    settled_order: VecDeque<(Timestamp, ReservationId)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    pub name: AccountName,
    pub external_ref: Option<String>,
    pub credit_limit: Credits,
    pub at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    pub id: KeyId,
    pub name: KeyName,
    pub preview: String,
    pub digest: KeyDigest,
    pub environment: Environment,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub replaces: Option<KeyId>,
    pub deleted: Option<(Timestamp, DeleteReason)>,
    /// Open reservations of this key.
    pub open: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub id: GrantId,
    pub amount: Credits,
    pub priority: i32,
    pub expires_at: Option<Timestamp>,
    pub source: GrantSource,
    pub granted_at: Timestamp,
    /// What can still be held.
    pub remaining: Credits,
    /// What open reservations hold.
    pub held: Credits,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub work: PaidWork,
    pub quantity: u64,
    pub amount: Credits,
    pub from: Vec<GrantPart>,
    pub on_limit: Credits,
    pub reserved_at: Timestamp,
    pub expires_at: Timestamp,
    /// The result that it is for, where that is paid once.
    pub once: Option<OnceMark>,
    /// The result was paid already when this was held.
    pub paid: bool,
}

/// A reservation that is closed, for as long as its id could come again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    pub work: PaidWork,
    pub held_quantity: u64,
    pub outcome: Outcome,
    /// The result that it was for, where that is paid once.
    pub once: Option<OnceMark>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Charged {
        quantity: u64,
        charged: Credits,
        returned: Credits,
    },
    Released {
        returned: Credits,
        cause: ReleaseCause,
    },
}

/// Sums over the whole history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    pub granted: Credits,
    pub charged: Credits,
    pub expired: Credits,
    pub reserved: Credits,
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
            keys: BTreeMap::new(),
            grants: Vec::new(),
            open: HashMap::new(),
            settled: HashMap::new(),
            remembered: Remembered::default(),
            paid: PaidResults::default(),
            totals: Totals::default(),
            owed: Credits::ZERO,
            deadlines: BTreeSet::new(),
            settled_order: VecDeque::new(),
        }
    }

    /// What may still be held: granted − charged − expired − reserved. Below zero only on a credit limit.
    pub fn available(&self) -> Credits {
        let totals = &self.totals;
        let micros =
            totals.granted.micros() - totals.charged.micros() - totals.expired.micros() - totals.reserved.micros();
        Credits::from_micros(micros).unwrap_or(Credits::ZERO)
    }

    pub fn key_by_digest(&self, digest: KeyDigest) -> Option<&Key> {
        self.keys.values().find(|key| key.digest == digest)
    }

    /// Bytes that the state takes, roughly: what the cache is bounded by.
    pub fn weight(&self) -> usize {
        512 + self.keys.len() * 400
            + self.grants.len() * 120
            + self.open.len() * 400
            + self.settled.len() * 220
            + self.remembered.len() * 300
            + self.paid.len() * 100
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
        if self.opened.is_none() && !matches!(recorded.event, Event::AccountOpened(_)) {
            return Err(broken("the account is not open"));
        }
        let (id, position) = (self.id, recorded.position);
        self.fold(recorded).map_err(|why| Inconsistent {
            account: id,
            position,
            why,
        })?;
        self.remembered.note(recorded);
        self.forget_settled(recorded.time);
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
                });
            }
            Event::KeyCreated(e) => {
                let key = Key {
                    id: e.key,
                    name: e.name.clone(),
                    preview: e.preview.clone(),
                    digest: e.digest,
                    environment: e.environment,
                    created_at: at,
                    expires_at: e.expires_at,
                    replaces: e.replaces,
                    deleted: None,
                    open: 0,
                };
                if self.keys.insert(e.key, key).is_some() {
                    return Err("the key is there already");
                }
            }
            Event::KeyRenamed(e) => self.key_mut(e.key)?.name = e.name.clone(),
            Event::KeyDeleted(e) => {
                let key = self.key_mut(e.key)?;
                if key.deleted.is_some() {
                    return Err("the key is deleted already");
                }
                key.deleted = Some((at, e.reason));
            }
            Event::KeyUsed(e) => {
                self.key_mut(e.key)?;
            }
            Event::CreditsGranted(e) => self.granted(e, at)?,
            Event::CreditsExpired(e) => {
                let grant = self.grant_mut(e.grant)?;
                grant.remaining = grant
                    .remaining
                    .minus_within(e.amount)
                    .ok_or("more expires than is left")?;
                self.totals.expired = self.totals.expired.plus(e.amount).ok_or(SUM)?;
                self.drop_used_up_grants();
            }
            Event::CreditsReserved(e) => self.reserved(e, at)?,
            Event::CreditsCharged(e) => self.charged(e, at)?,
            Event::CreditsReleased(e) => self.released(e, at)?,
        }
        Ok(())
    }

    fn granted(&mut self, e: &CreditsGranted, at: Timestamp) -> Folded {
        let grant = Grant {
            id: e.grant,
            amount: e.amount,
            priority: e.priority,
            expires_at: e.expires_at,
            source: e.source,
            granted_at: at,
            remaining: e.amount.minus_within(e.repays).ok_or("more is repaid than granted")?,
            held: Credits::ZERO,
        };
        self.owed = self.owed.minus_within(e.repays).ok_or("more is repaid than owed")?;
        self.totals.granted = self.totals.granted.plus(e.amount).ok_or(SUM)?;
        // Burn order: lower priority number, then earliest expiry, then oldest (and this one is the newest).
        let place = self.grants.partition_point(|other| other.burns_before(&grant));
        self.grants.insert(place, grant);
        self.drop_used_up_grants();
        Ok(())
    }

    fn reserved(&mut self, e: &CreditsReserved, at: Timestamp) -> Folded {
        for part in &e.from {
            let grant = self.grant_mut(part.grant)?;
            grant.remaining = grant
                .remaining
                .minus_within(part.amount)
                .ok_or("more is held than is left")?;
            grant.held = grant.held.plus(part.amount).ok_or(SUM)?;
        }
        self.totals.reserved = self.totals.reserved.plus(e.amount).ok_or(SUM)?;
        if let Some(key) = e.work.key {
            self.key_mut(key)?.open += 1;
        }
        let hold = Hold {
            work: e.work.clone(),
            quantity: e.quantity,
            amount: e.amount,
            from: e.from.clone(),
            on_limit: e.on_limit,
            reserved_at: at,
            expires_at: e.expires_at,
            once: e.once,
            paid: e.once.is_some_and(|mark| self.paid.has(mark, at)),
        };
        self.deadlines.insert((e.expires_at, e.reservation));
        match self.open.insert(e.reservation, hold) {
            None => Ok(()),
            Some(_) => Err("the reservation is open already"),
        }
    }

    fn charged(&mut self, e: &CreditsCharged, at: Timestamp) -> Folded {
        let hold = self.close(e.reservation)?;
        if e.charged.plus(e.returned) != Some(hold.amount) {
            return Err("charged and returned are not what was held");
        }
        self.let_go(&e.spent, false)?;
        self.let_go(&e.returned_to, true)?;
        self.totals.charged = self.totals.charged.plus(e.charged).ok_or(SUM)?;
        self.owed = self.owed.plus(e.charged_on_limit).ok_or(SUM)?;
        if let Some(mark) = hold.once.filter(|_| e.quantity > 0) {
            self.paid.note(mark, at);
        }
        let outcome = Outcome::Charged {
            quantity: e.quantity,
            charged: e.charged,
            returned: e.returned,
        };
        self.settle(e.reservation, &hold, outcome, at);
        Ok(())
    }

    fn released(&mut self, e: &CreditsReleased, at: Timestamp) -> Folded {
        let hold = self.close(e.reservation)?;
        if e.returned != hold.amount {
            return Err("what returns is not what was held");
        }
        self.let_go(&e.returned_to, true)?;
        self.settle(
            e.reservation,
            &hold,
            Outcome::Released {
                returned: e.returned,
                cause: e.cause,
            },
            at,
        );
        Ok(())
    }

    /// Takes an open hold out, with its share of the sums.
    fn close(&mut self, reservation: ReservationId) -> Result<Hold, &'static str> {
        let hold = self.open.remove(&reservation).ok_or("the reservation is not open")?;
        self.deadlines.remove(&(hold.expires_at, reservation));
        self.totals.reserved = self
            .totals
            .reserved
            .minus_within(hold.amount)
            .ok_or("more is closed than is held")?;
        if let Some(key) = hold.work.key {
            let key = self.key_mut(key)?;
            key.open = key.open.checked_sub(1).ok_or("the key has no open reservation")?;
        }
        Ok(hold)
    }

    /// Ends the holding of parts of grants: they are spent, or they are free again.
    fn let_go(&mut self, parts: &[GrantPart], free_again: bool) -> Folded {
        for part in parts {
            let grant = self.grant_mut(part.grant)?;
            grant.held = grant
                .held
                .minus_within(part.amount)
                .ok_or("more is let go than is held")?;
            if free_again {
                grant.remaining = grant.remaining.plus(part.amount).ok_or(SUM)?;
            }
        }
        self.drop_used_up_grants();
        Ok(())
    }

    fn settle(&mut self, reservation: ReservationId, hold: &Hold, outcome: Outcome, at: Timestamp) {
        let settled = Settled {
            work: hold.work.clone(),
            held_quantity: hold.quantity,
            outcome,
            once: hold.once,
        };
        self.settled.insert(reservation, settled);
        self.settled_order.push_back((at, reservation));
    }

    fn forget_settled(&mut self, now: Timestamp) {
        while let Some((at, reservation)) = self.settled_order.front().copied() {
            if at.plus_seconds(SETTLED_REMEMBERED_SECONDS) > now {
                break;
            }
            self.settled_order.pop_front();
            self.settled.remove(&reservation);
        }
    }

    /// A grant with nothing left and nothing held can never matter again, except one that just expired with parts
    /// held: those keep it here.
    fn drop_used_up_grants(&mut self) {
        self.grants
            .retain(|grant| !grant.remaining.is_zero() || !grant.held.is_zero());
    }

    fn key_mut(&mut self, key: KeyId) -> Result<&mut Key, &'static str> {
        self.keys.get_mut(&key).ok_or("the account has no such key")
    }

    fn grant_mut(&mut self, id: GrantId) -> Result<&mut Grant, &'static str> {
        self.grants
            .iter_mut()
            .find(|grant| grant.id == id)
            .ok_or("the account has no such grant")
    }
}

impl Key {
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

impl Grant {
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// Whether this older grant burns before a newer one.
    fn burns_before(&self, newer: &Grant) -> bool {
        let rank = |grant: &Grant| (grant.priority, grant.expires_at.unwrap_or(Timestamp::MAX));
        rank(self) <= rank(newer)
    }
}
