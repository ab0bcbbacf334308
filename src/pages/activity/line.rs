//! An event as a line of the list.

use std::collections::HashMap;

use keyledger_events::{AccountId, Actor, Event, Position, Recorded, ReservationId, Timestamp};

use super::names::Names;
use super::sentence::{Told, Word};
use super::words::tell;
use crate::log::{DataKeyFound, Stored, opened};
use crate::pages::fault::Fault;
use crate::pages::moment::Moment;
use crate::pages::name::Shown;

#[derive(Debug)]
pub(in crate::pages) struct Line {
    pub(in crate::pages) position: Position,
    pub(in crate::pages) when: Moment,
    pub(in crate::pages) words: Vec<Word>,
    /// Who did it, where the words do not say so.
    pub(in crate::pages) by: Option<By>,
    /// The network that it came from, where that is known.
    pub(in crate::pages) from: Option<Shown>,
    pub(in crate::pages) credits: Option<String>,
}

/// Who is behind an event that nobody's own hand made.
#[derive(Debug)]
pub(in crate::pages) enum By {
    Somebody(Shown),
    Itself,
}

impl Line {
    pub(super) fn new(recorded: &Recorded, names: &Names, networks: &Networks, now: Timestamp) -> Line {
        let Told {
            words,
            tells_nobody,
            credits,
        } = tell(recorded, names, now);
        let by = match recorded.actor {
            Actor::System => By::Itself,
            actor @ (Actor::Key(_) | Actor::Token(_) | Actor::Portal(_)) => By::Somebody(names.actor(actor)),
        };
        Line {
            position: recorded.position,
            when: Moment::new(recorded.time, now),
            words,
            by: tells_nobody.then_some(by),
            from: networks.of(recorded),
            credits,
        }
    }
}

/// Where requests came from, by what was held for them.
#[derive(Debug, Default)]
pub(super) struct Networks(HashMap<ReservationId, Shown>);

impl Networks {
    /// Of uses of keys, as the log has them.
    pub(super) fn new(uses: &[Stored], data_keys: &DataKeys) -> Result<Networks, Fault> {
        let mut networks = HashMap::new();
        for recorded in decoded(uses, data_keys)? {
            if let Event::KeyUsed(used) = &recorded.event
                && let Some(network) = &used.network
            {
                networks.insert(used.reservation, Shown::new(network));
            }
        }
        Ok(Networks(networks))
    }

    fn of(&self, recorded: &Recorded) -> Option<Shown> {
        if let Event::KeyUsed(used) = &recorded.event {
            return used.network.as_deref().map(Shown::new);
        }
        self.0.get(&reservation(&recorded.event)?).cloned()
    }
}

/// The hold that an event is a step of.
pub(super) fn reservation(event: &Event) -> Option<ReservationId> {
    match event {
        Event::KeyUsed(e) => Some(e.reservation),
        Event::CreditsReserved(e) => Some(e.reservation),
        Event::CreditsCharged(e) => Some(e.reservation),
        Event::CreditsReleased(e) => Some(e.reservation),
        Event::CreditsRefunded(e) => Some(e.reservation),
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
        | Event::CreditsGranted(_)
        | Event::CreditsExpired(_) => None,
    }
}

/// What was asked for beside events, to open them with: whose they are has one data key at most.
pub(in crate::pages) type DataKeys = HashMap<AccountId, DataKeyFound>;

/// Events of our own log, read and opened. What was erased says so.
pub(in crate::pages) fn decoded(stored: &[Stored], keys: &DataKeys) -> Result<Vec<Recorded>, Fault> {
    let read = |stored: &Stored| {
        let mut recorded = stored.decode().map_err(|error| {
            tracing::error!(%error, position = %stored.position, "the log holds what cannot be read");
            Fault::Internal
        })?;
        let key = keys.get(&recorded.account);
        opened(&mut recorded, key)?;
        Ok(recorded)
    };
    stored.iter().map(read).collect()
}
