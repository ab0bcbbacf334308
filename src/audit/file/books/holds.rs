//! Holds in the books: nothing is charged or released that was not held, and nothing twice.

use keyledger_events::{
    Credits, CreditsRefunded, Environment, GrantPart, KeyId, ReleaseCause, ReservationId, Timestamp,
};

use super::super::fact::{Charged, Held, Released, Work};
use super::account::{Account, add};
use super::credits::is_sum;
use super::{Entered, Wrong};

/// Credits that are held.
#[derive(Debug)]
pub(super) struct Hold {
    key: Option<KeyId>,
    endpoint: Box<str>,
    unit_price: Credits,
    price_version: u64,
    environment: Environment,
    quantity: u64,
    amount: Credits,
    /// A hold seldom has more than one part, and that one needs no allocation.
    first: Option<GrantPart>,
    others: Vec<GrantPart>,
    on_limit: Credits,
    at: Timestamp,
    expires_at: Timestamp,
}

/// What a hold came to: micro-credits. Nothing, where it was released.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Settled {
    charged: i64,
    refunded: i64,
}

/// The longest hold of work that is charged together with it.
const AT_ONCE_SECONDS: u32 = 1;
const NOT_HELD: Wrong = "nothing is held under this reservation";
const OTHER_WORK: Wrong = "what is settled is other work than what was held for";

impl Hold {
    fn of(held: &Held<'_>, at: Timestamp) -> Hold {
        let (first, others) = match held.from.split_first() {
            Some((first, others)) => (Some(*first), others.to_vec()),
            None => (None, Vec::new()),
        };
        Hold {
            key: held.work.key,
            endpoint: held.work.endpoint.into(),
            unit_price: held.work.unit_price,
            price_version: held.work.price_version,
            environment: held.work.environment,
            quantity: held.quantity,
            amount: held.amount,
            first,
            others,
            on_limit: held.on_limit,
            at,
            expires_at: held.expires_at,
        }
    }

    fn is_for(&self, work: &Work<'_>, reserved_at: Timestamp) -> bool {
        self.key == work.key
            && *self.endpoint == *work.endpoint
            && self.unit_price == work.unit_price
            && self.price_version == work.price_version
            && self.environment == work.environment
            && self.at == reserved_at
    }

    /// What was taken from each grant is spent or returned, and nothing else is.
    fn is_divided(&self, spent: &[GrantPart], returned: &[GrantPart]) -> bool {
        let mut found = 0;
        let mut of = |parts: &[GrantPart], grant| {
            let part = parts.iter().find(|part| part.grant == grant);
            found += usize::from(part.is_some());
            part.map_or(0, |part| part.amount.micros())
        };
        let whole = self.first.iter().chain(&self.others).all(|part| {
            let (spent, returned) = (of(spent, part.grant), of(returned, part.grant));
            spent.checked_add(returned) == Some(part.amount.micros())
        });
        whole && found == spent.len() + returned.len()
    }
}

/// The id that a top-up beside a hold has: the same time, and the other bits turned.
fn beside(reservation: ReservationId) -> ReservationId {
    const RANDOM: u128 = (1 << 80) - 1;
    let bits = u128::from_be_bytes(reservation.to_bytes()) ^ RANDOM;
    ReservationId::from_bytes(bits.to_be_bytes())
}

impl Account {
    /// It is what came beyond another hold, or nobody can tell.
    pub(super) fn may_be_top_up(&self, reservation: ReservationId) -> bool {
        !self.knows_holds() || self.is_known(beside(reservation))
    }

    fn is_known(&self, reservation: ReservationId) -> bool {
        self.open.contains_key(&reservation) || self.settled.contains_key(&reservation)
    }

    pub(super) fn held(&mut self, held: &Held<'_>, at: Timestamp) -> Entered {
        if self.closed {
            return Err("credits are held in a closed account");
        }
        if held.quantity == 0 || held.work.unit_price.times(held.quantity) != Some(held.amount) {
            return Err("what is held is not the quantity at its price");
        }
        if held.work.unit_price.is_negative() || (held.work.environment == Environment::Test && !held.amount.is_zero())
        {
            return Err("a price is below zero, or a trial has one");
        }
        if held.expires_at <= at {
            return Err("a hold ends before it begins");
        }
        is_sum(held.amount, held.from, held.on_limit)?;
        if let Some(key) = held.work.key {
            self.knows_key(key)?;
            // Work that is done is charged at once, also when the key was deleted meanwhile: what came beyond a hold.
            let dead = self.keys.get(&key).is_some_and(|key| key.is_dead(at));
            if dead && held.expires_at > at.plus_seconds(AT_ONCE_SECONDS) {
                return Err("credits are held by a key that is deleted or over");
            }
        }
        if self.is_known(held.reservation) {
            return Err("the reservation is there already");
        }
        self.hold_of_grants(held, at)?;
        add(&mut self.sums.reserved, held.amount.micros())?;
        self.open.insert(held.reservation, Hold::of(held, at));
        Ok(())
    }

    pub(super) fn charged(&mut self, e: &Charged<'_>, at: Timestamp) -> Entered {
        if e.work.unit_price.times(e.quantity) != Some(e.charged) {
            return Err("what is charged is not the quantity at its price");
        }
        is_sum(e.charged, e.spent, e.charged_on_limit)?;
        is_sum(e.returned, e.returned_to, e.returned_to_limit)?;
        match self.open.remove(&e.reservation) {
            Some(hold) => {
                if !hold.is_for(&e.work, e.reserved_at) {
                    return Err(OTHER_WORK);
                }
                if at >= hold.expires_at {
                    return Err("a hold is charged after its end");
                }
                let divided = e.charged.plus(e.returned) == Some(hold.amount)
                    && e.charged_on_limit.plus(e.returned_to_limit) == Some(hold.on_limit)
                    && e.quantity <= hold.quantity
                    && hold.is_divided(e.spent, e.returned_to);
                if !divided {
                    return Err("charged and returned are not what was held");
                }
            }
            None if self.settled.contains_key(&e.reservation) => return Err("a hold is settled twice"),
            None => self.missing(NOT_HELD)?,
        }
        self.let_go(e.spent, e.returned_to, e.charged_on_limit, e.returned_to_limit)?;
        let held = e.charged.plus(e.returned).ok_or(super::SUM)?;
        add(&mut self.sums.reserved, -held.micros())?;
        add(&mut self.sums.charged, e.charged.micros())?;
        let settled = Settled {
            charged: e.charged.micros(),
            refunded: 0,
        };
        self.settled.insert(e.reservation, settled);
        Ok(())
    }

    pub(super) fn released(&mut self, e: &Released<'_>, at: Timestamp) -> Entered {
        is_sum(e.returned, e.returned_to, e.returned_to_limit)?;
        match self.open.remove(&e.reservation) {
            Some(hold) => {
                if !hold.is_for(&e.work, e.reserved_at) {
                    return Err(OTHER_WORK);
                }
                if e.cause == ReleaseCause::Expired && at < hold.expires_at {
                    return Err("a hold is over before its end");
                }
                let whole = e.returned == hold.amount
                    && e.returned_to_limit == hold.on_limit
                    && hold.is_divided(&[], e.returned_to);
                if !whole {
                    return Err("what returns is not what was held");
                }
            }
            None if self.settled.contains_key(&e.reservation) => return Err("a hold is settled twice"),
            None => self.missing(NOT_HELD)?,
        }
        self.let_go(&[], e.returned_to, Credits::ZERO, e.returned_to_limit)?;
        add(&mut self.sums.reserved, -e.returned.micros())?;
        self.settled.insert(e.reservation, Settled::default());
        Ok(())
    }

    /// A charge is never refunded beyond what it was.
    pub(super) fn refund_of(&mut self, e: &CreditsRefunded) -> Entered {
        match self.settled.get_mut(&e.reservation) {
            Some(settled) => {
                add(&mut settled.refunded, e.amount.micros())?;
                if settled.refunded > settled.charged {
                    return Err("more is refunded than was charged");
                }
                Ok(())
            }
            None => self.missing("what is refunded was never charged"),
        }
    }
}
