//! Pins the canonical bytes of every event. A released sample is never edited: bytes that changed are bytes that
//! auditors hold hashes of. `KEYLEDGER_WRITE_GOLDEN=1` writes the samples that do not exist yet.

mod access;
mod account_changes;
mod client_left;
mod corrections;
mod denied;
mod environment;
mod grant_terms;
mod key_limits;
mod once;
mod personal;
mod plans;
mod prices;
mod refunds;
mod rotated;
mod spending;
mod thresholds;

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use crate::*;

fn ulid(n: u64) -> (u64, u128) {
    (1_764_000_000_000 + n, u128::from(n))
}

fn account() -> AccountId {
    let (ms, random) = ulid(1);
    AccountId::from_parts(ms, random)
}

fn key() -> KeyId {
    let (ms, random) = ulid(2);
    KeyId::from_parts(ms, random)
}

fn grant() -> GrantId {
    let (ms, random) = ulid(3);
    GrantId::from_parts(ms, random)
}

fn reservation() -> ReservationId {
    let (ms, random) = ulid(4);
    ReservationId::from_parts(ms, random)
}

fn credits(text: &str) -> Credits {
    text.parse().unwrap()
}

fn part(amount: &str) -> GrantPart {
    GrantPart {
        grant: grant(),
        amount: credits(amount),
    }
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn work() -> PaidWork {
    PaidWork {
        key: Some(key()),
        channel: Channel::Api,
        endpoint: Endpoint::parse("ai_visibility").unwrap(),
        unit_price: credits("0.5"),
        price_version: 0,
        environment: Environment::Live,
    }
}

/// Each event twice where optional members make two shapes: full and bare.
fn samples() -> Vec<(&'static str, Event)> {
    let reserved_at = time("2026-11-24T14:03:07Z");
    let digest = KeyDigest::of("sk_live_example");
    vec![
        (
            "account-opened",
            AccountOpened {
                name: AccountName::parse("Acme \"Search\" & Söhne").unwrap(),
                external_ref: Some("crm/4711".into()),
                credit_limit: credits("12.5"),
            }
            .into(),
        ),
        (
            "account-opened-bare",
            AccountOpened {
                name: AccountName::parse("A").unwrap(),
                external_ref: None,
                credit_limit: Credits::ZERO,
            }
            .into(),
        ),
        (
            "key-created",
            KeyCreated {
                key: key(),
                name: KeyName::parse("Looker Studio").unwrap(),
                preview: "sk_live_abc...".into(),
                digest,
                environment: Environment::Live,
                expires_at: Some(time("2027-01-01T00:00:00Z")),
                replaces: Some(KeyId::from_parts(1_763_000_000_000, 9)),
                scopes: None,
                rate_limit: None,
                spending_limit: None,
            }
            .into(),
        ),
        (
            "key-created-bare",
            KeyCreated {
                key: key(),
                name: KeyName::parse("שלום 👩‍💻").unwrap(),
                preview: "sk_test_abc...".into(),
                digest,
                environment: Environment::Test,
                expires_at: None,
                replaces: None,
                scopes: None,
                rate_limit: None,
                spending_limit: None,
            }
            .into(),
        ),
        (
            "key-renamed",
            KeyRenamed {
                key: key(),
                name: KeyName::parse("Internal Dashboard").unwrap(),
            }
            .into(),
        ),
        (
            "key-deleted",
            KeyDeleted {
                key: key(),
                reason: DeleteReason::Compromised,
            }
            .into(),
        ),
        (
            "key-used",
            KeyUsed {
                key: key(),
                endpoint: Endpoint::parse("serp").unwrap(),
                reservation: reservation(),
                request: Some("req-1".into()),
                network: Some("203.0.113.0/24".into()),
                user_agent: Some("curl/8.0 \\ \"x\"\u{1}".into()),
                environment: Environment::Live,
            }
            .into(),
        ),
        (
            "key-used-bare",
            KeyUsed {
                key: key(),
                endpoint: Endpoint::parse("serp").unwrap(),
                reservation: reservation(),
                request: None,
                network: None,
                user_agent: None,
                environment: Environment::Live,
            }
            .into(),
        ),
        (
            "credits-granted",
            CreditsGranted {
                grant: grant(),
                amount: credits("100"),
                priority: -5,
                expires_at: Some(time("2027-01-01T00:00:00.000001Z")),
                source: GrantSource::Purchase,
                reference: Some("INV-2026-001".into()),
                starts_at: None,
                endpoints: None,
                period: None,
                rolled_over: None,
                reason: None,
                repays: credits("2.5"),
            }
            .into(),
        ),
        (
            "credits-granted-bare",
            CreditsGranted {
                grant: grant(),
                amount: Credits::MAX,
                priority: 0,
                expires_at: None,
                source: GrantSource::Promotion,
                reference: None,
                starts_at: None,
                endpoints: None,
                period: None,
                rolled_over: None,
                reason: None,
                repays: Credits::ZERO,
            }
            .into(),
        ),
        (
            "credits-expired",
            CreditsExpired {
                grant: grant(),
                amount: credits("0.000001"),
                repays: Credits::ZERO,
            }
            .into(),
        ),
        (
            "credits-reserved",
            CreditsReserved {
                reservation: reservation(),
                work: work(),
                quantity: 50,
                amount: credits("25"),
                from: vec![part("20")],
                on_limit: credits("5"),
                expires_at: time("2026-11-24T14:18:07.000001Z"),
                once: None,
            }
            .into(),
        ),
        (
            "credits-reserved-bare",
            CreditsReserved {
                reservation: reservation(),
                work: PaidWork {
                    key: None,
                    channel: Channel::Dashboard,
                    ..work()
                },
                quantity: 1,
                amount: credits("0.5"),
                from: vec![part("0.5")],
                on_limit: Credits::ZERO,
                expires_at: time("2026-11-24T14:18:07Z"),
                once: None,
            }
            .into(),
        ),
        (
            "credits-charged",
            CreditsCharged {
                reservation: reservation(),
                work: work(),
                quantity: 44,
                charged: credits("22"),
                returned: credits("3"),
                spent: vec![part("20")],
                returned_to: vec![],
                charged_on_limit: credits("2"),
                returned_to_limit: credits("3"),
                reserved_at,
                client_left: None,
            }
            .into(),
        ),
        (
            "credits-charged-bare",
            CreditsCharged {
                reservation: reservation(),
                work: PaidWork {
                    key: None,
                    channel: Channel::Dashboard,
                    ..work()
                },
                quantity: 3,
                charged: credits("1.5"),
                returned: credits("23.5"),
                spent: vec![part("1.5")],
                returned_to: vec![part("23.5")],
                charged_on_limit: Credits::ZERO,
                returned_to_limit: Credits::ZERO,
                reserved_at,
                client_left: None,
            }
            .into(),
        ),
        (
            "credits-released",
            CreditsReleased {
                reservation: reservation(),
                work: work(),
                returned: credits("25"),
                returned_to: vec![part("20")],
                returned_to_limit: credits("5"),
                cause: ReleaseCause::ClientGone,
                reserved_at,
                client_left: None,
            }
            .into(),
        ),
    ]
}

fn recorded(n: u64, event: Event) -> Recorded {
    let (ms, random) = ulid(100 + n);
    Recorded {
        id: EventId::from_parts(ms, random),
        shard: Shard(0),
        position: Position(812 + n),
        account: account(),
        seq: Seq(17 + n),
        time: time("2026-11-24T14:03:07.123456Z"),
        actor: match n % 3 {
            0 => Actor::System,
            1 => Actor::Key(key()),
            _ => Actor::Token(TokenId::from_parts(1_764_000_000_000, 5)),
        },
        command: CommandId::parse("01JDEXAMPLE").unwrap(),
        sealed: None,
        event,
    }
}

fn is_as_released(name: &str, recorded: &Recorded) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden");
    let path = folder.join(format!("{name}.json"));
    if std::env::var_os("KEYLEDGER_WRITE_GOLDEN").is_some() && !path.exists() {
        fs::create_dir_all(&folder).unwrap();
        fs::write(&path, recorded.encode()).unwrap();
    }
    let released = fs::read(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(
        String::from_utf8_lossy(&recorded.encode()),
        String::from_utf8_lossy(&released),
        "{name}"
    );
    assert_eq!(Recorded::decode(&released).unwrap(), *recorded, "{name}");
}

#[test]
fn every_actor_reads_back() {
    for text in [
        "system",
        "key_01JDE5Z8W4M3X7Q2V9T6R1K0PA",
        "tok_01JDE5Z8W4M3X7Q2V9T6R1K0PA",
        "ses_01JDE5Z8W4M3X7Q2V9T6R1K0PA",
    ] {
        assert_eq!(text.parse::<Actor>().unwrap().to_string(), text);
    }
    assert!("acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA".parse::<Actor>().is_err());
}

#[test]
fn canonical_bytes_are_the_released_ones() {
    let mut types: Vec<&str> = Vec::new();
    for (n, (name, event)) in (0..).zip(samples()) {
        let recorded = recorded(n, event);
        is_as_released(name, &recorded);
        types.push(recorded.event.type_name());
    }
    types.dedup();
    // Those that came later have files of their own.
    types.extend(refunds::TYPES);
    types.extend(account_changes::TYPES);
    types.extend(corrections::TYPES);
    types.push(rotated::rotated().type_name());
    types.extend(grant_terms::TYPES);
    types.extend(plans::TYPES);
    types.extend(thresholds::TYPES);
    types.push(denied::denied(DenyReason::Scope).type_name());
    types.push(spending::limited(None).type_name());
    types.push(prices::published().type_name());
    types.extend(access::TYPES);
    types.extend(personal::TYPES);
    assert_eq!(types, Event::TYPES, "every type has a sample");
}

#[test]
fn other_bytes_of_the_same_event_are_refused() {
    let (_, event) = samples().remove(0);
    let text = String::from_utf8(recorded(0, event).encode()).unwrap();
    for changed in [
        text.replacen("{\"specversion\"", "{ \"specversion\"", 1),
        text.replace(
            ",\"position\":812,\"accountseq\":17",
            ",\"accountseq\":17,\"position\":812",
        ),
        text.replace(
            "\"time\":\"2026-11-24T14:03:07.123456Z\"",
            "\"time\":\"2026-11-24T15:03:07.123456+01:00\"",
        ),
        text.replace("\"12.5\"", "\"12.50\""),
        text.replace("ö", "\\u00f6"),
        format!("{text}\n"),
    ] {
        assert_ne!(changed, text);
        assert!(Recorded::decode(changed.as_bytes()).is_err(), "{changed}");
    }
}

#[test]
fn unknown_types_and_members_are_errors_and_say_so() {
    let (_, event) = samples().remove(0);
    let text = String::from_utf8(recorded(0, event).encode()).unwrap();
    let unknown = text.replace("AccountOpened.v1", "AccountTeleported.v1");
    assert!(matches!(
        Recorded::decode(unknown.as_bytes()),
        Err(DecodeError::UnknownType { .. })
    ));
    let extra = text.replace("\"data\":{", "\"data\":{\"extra\":1,");
    assert!(matches!(Recorded::decode(extra.as_bytes()), Err(DecodeError::Json(_))));
    assert!(Recorded::decode(&text.as_bytes()[..text.len() - 1]).is_err());
}

proptest! {
    #[test]
    fn every_event_reads_back(
        which in 0usize..16,
        shard: u16,
        position in 1u64..=i64::MAX.unsigned_abs(),
        seq in 1u64..=i64::MAX.unsigned_abs(),
        micros in 0i64..253_402_300_799_999_999,
        user_agent in "\\PC{0,40}",
    ) {
        let (_, mut event) = samples().remove(which);
        if let Event::KeyUsed(used) = &mut event {
            used.user_agent = Some(user_agent);
        }
        let recorded = Recorded {
            shard: Shard(shard),
            position: Position(position),
            seq: Seq(seq),
            time: Timestamp::from_micros(micros).unwrap(),
            ..recorded(1, event)
        };
        prop_assert_eq!(Recorded::decode(&recorded.encode()).unwrap(), recorded);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
        prop_assert!(Recorded::decode(&bytes).is_err());
    }
}
