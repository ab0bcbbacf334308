//! Moving: whole segments, only what may go, and nothing is lost or twice there, whoever is killed when.

use std::time::Duration;

use keyledger::clock;
use keyledger::ledger::DeleteKey;
use keyledger::log::{MoveError, Moved, Stays, Until};
use keyledger_events::{AccountId, Event, KeyCreated, KeyDigest, KeyId, KeyName, Position, leaf_hash};

use super::{archive, as_if_folded, bytes, everything_until_now, files, log_of_uses, move_all, moving, rows, said};
use crate::harness::{Harness, until};
use crate::ledger::customer::{Customer, by_system, create_key};
use crate::ledger::writers::whole_log;
use crate::projector::appended::{append, uses};
use crate::projector::{project, relay, views_equal_replay};

/// As if a checkpoint of that many events had been signed.
async fn sealed(harness: &Harness, events: i64) {
    sqlx::query(
        "insert into audit_checkpoints (shard, size, root, note, made_at) values (0, $1, sha256('x'), 'note', now())",
    )
    .bind(events)
    .execute(&mut harness.owner().await)
    .await
    .unwrap();
}

#[tokio::test]
async fn an_event_that_is_not_the_one_that_was_sealed_stays() {
    let (harness, directory) = log_of_uses(600).await;
    let leaves: Vec<u8> = bytes(&harness).await.iter().flat_map(|body| leaf_hash(body)).collect();
    let tile = async |index: i64, hashes: &[u8]| {
        sqlx::query("insert into audit_tiles (shard, level, index, hashes, root) values (0, 0, $1, $2, sha256('x'))")
            .bind(index)
            .bind(hashes)
            .execute(&mut harness.owner().await)
            .await
            .unwrap();
    };
    tile(0, &leaves[..8_192]).await;
    let mut other = leaves[8_192..16_384].to_vec();
    other[32 * 10] ^= 1;
    tile(1, &other).await;
    let mut moving = moving(&harness, directory.path(), 1).await;
    assert!(matches!(
        moving.step(&everything_until_now()).await.unwrap(),
        Moved::Segment(_)
    ));
    let refused = moving.step(&everything_until_now()).await.unwrap_err();
    assert!(
        matches!(refused, MoveError::NotAsSealed { position } if position == Position(267)),
        "{refused}"
    );
    assert_eq!(rows(&harness).await, (600 - 256, Some(257)));
}

#[tokio::test]
async fn only_whole_segments_go_that_are_old_folded_relayed_and_sealed() {
    let harness = Harness::start().await;
    let directory = tempfile::tempdir().unwrap();
    let account = AccountId::from_parts(1, 1);
    append(&harness, account, uses(KeyId::from_parts(1, 1), 300)).await;
    let before = clock::now();
    append(&harness, account, uses(KeyId::from_parts(1, 1), 300)).await;
    let mut moving = moving(&harness, directory.path(), 1).await;
    let mut stays = async |until: Until| match moving.step(&until).await.unwrap() {
        Moved::Segment(segment) => panic!("{segment:?}"),
        Moved::Stays(stays) => stays,
    };
    assert_eq!(
        stays(everything_until_now()).await,
        Stays::NotFolded { at: Position(0) }
    );
    as_if_folded(&harness).await;
    let relayed = Some(Position(255));
    let until = Until { before, relayed };
    assert_eq!(stays(until).await, Stays::NotRelayed { at: Position(255) });
    // Where there are checkpoints, they have to cover it.
    sealed(&harness, 200).await;
    let until = Until { before, relayed: None };
    assert_eq!(stays(until).await, Stays::NotSealed { at: Position(200) });
    sealed(&harness, 600).await;
    let relayed = Some(Position(256));
    let until = Until { before, relayed };
    let Moved::Segment(segment) = moving.step(&until).await.unwrap() else {
        panic!("it may go");
    };
    assert_eq!(
        (segment.number, segment.first, segment.last),
        (0, Position(1), Position(256))
    );
    let until = Until { before, relayed: None };
    assert_eq!(moving.step(&until).await.unwrap(), Moved::Stays(Stays::TooYoung));
    assert!(matches!(
        moving.step(&everything_until_now()).await.unwrap(),
        Moved::Segment(_)
    ));
    assert_eq!(
        moving.step(&everything_until_now()).await.unwrap(),
        Moved::Stays(Stays::NotWhole)
    );
    assert_eq!(rows(&harness).await, (600 - 512, Some(513)));
}

#[tokio::test]
async fn what_is_killed_while_it_moves_is_gone_on_with_and_nothing_is_lost_or_twice_there() {
    let (harness, directory) = log_of_uses(256 * 60 + 7).await;
    let before = bytes(&harness).await;
    let place = directory.path().to_str().unwrap().to_owned();
    let now = clock::now().to_string();
    let arguments = ["move", "--before", &now, "--to", &place, "--bundles", "2"];
    let mut killed = 0;
    for n in 0..12 {
        let mut child = archive(&harness, &arguments)
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // At the first new file, or some time after it: while it is read back, while the rows go, or in the next one.
        let there = files(directory.path()).len();
        until("a file more is there, or all are", async || {
            files(directory.path()).len() > there || child.try_wait().unwrap().is_some()
        })
        .await;
        tokio::time::sleep(Duration::from_millis(n * 17)).await;
        killed += i32::from(child.try_wait().unwrap().is_none());
        child.kill().await.unwrap();
        assert_eq!(bytes(&harness).await, before);
    }
    assert!(killed > 3, "it was killed in the middle {killed} times");
    let done = said(archive(&harness, &arguments)).await;
    assert_eq!(done.code, 0, "{}", done.error);
    assert_eq!(rows(&harness).await, (7, Some(256 * 60 + 1)));
    assert_eq!(files(directory.path()).len(), 30);
    assert_eq!(bytes(&harness).await, before);
    let checked = said(archive(&harness, &["check"])).await;
    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.error);
    assert_eq!(checked.out, "30 segments with 15360 events are what they were\n");
    // Once more: there is nothing to do.
    let again = said(archive(&harness, &arguments)).await;
    assert_eq!(
        (again.code, again.out.starts_with("0 segments")),
        (0, true),
        "{}",
        again.out
    );
    let listed = said(archive(&harness, &["list", "--json"])).await;
    let lines: Vec<serde_json::Value> = listed
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (lines.len(), &lines[29]["last"], &lines[1]["place"]),
        (30, &15_360.into(), &place.into())
    );
    assert!(
        said(archive(&harness, &["list"]))
            .await
            .out
            .contains("shard-0/segment-00000029-")
    );
}

#[tokio::test]
async fn two_who_move_at_once_move_each_segment_once() {
    let (harness, directory) = log_of_uses(256 * 20).await;
    let before = bytes(&harness).await;
    let place = directory.path().to_str().unwrap().to_owned();
    let now = clock::now().to_string();
    let arguments = ["move", "--before", &now, "--to", &place, "--bundles", "1"];
    let both = tokio::join!(said(archive(&harness, &arguments)), said(archive(&harness, &arguments)));
    for one in [both.0, both.1] {
        let told = one.error.contains("was moved by somebody else meanwhile");
        assert!(one.code == 0 || told, "{}{}", one.out, one.error);
    }
    move_all(&harness, directory.path(), 1).await;
    assert_eq!(rows(&harness).await.0, 0);
    assert_eq!(bytes(&harness).await, before);
    assert_eq!(said(archive(&harness, &["check"])).await.code, 0);
}

#[tokio::test]
async fn commands_go_on_while_their_history_is_archived_behind_them() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    let bus = harness.bus().await;
    project(&harness, Some(bus.clone()));
    relay(&harness, bus.clone(), &ledger);
    let directory = tempfile::tempdir().unwrap();
    let customer = Customer::open(&ledger, "100000").await;
    let busy = tokio::spawn({
        let (ledger, customer) = (ledger.clone(), customer.clone());
        async move {
            for n in 0..400 {
                let held = customer.reserve_fresh(&ledger).await.unwrap().reply.reservation;
                customer.charge(&ledger, held).await.unwrap();
                if n % 50 == 0 {
                    create_key(&ledger, customer.account).await;
                }
            }
        }
    });
    let mut moving = moving(&harness, directory.path(), 1).await;
    let mut segments = 0;
    while !busy.is_finished() {
        let until = Until {
            before: clock::now(),
            relayed: bus.last_position(keyledger_events::Shard(0)).await,
        };
        segments += u32::from(matches!(moving.step(&until).await.unwrap(), Moved::Segment(_)));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    busy.await.unwrap();
    assert!(segments > 1, "{segments} segments went meanwhile");
    views_equal_replay(&harness).await;
    // A process that knows nothing yet reads the account's beginning from the files.
    sqlx::query("delete from account_snapshots")
        .execute(&mut harness.owner().await)
        .await
        .unwrap();
    let another = harness.another();
    let fresh = another.ledger();
    let held = customer.reserve_fresh(&fresh).await.unwrap().reply;
    customer.charge(&fresh, held.reservation).await.unwrap();
    let charges = whole_log(&harness.log()).await;
    let charges = charges
        .iter()
        .filter(|event| event.event.type_name() == "keyledger.CreditsCharged.v1");
    assert_eq!(charges.count(), 401);
}

#[tokio::test]
async fn only_the_owner_can_move_and_only_what_a_segment_has() {
    let (harness, directory) = log_of_uses(600).await;
    move_all(&harness, directory.path(), 1).await;
    let refused = async |statement: &'static str, as_service: bool| {
        let mut owner = harness.owner().await;
        if as_service {
            sqlx::query("set role keyledger_service")
                .execute(&mut owner)
                .await
                .unwrap();
        }
        let refusal = sqlx::query(statement).execute(&mut owner).await.unwrap_err();
        let code = refusal
            .as_database_error()
            .and_then(|refusal| refusal.code())
            .unwrap()
            .into_owned();
        (statement, code)
    };
    // By the trigger, whoever asks.
    for statement in [
        "delete from events where position = 513",
        "update events set seq = seq where position = 513",
        "delete from archive_segments",
        "update archive_segments set sha256 = sha256('x')",
        "truncate archive_accounts",
        "delete from archive_keys",
        "insert into archive_segments select (s).* from (select jsonb_populate_record(s, '{\"number\": 5}') as s from archive_segments s limit 1) made",
    ] {
        let (statement, code) = refused(statement, false).await;
        assert_eq!(code, "23001", "{statement}");
    }
    for statement in [
        "delete from events where position = 513",
        "insert into archive_segments select * from archive_segments",
        "delete from archive_segments",
        "update archive_segments set place = '/elsewhere'",
        "delete from archive_accounts",
    ] {
        let (statement, code) = refused(statement, true).await;
        assert_eq!(code, "42501", "{statement}");
    }
    // The file may be elsewhere.
    sqlx::query("update archive_segments set place = '/elsewhere'")
        .execute(&mut harness.owner().await)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_key_whose_creation_is_archived_is_still_known_and_its_text_is_no_other_keys() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    project(&harness, None);
    let directory = tempfile::tempdir().unwrap();
    let customer = Customer::open(&ledger, "1000").await;
    for _ in 0..100 {
        let held = customer.reserve_fresh(&ledger).await.unwrap().reply.reservation;
        customer.charge(&ledger, held).await.unwrap();
    }
    views_equal_replay(&harness).await;
    assert_eq!(move_all(&harness, directory.path(), 1).await.0, 1);
    let owners = harness.log().owners(&[customer.digest]).await.unwrap();
    assert_eq!(owners, [(customer.digest, customer.account)]);
    // A process that has forgotten everything lets it through.
    let another = harness.another();
    customer.reserve_fresh(&another.ledger()).await.unwrap();
    let twice = Event::from(KeyCreated {
        key: KeyId::from_parts(7, 7),
        name: KeyName::parse("Twice").unwrap(),
        preview: "sk_live_abc...".to_owned(),
        digest: customer.digest,
        environment: keyledger_events::Environment::Live,
        expires_at: None,
        replaces: None,
        scopes: None,
        rate_limit: None,
        spending_limit: None,
    });
    assert_ne!(customer.digest, KeyDigest::of("another"));
    let appended = tokio::spawn(async move { append(&harness, AccountId::from_parts(8, 8), vec![twice]).await });
    assert!(appended.await.is_err(), "the log took a digest twice");
}

#[tokio::test]
async fn a_deletion_is_heard_of_by_who_was_away_until_it_was_archived() {
    let harness = Harness::start().await;
    let ledger = harness.ledger();
    project(&harness, None);
    let directory = tempfile::tempdir().unwrap();
    let customer = Customer::open(&ledger, "1000").await;
    let (gone, _) = create_key(&ledger, customer.account).await;
    let known = harness.log().head().await.unwrap();
    let delete = DeleteKey {
        key: gone,
        ..customer.delete_key()
    };
    ledger.submit(delete, by_system()).await.unwrap();
    for _ in 0..100 {
        let held = customer.reserve_fresh(&ledger).await.unwrap().reply.reservation;
        customer.charge(&ledger, held).await.unwrap();
    }
    let ended = async || harness.log().heard_since(known).await.unwrap().ended;
    assert_eq!(ended().await, [gone]);
    views_equal_replay(&harness).await;
    assert_eq!(move_all(&harness, directory.path(), 1).await.0, 1);
    assert_eq!(ended().await, [gone]);
    let now = harness.log().head().await.unwrap();
    assert_eq!(harness.log().heard_since(now).await.unwrap().ended, []);
}
