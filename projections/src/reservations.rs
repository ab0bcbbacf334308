//! The open holds.

use std::collections::{BTreeMap, BTreeSet};

use keyledger_events::{AccountId, Channel, Credits, Endpoint, Event, KeyId, Recorded, ReservationId, Timestamp};

use crate::{Changes, FoldError, Rows};

/// One open hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservationRow {
    pub account: AccountId,
    pub reservation: ReservationId,
    pub key: Option<KeyId>,
    pub channel: Channel,
    pub endpoint: Endpoint,
    pub quantity: u64,
    pub unit_price: Credits,
    pub amount: Credits,
    pub reserved_at: Timestamp,
    pub expires_at: Timestamp,
}

/// Holds that opened and are still open, and holds of before that closed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReservationsChanges {
    pub opened: BTreeMap<(AccountId, ReservationId), ReservationRow>,
    pub closed: BTreeSet<(AccountId, ReservationId)>,
}

impl ReservationsChanges {
    fn close(&mut self, recorded: &Recorded, reservation: ReservationId) -> Result<(), FoldError> {
        let id = (recorded.account, reservation);
        if self.opened.remove(&id).is_none() && !self.closed.insert(id) {
            return Err(FoldError {
                position: recorded.position,
                why: "the reservation is closed already",
            });
        }
        Ok(())
    }
}

impl Changes for ReservationsChanges {
    fn fold(&mut self, recorded: &Recorded) -> Result<(), FoldError> {
        match &recorded.event {
            Event::CreditsReserved(e) => {
                let row = ReservationRow {
                    account: recorded.account,
                    reservation: e.reservation,
                    key: e.work.key,
                    channel: e.work.channel,
                    endpoint: e.work.endpoint.clone(),
                    quantity: e.quantity,
                    unit_price: e.work.unit_price,
                    amount: e.amount,
                    reserved_at: recorded.time,
                    expires_at: e.expires_at,
                };
                match self.opened.insert((recorded.account, e.reservation), row) {
                    None => Ok(()),
                    Some(_) => Err(FoldError {
                        position: recorded.position,
                        why: "the reservation is open already",
                    }),
                }
            }
            Event::CreditsCharged(e) => self.close(recorded, e.reservation),
            Event::CreditsReleased(e) => self.close(recorded, e.reservation),
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
            | Event::CreditsRefunded(_) => Ok(()),
        }
    }

    fn rows(&self) -> usize {
        self.opened.len() + self.closed.len()
    }
}

/// Every open hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReservationsRows(pub BTreeMap<(AccountId, ReservationId), ReservationRow>);

impl Rows for ReservationsRows {
    type Changes = ReservationsChanges;

    fn apply(&mut self, changes: ReservationsChanges) -> Result<(), &'static str> {
        for id in changes.closed {
            self.0.remove(&id).ok_or("there is no such reservation")?;
        }
        for (id, row) in changes.opened {
            if self.0.insert(id, row).is_some() {
                return Err("the reservation is open already");
            }
        }
        Ok(())
    }
}
