//! What the platform asked to be told of. The webhooks read it.

use std::collections::{BTreeMap, BTreeSet};

use keyledger_events::{
    AccountId, DeleteReason, DenyReason, Event, EventId, KeyId, Position, Recorded, Shard, Timestamp,
};

use crate::{Changes, FoldError, Rows};

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeRow {
    pub shard: Shard,
    pub position: Position,
    /// Of the event that says it. Whoever is told twice knows it by this.
    pub event: EventId,
    pub account: AccountId,
    pub at: Timestamp,
    pub what: Notice,
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Micro-credits.
    ThresholdReached {
        threshold: i64,
        balance: i64,
    },
    KeyLeaked {
        key: KeyId,
    },
    /// Told once an hour for each key and reason: the first refusals of the hour that were written down.
    KeyDenied {
        key: KeyId,
        reason: DenyReason,
        count: u64,
    },
}

impl Notice {
    pub const fn kind(&self) -> &'static str {
        match self {
            Notice::ThresholdReached { .. } => "credits.threshold_reached",
            Notice::KeyLeaked { .. } => "key.leaked",
            Notice::KeyDenied { .. } => "key.denied",
        }
    }

    pub const fn key(&self) -> Option<KeyId> {
        match self {
            Notice::ThresholdReached { .. } => None,
            Notice::KeyLeaked { key } | Notice::KeyDenied { key, .. } => Some(*key),
        }
    }
}

const HOUR_US: i64 = 3_600_000_000;

impl NoticeRow {
    /// Of rows that have the same one only the first is kept. `None`: it is always told.
    pub fn once(&self) -> Option<String> {
        match &self.what {
            Notice::KeyDenied { key, reason, .. } => {
                Some(format!("{key} {} {}", reason.as_str(), self.at.micros() / HOUR_US))
            }
            Notice::ThresholdReached { .. } | Notice::KeyLeaked { .. } => None,
        }
    }
}

/// New things to tell, in order. Some of them may have been told already: `once` says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoticesChanges {
    pub told: Vec<NoticeRow>,
    once: BTreeSet<String>,
}

impl NoticesChanges {
    fn tell(&mut self, recorded: &Recorded, what: Notice) {
        let row = NoticeRow {
            shard: recorded.shard,
            position: recorded.position,
            event: recorded.id,
            account: recorded.account,
            at: recorded.time,
            what,
        };
        if row.once().is_none_or(|once| self.once.insert(once)) {
            self.told.push(row);
        }
    }
}

impl Changes for NoticesChanges {
    fn fold(&mut self, recorded: &Recorded) -> Result<(), FoldError> {
        match &recorded.event {
            Event::ThresholdReached(e) => {
                let (threshold, balance) = (e.threshold.micros(), e.balance.micros());
                self.tell(recorded, Notice::ThresholdReached { threshold, balance });
            }
            Event::KeyDeleted(e) => match e.reason {
                DeleteReason::Leaked => self.tell(recorded, Notice::KeyLeaked { key: e.key }),
                DeleteReason::Requested
                | DeleteReason::Compromised
                | DeleteReason::Rotated
                | DeleteReason::Expired
                | DeleteReason::AccountClosed => {}
            },
            Event::KeyUseDenied(e) => {
                let (key, reason, count) = (e.key, e.reason, e.count);
                self.tell(recorded, Notice::KeyDenied { key, reason, count });
            }
            Event::AccountOpened(_)
            | Event::ThresholdsSet(_)
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
            | Event::KeyRotated(_)
            | Event::KeySpendingLimited(_)
            | Event::KeyUsed(_)
            | Event::CreditsReserved(_)
            | Event::CreditsCharged(_)
            | Event::CreditsReleased(_)
            | Event::CreditsGranted(_)
            | Event::CreditsExpired(_)
            | Event::CreditsRefunded(_)
            | Event::TokenCreated(_)
            | Event::TokenRevoked(_)
            | Event::PortalSessionInvited(_)
            | Event::OperatorSessionInvited(_)
            | Event::PersonalDataErased(_)
            | Event::PricesPublished(_) => {}
        }
        Ok(())
    }

    fn rows(&self) -> usize {
        self.told.len()
    }
}

/// All that was to tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoticesRows {
    pub told: BTreeMap<Position, NoticeRow>,
    once: BTreeSet<String>,
}

impl Rows for NoticesRows {
    type Changes = NoticesChanges;

    fn apply(&mut self, changes: NoticesChanges) -> Result<(), &'static str> {
        for row in changes.told {
            if row.once().is_some_and(|once| !self.once.insert(once)) {
                continue;
            }
            if self.told.insert(row.position, row).is_some() {
                return Err("it was told already");
            }
        }
        Ok(())
    }
}
