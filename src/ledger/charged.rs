//! A charge as the log has it, however long ago it was made: what a refund is decided on.
//!
//! In: events of the log. Out: [`Charged`].
//!
//! Promise: there is no `Charged` but from the log, here or in a process of ours that sends it on: the event at the place that was named is this account's charge of that
//! reservation. The log never changes, so this is read before the command and stays true; what does change, what was
//! refunded so far, is the account's and is looked at when the command is decided. So a view may say where a charge is,
//! and nothing that it says decides anything.

use keyledger_events::{
    AccountId, Credits, CreditsCharged, Event, GrantId, GrantTerms, Position, Recorded, ReservationId, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::log::{Log, ReadError};

/// A charge, and the terms of the grants that it was spent from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Charged {
    account: AccountId,
    charge: CreditsCharged,
    charged_at: Timestamp,
    grants: Vec<GrantTerms>,
}

impl Charged {
    /// Reads the charge of a reservation at a position. `None` when something else is there.
    pub async fn read(
        log: &Log,
        account: AccountId,
        reservation: ReservationId,
        position: Position,
    ) -> Result<Option<Charged>, ReadError> {
        let unreadable = |_| ReadError::Corrupt {
            what: "an event that cannot be read",
        };
        let Some(placed) = log.event_of(account, position).await? else {
            return Ok(None);
        };
        let charge = placed.event.decode().map_err(unreadable)?;
        let Event::CreditsCharged(e) = &charge.event else {
            return Ok(None);
        };
        if e.reservation != reservation {
            return Ok(None);
        }
        let spent: Vec<GrantId> = e.spent.iter().map(|part| part.grant).collect();
        let given = log.births_of_grants(account, &spent).await?;
        let given: Vec<Recorded> = given
            .iter()
            .map(|stored| stored.decode().map_err(unreadable))
            .collect::<Result<_, _>>()?;
        let charged = Charged::of(&charge, &given).ok_or(ReadError::Corrupt {
            what: "a charge from a grant that was never given",
        })?;
        Ok(Some(charged))
    }

    /// Puts a charge and the events that gave its grants together. `None` when it is none, or one of its grants is missing.
    pub(super) fn of(charge: &Recorded, given: &[Recorded]) -> Option<Charged> {
        let Event::CreditsCharged(e) = &charge.event else {
            return None;
        };
        let known: Vec<GrantTerms> = given.iter().filter_map(terms).collect();
        let grants = e
            .spent
            .iter()
            .map(|part| known.iter().find(|terms| terms.grant == part.grant).cloned())
            .collect::<Option<Vec<GrantTerms>>>()?;
        Some(Charged {
            account: charge.account,
            charge: e.clone(),
            charged_at: charge.time,
            grants,
        })
    }

    pub fn account(&self) -> AccountId {
        self.account
    }

    pub fn charge(&self) -> &CreditsCharged {
        &self.charge
    }

    pub fn charged_at(&self) -> Timestamp {
        self.charged_at
    }

    /// As it was given: nothing that became of it since.
    pub fn terms(&self, grant: GrantId) -> Option<&GrantTerms> {
        self.grants.iter().find(|terms| terms.grant == grant)
    }
}

/// What an event gives, if it does.
fn terms(recorded: &Recorded) -> Option<GrantTerms> {
    if let Event::CreditsGranted(e) = &recorded.event {
        Some(GrantTerms {
            grant: e.grant,
            amount: e.amount,
            priority: e.priority,
            expires_at: e.expires_at,
            source: e.source,
            granted_at: recorded.time,
            endpoints: e.endpoints.clone(),
        })
    } else if let Event::CreditsRefunded(e) = &recorded.event {
        e.as_grant.map(|part| of_refund(part.grant, part.amount, recorded.time))
    } else {
        None
    }
}

/// The terms of a grant that a refund makes.
pub(super) fn of_refund(grant: GrantId, amount: Credits, at: Timestamp) -> GrantTerms {
    GrantTerms {
        grant,
        amount,
        priority: 0,
        expires_at: None,
        source: keyledger_events::GrantSource::Refund,
        granted_at: at,
        endpoints: None,
    }
}
