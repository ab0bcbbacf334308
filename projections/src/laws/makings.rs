//! What histories are made of.

use keyledger_events::{
    AccountId, AccountName, AccountOpened, Actor, Channel, CommandId, Credits, CreditsCharged, CreditsExpired,
    CreditsGranted, CreditsRefunded, CreditsReleased, CreditsReserved, Endpoint, Environment, Event, EventId, GrantId,
    GrantPart, GrantSource, KeyCreated, KeyDigest, KeyId, KeyName, KeyUsed, PaidWork, Period, PlanId, PlanPeriod,
    PlanStarted, Position, Reason, Recorded, RefundId, ReleaseCause, ReservationId, Seq, Shard, Timestamp,
};

pub(super) fn account(n: u8) -> AccountId {
    AccountId::from_parts(1, u128::from(n))
}

pub(super) fn key(n: u8) -> KeyId {
    KeyId::from_parts(1, u128::from(n))
}

pub(super) fn grant(n: u8) -> GrantId {
    GrantId::from_parts(1, u128::from(n))
}

pub(super) fn reservation(n: u64) -> ReservationId {
    ReservationId::from_parts(1, u128::from(n))
}

pub(super) fn credits(micros: i64) -> Credits {
    Credits::from_micros(micros).unwrap()
}

pub(super) fn work(n: u8) -> PaidWork {
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
pub(super) struct History {
    pub(super) events: Vec<Recorded>,
}

impl History {
    pub(super) fn add(&mut self, n: u8, event: impl Into<Event>) {
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
            sealed: None,
            event: event.into(),
        });
    }

    pub(super) fn open(&mut self, n: u8) {
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
                starts_at: None,
                endpoints: None,
                period: None,
                rolled_over: None,
                reason: None,
                repays: Credits::ZERO,
            },
        );
    }

    pub(super) fn hold(&mut self, n: u8, id: u64) {
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

    pub(super) fn charge(&mut self, n: u8, id: u64) {
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

    /// Half of what is charged for each; a refund without a grant is one of its own.
    pub(super) fn refund(&mut self, n: u8, id: u64, to_grant: bool) {
        let refund = RefundId::from_parts(2, self.events.len().try_into().unwrap());
        let amount = credits(250_000);
        self.add(
            n,
            CreditsRefunded {
                refund,
                reservation: reservation(id),
                work: work(n),
                amount,
                reason: Reason::parse("stale").unwrap(),
                returned_to: to_grant
                    .then_some(GrantPart {
                        grant: grant(n),
                        amount,
                    })
                    .into_iter()
                    .collect(),
                reopened: vec![],
                repays: Credits::ZERO,
                as_grant: (!to_grant).then(|| GrantPart {
                    grant: GrantId::from_bytes(refund.to_bytes()),
                    amount,
                }),
                charged_at: Timestamp::EPOCH,
            },
        );
    }

    /// Starts a plan, and grants for two periods of it, the second with a part of the first.
    pub(super) fn plan(&mut self, n: u8, plan: PlanId) {
        let started = PlanStarted {
            plan,
            amount: credits(5),
            period: Period::Week,
            starts_at: Timestamp::EPOCH,
            rollover_cap: credits(2),
        };
        self.add(n, started);
        let id = |number: u32| GrantId::from_parts(u64::from(number) + 5, u128::from_be_bytes(plan.to_bytes()));
        for number in [1, 2] {
            let rolled = (number == 2).then(|| GrantPart {
                grant: id(1),
                amount: credits(2),
            });
            let granted = CreditsGranted {
                grant: id(number),
                amount: credits(if number == 2 { 7 } else { 5 }),
                priority: 0,
                expires_at: Some(Timestamp::EPOCH.plus_seconds(number)),
                source: GrantSource::Plan,
                reference: None,
                starts_at: None,
                endpoints: None,
                period: Some(PlanPeriod { plan, number }),
                rolled_over: rolled,
                reason: None,
                repays: Credits::ZERO,
            };
            self.add(n, granted);
        }
        let (grant, amount) = (id(1), credits(3));
        self.add(
            n,
            CreditsExpired {
                grant,
                amount,
                repays: Credits::ZERO,
            },
        );
    }

    pub(super) fn release(&mut self, n: u8, id: u64) {
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
