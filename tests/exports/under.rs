//! Under which checkpoint an export ends: one that witnesses have signed, and that an auditor's older one can be shown to lead to.

use keyledger::audit::note::{Note, SignerKey};
use keyledger_events::AccountId;

use super::both::judge;
use super::forged::right_key;
use super::sealed::Sealed;
use crate::harness::Harness;
use crate::ledger::customer::Customer;

const CANNOT_TELL: i32 = 2;

#[tokio::test]
async fn an_export_ends_with_a_checkpoint_that_witnesses_have_signed() {
    let harness = Harness::start().await;
    let sealed = Sealed::start(&harness).await;
    let ledger = harness.ledger();
    let witness = SignerKey::from_seed("witness.example", [9; 32]).unwrap();
    let with = [
        right_key(),
        vec!["--witness".to_owned(), witness.witness_verifier().to_string()],
    ]
    .concat();
    let customer = Customer::open(&ledger, "10").await;
    let first = sealed.level().await;
    let account = customer.account.to_string();
    let alone = sealed
        .export(&["--account", &account], "before there was a witness")
        .await;
    assert_eq!(judge(&alone, &with).code, CANNOT_TELL);

    // Of the two checkpoints that there are now it has signed the second.
    Customer::open(&ledger, "10").await;
    let second = sealed.level().await;
    let tree = harness.tree();
    let signed = tree.store().covering(second).await.unwrap().unwrap();
    let text = Note::parse(&signed.note).unwrap().text;
    let line = witness.witness(&text, 1_764_000_000).line();
    tree.store().cosign(signed.size, witness.name(), &line).await.unwrap();
    assert!(first < signed.size);
    let told = sealed.good(&["--account", &account], "account").await;
    assert_eq!(told["size"], serde_json::json!(signed.size));
    assert_eq!(judge(&sealed.path("account"), &with).code, 0);

    // What is newer has no signature of it, which is said, also where nothing was sealed for days.
    let mut owner = harness.owner().await;
    for statement in [
        "set session_replication_role = replica",
        "update audit_checkpoints set made_at = made_at - interval '3 days'",
    ] {
        sqlx::query(statement).execute(&mut owner).await.unwrap();
    }
    Customer::open(&ledger, "10").await;
    sealed.level().await;
    assert_eq!(tree.store().witnesses().await.unwrap(), 1);
    let (code, told) = sealed.run(&["--shard", "0"], "newest").await;
    assert!(code == 0 && told.contains("1 witness(es) have not signed"), "{told}");
    assert_eq!(judge(&sealed.path("newest"), &with).code, CANNOT_TELL);
    assert_eq!(judge(&sealed.path("newest"), &right_key()).code, 0);
}

#[tokio::test]
async fn an_account_that_was_quiet_since_an_older_checkpoint_is_shown_to_be_in_its_log() {
    let harness = Harness::start().await;
    let sealed = Sealed::start(&harness).await;
    let ledger = harness.ledger();
    let quiet = Customer::open(&ledger, "10").await;
    sealed.level().await;
    Customer::open(&ledger, "10").await;
    sealed.level().await;
    let older = harness.tree().store().latest().await.unwrap().unwrap();
    let checkpoint = sealed.path("older");
    std::fs::write(&checkpoint, &older.note).unwrap();
    let checkpoint = checkpoint.to_str().unwrap().to_owned();
    Customer::open(&ledger, "10").await;
    sealed.level().await;
    let with = [right_key(), vec!["--checkpoint".to_owned(), checkpoint.clone()]].concat();
    let account = quiet.account.to_string();
    let asked = ["--account", &account, "--checkpoint", &checkpoint];
    let file = sealed.export(&asked, "quiet").await;
    assert_eq!(judge(&file, &with).code, 0);

    // Whoever goes on with it has to ask for the same.
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 30]).unwrap();
    let other = AccountId::from_parts(1, 1).to_string();
    for (asked, what) in [
        (vec!["--account", other.as_str(), "--resume"], "something else"),
        (vec!["--shard", "0", "--resume"], "something else"),
    ] {
        let (code, told) = sealed.run(&asked, "quiet").await;
        assert!(code != 0 && told.contains(what), "{told}");
    }
    sealed.export(&["--account", &account, "--resume"], "quiet").await;
    assert!(std::fs::read(&file).unwrap() == whole);
    let bare = sealed.export(&["--account", &account], "bare").await;
    let bytes = std::fs::read(&bare).unwrap();
    std::fs::write(&bare, &bytes[..bytes.len() - 30]).unwrap();
    let asked = ["--account", &account, "--checkpoint", &checkpoint, "--resume"];
    let (code, told) = sealed.run(&asked, "bare").await;
    assert!(code != 0 && told.contains("does not show"), "{told}");

    // One that is of a log further on than this one is sealed.
    let beyond = super::forged::note(&vec![b"{}".to_vec(); 10_000], &super::forged::signers());
    std::fs::write(&checkpoint, beyond).unwrap();
    let asked = ["--account", &account, "--checkpoint", &checkpoint];
    let (code, told) = sealed.run(&asked, "beyond").await;
    assert!(code != 0 && told.contains("10000 events"), "{told}");
    assert!(
        !sealed.path("beyond").exists(),
        "nothing is left that would be in the way of another try"
    );
}

#[tokio::test]
async fn the_systems_own_history_has_no_balance_for_either_verifier() {
    let harness = Harness::start().await;
    let sealed = Sealed::start(&harness).await;
    let ledger = harness.ledger();
    super::good::publish(&ledger, "0.25").await;
    sealed.level().await;
    let system = AccountId::SYSTEM.to_string();
    let told = sealed.good(&["--account", &system], "system").await;
    assert!(told["balance"].is_null(), "{told}");
}
