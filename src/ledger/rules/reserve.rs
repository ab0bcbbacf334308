//! Checking a key and holding credits, in one command.

use keyledger_events::{
    AccountId, Actor, Channel, Credits, CreditsReserved, Endpoint, Environment, Event, KeyDigest, KeyId, KeyUsed,
    OnceMark, PaidWork, ReservationId, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::bound::available_for;
use super::charge_delivered::beside;
use super::settle::closed;
use super::spending::may_spend;
use super::take::{reach_of, take};
use crate::ledger::account::{Account, Hold, Key, KeyLimits};
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::hang_ups::HangUps;
use crate::ledger::refusal::Refusal;

/// Holds credits for work not yet done. By a key it also records the key's use.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReserveCredits {
    pub payer: Payer,
    pub reservation: ReservationId,
    pub endpoint: Endpoint,
    /// Units; 1 or more.
    pub quantity: u64,
    pub price: Price,
    /// From 1 s to 24 h.
    pub ttl_seconds: u32,
    pub usage: Usage,
    /// The result that is asked for, where it is paid once. One that was paid within a day is held for at no price.
    pub once: Option<OnceMark>,
}

/// Who pays: the owner of a key that was shown, or an account that the caller names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payer {
    Key(KeyDigest),
    Account(AccountId),
}

/// The price of one unit, and the price book that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    pub unit: Credits,
    pub version: u64,
}

impl Price {
    /// Trying out costs nothing.
    pub(super) const fn in_environment(self, environment: Environment) -> Credits {
        match environment {
            Environment::Live => self.unit,
            Environment::Test => Credits::ZERO,
        }
    }
}

/// What is known of the client's request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    pub request: Option<String>,
    pub network: Option<String>,
    pub user_agent: Option<String>,
}

/// A hold as its sender is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub account: AccountId,
    pub key: Option<KeyId>,
    /// Of the key.
    pub environment: Environment,
    pub reservation: ReservationId,
    pub endpoint: Endpoint,
    pub quantity: u64,
    pub unit_price: Credits,
    pub amount: Credits,
    pub expires_at: Timestamp,
    pub available: Credits,
    /// What may be held beside, the credit limit included.
    pub reach: Credits,
    /// The result was paid already: nothing is held, and nothing will be charged.
    pub paid: bool,
    /// Of the key, for those who keep to them before they ask.
    pub key_limits: KeyLimits,
    /// Of the key, as far as the log knew when this was held.
    pub hang_ups: HangUps,
}

/// A new id may be this old, so that settled ids need not be remembered for ever.
const ID_AGE_MS_MAX: u64 = 15 * 60 * 1_000;
/// And this far ahead: clocks differ.
const ID_AHEAD_MS_MAX: u64 = 60 * 1_000;

impl ReserveCredits {
    fn payer_key<'a>(&self, account: &'a Account, now: Timestamp) -> Result<Option<&'a Key>, Refusal> {
        let digest = match self.payer {
            Payer::Account(_) => return Ok(None),
            Payer::Key(digest) => digest,
        };
        let key = account.keys.with_digest(digest).ok_or(Refusal::KeyInvalid)?;
        if key.deleted.is_some() {
            Err(Refusal::KeyDeleted)
        } else if key.expired(now) {
            Err(Refusal::KeyExpired)
        } else if !key.limits.allow(&self.endpoint) {
            Err(Refusal::KeyScope {
                endpoint: self.endpoint.clone(),
                account: account.id,
                key: key.id,
                limits: key.limits.clone(),
            })
        } else {
            Ok(Some(key))
        }
    }

    fn unit_price(&self, account: &Account, environment: Environment, now: Timestamp) -> Credits {
        let paid = self.once.is_some_and(|mark| account.paid.has(mark, now));
        if paid {
            Credits::ZERO
        } else {
            self.price.in_environment(environment)
        }
    }

    fn same_terms(&self, hold: &Hold, key: Option<KeyId>) -> bool {
        hold.work.key == key
            && hold.work.endpoint == self.endpoint
            && hold.quantity == self.quantity
            && hold.once == self.once
            && hold.reserved_at.plus_seconds(self.ttl_seconds) == hold.expires_at
    }
}

/// Refuses a new reservation in a closed account, and one for which the id or the number of open ones leaves no room.
pub(super) fn room_for_new(given: &Given<'_>, reservation: ReservationId, key: Option<&Key>) -> Result<(), Refusal> {
    if given.account.closed_at.is_some() {
        return Err(Refusal::AccountClosed);
    }
    let (id, now) = (reservation.ms(), given.now.ms());
    if id + ID_AGE_MS_MAX < now || id > now + ID_AHEAD_MS_MAX {
        let now = given.now;
        return Err(Refusal::ReservationIdNotTimely { reservation, now });
    }
    // The id beside another one's belongs to it: its top-up, made or not.
    let owner = beside(reservation);
    if given.account.open.contains_key(&owner) || given.account.settled.contains_key(&owner) {
        return Err(Refusal::ReservationMismatch { reservation });
    }
    let limit = given.limits.open_reservations_per_account_max;
    if u32::try_from(given.account.open.len()).map_or(true, |open| open >= limit) {
        return Err(Refusal::TooManyOpenReservations {
            limit,
            scope: "account".into(),
        });
    }
    let limit = given.limits.open_reservations_per_key_max;
    if key.is_some_and(|key| key.open >= limit) {
        return Err(Refusal::TooManyOpenReservations {
            limit,
            scope: "key".into(),
        });
    }
    Ok(())
}

impl Command for ReserveCredits {
    type Reply = Held;
    const NAME: &'static str = "reserve";
    const ALSO_WHEN_CLOSED: bool = true;

    fn target(&self) -> Target {
        match self.payer {
            Payer::Key(digest) => Target::KeyOwner(digest),
            Payer::Account(account) => Target::Account(account),
        }
    }

    fn priced_by(&self) -> Option<u64> {
        Some(self.price.version)
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let account = given.account;
        let key = self.payer_key(account, given.now)?;
        let environment = key.map(|key| key.environment).unwrap_or_default();
        let unit_price = self.unit_price(account, environment, given.now);
        let amount = unit_price.times(self.quantity).ok_or(Refusal::OutOfRange {
            field: "quantity".into(),
        })?;
        if self.quantity == 0 {
            return Err(Refusal::OutOfRange {
                field: "quantity".into(),
            });
        }
        if let Some(hold) = account.open.get(&self.reservation) {
            let same = self.same_terms(hold, key.map(|key| key.id));
            return if same {
                Ok(vec![])
            } else {
                Err(Refusal::ReservationMismatch {
                    reservation: self.reservation,
                })
            };
        }
        if let Some(settled) = account.settled.get(&self.reservation) {
            return Err(closed(self.reservation, settled));
        }
        room_for_new(&given, self.reservation, key)?;
        if let Some(key) = key {
            may_spend(key, amount, given.now)?;
        }
        let (from, on_limit) = take(account, Some(&self.endpoint), amount)?;
        let used = key.map(|key| {
            Event::from(KeyUsed {
                key: key.id,
                endpoint: self.endpoint.clone(),
                reservation: self.reservation,
                request: self.usage.request.clone(),
                network: self.usage.network.clone(),
                user_agent: self.usage.user_agent.clone(),
                environment,
            })
        });
        let reserved = CreditsReserved {
            reservation: self.reservation,
            work: PaidWork {
                key: key.map(|key| key.id),
                channel: if key.is_some() {
                    Channel::Api
                } else {
                    Channel::Dashboard
                },
                endpoint: self.endpoint.clone(),
                unit_price,
                price_version: self.price.version,
                environment,
            },
            quantity: self.quantity,
            amount,
            from,
            on_limit,
            expires_at: given.now.plus_seconds(self.ttl_seconds),
            once: self.once,
        };
        Ok(used.into_iter().chain([reserved.into()]).collect())
    }

    fn reply(&self, account: &Account, _by: &By) -> Option<Held> {
        let hold = account.open.get(&self.reservation)?;
        let key = hold.work.key.and_then(|key| account.keys.get(&key));
        Some(Held {
            account: account.id,
            key: hold.work.key,
            environment: hold.work.environment,
            reservation: self.reservation,
            endpoint: hold.work.endpoint.clone(),
            quantity: hold.quantity,
            unit_price: hold.work.unit_price,
            amount: hold.amount,
            expires_at: hold.expires_at,
            available: available_for(account, Some(&hold.work.endpoint)),
            reach: reach_of(account, Some(&hold.work.endpoint)),
            paid: hold.paid,
            key_limits: key.map(|key| key.limits.clone()).unwrap_or_default(),
            hang_ups: key.map(|key| key.hang_ups.clone()).unwrap_or_default(),
        })
    }

    fn shown_key(&self) -> Option<KeyDigest> {
        match self.payer {
            Payer::Key(digest) => Some(digest),
            Payer::Account(_) => None,
        }
    }

    fn actor(&self, account: &Account, by: &By) -> Actor {
        match self.payer {
            Payer::Account(_) => by.actor,
            Payer::Key(digest) => account
                .keys
                .with_digest(digest)
                .map_or(by.actor, |key| Actor::Key(key.id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::rules::scenario::*;

    #[test]
    fn a_use_is_recorded_with_its_hold() {
        let mut s = Scenario::with_credits("100");
        s.when(reserve(R1, "0.5")).writes(&["KeyUsed", "CreditsReserved"]);
        assert_eq!(s.available(), "99.5");
    }

    #[test]
    fn a_test_key_works_without_credits_and_spends_none() {
        let mut s = Scenario::with_credits("0.5");
        s.when(create_key(2).for_tests()).succeeds();
        s.when(reserve(R1, "0.5")).succeeds();
        // Nothing is available any more.
        s.when(reserve_with(2, R2, "0.5"))
            .writes(&["KeyUsed", "CreditsReserved"]);
        s.when(charge_all(R2)).writes(&["CreditsCharged"]);
        let mut at_once = charge_at_once(R3, 3, "0.5");
        at_once.key = s.account().keys.values().last().map(|key| key.id);
        s.when(at_once).writes(&["CreditsReserved", "CreditsCharged"]);
        assert_eq!(s.account().totals.charged, Credits::ZERO);
        s.when(charge_all(R1)).succeeds();
        assert_eq!(
            (s.available(), s.account().totals.charged),
            ("0".to_owned(), credits("0.5"))
        );
        let work = &s.account().settled[&R2].work;
        assert_eq!((work.environment, work.unit_price), (Environment::Test, Credits::ZERO));
    }

    #[test]
    fn the_same_reservation_twice_is_one_hold() {
        let mut s = Scenario::with_credits("100");
        s.when(reserve(R1, "0.5")).succeeds();
        s.when(reserve(R1, "0.5")).changes_nothing();
        s.when(reserve_units(R1, 2, "0.5"))
            .refused(Refusal::ReservationMismatch { reservation: R1 });
        assert_eq!(s.available(), "99.5");
    }

    #[test]
    fn a_settled_reservation_cannot_be_held_again() {
        let mut s = Scenario::with_credits("100");
        s.when(reserve(R1, "0.5")).succeeds();
        s.when(charge_all(R1)).succeeds();
        s.when(reserve(R1, "0.5")).refused(Refusal::ReservationClosed {
            reservation: R1,
            how: "charged".into(),
        });
    }

    #[test]
    fn credits_that_are_not_there_are_not_held() {
        let mut s = Scenario::with_credits("0.6");
        s.when(reserve(R1, "0.5")).succeeds();
        let refusal = Refusal::InsufficientCredits {
            required: credits("0.5"),
            available: credits("0.1"),
        };
        s.when(reserve(R2, "0.5")).refused(refusal);
    }

    #[test]
    fn an_account_with_a_credit_limit_goes_below_zero_that_far_and_its_next_grant_repays() {
        let mut s = Scenario::with_limit("1", "2");
        s.when(reserve(R1, "2.5")).succeeds();
        assert_eq!(s.available(), "-1.5");
        let refusal = Refusal::InsufficientCredits {
            required: credits("1"),
            available: credits("-1.5"),
        };
        s.when(reserve(R2, "1")).refused(refusal);
        s.when(charge_all(R1)).succeeds();
        s.when(grant(9, "10").until(60)).succeeds();
        assert_eq!(s.available(), "8.5");
        s.later(60);
        s.when(settle_due()).succeeds();
        assert_eq!(s.available(), "0");
    }

    #[test]
    fn open_reservations_are_bounded() {
        let mut s = Scenario::with_credits("100");
        s.limits.open_reservations_per_key_max = 1;
        s.limits.open_reservations_per_account_max = 2;
        s.when(reserve(R1, "0.5")).succeeds();
        s.when(reserve(R2, "0.5")).refused(Refusal::TooManyOpenReservations {
            limit: 1,
            scope: "key".into(),
        });
        s.when(create_key(2)).succeeds();
        s.when(reserve_with(2, R2, "0.5")).succeeds();
        s.when(create_key(3)).succeeds();
        s.when(reserve_with(3, R3, "0.5"))
            .refused(Refusal::TooManyOpenReservations {
                limit: 2,
                scope: "account".into(),
            });
        s.when(charge_all(R1)).succeeds();
        s.when(reserve_with(3, R3, "0.5")).succeeds();
    }

    #[test]
    fn ids_from_another_time_are_refused_when_new() {
        let mut s = Scenario::with_credits("100");
        let at = |seconds: i64| ReservationId::from_parts(s.now.ms().checked_add_signed(seconds * 1_000).unwrap(), 77);
        let (old, ahead, just, now) = (at(-901), at(61), at(-899), s.now);
        s.when(reserve(old, "0.5"))
            .refused(Refusal::ReservationIdNotTimely { reservation: old, now });
        s.when(reserve(ahead, "0.5")).refused(Refusal::ReservationIdNotTimely {
            reservation: ahead,
            now,
        });
        s.when(reserve(just, "0.5")).succeeds();
    }

    #[test]
    fn a_forgotten_id_is_too_old_to_come_again() {
        let mut s = Scenario::with_credits("100");
        s.when(reserve(R1, "0.5")).succeeds();
        s.when(charge_all(R1)).succeeds();
        s.later(21 * 60);
        s.when(grant(7, "1")).succeeds();
        assert!(s.account().settled.is_empty());
        let now = s.now;
        s.when(reserve(R1, "0.5"))
            .refused(Refusal::ReservationIdNotTimely { reservation: R1, now });
    }

    #[test]
    fn a_hold_that_nobody_settles_returns_when_its_time_is_over() {
        let mut s = Scenario::with_credits("100");
        s.when(reserve(R1, "0.5").for_seconds(60)).succeeds();
        s.later(59);
        s.when(settle_due()).changes_nothing();
        s.later(1);
        s.when(settle_due()).writes(&["CreditsReleased"]);
        assert_eq!(s.available(), "100");
        s.when(charge_all(R1)).refused(Refusal::ReservationClosed {
            reservation: R1,
            how: "expired".into(),
        });
    }
}
