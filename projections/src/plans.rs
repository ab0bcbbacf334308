//! The plans of every account. They are folded with the balance.

use keyledger_events::{AccountId, Period, PlanId, PlanStarted, Position, Recorded, Timestamp};

use serde::{Deserialize, Serialize};

use crate::{BalanceChanges, FoldError, add};

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRow {
    pub account: AccountId,
    pub plan: PlanId,
    /// Micro-credits.
    pub amount: i64,
    pub period: Period,
    /// Micro-credits.
    pub rollover_cap: i64,
    pub starts_at: Timestamp,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// Periods that were granted for.
    pub periods: i64,
    /// When the next begins; `None`: none does.
    pub next_at: Option<Timestamp>,
}

/// What changes in a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanChange {
    pub periods: i64,
    pub next_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
}

impl PlanChange {
    fn merge(&mut self, later: &PlanChange, at: Position) -> Result<(), FoldError> {
        self.next_at = later.next_at.or(self.next_at);
        self.ended_at = self.ended_at.or(later.ended_at);
        add(&mut self.periods, later.periods, at)
    }
}

impl PlanRow {
    pub(crate) fn change(&mut self, change: &PlanChange, at: Position) -> Result<(), FoldError> {
        self.ended_at = self.ended_at.or(change.ended_at);
        self.next_at = change.next_at.or(self.next_at).filter(|_| self.ended_at.is_none());
        add(&mut self.periods, change.periods, at)
    }
}

impl BalanceChanges {
    pub(crate) fn plan_started(&mut self, recorded: &Recorded, e: &PlanStarted) -> Result<(), FoldError> {
        let row = PlanRow {
            account: recorded.account,
            plan: e.plan,
            amount: e.amount.micros(),
            period: e.period,
            rollover_cap: e.rollover_cap.micros(),
            starts_at: e.starts_at,
            started_at: recorded.time,
            ended_at: None,
            periods: 0,
            next_at: Some(e.starts_at),
        };
        match self.planned.insert((recorded.account, e.plan), row) {
            None => Ok(()),
            Some(_) => Err(FoldError {
                position: recorded.position,
                why: "the plan is there already",
            }),
        }
    }

    pub(crate) fn plan(
        &mut self,
        account: AccountId,
        plan: PlanId,
        change: &PlanChange,
        at: Position,
    ) -> Result<(), FoldError> {
        match self.planned.get_mut(&(account, plan)) {
            Some(row) => row.change(change, at),
            None => self.plans.entry((account, plan)).or_default().merge(change, at),
        }
    }
}
