//! The usage view: what was used by which key, and what pages read of it.

use std::collections::BTreeMap;

use keyledger::clock;
use keyledger::ledger::{ChargeAtOnce, GrantCredits, Ledger, Price, ReserveCredits};
use keyledger::views::{KeyPage, KeySearch, Line, Lines, Point, Range, Spending, Step};
use keyledger_events::{AccountId, Credits, Endpoint, Event, GrantSource, KeyId, KeyUsed, Recorded, ReservationId};
use keyledger_projections::{UsageId, UsageRows, UsageSums, replay};
use sqlx::Row as _;
use uuid::Uuid;

use super::appended::append;
use super::{history, level, project, views_equal_replay};
use crate::harness::{Harness, until};
use crate::ledger::customer::{Customer, by_system, create_key, credits};

/// Compares every hour and every network in Postgres with the pure fold.
pub async fn equal_usage(harness: &Harness, events: &[Recorded]) {
    let rows: UsageRows = replay(events).unwrap();
    let mut owner = harness.owner().await;
    let stored: Vec<String> = sqlx::query_scalar(
        "select concat_ws(' ', account_id, extract(epoch from hour)::bigint, coalesce(key_id::text, '-'), endpoint, uses,
             charges, quantity, charged, refunded, released_requested, released_queued, released_error, released_client_gone,
             released_expired, released_account_closed, test_uses)
         from views.usage",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    let said = |(id, s): (&UsageId, &UsageSums)| {
        let key = id
            .key
            .map_or("-".to_owned(), |key| Uuid::from_bytes(key.to_bytes()).to_string());
        let (account, hour) = (Uuid::from_bytes(id.account.to_bytes()), id.hour.micros() / 1_000_000);
        let (endpoint, r) = (id.endpoint.as_str(), s.released);
        format!(
            "{account} {hour} {key} {endpoint} {} {} {} {} {} {} {} {} {} {} {} {}",
            s.uses,
            s.charges,
            s.quantity,
            s.charged,
            s.refunded,
            r.requested,
            r.queued,
            r.error,
            r.client_gone,
            r.expired,
            r.account_closed,
            s.test_uses
        )
    };
    assert_eq!(sorted(stored), sorted(rows.used.iter().map(said).collect()));
    let sums = "select coalesce(sum(uses), 0)::bigint, coalesce(sum(charged), 0)::bigint from views.";
    for table in ["usage", "usage_by_endpoint"] {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{sums}{table}")))
            .fetch_one(&mut owner)
            .await
            .unwrap();
        let expected = rows.used.values().fold((0, 0), |(u, c), s| (u + s.uses, c + s.charged));
        assert_eq!((row.get::<i64, _>(0), row.get::<i64, _>(1)), expected, "{table}");
    }
    let networks: Vec<(Uuid, String, i64)> = sqlx::query_as(
        "select key_id, network, (extract(epoch from last_used_at) * 1000000)::bigint from views.key_networks
         order by key_id, network",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    let mut expected: Vec<_> = rows
        .networks
        .iter()
        .flat_map(|((_, key), networks)| {
            let key = Uuid::from_bytes(key.to_bytes());
            networks
                .iter()
                .map(move |(network, at)| (key, network.clone(), at.micros()))
        })
        .collect();
    expected.sort();
    assert_eq!(networks, expected);
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// A data API that counts wrongly keeps nobody's sums from being written.
#[tokio::test]
async fn a_count_that_no_answer_has_halts_nothing() {
    let harness = Harness::start().await;
    project(&harness, None);
    let ledger = harness.ledger();
    let customer = Customer::open(&ledger, "10").await;
    for _ in 0..2 {
        let free = Price {
            unit: credits("0"),
            version: 0,
        };
        let hold = ReserveCredits {
            price: free,
            quantity: i64::MAX.unsigned_abs(),
            ..customer.reserve(clock::fresh_reservation_id())
        };
        let held = ledger.submit(hold, by_system()).await.unwrap();
        customer.charge(&ledger, held.reply.reservation).await.unwrap();
    }
    let held = customer.reserve_fresh(&ledger).await.unwrap();
    customer.charge(&ledger, held.reply.reservation).await.unwrap();
    views_equal_replay(&harness).await;
    let standings = harness.views().standings().await.unwrap();
    assert!(
        standings.iter().all(|standing| standing.halted.is_none()),
        "{standings:?}"
    );
}

async fn by_dashboard(ledger: &Ledger, account: AccountId, endpoint: &str, quantity: u64) {
    let charge = ChargeAtOnce {
        account,
        key: None,
        reservation: clock::fresh_reservation_id(),
        price: Price {
            unit: credits("0.5"),
            version: 0,
        },
        endpoint: Endpoint::parse(endpoint).unwrap(),
        quantity,
    };
    ledger.submit(charge, by_system()).await.unwrap();
}

fn today() -> Range {
    let now = clock::now();
    // An hour more on both sides: a test may run over midnight.
    Range::new(now.minus_seconds(3_600), now.plus_seconds(3_600), Step::Day).unwrap()
}

async fn used(harness: &Harness, account: AccountId, lines: Lines) -> BTreeMap<Line, (u64, Credits)> {
    let points: Vec<Point> = harness
        .views()
        .usage(account, today(), lines)
        .await
        .unwrap()
        .value
        .unwrap();
    let mut all = BTreeMap::new();
    for point in points {
        let sum = all.entry(point.line).or_insert((0, Credits::ZERO));
        *sum = (sum.0 + point.uses, sum.1.plus(point.charged).unwrap());
    }
    all
}

#[tokio::test]
async fn a_chart_by_endpoint_and_by_key_shows_what_was_charged_and_the_dashboards_use_apart() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    project(&harness, None);
    let customer = Customer::open(&ledger, "100").await;
    for _ in 0..3 {
        let held = customer.reserve_fresh(&ledger).await.unwrap().reply.reservation;
        customer.charge(&ledger, held).await.unwrap();
    }
    let held = customer.reserve_fresh(&ledger).await.unwrap().reply.reservation;
    customer.release(&ledger, held).await.unwrap();
    by_dashboard(&ledger, customer.account, "echo", 4).await;
    level(&harness).await;
    let total = used(&harness, customer.account, Lines::Total).await;
    assert_eq!(total, BTreeMap::from([(Line::Total, (5, credits("3.5")))]));
    let endpoints = used(&harness, customer.account, Lines::Endpoint).await;
    assert_eq!(endpoints[&Line::Endpoint("serp".to_owned())], (4, credits("1.5")));
    assert_eq!(endpoints[&Line::Endpoint("echo".to_owned())], (1, credits("2")));
    let keys = used(&harness, customer.account, Lines::Key).await;
    assert_eq!(
        keys,
        BTreeMap::from([
            (Line::Key(customer.key), (4, credits("1.5"))),
            (Line::Dashboard, (1, credits("2")))
        ])
    );
    let points = harness.views().usage(customer.account, today(), Lines::Endpoint).await;
    let released: u64 = points
        .unwrap()
        .value
        .unwrap()
        .iter()
        .map(|point| point.released.error)
        .sum();
    assert_eq!(released, 1);
    let nobody = harness
        .views()
        .usage(clock::fresh_account_id(), today(), Lines::Total)
        .await;
    assert_eq!(nobody.unwrap().value, None);
}

#[tokio::test]
async fn more_lines_than_a_chart_has_are_added_up_in_one_more() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    project(&harness, None);
    let customer = Customer::open(&ledger, "1000").await;
    for n in 0..53 {
        by_dashboard(&ledger, customer.account, &format!("e{n}"), n + 1).await;
    }
    level(&harness).await;
    let lines = used(&harness, customer.account, Lines::Endpoint).await;
    assert_eq!(lines.len(), 51);
    // The three smallest: one, two and three units.
    assert_eq!(lines[&Line::Other], (3, credits("3")));
}

#[tokio::test]
async fn what_was_spent_is_the_balances_charged_and_says_how_long_the_rest_lasts() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    project(&harness, None);
    let customer = Customer::open(&ledger, "100").await;
    by_dashboard(&ledger, customer.account, "serp", 40).await;
    level(&harness).await;
    let now = clock::now();
    let spending = harness
        .views()
        .spending(customer.account, now.minus_seconds(86_400), now)
        .await;
    let spending = spending.unwrap().value.unwrap();
    assert_eq!(
        (spending.charged, spending.charged_week),
        (credits("20"), credits("20"))
    );
    let runway = |spending: &Spending| {
        let runway = spending.runway(now).unwrap();
        (runway.days, runway.some_expire)
    };
    assert_eq!((spending.available, runway(&spending)), (credits("80"), (28, false)));
    let later = harness
        .views()
        .spending(customer.account, now.plus_seconds(7_200), now)
        .await;
    assert_eq!(later.unwrap().value.unwrap().charged, Credits::ZERO);
    // Seven days of it are burnt first, of which a week takes 20, and then the 80.
    let ends_soon = GrantCredits {
        account: customer.account,
        grant: clock::fresh_grant_id(),
        amount: credits("1000"),
        priority: -1,
        expires_at: Some(now.plus_seconds(7 * 86_400)),
        source: GrantSource::Promotion,
        reference: None,
        starts_at: None,
        endpoints: None,
        reason: None,
    };
    ledger.submit(ends_soon, by_system()).await.unwrap();
    level(&harness).await;
    let spending = harness.views().spending(customer.account, now, now).await;
    let spending = spending.unwrap().value.unwrap();
    assert_eq!((spending.available, runway(&spending)), (credits("1080"), (35, true)));
}

fn used_from(key: KeyId, network: String) -> Event {
    Event::from(KeyUsed {
        key,
        endpoint: Endpoint::parse("serp").unwrap(),
        reservation: ReservationId::from_parts(1, 1),
        request: None,
        network: Some(network),
        user_agent: None,
        environment: keyledger_events::Environment::Live,
    })
}

#[tokio::test]
async fn a_keys_networks_are_counted_and_no_more_than_32_are_kept() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    project(&harness, None);
    let customer = Customer::open(&ledger, "100").await;
    let (quiet, _) = create_key(&ledger, customer.account).await;
    let few = (0..6)
        .map(|n| used_from(quiet, format!("203.0.{}.0/24", n % 3)))
        .collect();
    append(&harness, customer.account, few).await;
    for _ in 0..2 {
        let many = (0..40)
            .map(|n| used_from(customer.key, format!("198.51.{n}.0/24")))
            .collect();
        append(&harness, customer.account, many).await;
    }
    views_equal_replay(&harness).await;
    let day_ago = clock::now().minus_seconds(86_400);
    let used = async |since| {
        let page = KeyPage {
            search: &KeySearch::default(),
            now: clock::now(),
            limit: 10,
            after: None,
        };
        harness.views().keys_use(customer.account, page, since).await.unwrap()
    };
    until("the key list knows both keys", async || used(day_ago).await.len() == 2).await;
    let used_since_yesterday = used(day_ago).await;
    let counted: BTreeMap<KeyId, u64> = used_since_yesterday.iter().map(|c| (c.key, c.networks)).collect();
    assert_eq!(counted, BTreeMap::from([(customer.key, 32), (quiet, 3)]));
    let tomorrow = clock::now().plus_seconds(86_400);
    let later = used(tomorrow).await;
    assert!(
        later.iter().all(|key| key.networks == 0 && key.days.is_empty()),
        "{later:?}"
    );
    let uses: BTreeMap<KeyId, u64> = used_since_yesterday
        .iter()
        .map(|used| (used.key, used.days.iter().map(|day| day.uses).sum()))
        .collect();
    assert_eq!(uses, BTreeMap::from([(customer.key, 80), (quiet, 6)]));
}

#[tokio::test]
async fn a_database_of_before_the_view_is_caught_up_with() {
    let harness = Harness::start().await;
    history(&harness.ledger(), 2).await;
    let mut owner = harness.owner().await;
    // As it was before this migration, and the later one that adds to it.
    for statement in [
        "drop table views.usage, views.usage_by_endpoint, views.key_networks",
        "drop index views.charges_account_key_idx, views.charges_account_endpoint_idx, views.charges_account_time_idx",
        "drop index views.balance_name_idx, views.balance_external_ref_idx, events_account_kind_idx, events_key_kind_idx",
        "delete from views.checkpoints where projection = 'usage'",
        "alter table views.charges drop column refunded, drop column environment",
        "alter table views.key_list drop column successor, drop column stops_at, drop column denied_day,
         drop column denied_count, drop column spending_amount, drop column spending_per",
        "delete from _sqlx_migrations where version in (6, 17, 18)",
    ] {
        sqlx::query(statement).execute(&mut owner).await.unwrap();
    }
    keyledger::migrate::migrate(harness.owner_url()).await.unwrap();
    project(&harness, None);
    views_equal_replay(&harness).await;
    let folded: i64 = sqlx::query_scalar("select count(*) from views.usage")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert!(folded > 0);
}
