//! Grants in the books: what is left of each, and that nobody spends what is not there.

use keyledger_events::{
    Credits, CreditsCorrected, CreditsExpired, CreditsGranted, CreditsRefunded, GrantId, GrantPart, GrantStarted,
    Scopes, Timestamp,
};

use super::super::fact::Held;
use super::account::{Account, add};
use super::{Entered, SUM, Wrong};

#[derive(Debug)]
pub(super) struct Grant {
    pub id: GrantId,
    expires_at: Option<Timestamp>,
    /// It has not taken effect yet.
    starts_at: Option<Timestamp>,
    endpoints: Option<Scopes>,
    /// Micro-credits that can still be held, and those that are.
    remaining: i64,
    held: i64,
}

const NO_GRANT: Wrong = "the account has no such grant, or nothing is left of it";

impl Grant {
    fn is_for_all(&self) -> bool {
        self.starts_at.is_none() && self.endpoints.is_none()
    }
}

/// The parts and what is on the credit limit are the whole; parts are more than nothing.
pub(super) fn is_sum(whole: Credits, parts: &[GrantPart], on_limit: Credits) -> Entered {
    let mut sum = on_limit;
    for part in parts {
        if part.amount <= Credits::ZERO {
            return Err("a part of a grant is nothing");
        }
        sum = sum.plus(part.amount).ok_or(SUM)?;
    }
    if on_limit.is_negative() || whole.is_negative() || sum != whole {
        return Err("an amount comes from or goes to other places than it says");
    }
    Ok(())
}

impl Account {
    /// Moves micro-credits of a grant: what is left of it, and what is held.
    fn move_grant(&mut self, id: GrantId, remaining: i64, held: i64) -> Entered {
        let place = self.grant_place(id).ok_or(NO_GRANT)?;
        let grant = self.grants.get_mut(place).ok_or(NO_GRANT)?;
        add(&mut grant.remaining, remaining)?;
        add(&mut grant.held, held)?;
        if grant.remaining < 0 || grant.held < 0 {
            return Err("more is taken of a grant than is left or held of it");
        }
        if grant.is_for_all() {
            add(&mut self.free, remaining)?;
        }
        if grant.remaining == 0 && grant.held == 0 {
            self.grants.swap_remove(place);
        }
        Ok(())
    }

    fn give(&mut self, grant: Grant) -> Entered {
        if self.grant_place(grant.id).is_some() {
            return Err("the grant is there already");
        }
        if grant.is_for_all() {
            add(&mut self.free, grant.remaining)?;
        }
        if grant.remaining > 0 {
            self.grants.push(grant);
        }
        Ok(())
    }

    fn repay(&mut self, amount: Credits) -> Entered {
        self.owed -= amount.micros();
        if self.owed < 0 || amount.is_negative() {
            return Err("more is repaid than is owed");
        }
        Ok(())
    }

    pub(super) fn granted(&mut self, e: &CreditsGranted) -> Entered {
        if e.amount <= Credits::ZERO {
            return Err("a grant of nothing");
        }
        let rolled = e.rolled_over.map_or(0, |part| part.amount.micros());
        if rolled < 0 || rolled > e.amount.micros() {
            return Err("more rolls over than is granted");
        }
        add(&mut self.sums.granted, e.amount.micros() - rolled)?;
        if !self.is_whole() {
            return Ok(());
        }
        if let Some(period) = e.period {
            match self.plans.get_mut(&period.plan) {
                Some(Some(periods)) if periods.checked_add(1) == Some(period.number) => *periods = period.number,
                Some(_) => return Err("a period of a plan is given twice, left out, or after the plan's end"),
                None => return Err("the account has no such plan"),
            }
        }
        if let Some(part) = e.rolled_over {
            self.move_grant(part.grant, -rolled, 0)?;
        }
        self.repay(e.repays)?;
        let remaining = e.amount.minus_within(e.repays).ok_or("more is repaid than granted")?;
        self.give(Grant {
            id: e.grant,
            expires_at: e.expires_at,
            starts_at: e.starts_at,
            endpoints: e.endpoints.clone(),
            remaining: remaining.micros(),
            held: 0,
        })
    }

    pub(super) fn started(&mut self, e: &GrantStarted, at: Timestamp) -> Entered {
        if !self.is_whole() {
            return Ok(());
        }
        let place = self.grant_place(e.grant).ok_or(NO_GRANT)?;
        let grant = self.grants.get_mut(place).ok_or(NO_GRANT)?;
        if grant.starts_at.take().is_none_or(|start| start > at) {
            return Err("a grant takes effect twice, or before its time");
        }
        if grant.is_for_all() {
            add(&mut self.free, grant.remaining)?;
        }
        self.repay(e.repays)?;
        self.move_grant(e.grant, -e.repays.micros(), 0)
    }

    pub(super) fn expired(&mut self, e: &CreditsExpired, at: Timestamp) -> Entered {
        if e.amount.is_negative() {
            return Err("less than nothing expires");
        }
        add(&mut self.sums.expired, e.amount.micros())?;
        if !self.is_whole() {
            return Ok(());
        }
        let grant = self.grant_place(e.grant).and_then(|place| self.grants.get(place));
        if grant.ok_or(NO_GRANT)?.expires_at.is_none_or(|end| end > at) {
            return Err("a grant expires before its time");
        }
        self.repay(e.repays)?;
        self.move_grant(e.grant, -e.amount.micros() - e.repays.micros(), 0)
    }

    pub(super) fn hold_of_grants(&mut self, held: &Held<'_>, at: Timestamp) -> Entered {
        if !self.is_whole() {
            return Ok(());
        }
        let mut of_all = held.on_limit.micros();
        for part in held.from {
            let grant = self.grant_place(part.grant).and_then(|place| self.grants.get(place));
            let grant = grant.ok_or(NO_GRANT)?;
            if grant.starts_at.is_some() || grant.expires_at.is_some_and(|end| end <= at) {
                return Err("credits are held of a grant whose time is over or has not come");
            }
            match &grant.endpoints {
                None => add(&mut of_all, part.amount.micros())?,
                Some(bound) => {
                    let mut names = bound.endpoints().iter();
                    if !names.any(|name| name.as_str() == held.work.endpoint) {
                        return Err("credits are held of a grant for other endpoints");
                    }
                }
            }
            self.move_grant(part.grant, -part.amount.micros(), part.amount.micros())?;
        }
        add(&mut self.held_on_limit, held.on_limit.micros())?;
        self.is_within_limit(of_all)
    }

    /// Whoever took something of what all endpoints share has not gone below the credit limit with it.
    fn is_within_limit(&self, taken: i64) -> Entered {
        let reach = self.available().checked_add(self.credit_limit).ok_or(SUM)?;
        if taken > 0 && reach < 0 {
            return Err("more is spent than the account has");
        }
        Ok(())
    }

    pub(super) fn let_go(
        &mut self,
        spent: &[GrantPart],
        returned: &[GrantPart],
        on_limit: Credits,
        returned_to_limit: Credits,
    ) -> Entered {
        if !self.is_whole() {
            return Ok(());
        }
        for part in spent {
            self.move_grant(part.grant, 0, -part.amount.micros())?;
        }
        for part in returned {
            self.move_grant(part.grant, part.amount.micros(), -part.amount.micros())?;
        }
        add(&mut self.held_on_limit, -on_limit.micros() - returned_to_limit.micros())?;
        if self.held_on_limit < 0 {
            return Err("more of the credit limit is let go than is held");
        }
        add(&mut self.owed, on_limit.micros())
    }

    pub(super) fn refunded(&mut self, e: &CreditsRefunded) -> Entered {
        if e.amount <= Credits::ZERO {
            return Err("a refund of nothing");
        }
        let as_grant = e.as_grant.map_or(Credits::ZERO, |part| part.amount);
        is_sum(e.amount, &e.returned_to, e.repays.plus(as_grant).ok_or(SUM)?)?;
        self.refund_of(e)?;
        add(&mut self.sums.refunded, e.amount.micros())?;
        if !self.is_whole() {
            return Ok(());
        }
        for terms in &e.reopened {
            if self.grant_place(terms.grant).is_none() {
                self.grants.push(Grant {
                    id: terms.grant,
                    expires_at: terms.expires_at,
                    starts_at: None,
                    endpoints: terms.endpoints.clone(),
                    remaining: 0,
                    held: 0,
                });
            }
        }
        for part in &e.returned_to {
            self.move_grant(part.grant, part.amount.micros(), 0)?;
        }
        self.repay(e.repays)?;
        let Some(part) = e.as_grant else { return Ok(()) };
        if part.amount <= Credits::ZERO {
            return Err("a part of a grant is nothing");
        }
        self.give(Grant {
            id: part.grant,
            expires_at: None,
            starts_at: None,
            endpoints: None,
            remaining: part.amount.micros(),
            held: 0,
        })
    }

    pub(super) fn corrected(&mut self, e: &CreditsCorrected) -> Entered {
        is_sum(e.amount, &e.from, e.on_limit)?;
        add(&mut self.sums.corrected, e.amount.micros())?;
        if !self.is_whole() {
            return Ok(());
        }
        let mut of_all = e.on_limit.micros();
        for part in &e.from {
            let grant = self.grant_place(part.grant).and_then(|place| self.grants.get(place));
            if grant.is_some_and(Grant::is_for_all) {
                add(&mut of_all, part.amount.micros())?;
            }
            self.move_grant(part.grant, -part.amount.micros(), 0)?;
        }
        add(&mut self.owed, e.on_limit.micros())?;
        self.is_within_limit(of_all)
    }
}
