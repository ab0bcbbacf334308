//! The commands that tests send, with what they are not about filled in.

use keyledger_events::{
    AccountName, CorrectionId, Credits, DeleteReason, Endpoint, Environment, Event, GrantId, GrantSource, KeyDigest,
    KeyId, KeyName, OnceMark, Period, PlanId, Reason, Recorded, RefundId, ReleaseCause, ReservationId, Scopes,
    Timestamp,
};

use super::super::*;
use super::{START_MS, Sent, account_id, credits};
use crate::ledger::account::KeyLimits;
use crate::ledger::charged::Charged;

pub(crate) fn key_id() -> KeyId {
    key_number(1)
}

fn key_number(n: u8) -> KeyId {
    KeyId::from_parts(START_MS, u128::from(n))
}

fn digest(n: u8) -> KeyDigest {
    KeyDigest::from_bytes([n; 32])
}

fn endpoint() -> Endpoint {
    Endpoint::parse("serp").unwrap()
}

pub(crate) struct ReserveMakings {
    key: u8,
    id: ReservationId,
    quantity: u64,
    unit: Credits,
    ttl_seconds: u32,
    once: Option<OnceMark>,
    endpoint: Endpoint,
}

impl ReserveMakings {
    pub(crate) fn of(self, endpoint: &str) -> ReserveMakings {
        let endpoint = Endpoint::parse(endpoint).unwrap();
        ReserveMakings { endpoint, ..self }
    }

    /// For a result that is paid once.
    pub(crate) fn once(self, mark: OnceMark) -> ReserveMakings {
        ReserveMakings {
            once: Some(mark),
            ..self
        }
    }

    pub(crate) fn for_seconds(self, ttl_seconds: u32) -> ReserveMakings {
        ReserveMakings { ttl_seconds, ..self }
    }
}

impl Sent for ReserveMakings {
    type C = ReserveCredits;
    fn at(self, _now: Timestamp) -> ReserveCredits {
        ReserveCredits {
            payer: Payer::Key(digest(self.key)),
            reservation: self.id,
            endpoint: self.endpoint,
            quantity: self.quantity,
            price: Price {
                unit: self.unit,
                version: 0,
            },
            ttl_seconds: self.ttl_seconds,
            usage: Usage::default(),
            once: self.once,
        }
    }
}

pub(crate) fn reserve_with(key: u8, id: ReservationId, amount: &str) -> ReserveMakings {
    ReserveMakings {
        key,
        id,
        quantity: 1,
        unit: credits(amount),
        ttl_seconds: 900,
        once: None,
        endpoint: endpoint(),
    }
}

pub(crate) fn reserve(id: ReservationId, amount: &str) -> ReserveMakings {
    reserve_with(1, id, amount)
}

pub(crate) fn reserve_units(id: ReservationId, quantity: u64, unit: &str) -> ReserveMakings {
    ReserveMakings {
        quantity,
        ..reserve(id, unit)
    }
}

pub(crate) fn charge(reservation: ReservationId, quantity: u64) -> ChargeReservation {
    ChargeReservation {
        account: account_id(),
        reservation,
        quantity: Some(quantity),
    }
}

pub(crate) fn charge_all(reservation: ReservationId) -> ChargeReservation {
    ChargeReservation {
        account: account_id(),
        reservation,
        quantity: None,
    }
}

pub(crate) fn charge_at_once(reservation: ReservationId, quantity: u64, unit: &str) -> ChargeAtOnce {
    let price = Price {
        unit: credits(unit),
        version: 0,
    };
    ChargeAtOnce {
        account: account_id(),
        key: None,
        reservation,
        endpoint: endpoint(),
        quantity,
        price,
    }
}

pub(crate) fn release(reservation: ReservationId) -> ReleaseReservation {
    ReleaseReservation {
        account: account_id(),
        reservation,
        cause: ReleaseCause::Requested,
        client_left: None,
    }
}

/// `None` when the history has no charge of that reservation. Ids are as many as events.
pub(crate) fn refund(history: &[Recorded], reservation: ReservationId) -> Option<RefundCharge> {
    let charge = history
        .iter()
        .find(|recorded| matches!(&recorded.event, Event::CreditsCharged(e) if e.reservation == reservation))?;
    let n = 1_000 + u128::try_from(history.len()).unwrap();
    Some(RefundCharge {
        charged: Charged::of(charge, history)?,
        refund: RefundId::from_parts(START_MS, n),
        grant: GrantId::from_parts(START_MS, n),
        amount: None,
        reason: Reason::parse("The data was stale").unwrap(),
    })
}

pub(crate) fn settle_due() -> SettleDue {
    SettleDue { account: account_id() }
}

pub(crate) struct GrantMakings {
    n: u8,
    amount: Credits,
    priority: i32,
    until: Option<u32>,
    from: Option<u32>,
    endpoints: Option<Scopes>,
}

impl GrantMakings {
    pub(crate) fn until(self, seconds: u32) -> GrantMakings {
        GrantMakings {
            until: Some(seconds),
            ..self
        }
    }

    /// Takes effect so many seconds later.
    pub(crate) fn from(self, seconds: u32) -> GrantMakings {
        let from = Some(seconds);
        GrantMakings { from, ..self }
    }

    /// Burns on these endpoints only.
    pub(crate) fn only_on(self, endpoints: &[&str]) -> GrantMakings {
        let endpoints = Some(scopes(endpoints));
        GrantMakings { endpoints, ..self }
    }

    pub(crate) fn priority(self, priority: i32) -> GrantMakings {
        GrantMakings { priority, ..self }
    }
}

impl Sent for GrantMakings {
    type C = GrantCredits;
    fn at(self, now: Timestamp) -> GrantCredits {
        GrantCredits {
            account: account_id(),
            grant: GrantId::from_parts(START_MS, u128::from(self.n)),
            amount: self.amount,
            priority: self.priority,
            expires_at: self.until.map(|seconds| now.plus_seconds(seconds)),
            source: GrantSource::Purchase,
            reference: None,
            starts_at: self.from.map(|seconds| now.plus_seconds(seconds)),
            endpoints: self.endpoints,
            reason: None,
        }
    }
}

pub(crate) fn grant(n: u8, amount: &str) -> GrantMakings {
    GrantMakings {
        n,
        amount: credits(amount),
        priority: 0,
        until: None,
        from: None,
        endpoints: None,
    }
}

pub(crate) struct KeyMakings {
    n: u8,
    until: Option<u32>,
    limits: KeyLimits,
    environment: Environment,
}

impl KeyMakings {
    pub(crate) fn for_tests(self) -> KeyMakings {
        KeyMakings {
            environment: Environment::Test,
            ..self
        }
    }

    /// For these endpoints only.
    pub(crate) fn scoped(self, endpoints: &[&str]) -> KeyMakings {
        let limits = KeyLimits {
            scopes: Some(scopes(endpoints)),
            ..self.limits
        };
        KeyMakings { limits, ..self }
    }
}

pub(crate) fn scopes(endpoints: &[&str]) -> Scopes {
    let texts: Vec<String> = endpoints.iter().map(|name| (*name).to_owned()).collect();
    texts.try_into().unwrap()
}

impl Sent for KeyMakings {
    type C = CreateKey;
    fn at(self, now: Timestamp) -> CreateKey {
        CreateKey {
            account: account_id(),
            key: key_number(self.n),
            name: KeyName::parse("Looker Studio").unwrap(),
            preview: "sk_live_abc...".into(),
            digest: digest(self.n),
            environment: self.environment,
            expires_at: self.until.map(|seconds| now.plus_seconds(seconds)),
            limits: self.limits,
        }
    }
}

pub(crate) fn create_key(n: u8) -> KeyMakings {
    KeyMakings {
        n,
        until: None,
        limits: KeyLimits::default(),
        environment: Environment::Live,
    }
}

pub(crate) fn create_key_until(n: u8, seconds: u32) -> KeyMakings {
    KeyMakings {
        until: Some(seconds),
        ..create_key(n)
    }
}

pub(crate) fn rotate(successor: u8, overlap_seconds: u32) -> RotateKey {
    rotate_of(1, successor, overlap_seconds)
}

pub(crate) fn rotate_of(key: u8, successor: u8, overlap_seconds: u32) -> RotateKey {
    RotateKey {
        account: account_id(),
        key: key_number(key),
        successor: key_number(successor),
        live: NewText {
            preview: "sk_live_xyz...".into(),
            digest: digest(successor),
        },
        test: NewText {
            preview: "sk_test_xyz...".into(),
            digest: digest(successor + 100),
        },
        overlap_seconds,
    }
}

pub(crate) fn delete_key() -> DeleteKey {
    DeleteKey {
        account: account_id(),
        key: key_id(),
        reason: DeleteReason::Requested,
    }
}

pub(crate) fn rename_key(name: &str) -> RenameKey {
    RenameKey {
        account: account_id(),
        key: key_id(),
        name: KeyName::parse(name).unwrap(),
    }
}

pub(crate) fn change_account() -> ChangeAccount {
    ChangeAccount {
        account: account_id(),
        name: None,
        external_ref: None,
        credit_limit: None,
    }
}

impl ChangeAccount {
    pub(crate) fn name(self, name: &str) -> ChangeAccount {
        let name = Some(AccountName::parse(name).unwrap());
        ChangeAccount { name, ..self }
    }

    pub(crate) fn external_ref(self, external_ref: Option<&str>) -> ChangeAccount {
        let external_ref = Some(external_ref.map(str::to_owned));
        ChangeAccount { external_ref, ..self }
    }

    pub(crate) fn credit_limit(self, limit: &str) -> ChangeAccount {
        let credit_limit = Some(credits(limit));
        ChangeAccount { credit_limit, ..self }
    }
}

pub(crate) fn close_account() -> CloseAccount {
    CloseAccount {
        account: account_id(),
        reason: Reason::parse("Moved on").unwrap(),
    }
}

pub(crate) fn correct(amount: &str) -> CorrectMakings {
    CorrectMakings(credits(amount))
}

/// A correction; its ids are as fresh as its moment.
#[derive(Clone)]
pub(crate) struct CorrectMakings(Credits);

impl Sent for CorrectMakings {
    type C = CorrectCredits;
    fn at(self, now: Timestamp) -> CorrectCredits {
        let random = u128::from(self.0.micros().unsigned_abs()) << 8;
        CorrectCredits {
            account: account_id(),
            correction: CorrectionId::from_parts(now.ms(), random),
            grant: GrantId::from_parts(now.ms(), random),
            amount: self.0,
            reason: Reason::parse("Granted twice").unwrap(),
        }
    }
}

pub(crate) struct PlanMakings {
    n: u8,
    amount: Credits,
    period: Period,
    from: Option<u32>,
    rollover_cap: Credits,
}

impl PlanMakings {
    pub(crate) fn rolling(self, cap: &str) -> PlanMakings {
        let rollover_cap = credits(cap);
        PlanMakings { rollover_cap, ..self }
    }

    pub(crate) fn from(self, seconds: u32) -> PlanMakings {
        let from = Some(seconds);
        PlanMakings { from, ..self }
    }
}

impl Sent for PlanMakings {
    type C = StartPlan;
    fn at(self, now: Timestamp) -> StartPlan {
        StartPlan {
            account: account_id(),
            plan: plan_id(self.n),
            amount: self.amount,
            period: self.period,
            starts_at: self.from.map(|seconds| now.plus_seconds(seconds)),
            rollover_cap: self.rollover_cap,
        }
    }
}

pub(crate) fn plan_id(n: u8) -> PlanId {
    PlanId::from_parts(START_MS, u128::from(n) << 40)
}

pub(crate) fn plan(n: u8, amount: &str, period: Period) -> PlanMakings {
    PlanMakings {
        n,
        amount: credits(amount),
        period,
        from: None,
        rollover_cap: Credits::ZERO,
    }
}

pub(crate) fn end_plan(n: u8) -> EndPlan {
    let plan = plan_id(n);
    EndPlan {
        account: account_id(),
        plan,
    }
}

pub(crate) fn thresholds(amounts: &[&str]) -> SetThresholds {
    SetThresholds {
        account: account_id(),
        thresholds: amounts.iter().map(|amount| credits(amount)).collect(),
    }
}
