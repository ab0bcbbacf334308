//! What a refund does to an account's credits.

use keyledger_events::{Credits, CreditsRefunded, GrantTerms, Timestamp};

use super::{Account, Folded, Grant, SUM};
use crate::ledger::charged::of_refund;

impl Account {
    pub(super) fn refunded(&mut self, e: &CreditsRefunded, at: Timestamp) -> Folded {
        let parts = e.returned_to.iter().chain(&e.as_grant);
        let mut sum = e.repays;
        for part in parts {
            sum = sum.plus(part.amount).ok_or(SUM)?;
        }
        if sum != e.amount {
            return Err("a refund goes to other places than its amount");
        }
        for terms in &e.reopened {
            self.place(Grant::empty(terms));
        }
        for part in &e.returned_to {
            let grant = self.grant_mut(part.grant)?;
            grant.remaining = grant.remaining.plus(part.amount).ok_or(SUM)?;
        }
        if let Some(part) = e.as_grant {
            self.place(Grant {
                remaining: part.amount,
                ..Grant::empty(&of_refund(part.grant, part.amount, at))
            });
        }
        self.owed = self.owed.minus_within(e.repays).ok_or("more is repaid than owed")?;
        self.totals.refunded = self.totals.refunded.plus(e.amount).ok_or(SUM)?;
        self.refunds.note(e).ok_or(SUM)
    }
}

impl Grant {
    /// On these terms, with nothing left of it yet.
    fn empty(terms: &GrantTerms) -> Grant {
        Grant {
            id: terms.grant,
            amount: terms.amount,
            priority: terms.priority,
            expires_at: terms.expires_at,
            source: terms.source,
            granted_at: terms.granted_at,
            starts_at: None,
            endpoints: terms.endpoints.clone(),
            remaining: Credits::ZERO,
            held: Credits::ZERO,
        }
    }
}
