//! The billing lines: one for every reservation that was charged, and what was refunded of it since.

use std::collections::BTreeMap;

use keyledger_events::{
    AccountId, Channel, Credits, Endpoint, Environment, Event, KeyId, Position, Recorded, ReservationId, Shard,
    Timestamp,
};

use crate::{Changes, FoldError, Rows, add};

/// One charge: which key, endpoint, quantity, price and moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeRow {
    pub account: AccountId,
    pub reservation: ReservationId,
    pub shard: Shard,
    pub position: Position,
    pub key: Option<KeyId>,
    pub channel: Channel,
    pub endpoint: Endpoint,
    pub quantity: u64,
    pub unit_price: Credits,
    pub price_version: u64,
    /// A test key's charge is of nothing.
    pub environment: Environment,
    pub charged: Credits,
    pub returned: Credits,
    /// Micro-credits: the sum of all refunds of this charge.
    pub refunded: i64,
    pub reserved_at: Timestamp,
    pub charged_at: Timestamp,
}

/// New lines, and what was refunded of lines of before, in micro-credits. Nothing else of a line ever changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChargesChanges {
    pub charged: BTreeMap<(AccountId, ReservationId), ChargeRow>,
    pub refunded: BTreeMap<(AccountId, ReservationId), i64>,
}

impl Changes for ChargesChanges {
    fn fold(&mut self, recorded: &Recorded) -> Result<(), FoldError> {
        match &recorded.event {
            Event::CreditsCharged(e) => {
                let row = ChargeRow {
                    account: recorded.account,
                    reservation: e.reservation,
                    shard: recorded.shard,
                    position: recorded.position,
                    key: e.work.key,
                    channel: e.work.channel,
                    endpoint: e.work.endpoint.clone(),
                    quantity: e.quantity,
                    unit_price: e.work.unit_price,
                    price_version: e.work.price_version,
                    environment: e.work.environment,
                    charged: e.charged,
                    returned: e.returned,
                    refunded: 0,
                    reserved_at: e.reserved_at,
                    charged_at: recorded.time,
                };
                match self.charged.insert((recorded.account, e.reservation), row) {
                    None => Ok(()),
                    Some(_) => Err(FoldError {
                        position: recorded.position,
                        why: "the charge is there already",
                    }),
                }
            }
            Event::CreditsRefunded(e) => {
                let id = (recorded.account, e.reservation);
                let sum = match self.charged.get_mut(&id) {
                    Some(row) => &mut row.refunded,
                    None => self.refunded.entry(id).or_default(),
                };
                add(sum, e.amount.micros(), recorded.position)
            }
            Event::AccountOpened(_)
            | Event::TokenCreated(_)
            | Event::TokenRevoked(_)
            | Event::PortalSessionInvited(_)
            | Event::OperatorSessionInvited(_)
            | Event::PersonalDataErased(_)
            | Event::PricesPublished(_)
            | Event::ThresholdsSet(_)
            | Event::ThresholdReached(_)
            | Event::PlanStarted(_)
            | Event::PlanEnded(_)
            | Event::GrantStarted(_)
            | Event::CreditsCorrected(_)
            | Event::AccountClosed(_)
            | Event::AccountRenamed(_)
            | Event::ExternalRefChanged(_)
            | Event::CreditLimitChanged(_)
            | Event::KeyCreated(_)
            | Event::KeyRenamed(_)
            | Event::KeyDeleted(_)
            | Event::KeyRotated(_)
            | Event::KeyUseDenied(_)
            | Event::KeySpendingLimited(_)
            | Event::KeyUsed(_)
            | Event::CreditsGranted(_)
            | Event::CreditsExpired(_)
            | Event::CreditsReserved(_)
            | Event::CreditsReleased(_) => Ok(()),
        }
    }

    fn rows(&self) -> usize {
        self.charged.len() + self.refunded.len()
    }
}

/// Every charge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChargesRows(pub BTreeMap<(AccountId, ReservationId), ChargeRow>);

/// The named check of `views.charges`.
fn check(row: &ChargeRow) -> Result<(), &'static str> {
    if (0..=row.charged.micros()).contains(&row.refunded) {
        Ok(())
    } else {
        Err("more would be refunded than was charged")
    }
}

impl Rows for ChargesRows {
    type Changes = ChargesChanges;

    fn apply(&mut self, changes: ChargesChanges) -> Result<(), &'static str> {
        for (id, row) in changes.charged {
            check(&row)?;
            if self.0.insert(id, row).is_some() {
                return Err("the charge is there already");
            }
        }
        for (id, amount) in changes.refunded {
            let row = self.0.get_mut(&id).ok_or("there is no such charge")?;
            row.refunded = row.refunded.checked_add(amount).ok_or("a sum leaves its bounds")?;
            check(row)?;
        }
        Ok(())
    }
}
