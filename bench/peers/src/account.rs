//! An account as an aggregate of cqrs-es: it knows its key and what is available, and nothing else of what a ledger must.

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Account {
    digest: Option<String>,
    available: i64,
    held: i64,
}

#[derive(Debug, Clone)]
pub enum Command {
    /// A key and credits for it.
    Open { digest: String, credits: i64 },
    /// Verifies the key and holds what one request costs: two events.
    Reserve {
        digest: String,
        reservation: String,
        amount: i64,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    Opened {
        digest: String,
        credits: i64,
    },
    KeyUsed {
        digest: String,
        endpoint: String,
        reservation: String,
    },
    CreditsReserved {
        reservation: String,
        endpoint: String,
        quantity: u32,
        unit_price: i64,
        amount: i64,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the account is open already")]
    AlreadyOpen,
    #[error("no key of this account")]
    KeyInvalid,
    #[error("not enough credits")]
    InsufficientCredits,
}

const ENDPOINT: &str = "serp";

impl DomainEvent for Event {
    fn event_type(&self) -> String {
        match self {
            Event::Opened { .. } => "Opened",
            Event::KeyUsed { .. } => "KeyUsed",
            Event::CreditsReserved { .. } => "CreditsReserved",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = Command;
    type Event = Event;
    type Error = Refusal;
    type Services = ();

    async fn handle(&mut self, command: Command, (): &(), sink: &EventSink<Account>) -> Result<(), Refusal> {
        match command {
            Command::Open { digest, credits } => {
                if self.digest.is_some() {
                    return Err(Refusal::AlreadyOpen);
                }
                sink.write(Event::Opened { digest, credits }, self).await;
            }
            Command::Reserve {
                digest,
                reservation,
                amount,
            } => {
                if self.digest.as_deref() != Some(digest.as_str()) {
                    return Err(Refusal::KeyInvalid);
                }
                if self.available < amount {
                    return Err(Refusal::InsufficientCredits);
                }
                let used = Event::KeyUsed {
                    digest,
                    endpoint: ENDPOINT.to_owned(),
                    reservation: reservation.clone(),
                };
                sink.write(used, self).await;
                let reserved = Event::CreditsReserved {
                    reservation,
                    endpoint: ENDPOINT.to_owned(),
                    quantity: 1,
                    unit_price: amount,
                    amount,
                };
                sink.write(reserved, self).await;
            }
        }
        Ok(())
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Opened { digest, credits } => {
                self.digest = Some(digest);
                self.available = credits;
            }
            Event::KeyUsed { .. } => {}
            Event::CreditsReserved { amount, .. } => {
                self.available -= amount;
                self.held += amount;
            }
        }
    }
}
