//! Events for histories that are made up: an account, a key, 10 credits, and requests of two units at half a credit.

use keyledger_events::{
    AccountId, AccountName, AccountOpened, Actor, Channel, CommandId, Credits, CreditsCharged, CreditsGranted,
    CreditsRefunded, CreditsReleased, CreditsReserved, DeleteReason, Endpoint, Environment, Event, EventId, GrantId,
    GrantPart, GrantSource, KeyCreated, KeyDeleted, KeyDigest, KeyId, KeyName, KeyUsed, PaidWork, Position,
    PricesPublished, PublishedPrice, Reason, Recorded, RefundId, ReleaseCause, ReservationId, Seq, Shard, Timestamp,
};

use super::forged::placed;

pub fn credits(text: &str) -> Credits {
    text.parse().unwrap()
}

/// Seconds after the beginning.
pub fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000 + i64::try_from(seconds).unwrap() * 1_000_000).unwrap()
}

pub const ACCOUNT: AccountId = AccountId::from_parts(1_790_000_000_000, 1);
pub const OTHER: AccountId = AccountId::from_parts(1_790_000_000_000, 2);
pub const KEY: KeyId = KeyId::from_parts(1_790_000_000_000, 3);
pub const SECOND_KEY: KeyId = KeyId::from_parts(1_790_000_000_000, 4);
pub const GRANT: GrantId = GrantId::from_parts(1_790_000_000_000, 5);
pub const SECOND_GRANT: GrantId = GrantId::from_parts(1_790_000_000_000, 6);

pub fn rsv(n: u64) -> ReservationId {
    ReservationId::from_parts(1_790_000_000_000, u128::from(n))
}

pub fn recorded(n: usize, account: AccountId, event: Event) -> Recorded {
    Recorded {
        id: EventId::from_parts(1_790_000_000_000, n as u128),
        shard: Shard(0),
        position: Position(1),
        account,
        seq: Seq(1),
        time: at(n as u64),
        actor: Actor::System,
        command: CommandId::parse("test").unwrap(),
        sealed: None,
        event,
    }
}

pub fn opened(limit: &str) -> AccountOpened {
    AccountOpened {
        name: AccountName::parse("Acmé \"und\" Söhne").unwrap(),
        external_ref: Some("crm\\7 \u{1}".to_owned()),
        credit_limit: credits(limit),
    }
}

pub fn created(key: KeyId) -> KeyCreated {
    KeyCreated {
        key,
        name: KeyName::parse("Looker").unwrap(),
        preview: "sk_live_abc...".to_owned(),
        digest: KeyDigest::of(&key.to_string()),
        environment: Environment::Live,
        expires_at: None,
        replaces: None,
        scopes: None,
        rate_limit: None,
        spending_limit: None,
    }
}

pub fn granted(grant: GrantId, amount: &str) -> CreditsGranted {
    CreditsGranted {
        grant,
        amount: credits(amount),
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
    }
}

pub fn used(key: KeyId, n: u64) -> KeyUsed {
    KeyUsed {
        key,
        endpoint: Endpoint::parse("serp").unwrap(),
        reservation: rsv(n),
        request: Some("req-1".to_owned()),
        network: None,
        user_agent: Some("curl/8 \"quoted\"".to_owned()).filter(|_| n.is_multiple_of(5)),
        environment: Environment::Live,
    }
}

pub fn work(key: Option<KeyId>) -> PaidWork {
    PaidWork {
        key,
        channel: if key.is_some() {
            Channel::Api
        } else {
            Channel::Dashboard
        },
        endpoint: Endpoint::parse("serp").unwrap(),
        unit_price: credits("0.5"),
        price_version: 0,
        environment: Environment::Live,
    }
}

pub fn part(grant: GrantId, amount: &str) -> Vec<GrantPart> {
    let amount = credits(amount);
    vec![GrantPart { grant, amount }]
}

/// Two units.
pub fn held(n: u64) -> CreditsReserved {
    CreditsReserved {
        reservation: rsv(n),
        work: work(Some(KEY)),
        quantity: 2,
        amount: credits("1"),
        from: part(GRANT, "1"),
        on_limit: Credits::ZERO,
        expires_at: at(100_000),
        once: None,
    }
}

/// One of the two, of a hold that was made at a moment.
pub fn charged(n: u64, reserved_at: Timestamp) -> CreditsCharged {
    CreditsCharged {
        reservation: rsv(n),
        work: work(Some(KEY)),
        quantity: 1,
        charged: credits("0.5"),
        returned: credits("0.5"),
        spent: part(GRANT, "0.5"),
        returned_to: part(GRANT, "0.5"),
        charged_on_limit: Credits::ZERO,
        returned_to_limit: Credits::ZERO,
        reserved_at,
        client_left: None,
    }
}

pub fn released(n: u64, reserved_at: Timestamp) -> CreditsReleased {
    CreditsReleased {
        reservation: rsv(n),
        work: work(Some(KEY)),
        returned: credits("1"),
        returned_to: part(GRANT, "1"),
        returned_to_limit: Credits::ZERO,
        cause: ReleaseCause::Error,
        reserved_at,
        client_left: None,
    }
}

pub fn refunded(n: u64, amount: &str) -> CreditsRefunded {
    CreditsRefunded {
        refund: RefundId::from_parts(1_790_000_000_000, 9),
        reservation: rsv(n),
        work: work(Some(KEY)),
        amount: credits(amount),
        reason: Reason::parse("Stale").unwrap(),
        returned_to: part(GRANT, amount),
        reopened: Vec::new(),
        repays: Credits::ZERO,
        as_grant: None,
        charged_at: at(5),
    }
}

pub fn deleted(key: KeyId) -> KeyDeleted {
    let reason = DeleteReason::Requested;
    KeyDeleted { key, reason }
}

pub fn published(version: u64, price: &str) -> PricesPublished {
    PricesPublished {
        version,
        valid_from: at(500),
        prices: vec![PublishedPrice {
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
        }],
    }
}

/// Opened, a key, 10 credits, and a request of two units of which one was charged: positions 1 to 6, at seconds 0 to 5.
pub fn beginning() -> Vec<Recorded> {
    story(vec![
        opened("0").into(),
        created(KEY).into(),
        granted(GRANT, "10").into(),
        used(KEY, 1).into(),
        held(1).into(),
        charged(1, at(4)).into(),
    ])
}

pub fn story(events: Vec<Event>) -> Vec<Recorded> {
    let events = events.into_iter().enumerate();
    events.map(|(n, event)| recorded(n, ACCOUNT, event)).collect()
}

/// A log of so many requests.
pub fn many_requests(many: u64) -> Vec<Vec<u8>> {
    let mut events: Vec<Event> = vec![opened("0").into(), created(KEY).into(), granted(GRANT, "1000").into()];
    for n in 1..=many {
        let held_at = at(events.len() as u64 + 1);
        events.extend([used(KEY, n).into(), held(n).into(), charged(n, held_at).into()]);
    }
    placed(story(events))
}
