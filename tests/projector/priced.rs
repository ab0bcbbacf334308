//! Prices are nobody's account: what is true for all of them changes no view, and stops none.

use keyledger::projector::{View, check_views, rebuild};

use super::{history, level, project, views_equal_replay};
use crate::harness::Harness;
use crate::ledger::customer::by_system;
use crate::ledger::priced::publish;

#[tokio::test]
async fn published_prices_are_passed_by_every_view_while_it_goes_on_and_when_it_is_rebuilt() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    project(&harness, None);
    history(&ledger, 2).await;
    ledger.submit(publish("2"), by_system()).await.unwrap();
    level(&harness).await;
    views_equal_replay(&harness).await;
    for view in View::ALL {
        let rebuilt = rebuild(harness.owner_url(), view, |_, _| {}).await.unwrap();
        assert_eq!(rebuilt.rows_changed, 0, "{view}");
    }
    for (view, outcome) in check_views(harness.owner_url(), &View::ALL, |_, _| {}).await.unwrap() {
        assert_eq!(outcome.unwrap().rows_different, 0, "{view}");
    }
}
