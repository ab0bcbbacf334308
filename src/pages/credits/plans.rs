//! Credits that come again, in words.

use keyledger_events::Timestamp;

use crate::pages::amount::{amount, in_words};
use crate::pages::moment::Moment;
use crate::views::Plan;

#[derive(Debug)]
pub(in crate::pages) struct PlanRow {
    /// `100 credits every month`.
    pub(in crate::pages) what: String,
    /// `up to 50 of what is left go on into the next month`.
    pub(in crate::pages) rolls: String,
    pub(in crate::pages) next: Option<Moment>,
}

impl PlanRow {
    pub(in crate::pages) fn new(plan: Plan, now: Timestamp) -> PlanRow {
        let period = plan.period;
        PlanRow {
            what: format!("{} every {period}", in_words(plan.amount)),
            rolls: if plan.rollover_cap.is_zero() {
                format!("what is left at the end of a {period} expires")
            } else {
                let cap = amount(plan.rollover_cap);
                format!("up to {cap} of what is left go on into the next {period}")
            },
            next: plan.next_at.map(|at| Moment::new(at, now)),
        }
    }
}
