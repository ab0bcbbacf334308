//! What plans are to an account.

use keyledger_events::{Credits, GrantId, PlanEnded, PlanPeriod, PlanStarted, Timestamp};

use super::{Account, Folded};
use crate::ledger::plan::Plan;

/// Plans that have ended are remembered so far back, so that ending one again is known to change nothing.
const ENDED_REMEMBERED: usize = 100;

impl Account {
    pub fn plan(&self, id: keyledger_events::PlanId) -> Option<&Plan> {
        self.plans.iter().find(|plan| plan.id == id)
    }

    /// It is the last grant of a plan that goes on: the plan's next period decides what becomes of it.
    pub fn is_of_running_plan(&self, grant: GrantId) -> bool {
        self.plans.iter().any(|plan| plan.grant == Some(grant))
    }

    pub(super) fn plan_started(&mut self, e: &PlanStarted, at: Timestamp) -> Folded {
        if self.plan(e.plan).is_some() {
            return Err("the plan is there already");
        }
        self.plans.push(Plan::started(e, at));
        Ok(())
    }

    pub(super) fn plan_ended(&mut self, e: &PlanEnded) -> Folded {
        let place = self.plans.iter().position(|plan| plan.id == e.plan);
        self.plans.remove(place.ok_or("the account has no such plan")?);
        self.ended_plans.push_back(e.plan);
        if self.ended_plans.len() > ENDED_REMEMBERED {
            self.ended_plans.pop_front();
        }
        Ok(())
    }

    /// Takes what rolls over out of the grant that it comes from. Gives back how much that is.
    pub(super) fn renewed(
        &mut self,
        period: PlanPeriod,
        grant: GrantId,
        rolled_over: Option<keyledger_events::GrantPart>,
    ) -> Result<Credits, &'static str> {
        let plan = self
            .plans
            .iter_mut()
            .find(|plan| plan.id == period.plan)
            .ok_or("the account has no such plan")?;
        if period.number != plan.periods + 1 {
            return Err("a period of a plan is granted twice, or one was left out");
        }
        let last = plan.grant.replace(grant);
        plan.periods = period.number;
        let Some(part) = rolled_over else {
            return Ok(Credits::ZERO);
        };
        if last != Some(part.grant) {
            return Err("what rolls over is not of the period before");
        }
        let last = self.grant_mut(part.grant)?;
        last.remaining = last
            .remaining
            .minus_within(part.amount)
            .ok_or("more rolls over than is left")?;
        Ok(part.amount)
    }
}
