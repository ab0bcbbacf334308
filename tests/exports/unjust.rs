//! Histories that cannot be true, signed with the right key: every hash holds, and both verifiers find the event that
//! cannot stand where it does.

use keyledger_events::{
    AccountClosed, AccountId, Credits, CreditsCharged, CreditsCorrected, CreditsExpired, CreditsGranted,
    CreditsReleased, CreditsReserved, Endpoint, Event, GrantPart, GrantStarted, KeyCreated, KeyRotated, PaidWork,
    Reason, Recorded, ReleaseCause, Scopes,
};

use super::both::judge_lines;
use super::forged::{Forger, placed, right_key, signers};
use super::makings::*;

pub fn said(events: &[Vec<u8>]) -> (i32, Option<u64>, String) {
    let signers = signers();
    let forger = Forger {
        events,
        signers: &signers,
    };
    let said = judge_lines(&forger.shard(), &right_key());
    (said.code, said.position, said.told.to_string())
}

/// More events after the beginning, in the same account.
fn then(more: Vec<Event>) -> Vec<Vec<u8>> {
    let mut events = beginning();
    for event in more {
        events.push(recorded(events.len(), ACCOUNT, event));
    }
    placed(events)
}

#[test]
fn what_cannot_have_happened_is_found_although_it_was_signed() {
    let scoped = |names: &[&str]| {
        let names: Vec<Endpoint> = names.iter().map(|name| Endpoint::parse(name).unwrap()).collect();
        Some(Scopes::try_from(names).unwrap())
    };
    let cases: Vec<(&str, u64, Vec<Event>)> = vec![
        ("a charge without a hold", 7, vec![charged(2, at(5)).into()]),
        ("a second charge of one hold", 7, vec![charged(1, at(4)).into()]),
        ("a release of what was charged", 7, vec![released(1, at(4)).into()]),
        ("a hold under an id that was settled", 7, vec![held(1).into()]),
        (
            "a use of a deleted key",
            8,
            vec![deleted(KEY).into(), used(KEY, 2).into()],
        ),
        ("a hold by a deleted key", 8, vec![deleted(KEY).into(), held(2).into()]),
        ("a key deleted twice", 8, vec![deleted(KEY).into(), deleted(KEY).into()]),
        ("a key that nobody made", 7, vec![used(SECOND_KEY, 2).into()]),
        (
            "a use of a key that is over",
            8,
            vec![
                KeyCreated {
                    expires_at: Some(at(7)),
                    ..created(SECOND_KEY)
                }
                .into(),
                used(SECOND_KEY, 2).into(),
            ],
        ),
        (
            "a use of a key whose successor has taken over",
            9,
            vec![
                created(SECOND_KEY).into(),
                KeyRotated {
                    key: KEY,
                    successor: SECOND_KEY,
                    stops_at: at(8),
                }
                .into(),
                used(KEY, 2).into(),
            ],
        ),
        (
            "a use for an endpoint that the key is not for",
            8,
            vec![
                KeyCreated {
                    scopes: scoped(&["echo"]),
                    ..created(SECOND_KEY)
                }
                .into(),
                used(SECOND_KEY, 2).into(),
            ],
        ),
        (
            "more held than a grant has",
            7,
            vec![
                CreditsReserved {
                    quantity: 40,
                    amount: credits("20"),
                    from: part(GRANT, "20"),
                    ..held(2)
                }
                .into(),
            ],
        ),
        (
            "more than the credit limit",
            7,
            vec![
                CreditsReserved {
                    quantity: 40,
                    amount: credits("20"),
                    from: part(GRANT, "9.5"),
                    on_limit: credits("10.5"),
                    ..held(2)
                }
                .into(),
            ],
        ),
        (
            "a hold of a grant that there is not",
            7,
            vec![
                CreditsReserved {
                    from: part(SECOND_GRANT, "1"),
                    ..held(2)
                }
                .into(),
            ],
        ),
        (
            "a hold of a grant for other endpoints",
            8,
            vec![
                CreditsGranted {
                    endpoints: scoped(&["echo"]),
                    ..granted(SECOND_GRANT, "1")
                }
                .into(),
                CreditsReserved {
                    from: part(SECOND_GRANT, "1"),
                    ..held(2)
                }
                .into(),
            ],
        ),
        (
            "a hold of a grant that is over",
            8,
            vec![
                CreditsGranted {
                    expires_at: Some(at(7)),
                    ..granted(SECOND_GRANT, "1")
                }
                .into(),
                CreditsReserved {
                    from: part(SECOND_GRANT, "1"),
                    ..held(2)
                }
                .into(),
            ],
        ),
        (
            "a hold of a grant that is to come",
            8,
            vec![
                CreditsGranted {
                    starts_at: Some(at(9)),
                    ..granted(SECOND_GRANT, "1")
                }
                .into(),
                CreditsReserved {
                    from: part(SECOND_GRANT, "1"),
                    ..held(2)
                }
                .into(),
            ],
        ),
        (
            "a grant that takes effect before its time",
            8,
            vec![
                CreditsGranted {
                    starts_at: Some(at(9)),
                    ..granted(SECOND_GRANT, "1")
                }
                .into(),
                GrantStarted {
                    grant: SECOND_GRANT,
                    amount: credits("1"),
                    repays: Credits::ZERO,
                }
                .into(),
            ],
        ),
        (
            "a grant that ends before its time",
            7,
            vec![
                CreditsExpired {
                    grant: GRANT,
                    amount: credits("9.5"),
                    repays: Credits::ZERO,
                }
                .into(),
            ],
        ),
        (
            "another amount than the quantity's",
            7,
            vec![CreditsReserved { quantity: 3, ..held(2) }.into()],
        ),
        (
            "an amount that comes from nowhere",
            7,
            vec![
                CreditsReserved {
                    from: Vec::new(),
                    ..held(2)
                }
                .into(),
            ],
        ),
        (
            "a charge of more than was held",
            8,
            vec![
                held(2).into(),
                CreditsCharged {
                    quantity: 3,
                    charged: credits("1.5"),
                    spent: part(GRANT, "1.5"),
                    returned: Credits::ZERO,
                    returned_to: Vec::new(),
                    ..charged(2, at(6))
                }
                .into(),
            ],
        ),
        (
            "a charge that returns too little",
            8,
            vec![
                held(2).into(),
                CreditsCharged {
                    returned: Credits::ZERO,
                    returned_to: Vec::new(),
                    ..charged(2, at(6))
                }
                .into(),
            ],
        ),
        (
            "a charge at another price",
            8,
            vec![
                held(2).into(),
                CreditsCharged {
                    work: PaidWork {
                        unit_price: credits("1"),
                        ..work(Some(KEY))
                    },
                    charged: credits("1"),
                    spent: part(GRANT, "1"),
                    returned: Credits::ZERO,
                    returned_to: Vec::new(),
                    ..charged(2, at(6))
                }
                .into(),
            ],
        ),
        (
            "a charge after the hold's end",
            8,
            vec![
                CreditsReserved {
                    expires_at: at(7),
                    ..held(2)
                }
                .into(),
                charged(2, at(6)).into(),
            ],
        ),
        (
            "a hold that is over before its end",
            8,
            vec![
                held(2).into(),
                CreditsReleased {
                    cause: ReleaseCause::Expired,
                    ..released(2, at(6))
                }
                .into(),
            ],
        ),
        (
            "a refund of more than was charged",
            8,
            vec![refunded(1, "0.4").into(), refunded(1, "0.2").into()],
        ),
        ("a refund of what was never charged", 7, vec![refunded(2, "0.5").into()]),
        (
            "a correction of more than there is",
            7,
            vec![
                CreditsCorrected {
                    correction: keyledger_events::CorrectionId::from_parts(1, 1),
                    amount: credits("12"),
                    from: part(GRANT, "9.5"),
                    on_limit: credits("2.5"),
                    reason: Reason::parse("Twice").unwrap(),
                }
                .into(),
            ],
        ),
        (
            "a use of a closed account's key",
            8,
            vec![
                AccountClosed {
                    reason: Reason::parse("Gone").unwrap(),
                }
                .into(),
                used(KEY, 2).into(),
            ],
        ),
        ("an account opened twice", 7, vec![opened("5").into()]),
    ];
    for (name, position, more) in cases {
        let (code, found, told) = said(&then(more));
        assert_eq!((code, found), (1, Some(position)), "{name}: {told}");
    }
    let (code, _, told) = said(&then(vec![
        held(2).into(),
        deleted(KEY).into(),
        charged(2, at(6)).into(),
        refunded(1, "0.5").into(),
    ]));
    assert_eq!(code, 0, "what was under way when the key was deleted: {told}");
}

#[test]
fn places_and_times_that_cannot_be_are_found() {
    // Another account's key.
    let mut events = beginning();
    events.push(recorded(6, OTHER, opened("0").into()));
    events.push(recorded(7, OTHER, used(KEY, 2).into()));
    assert_eq!(said(&placed(events)).1, Some(8));
    // Before what came before.
    let mut events = beginning();
    events[3].time = at(1);
    assert_eq!(said(&placed(events)).1, Some(4));
    let reencoded = |change: fn(&mut Recorded)| {
        let mut lines = placed(beginning());
        let mut event = Recorded::decode(&lines[4]).unwrap();
        change(&mut event);
        lines[4] = event.encode();
        lines
    };
    for change in [
        (|event| event.seq.0 += 1) as fn(&mut Recorded),
        |event| event.position.0 += 1,
        |event| event.shard.0 = 1,
    ] {
        assert_eq!(said(&reencoded(change)).1, Some(5));
    }
}

#[test]
fn prices_are_those_of_the_book_that_holds() {
    // Book 1 is published at second 6 and holds from second 500 on.
    let with = |more: Vec<(u64, CreditsReserved)>| {
        let mut events = beginning();
        events.push(recorded(6, AccountId::SYSTEM, published(1, "0.25").into()));
        for (second, hold) in more {
            let mut event = recorded(7, ACCOUNT, hold.into());
            event.time = at(second);
            events.push(event);
        }
        said(&placed(events))
    };
    let of_book = |n, version, price: &str| {
        let work = PaidWork {
            price_version: version,
            unit_price: credits(price),
            ..work(Some(KEY))
        };
        let amount = work.unit_price.times(2).unwrap();
        let from = vec![GrantPart { grant: GRANT, amount }];
        CreditsReserved {
            work,
            amount,
            from,
            ..held(n)
        }
    };
    assert_eq!(
        with(vec![(499, of_book(2, 0, "0.5")), (500, of_book(3, 1, "0.25"))]).0,
        0
    );
    assert_eq!(with(vec![(500, of_book(2, 1, "0.5"))]).1, Some(8), "another price");
    assert_eq!(with(vec![(499, of_book(2, 1, "0.25"))]).1, Some(8), "before its moment");
    assert_eq!(with(vec![(500, of_book(2, 0, "0.5"))]).1, Some(8), "after the file's");
    assert_eq!(with(vec![(500, of_book(2, 2, "0.25"))]).1, Some(8), "of no book");
    let mut events = beginning();
    events.push(recorded(6, AccountId::SYSTEM, published(2, "0.25").into()));
    assert_eq!(said(&placed(events)).1, Some(7), "a book too early");
}

#[test]
fn bytes_that_are_not_canonical_are_found_although_they_were_signed() {
    for (from, to) in [
        ("\"quantity\":2", "\"quantity\": 2"),
        ("\"quantity\":2", "\"quantity\":2.0"),
        ("\"quantity\":2", "\"quantity\":02"),
        ("\"quantity\":2", "\"quantity\":\"2\""),
        ("\"amount\":\"1\",\"from\"", "\"amount\":\"1.0\",\"from\""),
        ("\"amount\":\"1\",\"from\"", "\"amount\":\"+1\",\"from\""),
        ("\"channel\":\"api\"", "\"channel\":\"post\""),
        ("\"channel\":\"api\"", "\"channel\":\"\\u0061pi\""),
        ("\"price_version\":0", "\"price_version\":0,\"environment\":\"live\""),
        ("\"price_version\":0", "\"price_version\":0,\"more\":1"),
        ("\"quantity\":2,\"amount\":\"1\"", "\"amount\":\"1\",\"quantity\":2"),
        ("\"actor\":\"system\"", "\"actor\":\"nobody\""),
        ("\"commandid\":\"test\"", "\"commandid\":\"\""),
        ("\"specversion\":\"1.0\"", "\"specversion\":\"1.1\""),
        ("\"time\":\"2026-09-21T", "\"time\":\"2026-09-31T"),
        (".000000Z\",\"datacontenttype\"", ".000Z\",\"datacontenttype\""),
        (
            "\"source\":\"/keyledger/shards/0\"",
            "\"source\":\"/keyledger/shards/00\"",
        ),
        ("\"data\":{", "\"data\":{\"reservation\":\"\","),
        ("\"subject\":\"acct_0", "\"subject\":\"acct_8"),
        ("}}", "}} "),
        ("}}", "}}}"),
    ] {
        let mut lines = placed(beginning());
        let text = String::from_utf8(lines[4].clone()).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        lines[4] = text.replacen(from, to, 1).into_bytes();
        let (code, position, told) = said(&lines);
        assert_eq!((code, position), (1, Some(5)), "{to}: {told}");
    }
    let mut lines = placed(beginning());
    lines[4] = b"\xff{}".to_vec();
    assert_eq!(said(&lines).1, Some(5));
}

/// A newer Keyledger's event: whether it is right, an older verifier cannot tell.
#[test]
fn an_event_of_a_type_of_tomorrow_is_not_called_tampered() {
    let mut lines = placed(beginning());
    let text = String::from_utf8(lines[4].clone()).unwrap();
    lines[4] = text
        .replace("keyledger.CreditsReserved.v1", "keyledger.CreditsReserved.v2")
        .into_bytes();
    let (code, position, told) = said(&lines);
    assert_eq!((code, position), (2, Some(5)), "{told}");
}
