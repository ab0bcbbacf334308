//! What was used: by account, key, endpoint and hour; and the networks that a key was used from.

use std::collections::{BTreeMap, BTreeSet};

use keyledger_events::{AccountId, Endpoint, Environment, Event, KeyId, PaidWork, Recorded, ReleaseCause, Timestamp};

use crate::{Changes, FoldError, Rows, add};

/// Whose use, of what, and in which hour. `key`: none is the dashboard's. `hour` is the beginning of one, UTC.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsageId {
    pub account: AccountId,
    pub hour: Timestamp,
    pub key: Option<KeyId>,
    pub endpoint: Endpoint,
}

/// Sums of one hour. A use counts in its own hour, a charge or release in the hour when it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsageSums {
    /// How often data was asked for and let through: by a key, or without one by a hold.
    pub uses: i64,
    /// How many of them were by test keys.
    pub test_uses: i64,
    /// Holds that were charged.
    pub charges: i64,
    /// Units delivered.
    pub quantity: i64,
    /// Micro-credits.
    pub charged: i64,
    /// Micro-credits of charges that were taken back in this hour, whenever they were made.
    pub refunded: i64,
    pub released: Released,
}

/// Holds that cost nothing, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Released {
    pub requested: i64,
    pub queued: i64,
    pub error: i64,
    pub client_gone: i64,
    pub expired: i64,
    pub account_closed: i64,
}

impl Released {
    fn of(&mut self, cause: ReleaseCause) -> &mut i64 {
        match cause {
            ReleaseCause::Requested => &mut self.requested,
            ReleaseCause::Queued => &mut self.queued,
            ReleaseCause::Error => &mut self.error,
            ReleaseCause::ClientGone => &mut self.client_gone,
            ReleaseCause::Expired => &mut self.expired,
            ReleaseCause::AccountClosed => &mut self.account_closed,
        }
    }
}

impl UsageSums {
    /// Adds other sums to these. `None` when one leaves its bounds.
    pub fn plus(self, other: UsageSums) -> Option<UsageSums> {
        let (a, b) = (self.released, other.released);
        Some(UsageSums {
            uses: self.uses.checked_add(other.uses)?,
            test_uses: self.test_uses.checked_add(other.test_uses)?,
            charges: self.charges.checked_add(other.charges)?,
            quantity: self.quantity.checked_add(other.quantity)?,
            charged: self.charged.checked_add(other.charged)?,
            refunded: self.refunded.checked_add(other.refunded)?,
            released: Released {
                requested: a.requested.checked_add(b.requested)?,
                queued: a.queued.checked_add(b.queued)?,
                error: a.error.checked_add(b.error)?,
                client_gone: a.client_gone.checked_add(b.client_gone)?,
                expired: a.expired.checked_add(b.expired)?,
                account_closed: a.account_closed.checked_add(b.account_closed)?,
            },
        })
    }
}

/// The networks that are remembered of a key: the latest used, and of two used at one moment the later in byte order.
pub const NETWORKS_A_KEY_MAX: usize = 32;

/// Network, and when it was last used.
pub type Networks = BTreeMap<String, Timestamp>;

/// Forgets all but the latest. What is forgotten here is also forgotten when more is added later, so batches do not matter.
fn keep_latest(networks: &mut Networks) {
    while networks.len() > NETWORKS_A_KEY_MAX {
        let oldest = networks.iter().min_by_key(|(network, at)| (**at, (*network).clone()));
        let Some(oldest) = oldest.map(|(network, _)| network.clone()) else {
            return;
        };
        networks.remove(&oldest);
    }
}

fn note_network(networks: &mut Networks, network: String, at: Timestamp) {
    let last = networks.entry(network).or_insert(at);
    *last = at.max(*last);
    keep_latest(networks);
}

/// What is added to the hours, and the networks that keys were used from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageChanges {
    pub used: BTreeMap<UsageId, UsageSums>,
    pub networks: BTreeMap<(AccountId, KeyId), Networks>,
    /// Accounts whose networks are forgotten. Nothing is used there afterwards: the account is closed.
    pub erased: BTreeSet<AccountId>,
}

impl UsageChanges {
    fn sums(&mut self, recorded: &Recorded, key: Option<KeyId>, endpoint: &Endpoint) -> &mut UsageSums {
        let id = UsageId {
            account: recorded.account,
            hour: recorded.time.start_of_hour(),
            key,
            endpoint: endpoint.clone(),
        };
        self.used.entry(id).or_default()
    }

    fn sums_of(&mut self, recorded: &Recorded, work: &PaidWork) -> &mut UsageSums {
        self.sums(recorded, work.key, &work.endpoint)
    }
}

/// Of one charge. A thousand times what a request may ask for: what is beyond comes from a data API that counts wrongly, costs
/// nothing, and must not keep the sums of everybody else from being written.
const UNITS_MAX: u64 = 1_000_000_000_000;

fn units(quantity: u64) -> i64 {
    i64::try_from(quantity.min(UNITS_MAX)).unwrap_or(i64::MAX)
}

impl Changes for UsageChanges {
    fn fold(&mut self, recorded: &Recorded) -> Result<(), FoldError> {
        let at = recorded.position;
        match &recorded.event {
            Event::KeyUsed(e) => {
                let sums = self.sums(recorded, Some(e.key), &e.endpoint);
                add(&mut sums.uses, 1, at)?;
                if e.environment == Environment::Test {
                    add(&mut sums.test_uses, 1, at)?;
                }
                if let Some(network) = &e.network {
                    let networks = self.networks.entry((recorded.account, e.key)).or_default();
                    note_network(networks, network.clone(), recorded.time);
                }
                Ok(())
            }
            Event::PersonalDataErased(_) => {
                self.networks.retain(|(account, _), _| *account != recorded.account);
                self.erased.insert(recorded.account);
                Ok(())
            }
            // A key's hold comes with the key's own use, which is counted. Without a key the hold is all there is.
            Event::CreditsReserved(e) if e.work.key.is_some() => Ok(()),
            Event::CreditsReserved(e) => add(&mut self.sums_of(recorded, &e.work).uses, 1, at),
            Event::CreditsCharged(e) => {
                let sums = self.sums_of(recorded, &e.work);
                add(&mut sums.charges, 1, at)?;
                add(&mut sums.quantity, units(e.quantity), at)?;
                add(&mut sums.charged, e.charged.micros(), at)
            }
            Event::CreditsRefunded(e) => add(&mut self.sums_of(recorded, &e.work).refunded, e.amount.micros(), at),
            Event::CreditsReleased(e) => add(self.sums_of(recorded, &e.work).released.of(e.cause), 1, at),
            Event::AccountOpened(_)
            | Event::TokenCreated(_)
            | Event::TokenRevoked(_)
            | Event::PortalSessionInvited(_)
            | Event::OperatorSessionInvited(_)
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
            | Event::CreditsExpired(_) => Ok(()),
        }
    }

    fn rows(&self) -> usize {
        self.used.len() + self.networks.len() + self.erased.len()
    }
}

/// Every hour of use, and every key's networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageRows {
    pub used: BTreeMap<UsageId, UsageSums>,
    pub networks: BTreeMap<(AccountId, KeyId), Networks>,
}

impl Rows for UsageRows {
    type Changes = UsageChanges;

    fn apply(&mut self, changes: UsageChanges) -> Result<(), &'static str> {
        for (id, more) in changes.used {
            let sums = self.used.entry(id).or_default();
            *sums = sums.plus(more).ok_or("a sum leaves its bounds")?;
        }
        self.networks
            .retain(|(account, _), _| !changes.erased.contains(account));
        for (key, networks) in changes.networks {
            let known = self.networks.entry(key).or_default();
            for (network, at) in networks {
                note_network(known, network, at);
            }
        }
        Ok(())
    }
}
