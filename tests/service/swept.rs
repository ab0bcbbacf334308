//! The sweeper beside an account that nobody can read.

use keyledger::clock;
use keyledger::ledger::{Payer, ReserveCredits};
use sqlx::Executor as _;

use super::process::Site;
use crate::harness::{Harness, until};
use crate::ledger::customer::{Customer, by_system};
use crate::projector::{level, project};

/// More than one sweep looks at.
const HOLDS: usize = 501;

#[tokio::test(flavor = "multi_thread")]
async fn holds_that_cannot_be_settled_keep_nobody_elses() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    let (_, stop) = project(&harness, None);
    let broken = Customer::open(&ledger, "1000").await;
    let sound = Customer::open(&ledger, "10").await;
    let take = |customer: &Customer| {
        let command = ReserveCredits {
            payer: Payer::Account(customer.account),
            ..customer.reserve(clock::fresh_reservation_id())
        };
        ledger.submit(command, by_system())
    };
    let taken = futures_util::future::join_all((0..HOLDS).map(|_| take(&broken))).await;
    assert!(taken.iter().all(Result::is_ok), "{taken:?}");
    take(&sound).await.unwrap();
    level(&harness).await;
    stop.cancel();

    let mut owner = harness.owner().await;
    owner.execute("set session_replication_role = replica").await.unwrap();
    let id = |customer: &Customer| uuid::Uuid::from_bytes(customer.account.to_bytes());
    let damage = "with gone as (delete from account_snapshots where account_id = $1)
        update events set body = replace(convert_from(body, 'UTF8'), '\"data\":', '\"date\":')::bytea
        where account_id = $1 and seq = 2";
    let damaged = sqlx::query(damage).bind(id(&broken)).execute(&mut owner).await.unwrap();
    assert_eq!(damaged.rows_affected(), 1);

    // A quarter of an hour later all of them are due, and the broken account's have been for longest.
    let site = Site::on(harness, "").await;
    let _service = site.serve_by_clock(901).await;
    let mut owner = site.harness.owner().await;
    let mut holds = async |customer| {
        let count = "select count(*) from views.reservations where account_id = $1";
        let counted = sqlx::query_scalar::<_, i64>(count).bind(id(customer));
        usize::try_from(counted.fetch_one(&mut owner).await.unwrap()).unwrap()
    };
    until("the sound account's hold has expired", async || {
        holds(&sound).await == 0
    })
    .await;
    assert_eq!(holds(&broken).await, HOLDS);
}
