//! Every read of the log answers the same, whatever part of it is archived.

use keyledger::archive::{Archive, Environment};
use keyledger::clock;
use keyledger::ledger::{By, Ledger, OpenAccount, PublishPrices};
use keyledger::log::{HistorySearch, Log, open_pool};
use keyledger_events::{
    AccountId, AccountName, Actor, CommandId, Credits, Event, KeyId, KeyName, KeyRenamed, PortalSessionId, Position,
    Seq, Shard,
};
use uuid::Uuid;

use super::answers::{Asked, compare, opened_under_a_key};
use super::{as_if_folded, log_of_uses, move_all, moving, rows};
use crate::harness::{Harness, service_role};
use crate::ledger::customer::{Customer, by_system};
use crate::ledger::priced::publish;
use crate::ledger::writers::whole_log;
use crate::projector::appended::{append, uses};
use crate::projector::{history, level, project};

/// Somebody with a name, on the customer's pages.
async fn person(harness: &Harness, customer: &Customer) -> By {
    let session = PortalSessionId::from_parts(5, 5);
    sqlx::query(
        "insert into portal_sessions (session_id, account_id, name, read_only, created_by, created_at, link_digest, link_expires_at)
         values ($1, $2, 'Ada', false, $1, now(), sha256('link'), now())",
    )
    .bind(Uuid::from_bytes(session.to_bytes()))
    .bind(Uuid::from_bytes(customer.account.to_bytes()))
    .execute(&mut harness.owner().await)
    .await
    .unwrap();
    By {
        actor: Actor::Portal(session),
        command: CommandId::parse("page").unwrap(),
    }
}

/// An account that was opened under an idempotency key.
async fn open_under_a_key(ledger: &Ledger) {
    let open = OpenAccount {
        account: clock::fresh_account_id(),
        name: AccountName::parse("Once").unwrap(),
        external_ref: None,
        credit_limit: Credits::ZERO,
    };
    let by = By {
        actor: Actor::System,
        command: CommandId::parse(&opened_under_a_key()).unwrap(),
    };
    ledger.submit(open, by).await.unwrap();
}

#[tokio::test]
async fn what_is_asked_of_a_log_is_answered_the_same_however_much_of_it_is_archived() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    project(&harness, None);
    open_under_a_key(&ledger).await;
    // A book that is to hold some day.
    let book = PublishPrices {
        valid_from: Some(clock::now().plus_seconds(1_000_000)),
        ..publish("1")
    };
    ledger.submit(book, by_system()).await.unwrap();
    let first = history(&ledger, 5).await;
    let by = person(&harness, &first[1]).await;
    ledger
        .submit(first[1].rename_key(first[1].key, "Before"), by.clone())
        .await
        .unwrap();
    history(&ledger, 4).await;
    // Accounts that go on after others were quiet for long, and a key that is renamed again much later.
    ledger
        .submit(first[1].rename_key(first[1].key, "After"), by)
        .await
        .unwrap();
    for _ in 0..30 {
        let held = first[1].reserve_fresh(&ledger).await.unwrap().reply.reservation;
        first[1].charge(&ledger, held).await.unwrap();
    }
    level(&harness).await;
    let events = whole_log(&harness.log()).await;
    assert!(events.len() > 520, "two segments and more: {}", events.len());
    let asked = Asked::about(&events, &[256, 257, 512, 513]);
    let before = asked.answers(&harness.log()).await;

    let directory = tempfile::tempdir().unwrap();
    let mut one = moving(&harness, directory.path(), 1).await;
    one.step(&super::everything_until_now()).await.unwrap();
    assert_eq!(rows(&harness).await.1, Some(257));
    compare(&before, &asked.answers(&harness.log()).await);

    let (more, _) = move_all(&harness, directory.path(), 1).await;
    assert_eq!(usize::try_from(more).unwrap() + 1, events.len() / 256);
    let after = asked.answers(&harness.log()).await;
    compare(&before, &after);
    assert_eq!(before.len(), after.len());
    // With no memory for what was read, everything is read again each time.
    let forgetful = Archive::with_cache(Environment::default(), 0);
    let forgetful = Log::over(harness.another_pool(), Shard(0), forgetful);
    compare(&before, &asked.some_answers(&forgetful).await);
    assert_eq!(whole_log(&harness.log()).await, events);
}

/// All that is found page by page.
async fn pages(log: &Log, search: HistorySearch<'_>, limit: u32) -> Vec<(Vec<Position>, Option<Position>)> {
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let page = log.history(&search, before, limit).await.unwrap();
        before = page.older_than;
        found.push((page.events.iter().map(|event| event.position).collect(), before));
        if before.is_none() {
            return found;
        }
    }
}

#[tokio::test]
async fn a_page_of_a_long_history_looks_as_far_back_and_goes_on_where_it_did_before_it_was_archived() {
    let harness = Harness::start().await;
    let (mine, key, second) = (
        AccountId::from_parts(1, 1),
        KeyId::from_parts(1, 1),
        KeyId::from_parts(1, 2),
    );
    let renamed = Event::from(KeyRenamed {
        key: second,
        name: KeyName::parse("Finance").unwrap(),
    });
    let mut events = vec![renamed.clone()];
    events.extend(uses(key, 16_000));
    events.push(renamed);
    events.extend(uses(second, 9));
    events.extend(uses(key, 8_000));
    append(&harness, mine, events).await;
    as_if_folded(&harness).await;
    let log = harness.log();
    const MIXED: &[&str] = &["keyledger.KeyRenamed.v1", "keyledger.CreditsCharged.v1"];
    const SELDOM: &[&str] = &["keyledger.KeyRenamed.v1"];
    const USED: &[&str] = &["keyledger.KeyUsed.v1"];
    let searches = [
        (None, MIXED, 50),
        (None, SELDOM, 1),
        (None, USED, 7_000),
        (Some(key), USED, 7_000),
        (Some(key), MIXED, 50),
        (Some(second), USED, 4),
    ];
    let all = async |log: &Log| {
        let mut all = Vec::new();
        for (key, types, limit) in searches {
            let search = HistorySearch {
                account: mine,
                key,
                types,
            };
            all.push(pages(log, search, limit).await);
        }
        all
    };
    let before = all(&log).await;
    assert_eq!(before[0].len(), 3, "pages that look at 10,000 events and find one");
    let directory = tempfile::tempdir().unwrap();
    // 15,360 events, so that a page looks at some here and at others there; then nearly all of them.
    let mut part = moving(&harness, directory.path(), 60).await;
    part.step(&super::everything_until_now()).await.unwrap();
    assert_eq!(rows(&harness).await.1, Some(15_361));
    assert_eq!(all(&log).await, before);
    move_all(&harness, directory.path(), 2).await;
    assert_eq!(rows(&harness).await.1, Some(24_011 / 512 * 512 + 1));
    assert_eq!(all(&log).await, before);
}

#[tokio::test]
async fn a_read_of_what_is_not_archived_still_reads_nothing_else() {
    let (harness, directory) = log_of_uses(3_000).await;
    move_all(&harness, directory.path(), 1).await;
    // Without its files, what is in Postgres can be read.
    std::fs::remove_dir_all(directory.path().join("shard-0")).unwrap();
    let pool = open_pool(service_role(harness.owner_url()), 1);
    let log = Log::new(pool, Shard(0));
    let read = log.read(Position(2_816), 1_000).await.unwrap();
    assert_eq!(read.len(), 3_000 - 2_816);
    let account = AccountId::from_parts(1, 1);
    let read = log.account_events(account, Seq(2_900), 1_000).await.unwrap();
    assert_eq!(read.len(), 100);
}
