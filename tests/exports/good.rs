//! What is exported of a real log is good, and comes to what the ledger says.

use futures_util::future::join_all;
use keyledger::clock;
use keyledger::ledger::{DeleteKey, Ledger, PublishPrices};
use keyledger_events::{AccountId, DeleteReason, Endpoint, PublishedPrice};
use serde_json::{Value, json};

use super::both::{judge, judge_by_script, judge_lines};
use super::forged::{Forger, right_key, signers};
use super::sealed::{Sealed, lines};
use crate::harness::Harness;
use crate::ledger::customer::{Customer, by_system, credits};

async fn cycle(ledger: &Ledger, customer: &Customer, version: u64, price: &str) {
    let mut reserve = customer.reserve(clock::fresh_reservation_id());
    reserve.price.version = version;
    reserve.price.unit = credits(price);
    let id = reserve.reservation;
    ledger.submit(reserve, by_system()).await.unwrap();
    customer.charge(ledger, id).await.unwrap();
}

pub async fn publish(ledger: &Ledger, price: &str) {
    let prices = vec![PublishedPrice {
        endpoint: Endpoint::parse("serp").unwrap(),
        pattern: "GET /serp".to_owned(),
        price: credits(price),
        unit: "request".to_owned(),
        quantity: None,
        quantity_max: None,
        when_more: None,
        once_per: None,
        rate_per_second: None,
        rate_burst: None,
        settle: None,
        upstream: None,
    }];
    let command = PublishPrices {
        prices,
        valid_from: None,
    };
    ledger.submit(command, by_system()).await.unwrap();
}

struct World {
    ledger: Ledger,
    first: Customer,
    second: Customer,
    /// The first position after the second price book.
    later: u64,
}

/// Two customers, two price books, some 900 events in four tiles.
async fn world(harness: &Harness) -> World {
    let ledger = harness.ledger();
    let (first, second) = (
        Customer::open(&ledger, "1000").await,
        Customer::open(&ledger, "1000").await,
    );
    join_all((0..100).map(|_| cycle(&ledger, &first, 0, "0.5"))).await;
    publish(&ledger, "0.25").await;
    join_all((0..100).map(|_| cycle(&ledger, &first, 1, "0.25"))).await;
    publish(&ledger, "0.75").await;
    let later = harness.log().head().await.unwrap().position.0 + 1;
    join_all((0..100).map(|_| cycle(&ledger, &second, 2, "0.75"))).await;
    // Few events of the first customer in a tile of the second one's.
    cycle(&ledger, &first, 2, "0.75").await;
    World {
        ledger,
        first,
        second,
        later,
    }
}

fn balance(told: &Value) -> [&str; 4] {
    ["granted", "charged", "reserved", "available"].map(|name| told["balance"][name].as_str().unwrap_or("not known"))
}

#[tokio::test]
async fn a_shard_an_account_and_a_key_are_exported_and_verified_without_a_database() {
    let harness = Harness::start().await;
    let sealed = Sealed::start(&harness).await;
    let world = world(&harness).await;
    let head = sealed.level().await;

    let told = sealed.good(&["--shard", "0"], "shard").await;
    assert_eq!((told["first"].as_u64(), told["last"].as_u64()), (Some(1), Some(head)));
    let by_script = judge_by_script(&sealed.path("shard"), &right_key());
    assert_eq!((by_script.code, by_script.told), (0, told.clone()));
    assert_eq!(told["events"], json!(head));
    assert!(!told["not_checked"].to_string().contains("left out"), "{told}");
    assert_eq!(balance(&told), ["2000", "150.75", "0", "1849.25"]);

    let account = world.first.account.to_string();
    let told = sealed.good(&["--account", &account], "account").await;
    assert_eq!(balance(&told), ["1000", "75.75", "0", "924.25"]);
    // 3 of its own opening, 3 a request, and the two books.
    assert_eq!(told["events"], json!(3 + 3 * 201 + 2));
    let left_out = "no price book was left out, for 101 hold(s)";
    assert!(told["not_checked"].to_string().contains(left_out), "{told}");

    let key = world.second.key.to_string();
    let told = sealed.good(&["--key", &key], "key").await;
    assert_eq!(balance(&told), ["0", "75", "0", "not known"]);
    assert_eq!(told["scope"], json!({ "account": world.second.account, "key": key }));
    assert!(told["not_checked"].to_string().contains("a key's events"), "{told}");

    // From the second book on: the books of before come along, so that prices are known.
    let from = world.later.to_string();
    let told = sealed.good(&["--shard", "0", "--from", &from], "later").await;
    assert_eq!(
        (&told["first"], &told["events"]),
        (&json!(world.later), &json!(head - world.later + 1 + 2))
    );
    assert!(told["not_checked"].to_string().contains("2 account(s)"), "{told}");
    let told = sealed
        .good(&["--account", &account, "--from", &from], "of the account later")
        .await;
    assert_eq!(balance(&told), ["0", "0.75", "0", "not known"]);
    let until = clock::now().plus_seconds(60).to_string();
    let told = sealed
        .good(&["--shard", "0", "--from", "300", "--to", &until], "until")
        .await;
    assert_eq!(told["last"], json!(head));
}

#[tokio::test]
async fn an_export_goes_on_where_it_was_cut_and_is_the_same_file() {
    let harness = Harness::start().await;
    let sealed = Sealed::start(&harness).await;
    let world = world(&harness).await;
    sealed.level().await;
    let account = world.first.account.to_string();
    for (name, scope) in [
        ("shard", ["--shard", "0"]),
        ("account", ["--account", account.as_str()]),
    ] {
        let file = sealed.export(&scope, name).await;
        let whole = std::fs::read(&file).unwrap();
        let (code, told) = sealed.run(&scope, name).await;
        assert_eq!(code, 1, "a file that is there is not written over: {told}");
        let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for part in [
            first,
            first + 10,
            whole.len() / 5,
            whole.len() / 2,
            whole.len() - 30,
            whole.len() - 1,
            whole.len(),
        ] {
            std::fs::write(&file, &whole[..part]).unwrap();
            sealed.export(&[scope[0], scope[1], "--resume"], name).await;
            assert!(
                std::fs::read(&file).unwrap() == whole,
                "{name} cut at {part} of {}",
                whole.len()
            );
        }
        std::fs::write(&file, &whole[..first - 1]).unwrap();
        assert_ne!(sealed.run(&[scope[0], scope[1], "--resume"], name).await.0, 0);
    }
}

#[tokio::test]
async fn a_later_export_shows_that_the_log_begins_with_what_an_older_checkpoint_was_of() {
    let harness = Harness::start().await;
    let sealed = Sealed::start(&harness).await;
    let world = world(&harness).await;
    sealed.level().await;
    let older = harness.tree().store().latest().await.unwrap().unwrap();
    let checkpoint = sealed.path("older");
    std::fs::write(&checkpoint, &older.note).unwrap();
    let checkpoint = checkpoint.to_str().unwrap().to_owned();
    cycle(&world.ledger, &world.first, 2, "0.75").await;
    sealed.level().await;

    let with = [right_key(), vec!["--checkpoint".to_owned(), checkpoint.clone()]].concat();
    // All leaves are there: they give the older root themselves.
    let shard = sealed.export(&["--shard", "0"], "shard").await;
    assert_eq!(judge(&shard, &with).code, 0);
    let account = world.first.account.to_string();
    let bare = sealed.export(&["--account", &account], "bare").await;
    assert_eq!(judge(&bare, &with).code, 2, "nothing in the file shows it");
    let account = sealed
        .export(&["--account", &account, "--checkpoint", &checkpoint], "account")
        .await;
    assert_eq!(judge(&account, &with).code, 0);

    // Another history, signed with the right key: it is an older one of nothing that there is.
    let mut events: Vec<Vec<u8>> = lines(&shard)
        .into_iter()
        .filter(|line| !line.starts_with(b"{\"keyledger\""))
        .collect();
    events.truncate(usize::try_from(older.size).unwrap());
    let other = events.last_mut().unwrap();
    *other = other
        .iter()
        .map(|byte| if *byte == b'7' { b'8' } else { *byte })
        .collect();
    std::fs::write(&checkpoint, super::forged::note(&events, &signers())).unwrap();
    for file in [&shard, &account] {
        let said = judge(file, &with);
        assert_eq!((said.code, said.position), (1, None), "{}", said.told);
    }
    std::fs::write(&checkpoint, "no checkpoint\n").unwrap();
    assert_eq!(judge(&shard, &with).code, 2);
}

#[tokio::test]
async fn an_export_ends_with_the_last_checkpoint_and_says_so() {
    let harness = Harness::start().await;
    let sealed = Sealed::start(&harness).await;
    let world = world(&harness).await;
    let head = sealed.level().await;
    // Nobody seals any more.
    harness.stop.cancel();
    let other = harness.another();
    let ledger = other.ledger();
    cycle(&ledger, &world.first, 2, "0.75").await;
    let (code, told) = sealed.run(&["--shard", "0"], "shard").await;
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("not sealed further"), "{told}");
    let said = judge(&sealed.path("shard"), &right_key());
    assert_eq!((said.code, &said.told["last"]), (0, &json!(head)));
    let nobody = AccountId::from_parts(1, 1).to_string();
    let (code, told) = sealed.run(&["--account", &nobody], "nobody").await;
    assert!(code == 1 && told.contains("nothing to export"), "{told}");
}

/// The logs that every kind of event is in.
#[test]
fn an_old_log_with_every_kind_of_event_is_good() {
    for name in ["log-1", "log-2", "log-3"] {
        let log = format!("{}/tests/golden/{name}.ndjson", env!("CARGO_MANIFEST_DIR"));
        let log = std::fs::read(log).unwrap();
        let events: Vec<Vec<u8>> = log
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(<[u8]>::to_vec)
            .collect();
        let signers = signers();
        let forger = Forger {
            events: &events,
            signers: &signers,
        };
        let said = judge_lines(&forger.shard(), &right_key());
        assert_eq!(said.code, 0, "{name}: {}", said.told);
        let said = judge_lines(&forger.range(2, events.len() as u64 - 3), &right_key());
        assert_eq!(said.code, 0, "{name}: {}", said.told);
    }
}

#[tokio::test]
async fn a_deleted_key_s_history_ends_with_its_deletion() {
    let harness = Harness::start().await;
    let sealed = Sealed::start(&harness).await;
    let ledger = harness.ledger();
    let customer = Customer::open(&ledger, "10").await;
    cycle(&ledger, &customer, 0, "0.5").await;
    let delete = DeleteKey {
        account: customer.account,
        key: customer.key,
        reason: DeleteReason::Requested,
    };
    ledger.submit(delete, by_system()).await.unwrap();
    sealed.level().await;
    let told = sealed.good(&["--key", &customer.key.to_string()], "key").await;
    assert_eq!(told["events"], json!(5));
}
