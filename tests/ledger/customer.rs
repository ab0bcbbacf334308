//! A customer for tests: an account with credits and keys, and the commands that are sent about them.

use keyledger::clock;
use keyledger::ledger::{
    Answer, By, Charge, ChargeReservation, CreateKey, DeleteKey, GrantCredits, Held, KeyLimits, Ledger, OpenAccount,
    Payer, Price, Release, ReleaseReservation, RenameKey, ReserveCredits, SubmitError, Usage,
};
use keyledger_events::{
    AccountId, AccountName, Actor, CommandId, Credits, DeleteReason, Endpoint, Environment, GrantSource, KeyDigest,
    KeyId, KeyName, KeyPrefix, KeySecret, ReleaseCause, ReservationId,
};

#[derive(Clone)]
pub struct Customer {
    pub account: AccountId,
    pub key: KeyId,
    pub digest: KeyDigest,
}

pub fn by_system() -> By {
    By {
        actor: Actor::System,
        command: CommandId::parse("test").unwrap(),
    }
}

pub fn credits(text: &str) -> Credits {
    text.parse().unwrap()
}

pub fn open_account(account: AccountId) -> OpenAccount {
    OpenAccount {
        account,
        name: AccountName::parse("Acme").unwrap(),
        external_ref: None,
        credit_limit: Credits::ZERO,
    }
}

impl Customer {
    /// Opens an account with one key and one grant.
    pub async fn open(ledger: &Ledger, amount: &str) -> Customer {
        Customer::open_by(ledger, amount, by_system()).await
    }

    pub async fn open_by(ledger: &Ledger, amount: &str, by: By) -> Customer {
        let account = clock::fresh_account_id();
        ledger.submit(open_account(account), by).await.unwrap();
        let (key, digest) = create_key(ledger, account).await;
        let grant = GrantCredits {
            account,
            grant: clock::fresh_grant_id(),
            amount: credits(amount),
            priority: 0,
            expires_at: None,
            source: GrantSource::Purchase,
            reference: None,
            starts_at: None,
            endpoints: None,
            reason: None,
        };
        ledger.submit(grant, by_system()).await.unwrap();
        Customer { account, key, digest }
    }

    pub fn reserve(&self, reservation: ReservationId) -> ReserveCredits {
        reserve(self.digest, reservation)
    }

    pub async fn reserve_fresh(&self, ledger: &Ledger) -> Result<Answer<Held>, SubmitError> {
        ledger
            .submit(self.reserve(clock::fresh_reservation_id()), by_system())
            .await
    }

    pub async fn charge(&self, ledger: &Ledger, reservation: ReservationId) -> Result<Answer<Charge>, SubmitError> {
        ledger
            .submit(
                ChargeReservation {
                    account: self.account,
                    reservation,
                    quantity: None,
                },
                by_system(),
            )
            .await
    }

    pub async fn release(&self, ledger: &Ledger, reservation: ReservationId) -> Result<Answer<Release>, SubmitError> {
        let cause = ReleaseCause::Error;
        ledger
            .submit(
                ReleaseReservation {
                    account: self.account,
                    reservation,
                    cause,
                    client_left: None,
                },
                by_system(),
            )
            .await
    }

    pub fn rename_key(&self, key: KeyId, name: &str) -> RenameKey {
        RenameKey {
            account: self.account,
            key,
            name: KeyName::parse(name).unwrap(),
        }
    }

    pub fn delete_key(&self) -> DeleteKey {
        DeleteKey {
            account: self.account,
            key: self.key,
            reason: DeleteReason::Requested,
        }
    }
}

pub async fn create_key(ledger: &Ledger, account: AccountId) -> (KeyId, KeyDigest) {
    limited_key(ledger, account, KeyLimits::default()).await
}

/// A key that is limited to what is said.
pub async fn limited_key(ledger: &Ledger, account: AccountId, limits: KeyLimits) -> (KeyId, KeyDigest) {
    let secret = KeySecret::from_random(&KeyPrefix::default(), Environment::Live, clock::random_secret_bits());
    let key = clock::fresh_key_id();
    let create = CreateKey {
        account,
        key,
        name: KeyName::parse("Looker Studio").unwrap(),
        preview: secret.preview(),
        digest: secret.digest(),
        environment: Environment::Live,
        expires_at: None,
        limits,
    };
    ledger.submit(create, by_system()).await.unwrap();
    (key, secret.digest())
}

pub fn reserve(digest: KeyDigest, reservation: ReservationId) -> ReserveCredits {
    ReserveCredits {
        payer: Payer::Key(digest),
        reservation,
        endpoint: Endpoint::parse("serp").unwrap(),
        quantity: 1,
        price: Price {
            unit: credits("0.5"),
            version: 0,
        },
        ttl_seconds: 900,
        usage: Usage::default(),
        once: None,
    }
}
