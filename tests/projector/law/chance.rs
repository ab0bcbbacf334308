//! Commands by chance, and the same ones each time.

use std::pin::Pin;

use keyledger::clock;
use keyledger::ledger::{
    Beyond, ChangeAccount, ChargeAtOnce, ChargeDelivered, ChargeReservation, Charged, Command, CorrectCredits,
    DeleteKey, EndPlan, GrantCredits, Ledger, LimitSpending, NoteDenied, Payer, Price, RefundCharge,
    ReleaseReservation, ReserveCredits, RotateKey, SetThresholds, SettleDue, StartPlan, SubmitError, Usage,
};
use keyledger_events::{
    Credits, DeleteReason, DenyReason, Endpoint, GrantSource, KeyDigest, Period, Reason, ReleaseCause, Scopes,
    SpendingLimit, SpendingPeriod,
};

use super::World;
use crate::ledger::customer::{by_system, create_key};

/// The same numbers each time.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new() -> Dice {
        Dice(0x9E37_79B9_7F4A_7C15)
    }

    fn below(&mut self, n: u64) -> u64 {
        // xorshift64*, Vigna 2016.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }

    fn amount(&mut self, below: u64) -> Credits {
        Credits::from_micros(i64::try_from(1 + self.below(below)).unwrap()).unwrap()
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        let many = u64::try_from(of.len()).unwrap();
        (many > 0).then(|| of[usize::try_from(self.below(many)).unwrap()])
    }
}

type Sent = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Whether it was done. A refusal is an answer too; a fault is none.
fn sent<C: Command>(ledger: &Ledger, command: C) -> Sent {
    let ledger = ledger.clone();
    Box::pin(async move {
        match ledger.submit(command, by_system()).await {
            Ok(_) => true,
            Err(SubmitError::Refused { .. }) => false,
            Err(fault) => panic!("{}: {fault}", C::NAME),
        }
    })
}

fn reason() -> Reason {
    Reason::parse("By chance").unwrap()
}

impl World {
    /// A command by chance, about an account by chance.
    pub(super) fn any(&mut self) -> Sent {
        let World {
            dice, people, order, ..
        } = self;
        let account = dice.one(order).unwrap();
        let person = &people[&account];
        let (key, open) = (dice.one(&person.keys), dice.one(&person.open));
        let (charged, plan) = (dice.one(&person.charged), dice.one(&person.plans));
        let name = dice.one(&["serp", "ai_visibility", "rows"]).unwrap();
        let endpoint = Endpoint::parse(name).unwrap();
        let (ledger, log) = (self.ledger.clone(), self.log.clone());
        let price = Price {
            unit: dice.amount(400_000),
            version: 0,
        };
        match dice.below(1_000) {
            0..330 => sent(
                &ledger,
                ReserveCredits {
                    payer: match key {
                        Some((_, digest)) if dice.below(10) > 0 => Payer::Key(digest),
                        _ => Payer::Account(account),
                    },
                    reservation: clock::fresh_reservation_id(),
                    endpoint,
                    quantity: 1 + dice.below(5),
                    price,
                    ttl_seconds: if dice.below(4) == 0 { 1 } else { 900 },
                    usage: Usage::default(),
                    once: None,
                },
            ),
            330..560 => match open {
                Some(reservation) => sent(
                    &ledger,
                    ChargeReservation {
                        account,
                        reservation,
                        quantity: (dice.below(3) > 0).then(|| dice.below(6)),
                    },
                ),
                None => sent(&ledger, SettleDue { account }),
            },
            560..650 => match open {
                Some(reservation) => sent(
                    &ledger,
                    ChargeDelivered {
                        account,
                        reservation,
                        quantity: dice.below(9),
                        beyond: Beyond::ToppedUp,
                        client_left: None,
                    },
                ),
                None => sent(&ledger, SettleDue { account }),
            },
            650..730 => match open {
                Some(reservation) => sent(
                    &ledger,
                    ReleaseReservation {
                        account,
                        reservation,
                        cause: ReleaseCause::Error,
                        client_left: None,
                    },
                ),
                None => sent(&ledger, SettleDue { account }),
            },
            730..820 => sent(
                &ledger,
                ChargeAtOnce {
                    account,
                    key: key.map(|(key, _)| key).filter(|_| dice.below(2) == 0),
                    reservation: clock::fresh_reservation_id(),
                    endpoint,
                    quantity: 1 + dice.below(4),
                    price,
                },
            ),
            820..900 => sent(
                &ledger,
                GrantCredits {
                    account,
                    grant: clock::fresh_grant_id(),
                    amount: dice.amount(20_000_000),
                    priority: i32::try_from(dice.below(5)).unwrap() - 2,
                    expires_at: (dice.below(3) == 0).then(|| clock::now().plus_seconds(2)),
                    source: GrantSource::Purchase,
                    reference: None,
                    starts_at: (dice.below(8) == 0).then(|| clock::now().plus_seconds(1)),
                    endpoints: (dice.below(6) == 0).then(|| Scopes::try_from(vec![endpoint.to_string()]).unwrap()),
                    reason: None,
                },
            ),
            900..915 => match charged {
                Some((reservation, position)) => {
                    let (refund, grant) = (clock::fresh_refund_id(), clock::fresh_grant_id());
                    let amount = (dice.below(3) > 0).then(|| dice.amount(500_000));
                    Box::pin(async move {
                        let read = Charged::read(&log, account, reservation, position).await;
                        let command = RefundCharge {
                            charged: read.unwrap().unwrap(),
                            refund,
                            grant,
                            amount,
                            reason: reason(),
                        };
                        sent(&ledger, command).await
                    })
                }
                None => sent(&ledger, SettleDue { account }),
            },
            915..945 => sent(
                &ledger,
                CorrectCredits {
                    account,
                    correction: clock::fresh_correction_id(),
                    grant: clock::fresh_grant_id(),
                    amount: Credits::ZERO.minus(dice.amount(3_000_000)).unwrap(),
                    reason: reason(),
                },
            ),
            945..955 => sent(
                &ledger,
                StartPlan {
                    account,
                    plan: clock::fresh_plan_id(),
                    amount: dice.amount(5_000_000),
                    period: Period::Day,
                    starts_at: None,
                    rollover_cap: dice.amount(1_000_000),
                },
            ),
            955..962 => match plan {
                Some(plan) => sent(&ledger, EndPlan { account, plan }),
                None => sent(&ledger, SettleDue { account }),
            },
            962..972 => match key {
                Some((key, _)) => {
                    let text = |kind: &str| {
                        let text = keyledger_events::base62_secret(kind, clock::random_secret_bits());
                        keyledger::ledger::NewText {
                            preview: format!("{kind}..."),
                            digest: KeyDigest::of(&text),
                        }
                    };
                    sent(
                        &ledger,
                        RotateKey {
                            account,
                            key,
                            successor: clock::fresh_key_id(),
                            live: text("sk_live_"),
                            test: text("sk_test_"),
                            overlap_seconds: u32::try_from(dice.below(2)).unwrap(),
                        },
                    )
                }
                None => Box::pin(async move {
                    create_key(&ledger, account).await;
                    true
                }),
            },
            972..975 => match key {
                Some((key, _)) => sent(
                    &ledger,
                    DeleteKey {
                        account,
                        key,
                        reason: DeleteReason::Requested,
                    },
                ),
                None => sent(&ledger, SettleDue { account }),
            },
            975..982 => match key {
                Some((key, _)) => sent(
                    &ledger,
                    LimitSpending {
                        account,
                        key,
                        limit: (dice.below(2) == 0).then(|| SpendingLimit {
                            amount: dice.amount(300_000_000),
                            per: SpendingPeriod::Day,
                        }),
                    },
                ),
                None => sent(&ledger, SettleDue { account }),
            },
            982..988 => match key {
                Some((_, digest)) => sent(
                    &ledger,
                    NoteDenied {
                        digest,
                        reason: DenyReason::NoCredits,
                        count: 1 + dice.below(9),
                    },
                ),
                None => sent(&ledger, SettleDue { account }),
            },
            988..994 => sent(
                &ledger,
                SetThresholds {
                    account,
                    thresholds: vec![dice.amount(9_000_000), dice.amount(90_000_000)],
                },
            ),
            _ => sent(
                &ledger,
                ChangeAccount {
                    account,
                    name: None,
                    external_ref: None,
                    credit_limit: Some(dice.amount(9_000_000)),
                },
            ),
        }
    }
}
