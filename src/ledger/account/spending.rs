//! What a key has spent, today and this month.
//!
//! Promise: what was charged in a period and what is held now never come to more than the limit that was in force when the
//! last of it was held. What is held at the end of a period counts in the next one.

use keyledger_events::{Credits, SpendingLimit, SpendingPeriod, Timestamp};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spending {
    /// By open reservations.
    pub held: Credits,
    day: Charged,
    month: Charged,
}

/// What was charged since the beginning of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Charged {
    since: Timestamp,
    amount: Credits,
}

impl Charged {
    const NOTHING: Charged = Charged {
        since: Timestamp::EPOCH,
        amount: Credits::ZERO,
    };

    fn on(self, start: Timestamp) -> Credits {
        if self.since == start {
            self.amount
        } else {
            Credits::ZERO
        }
    }

    fn plus(self, start: Timestamp, more: Credits) -> Option<Charged> {
        Some(Charged {
            since: start,
            amount: self.on(start).plus(more)?,
        })
    }
}

impl Default for Spending {
    fn default() -> Spending {
        Spending {
            held: Credits::ZERO,
            day: Charged::NOTHING,
            month: Charged::NOTHING,
        }
    }
}

impl Spending {
    /// What was charged in the period of a moment, and what is held. `None` beyond all bounds.
    pub fn spent(&self, per: SpendingPeriod, now: Timestamp) -> Option<Credits> {
        let charged = match per {
            SpendingPeriod::Day => self.day,
            SpendingPeriod::Month => self.month,
        };
        charged.on(per.start(now)).plus(self.held)
    }

    /// Whether so much more may be held. What costs nothing may always be.
    pub fn allows(&self, limit: SpendingLimit, more: Credits, now: Timestamp) -> bool {
        let all = self.spent(limit.per, now).and_then(|spent| spent.plus(more));
        more.is_zero() || all.is_some_and(|all| all <= limit.amount)
    }

    pub(super) fn hold(&mut self, amount: Credits) -> Option<()> {
        self.held = self.held.plus(amount)?;
        Some(())
    }

    pub(super) fn let_go(&mut self, amount: Credits) -> Option<()> {
        self.held = self.held.minus_within(amount)?;
        Some(())
    }

    pub(super) fn charge(&mut self, amount: Credits, at: Timestamp) -> Option<()> {
        self.day = self.day.plus(SpendingPeriod::Day.start(at), amount)?;
        self.month = self.month.plus(SpendingPeriod::Month.start(at), amount)?;
        Some(())
    }
}
