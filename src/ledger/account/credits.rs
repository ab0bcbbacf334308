//! What events do to an account's credits: grants, holds, and what became of holds.
//!
//! Promise: granted = available + reserved + charged − refunded + expired + corrected, whatever the history. What does not add up is told and
//! folded no further.

use keyledger_events::{
    ClientLeft, Credits, CreditsCharged, CreditsCorrected, CreditsExpired, CreditsGranted, CreditsReleased,
    CreditsReserved, Endpoint, GrantId, GrantPart, GrantSource, GrantStarted, OnceMark, PaidWork, ReleaseCause,
    ReservationId, Scopes, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{Account, Folded, SUM};

/// How long a settled reservation is remembered: longer than a new id may be old (15 min) and ahead (1 min) together,
/// so an id that is forgotten is also too old to be taken for a new one.
const SETTLED_REMEMBERED_SECONDS: u32 = 20 * 60;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub id: GrantId,
    pub amount: Credits,
    pub priority: i32,
    pub expires_at: Option<Timestamp>,
    pub source: GrantSource,
    pub granted_at: Timestamp,
    /// It takes effect then, and has not yet.
    pub starts_at: Option<Timestamp>,
    /// The endpoints that it burns on; `None`: all.
    pub endpoints: Option<Scopes>,
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

impl Account {
    pub(super) fn granted(&mut self, e: &CreditsGranted, at: Timestamp) -> Folded {
        let rolled = match e.period {
            Some(period) => self.renewed(period, e.grant, e.rolled_over)?,
            None => Credits::ZERO,
        };
        let grant = Grant {
            id: e.grant,
            amount: e.amount,
            priority: e.priority,
            expires_at: e.expires_at,
            source: e.source,
            granted_at: at,
            starts_at: e.starts_at,
            endpoints: e.endpoints.clone(),
            remaining: e.amount.minus_within(e.repays).ok_or("more is repaid than granted")?,
            held: Credits::ZERO,
        };
        self.owed = self.owed.minus_within(e.repays).ok_or("more is repaid than owed")?;
        // What rolls over was given before.
        let new = e.amount.minus_within(rolled).ok_or("more rolls over than is granted")?;
        self.totals.granted = self.totals.granted.plus(new).ok_or(SUM)?;
        self.place(grant);
        self.drop_used_up_grants();
        Ok(())
    }

    /// Burn order: lower priority number, then earliest expiry, then oldest.
    pub(super) fn place(&mut self, grant: Grant) {
        let place = self.grants.partition_point(|other| other.burns_before(&grant));
        self.grants.insert(place, grant);
    }

    /// Micro-credits of grants that not every use may burn: those for some endpoints only, and those for later.
    pub(super) fn set_aside(&self) -> i64 {
        let aside = self.grants.iter().filter(|grant| !grant.is_for_all());
        aside.map(|grant| grant.remaining.micros()).sum()
    }

    pub(super) fn started(&mut self, e: &GrantStarted) -> Folded {
        let grant = self.grant_mut(e.grant)?;
        if grant.starts_at.take().is_none() {
            return Err("the grant has taken effect already");
        }
        grant.remaining = grant
            .remaining
            .minus_within(e.repays)
            .ok_or("more is repaid than granted")?;
        self.owed = self.owed.minus_within(e.repays).ok_or("more is repaid than owed")?;
        self.drop_used_up_grants();
        Ok(())
    }

    /// Takes out what is left of a grant whose time is over.
    pub(super) fn lapsed(&mut self, e: &CreditsExpired) -> Folded {
        let grant = self.grant_mut(e.grant)?;
        grant.remaining = grant
            .remaining
            .minus_within(e.amount)
            .and_then(|rest| rest.minus_within(e.repays))
            .ok_or("more expires than is left")?;
        self.owed = self.owed.minus_within(e.repays).ok_or("more is repaid than owed")?;
        self.totals.expired = self.totals.expired.plus(e.amount).ok_or(SUM)?;
        self.drop_used_up_grants();
        Ok(())
    }

    /// Takes parts of grants away, and what they lack on the credit limit.
    pub(super) fn corrected(&mut self, e: &CreditsCorrected) -> Folded {
        let mut sum = e.on_limit;
        for part in &e.from {
            let grant = self.grant_mut(part.grant)?;
            grant.remaining = grant
                .remaining
                .minus_within(part.amount)
                .ok_or("more is taken away than is left")?;
            sum = sum.plus(part.amount).ok_or(SUM)?;
        }
        if sum != e.amount {
            return Err("a correction takes from other places than its amount");
        }
        self.owed = self.owed.plus(e.on_limit).ok_or(SUM)?;
        self.totals.corrected = self.totals.corrected.plus(e.amount).ok_or(SUM)?;
        self.drop_used_up_grants();
        Ok(())
    }

    pub(super) fn reserved(&mut self, e: &CreditsReserved, at: Timestamp) -> Folded {
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
            let key = self.key_mut(key)?;
            key.open += 1;
            key.spending.hold(e.amount).ok_or(SUM)?;
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
        self.deadlines.insert(e.expires_at, e.reservation);
        match self.open.insert(e.reservation, hold) {
            None => Ok(()),
            Some(_) => Err("the reservation is open already"),
        }
    }

    pub(super) fn charged(&mut self, e: &CreditsCharged, at: Timestamp) -> Folded {
        let hold = self.close(e.reservation)?;
        if e.charged.plus(e.returned) != Some(hold.amount) {
            return Err("charged and returned are not what was held");
        }
        self.let_go(&e.spent, false)?;
        self.let_go(&e.returned_to, true)?;
        self.totals.charged = self.totals.charged.plus(e.charged).ok_or(SUM)?;
        self.owed = self.owed.plus(e.charged_on_limit).ok_or(SUM)?;
        if let Some(key) = hold.work.key {
            self.key_mut(key)?.spending.charge(e.charged, at).ok_or(SUM)?;
        }
        self.left(&hold, e.client_left, at)?;
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

    pub(super) fn released(&mut self, e: &CreditsReleased, at: Timestamp) -> Folded {
        let hold = self.close(e.reservation)?;
        if e.returned != hold.amount {
            return Err("what returns is not what was held");
        }
        self.let_go(&e.returned_to, true)?;
        self.left(&hold, e.client_left, at)?;
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
        self.deadlines.remove(hold.expires_at, reservation);
        self.totals.reserved = self
            .totals
            .reserved
            .minus_within(hold.amount)
            .ok_or("more is closed than is held")?;
        if let Some(key) = hold.work.key {
            let key = self.key_mut(key)?;
            key.open = key.open.checked_sub(1).ok_or("the key has no open reservation")?;
            key.spending
                .let_go(hold.amount)
                .ok_or("the key holds less than it lets go")?;
        }
        Ok(hold)
    }

    /// Remembers of its key that a client left near the end, whether it paid or not.
    fn left(&mut self, hold: &Hold, client_left: Option<ClientLeft>, at: Timestamp) -> Folded {
        let Some(key) = hold.work.key.filter(|_| client_left == Some(ClientLeft::NearEnd)) else {
            return Ok(());
        };
        let hang_ups = &mut self.key_mut(key)?.hang_ups;
        let before = hang_ups.len();
        hang_ups.note(at);
        let after = hang_ups.len();
        self.hang_ups_kept = (self.hang_ups_kept + after).saturating_sub(before);
        Ok(())
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

    pub(super) fn forget_settled(&mut self, now: Timestamp) {
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

    pub(super) fn grant_mut(&mut self, id: GrantId) -> Result<&mut Grant, &'static str> {
        self.grants
            .iter_mut()
            .find(|grant| grant.id == id)
            .ok_or("the account has no such grant")
    }
}

impl Grant {
    /// Every use may burn it, now.
    pub fn is_for_all(&self) -> bool {
        self.starts_at.is_none() && self.endpoints.is_none()
    }

    /// It is set aside for some endpoints, and this is one of them.
    pub fn is_bound_to(&self, endpoint: &Endpoint) -> bool {
        let bound = self
            .endpoints
            .as_ref()
            .is_some_and(|endpoints| endpoints.allow(endpoint));
        bound && self.starts_at.is_none()
    }

    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// Whether this grant, which is there, burns before one that comes.
    fn burns_before(&self, coming: &Grant) -> bool {
        let rank = |grant: &Grant| {
            let end = grant.expires_at.unwrap_or(Timestamp::MAX);
            (grant.priority, end, grant.granted_at, grant.id)
        };
        rank(self) <= rank(coming)
    }
}
