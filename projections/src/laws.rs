//! Laws of every fold, over random histories that could be a log's.

mod makings;

use keyledger_events::{
    AccountClosed, AccountName, AccountRenamed, CorrectionId, CreditLimitChanged, Credits, CreditsCharged,
    CreditsCorrected, CreditsExpired, CreditsGranted, CreditsReserved, DeleteReason, DenyReason, ExternalRefChanged,
    GrantId, GrantPart, GrantSource, GrantStarted, KeyDeleted, KeyName, KeyRenamed, KeyRotated, KeySpendingLimited,
    KeyUseDenied, PlanEnded, PlanId, Position, Reason, Recorded, SpendingLimit, SpendingPeriod, ThresholdReached,
    ThresholdsSet, Timestamp,
};
use makings::*;
use proptest::prelude::*;

use crate::{
    BalanceRows, Changes, ChargesRows, KeyListRows, Movement, Notice, NoticesRows, ReservationsRows, Rows, Tally,
    UsageRows, replay,
};

/// Two accounts whose holds are settled one way or the other, or stay open; charges are taken back in halves;
/// keys renamed, rotated, refused and deleted in between.
fn history() -> impl Strategy<Value = Vec<Recorded>> {
    prop::collection::vec((0u8..2, 0u8..17), 0..60).prop_map(|steps| {
        let mut history = History::default();
        history.open(0);
        history.open(1);
        let mut open: Vec<(u8, u64)> = Vec::new();
        let mut charged: Vec<(u8, u64)> = Vec::new();
        let (mut deleted, mut rotated) = ([false; 2], [false; 2]);
        for (next, (n, step)) in (0u64..).zip(steps) {
            match (step, open.pop()) {
                (0, Some((n, id))) => {
                    history.charge(n, id);
                    charged.extend([(n, id); 2]);
                }
                (5 | 6, last) if !charged.is_empty() => {
                    open.extend(last);
                    let (n, id) = charged.swap_remove(0);
                    history.refund(n, id, step == 5);
                }
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
                            repays: Credits::ZERO,
                        },
                    );
                }
                (8, last) => {
                    open.extend(last);
                    let even = next % 2 == 0;
                    let name = AccountName::parse(&format!("Acme {next}")).unwrap();
                    history.add(n, AccountRenamed { name });
                    let external_ref = even.then(|| format!("crm/{next}"));
                    history.add(n, ExternalRefChanged { external_ref });
                    let credit_limit = credits(if even { 1 } else { 0 });
                    history.add(n, CreditLimitChanged { credit_limit });
                    let thresholds = vec![credits(i64::try_from(next).unwrap() + 1); usize::from(even)];
                    history.add(n, ThresholdsSet { thresholds });
                }
                (9, last) => {
                    open.extend(last);
                    let reason = Reason::parse("over").unwrap();
                    history.add(n, AccountClosed { reason });
                }
                (12, last) => {
                    open.extend(last);
                    let plan = PlanId::from_parts(4, u128::from(next));
                    history.plan(n, plan);
                    if next % 2 == 0 {
                        history.add(n, PlanEnded { plan });
                    }
                }
                (11, last) => {
                    open.extend(last);
                    let id = GrantId::from_parts(3, u128::from(next));
                    let later = CreditsGranted {
                        grant: id,
                        amount: credits(5),
                        priority: 0,
                        expires_at: None,
                        source: GrantSource::Plan,
                        reference: None,
                        starts_at: Some(Timestamp::MAX),
                        endpoints: None,
                        period: None,
                        rolled_over: None,
                        reason: None,
                        repays: Credits::ZERO,
                    };
                    history.add(n, later);
                    let (amount, repays) = (credits(5), Credits::ZERO);
                    history.add(
                        n,
                        GrantStarted {
                            grant: id,
                            amount,
                            repays,
                        },
                    );
                }
                (10, last) => {
                    open.extend(last);
                    let amount = credits(7);
                    let from = vec![GrantPart {
                        grant: grant(n),
                        amount,
                    }];
                    let (reason, on_limit) = (Reason::parse("twice").unwrap(), Credits::ZERO);
                    let correction = CorrectionId::from_parts(1, u128::from(next));
                    history.add(
                        n,
                        CreditsCorrected {
                            correction,
                            amount,
                            from,
                            on_limit,
                            reason,
                        },
                    );
                }
                (13, last) => {
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
                (14, last) => {
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
                (15, last) => {
                    open.extend(last);
                    let limit = SpendingLimit {
                        amount: credits(1),
                        per: SpendingPeriod::Day,
                    };
                    let limit = Some(limit).filter(|_| next % 2 == 0);
                    history.add(n, KeySpendingLimited { key: key(n), limit });
                    let (threshold, balance) = (credits(2), credits(1));
                    history.add(n, ThresholdReached { threshold, balance });
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
        prop_assert_eq!(in_batches::<NoticesRows>(&events, &sizes), replay::<NoticesRows>(&events).unwrap());
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
            let refunded: i64 = charges.0.values().filter(|c| c.account == *id).map(|c| c.refunded).sum();
            let refunded_use: i64 =
                usage.used.iter().filter(|(u, _)| u.account == *id).map(|(_, sums)| sums.refunded).sum();
            prop_assert_eq!((row.sums.refunded, row.sums.refunded), (refunded, refunded_use));
            prop_assert_eq!(row.sums.charged, charged);
            prop_assert_eq!(row.sums.reserved, reserved);
            prop_assert_eq!(row.sums.available(), remaining);
            prop_assert_eq!(held, reserved);
        }
    }

    #[test]
    fn a_statement_adds_up_to_what_the_account_owns(events in history(), cut in 0usize..60) {
        let balance: BalanceRows = replay(&events).unwrap();
        for (id, row) in &balance.accounts {
            let of_account: Vec<&Recorded> = events.iter().filter(|event| event.account == *id).collect();
            for event in &of_account {
                let told = Movement::of((*event).clone()).is_some();
                prop_assert_eq!(told, Movement::TYPES.contains(&event.event.type_name()));
            }
            let moved: Vec<Movement> = of_account.into_iter().cloned().filter_map(Movement::of).collect();
            let (before, period) = moved.split_at(cut.min(moved.len()));
            let tally = |movements: &[Movement]| {
                let mut tally = Tally::default();
                movements.iter().for_each(|movement| tally.take(movement).unwrap());
                tally
            };
            let (opening, told, all) = (tally(before), tally(period), tally(&moved));
            let lines: i64 = period.iter().map(|movement| movement.amount).sum();
            prop_assert_eq!(opening.sums.owned() + lines, all.sums.owned());
            prop_assert_eq!(told.sums.owned(), lines);
            prop_assert_eq!(all.sums.owned(), row.sums.available() + row.sums.reserved);
            let sums = (all.sums.granted, all.sums.charged, all.sums.refunded, all.sums.expired, all.sums.corrected);
            let of_view = &row.sums;
            let same = (of_view.granted, of_view.charged, of_view.refunded, of_view.expired, of_view.corrected);
            prop_assert_eq!(sums, same);
            let by_key: i64 = told.by_key.values().map(|spent| spent.refunded - spent.charged).sum();
            let by_endpoint: i64 = told.by_endpoint.values().map(|spent| spent.refunded - spent.charged).sum();
            let by_day: i64 = told.by_day.values().map(|day| day.sums.owned()).sum();
            let spent = told.sums.refunded - told.sums.charged;
            prop_assert_eq!((by_key, by_endpoint, by_day), (spent, spent, lines));
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
fn a_charge_is_never_refunded_by_more_than_itself() {
    let mut history = History::default();
    history.open(1);
    history.hold(1, 5);
    history.charge(1, 5);
    history.refund(1, 5, true);
    history.refund(1, 5, true);
    replay::<ChargesRows>(&history.events).unwrap();
    history.refund(1, 5, true);
    assert_eq!(
        replay::<ChargesRows>(&history.events).unwrap_err().position,
        Position(9)
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
            repays: Credits::ZERO,
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
            starts_at: None,
            endpoints: None,
            period: None,
            rolled_over: None,
            reason: None,
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

#[test]
fn a_key_that_is_refused_all_day_is_told_of_once_an_hour_for_each_reason() {
    let denied = |reason| KeyUseDenied {
        key: key(1),
        reason,
        count: 2,
    };
    let mut history = History::default();
    history.open(1);
    let minute = 60_000_000;
    for n in 0..120 {
        for reason in [DenyReason::Deleted, DenyReason::Scope] {
            history.add(1, denied(reason));
            history.events.last_mut().unwrap().time = Timestamp::from_micros(n * minute).unwrap();
        }
    }
    for batches in [&[1][..], &[3; 80], &[500]] {
        let rows = in_batches::<NoticesRows>(&history.events, batches);
        let told: Vec<(i64, Option<&str>)> = rows
            .told
            .values()
            .map(|row| {
                let reason = match row.what {
                    Notice::KeyDenied { reason, .. } => Some(reason.as_str()),
                    Notice::ThresholdReached { .. } | Notice::KeyLeaked { .. } => None,
                };
                (row.at.micros() / minute, reason)
            })
            .collect();
        let expected = [
            (0, Some("deleted")),
            (0, Some("scope")),
            (60, Some("deleted")),
            (60, Some("scope")),
        ];
        assert_eq!(told, expected, "{batches:?}");
    }
}
