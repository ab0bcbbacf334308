//! Laws of every fold, over random histories that could be a log's.

use keyledger_events::{
    AccountId, AccountName, AccountOpened, Actor, Channel, CommandId, Credits, CreditsCharged, CreditsExpired,
    CreditsGranted, CreditsReleased, CreditsReserved, DeleteReason, DenyReason, Endpoint, Environment, Event, EventId,
    GrantId, GrantPart, GrantSource, KeyCreated, KeyDeleted, KeyDigest, KeyId, KeyName, KeyRenamed, KeyRotated,
    KeySpendingLimited, KeyUseDenied, KeyUsed, PaidWork, Period, Position, Recorded, ReleaseCause, ReservationId, Seq,
    Shard, SpendingLimit, Timestamp,
};
use proptest::prelude::*;

use crate::{BalanceRows, Changes, ChargesRows, KeyListRows, ReservationsRows, Rows, UsageRows, replay};

fn account(n: u8) -> AccountId {
    AccountId::from_parts(1, u128::from(n))
}

fn key(n: u8) -> KeyId {
    KeyId::from_parts(1, u128::from(n))
}

fn grant(n: u8) -> GrantId {
    GrantId::from_parts(1, u128::from(n))
}

fn reservation(n: u64) -> ReservationId {
    ReservationId::from_parts(1, u128::from(n))
}

fn credits(micros: i64) -> Credits {
    Credits::from_micros(micros).unwrap()
}

fn work(n: u8) -> PaidWork {
    PaidWork {
        key: Some(key(n)),
        channel: Channel::Api,
        endpoint: Endpoint::parse("serp").unwrap(),
        unit_price: credits(500_000),
        price_version: 0,
        environment: Environment::Live,
    }
}

#[derive(Default)]
struct History {
    events: Vec<Recorded>,
}

impl History {
    fn add(&mut self, n: u8, event: impl Into<Event>) {
        let position = Position(u64::try_from(self.events.len()).unwrap() + 1);
        self.events.push(Recorded {
            id: EventId::from_parts(1, u128::from(position.0)),
            shard: Shard(0),
            position,
            account: account(n),
            seq: Seq(position.0),
            time: Timestamp::from_micros(i64::try_from(position.0).unwrap()).unwrap(),
            actor: Actor::System,
            command: CommandId::parse("test").unwrap(),
            event: event.into(),
        });
    }

    fn open(&mut self, n: u8) {
        let name = AccountName::parse("Acme").unwrap();
        self.add(
            n,
            AccountOpened {
                name,
                external_ref: None,
                credit_limit: Credits::ZERO,
            },
        );
        self.add(
            n,
            KeyCreated {
                key: key(n),
                name: KeyName::parse("Looker Studio").unwrap(),
                preview: "sk_live_abc...".into(),
                digest: KeyDigest::from_bytes([n; 32]),
                environment: Environment::Live,
                expires_at: None,
                replaces: None,
                scopes: None,
                rate_limit: None,
                spending_limit: None,
            },
        );
        self.add(
            n,
            CreditsGranted {
                grant: grant(n),
                amount: credits(1_000_000_000),
                priority: 0,
                expires_at: None,
                source: GrantSource::Purchase,
                reference: None,
                repays: Credits::ZERO,
            },
        );
    }

    fn hold(&mut self, n: u8, id: u64) {
        let from = vec![GrantPart {
            grant: grant(n),
            amount: credits(1_000_000),
        }];
        let endpoint = Endpoint::parse("serp").unwrap();
        let used = KeyUsed {
            key: key(n),
            endpoint,
            reservation: reservation(id),
            request: None,
            // Some use a key from more networks than are remembered.
            network: Some(format!("203.0.{}.0/24", id * 7 % 50)),
            user_agent: None,
            environment: Environment::Live,
        };
        self.add(n, used);
        self.add(
            n,
            CreditsReserved {
                reservation: reservation(id),
                work: work(n),
                quantity: 2,
                amount: credits(1_000_000),
                from,
                on_limit: Credits::ZERO,
                expires_at: Timestamp::MAX,
                once: None,
            },
        );
    }

    fn charge(&mut self, n: u8, id: u64) {
        let half = vec![GrantPart {
            grant: grant(n),
            amount: credits(500_000),
        }];
        self.add(
            n,
            CreditsCharged {
                reservation: reservation(id),
                work: work(n),
                quantity: 1,
                charged: credits(500_000),
                returned: credits(500_000),
                spent: half.clone(),
                returned_to: half,
                charged_on_limit: Credits::ZERO,
                returned_to_limit: Credits::ZERO,
                reserved_at: Timestamp::EPOCH,
                client_left: None,
            },
        );
    }

    fn release(&mut self, n: u8, id: u64) {
        self.add(
            n,
            CreditsReleased {
                reservation: reservation(id),
                work: work(n),
                returned: credits(1_000_000),
                returned_to: vec![GrantPart {
                    grant: grant(n),
                    amount: credits(1_000_000),
                }],
                returned_to_limit: Credits::ZERO,
                cause: ReleaseCause::Error,
                reserved_at: Timestamp::EPOCH,
                client_left: None,
            },
        );
    }
}

/// Two accounts whose holds are settled one way or the other, or stay open; keys renamed, rotated and deleted in between.
fn history() -> impl Strategy<Value = Vec<Recorded>> {
    prop::collection::vec((0u8..2, 0u8..9), 0..60).prop_map(|steps| {
        let mut history = History::default();
        history.open(0);
        history.open(1);
        let mut open: Vec<(u8, u64)> = Vec::new();
        let (mut deleted, mut rotated) = ([false; 2], [false; 2]);
        for (next, (n, step)) in (0u64..).zip(steps) {
            match (step, open.pop()) {
                (0, Some((n, id))) => history.charge(n, id),
                (1, Some((n, id))) => history.release(n, id),
                (2, last) => {
                    open.extend(last);
                    history.add(
                        n,
                        KeyRenamed {
                            key: key(n),
                            name: KeyName::parse(&format!("Name {next}")).unwrap(),
                        },
                    );
                }
                (3, last) => {
                    open.extend(last);
                    if !std::mem::replace(&mut deleted[usize::from(n)], true) {
                        history.add(
                            n,
                            KeyDeleted {
                                key: key(n),
                                reason: DeleteReason::Requested,
                            },
                        );
                    }
                }
                (4, last) => {
                    open.extend(last);
                    history.add(
                        n,
                        CreditsExpired {
                            grant: grant(n),
                            amount: credits(1),
                        },
                    );
                }
                (5, last) => {
                    open.extend(last);
                    if !std::mem::replace(&mut rotated[usize::from(n)], true) {
                        history.add(
                            n,
                            KeyRotated {
                                key: key(n),
                                successor: key(n + 2),
                                stops_at: Timestamp::MAX,
                            },
                        );
                    }
                }
                (6, last) => {
                    open.extend(last);
                    history.add(
                        n,
                        KeyUseDenied {
                            key: key(n),
                            reason: DenyReason::Scope,
                            count: next + 1,
                        },
                    );
                }
                (7, last) => {
                    open.extend(last);
                    let limit = SpendingLimit {
                        amount: credits(1),
                        per: Period::Day,
                    };
                    let limit = Some(limit).filter(|_| next % 2 == 0);
                    history.add(n, KeySpendingLimited { key: key(n), limit });
                }
                (_, last) => {
                    open.extend(last);
                    history.hold(n, next);
                    open.push((n, next));
                }
            }
        }
        history.events
    })
}

/// Folds the events in batches that end after each of these counts.
fn in_batches<R: Rows>(events: &[Recorded], sizes: &[usize]) -> R {
    let mut rows = R::default();
    let mut rest = events;
    let mut sizes = sizes.iter().copied().chain(std::iter::repeat(usize::MAX));
    while !rest.is_empty() {
        let (batch, later) = rest.split_at(sizes.next().unwrap().clamp(1, rest.len()));
        let mut changes = R::Changes::default();
        for recorded in batch {
            changes.fold(recorded).unwrap();
        }
        rows.apply(changes).unwrap();
        rest = later;
    }
    rows
}

proptest! {
    #[test]
    fn batches_do_not_matter(events in history(), sizes in prop::collection::vec(1usize..12, 0..20)) {
        prop_assert_eq!(in_batches::<KeyListRows>(&events, &sizes).0, replay::<KeyListRows>(&events).unwrap().0);
        prop_assert_eq!(in_batches::<BalanceRows>(&events, &sizes), replay::<BalanceRows>(&events).unwrap());
        prop_assert_eq!(in_batches::<ChargesRows>(&events, &sizes).0, replay::<ChargesRows>(&events).unwrap().0);
        prop_assert_eq!(in_batches::<ReservationsRows>(&events, &sizes).0, replay::<ReservationsRows>(&events).unwrap().0);
        prop_assert_eq!(in_batches::<UsageRows>(&events, &sizes), replay::<UsageRows>(&events).unwrap());
    }

    #[test]
    fn the_views_agree_with_each_other(events in history()) {
        let balance: BalanceRows = replay(&events).unwrap();
        let charges: ChargesRows = replay(&events).unwrap();
        let open: ReservationsRows = replay(&events).unwrap();
        let usage: UsageRows = replay(&events).unwrap();
        for (id, row) in &balance.accounts {
            let charged: i64 = charges.0.values().filter(|c| c.account == *id).map(|c| c.charged.micros()).sum();
            let reserved: i64 = open.0.values().filter(|r| r.account == *id).map(|r| r.amount.micros()).sum();
            let grants: Vec<_> = balance.grants.values().filter(|g| g.account == *id).collect();
            let remaining: i64 = grants.iter().map(|g| g.sums.remaining).sum();
            let held: i64 = grants.iter().map(|g| g.sums.held).sum();
            let used: i64 = usage.used.iter().filter(|(u, _)| u.account == *id).map(|(_, sums)| sums.charged).sum();
            prop_assert_eq!(row.sums.charged, used);
            prop_assert_eq!(row.sums.charged, charged);
            prop_assert_eq!(row.sums.reserved, reserved);
            prop_assert_eq!(row.sums.available(), remaining);
            prop_assert_eq!(held, reserved);
        }
    }
}

#[test]
fn the_list_says_when_a_key_was_last_used_and_that_it_is_deleted() {
    let mut history = History::default();
    history.open(1);
    history.hold(1, 7);
    history.hold(1, 8);
    history.add(
        1,
        KeyDeleted {
            key: key(1),
            reason: DeleteReason::Compromised,
        },
    );
    let rows: KeyListRows = replay(&history.events).unwrap();
    let row = &rows.0[&(account(1), key(1))];
    assert_eq!(row.uses, 2);
    assert_eq!(row.last_used_at, Timestamp::from_micros(6));
    assert_eq!(
        row.deleted,
        Some((Timestamp::from_micros(8).unwrap(), DeleteReason::Compromised))
    );
}

#[test]
fn what_cannot_follow_is_an_error_and_names_its_position() {
    let mut history = History::default();
    history.open(1);
    history.charge(1, 5);
    let error = replay::<ReservationsRows>(&history.events).unwrap_err();
    assert_eq!(error.position, Position(4));
    let mut history = History::default();
    history.open(1);
    history.open(1);
    assert_eq!(
        replay::<BalanceRows>(&history.events).unwrap_err().position,
        Position(4)
    );
}

#[test]
fn a_grant_never_has_less_than_nothing() {
    let mut history = History::default();
    history.open(1);
    history.add(
        1,
        CreditsExpired {
            grant: grant(1),
            amount: credits(1_000_000_001),
        },
    );
    let error = replay::<BalanceRows>(&history.events).unwrap_err();
    assert_eq!(error.position, Position(4));
}

#[test]
fn a_grant_that_repays_the_credit_limit_has_only_the_rest() {
    let mut history = History::default();
    history.open(1);
    let on_limit = credits(2_000_000);
    let held = |from: Vec<GrantPart>, amount, on_limit| CreditsReserved {
        reservation: reservation(9),
        work: work(1),
        quantity: 2_004,
        amount,
        from,
        on_limit,
        expires_at: Timestamp::MAX,
        once: None,
    };
    let all = vec![GrantPart {
        grant: grant(1),
        amount: credits(1_000_000_000),
    }];
    history.add(1, held(all.clone(), credits(1_002_000_000), on_limit));
    history.add(
        1,
        CreditsCharged {
            reservation: reservation(9),
            work: work(1),
            quantity: 2_003,
            charged: credits(1_001_500_000),
            returned: credits(500_000),
            spent: all,
            returned_to: vec![],
            charged_on_limit: credits(1_500_000),
            returned_to_limit: credits(500_000),
            reserved_at: Timestamp::EPOCH,
            client_left: None,
        },
    );
    history.add(
        1,
        CreditsGranted {
            grant: grant(2),
            amount: credits(5_000_000),
            priority: 0,
            expires_at: None,
            source: GrantSource::Purchase,
            reference: None,
            repays: credits(1_500_000),
        },
    );
    let rows: BalanceRows = replay(&history.events).unwrap();
    let sums = rows.grants[&(account(1), grant(2))].sums;
    assert_eq!((sums.remaining, sums.held), (3_500_000, 0));
    assert_eq!(rows.accounts[&account(1)].sums.available(), 3_500_000);
    let before = rows.grants[&(account(1), grant(1))].sums;
    assert_eq!((before.remaining, before.held), (0, 0));
}

#[test]
fn refused_uses_are_counted_for_the_last_day_that_had_any() {
    let denied = |count| KeyUseDenied {
        key: key(1),
        reason: DenyReason::Deleted,
        count,
    };
    let mut history = History::default();
    history.open(1);
    for count in [2, 3, 5] {
        history.add(1, denied(count));
    }
    let day = Timestamp::from_micros(86_400_000_000).unwrap();
    history.events.last_mut().unwrap().time = day;
    for batches in [&[1][..], &[4, 1], &[5, 1], &[6]] {
        let rows = in_batches::<KeyListRows>(&history.events, batches);
        let row = &rows.0[&(account(1), key(1))];
        assert_eq!(row.denied, Some(crate::Denied { day, count: 5 }), "{batches:?}");
    }
}
