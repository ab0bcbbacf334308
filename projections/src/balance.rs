//! The balance of every account, and what is left of every grant.
//!
//! Law: granted = available + reserved + charged − refunded + expired + corrected, where available is computed.

use std::collections::BTreeMap;

use keyledger_events::{
    AccountId, AccountName, Credits, CreditsRefunded, Event, GrantId, GrantPart, GrantSource, PlanId, Position,
    Recorded, Scopes, Timestamp,
};

use serde::{Deserialize, Serialize};

use crate::{AccountTraits, Changes, FoldError, PlanChange, PlanRow, Rows, add};

/// An account's sums, in micro-credits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRow {
    pub account: AccountId,
    pub name: AccountName,
    pub external_ref: Option<String>,
    pub opened_at: Timestamp,
    pub credit_limit: i64,
    pub closed_at: Option<Timestamp>,
    /// Balances at which to tell, in micro-credits, the highest first.
    pub thresholds: Vec<i64>,
    pub sums: AccountChange,
}

/// What changes in an account's sums, in micro-credits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountChange {
    pub granted: i64,
    pub charged: i64,
    pub refunded: i64,
    pub expired: i64,
    pub reserved: i64,
    /// What corrections took away.
    pub corrected: i64,
}

impl AccountChange {
    /// What may still be held.
    pub fn available(&self) -> i64 {
        self.granted - self.charged + self.refunded - self.expired - self.reserved - self.corrected
    }

    /// The named checks of `views.balance`.
    fn check(&self) -> Result<(), &'static str> {
        let sums = [
            self.granted,
            self.charged,
            self.refunded,
            self.expired,
            self.reserved,
            self.corrected,
        ];
        if sums.iter().all(|sum| *sum >= 0) {
            Ok(())
        } else {
            Err("a sum of the account would be below zero")
        }
    }

    fn merge(&mut self, change: &AccountChange, at: Position) -> Result<(), FoldError> {
        add(&mut self.granted, change.granted, at)?;
        add(&mut self.charged, change.charged, at)?;
        add(&mut self.refunded, change.refunded, at)?;
        add(&mut self.expired, change.expired, at)?;
        add(&mut self.reserved, change.reserved, at)?;
        add(&mut self.corrected, change.corrected, at)
    }
}

/// A grant, with what became of it, in micro-credits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRow {
    pub account: AccountId,
    pub grant: GrantId,
    pub amount: i64,
    pub priority: i32,
    pub expires_at: Option<Timestamp>,
    pub source: GrantSource,
    pub reference: Option<String>,
    pub granted_at: Timestamp,
    /// Where that is later than when it was given.
    pub starts_at: Option<Timestamp>,
    /// The endpoints that it burns on; `None`: all.
    pub endpoints: Option<Scopes>,
    pub sums: GrantChange,
}

/// What changes in a grant, in micro-credits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantChange {
    /// What can still be held.
    pub remaining: i64,
    /// What open reservations hold.
    pub held: i64,
    pub expired: i64,
    /// It has taken effect.
    pub started: bool,
}

impl GrantChange {
    /// The named checks of `views.grants`.
    fn check(&self) -> Result<(), &'static str> {
        if self.remaining >= 0 && self.held >= 0 && self.expired >= 0 {
            Ok(())
        } else {
            Err("a grant would have less than nothing")
        }
    }

    fn merge(&mut self, change: &GrantChange, at: Position) -> Result<(), FoldError> {
        add(&mut self.remaining, change.remaining, at)?;
        self.started |= change.started;
        add(&mut self.held, change.held, at)?;
        add(&mut self.expired, change.expired, at)
    }
}

/// New rows, and changes to rows that were there before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BalanceChanges {
    pub opened: BTreeMap<AccountId, AccountRow>,
    pub accounts: BTreeMap<AccountId, AccountChange>,
    pub traits: BTreeMap<AccountId, AccountTraits>,
    pub granted: BTreeMap<(AccountId, GrantId), GrantRow>,
    pub grants: BTreeMap<(AccountId, GrantId), GrantChange>,
    pub planned: BTreeMap<(AccountId, PlanId), PlanRow>,
    pub plans: BTreeMap<(AccountId, PlanId), PlanChange>,
}

impl BalanceChanges {
    fn account(&mut self, account: AccountId, change: AccountChange, at: Position) -> Result<(), FoldError> {
        match self.opened.get_mut(&account) {
            Some(row) => row.sums.merge(&change, at),
            None => self.accounts.entry(account).or_default().merge(&change, at),
        }
    }

    fn become_other(&mut self, account: AccountId, traits: AccountTraits) -> Result<(), FoldError> {
        match self.opened.get_mut(&account) {
            Some(row) => traits.change(row),
            None => self.traits.entry(account).or_default().then(traits),
        }
        Ok(())
    }

    fn grant(
        &mut self,
        account: AccountId,
        grant: GrantId,
        change: GrantChange,
        at: Position,
    ) -> Result<(), FoldError> {
        match self.granted.get_mut(&(account, grant)) {
            Some(row) => row.sums.merge(&change, at),
            None => self.grants.entry((account, grant)).or_default().merge(&change, at),
        }
    }

    /// Moves parts between what remains of their grants and what is held of them.
    fn parts(&mut self, account: AccountId, parts: &[GrantPart], moved: Moved, at: Position) -> Result<(), FoldError> {
        for part in parts {
            let amount = part.amount.micros();
            let change = match moved {
                Moved::Held => GrantChange {
                    remaining: -amount,
                    held: amount,
                    ..GrantChange::default()
                },
                Moved::Spent => GrantChange {
                    remaining: 0,
                    held: -amount,
                    ..GrantChange::default()
                },
                Moved::Back => GrantChange {
                    remaining: amount,
                    held: -amount,
                    ..GrantChange::default()
                },
                Moved::Taken => GrantChange {
                    remaining: -amount,
                    held: 0,
                    ..GrantChange::default()
                },
                Moved::Refunded => GrantChange {
                    remaining: amount,
                    held: 0,
                    ..GrantChange::default()
                },
            };
            self.grant(account, part.grant, change, at)?;
        }
        Ok(())
    }

    fn new_grant(&mut self, row: GrantRow, at: Position) -> Result<(), FoldError> {
        match self.granted.insert((row.account, row.grant), row) {
            None => Ok(()),
            Some(_) => Err(FoldError {
                position: at,
                why: "the grant is there already",
            }),
        }
    }

    fn refunded(&mut self, recorded: &Recorded, e: &CreditsRefunded) -> Result<(), FoldError> {
        let (account, at) = (recorded.account, recorded.position);
        self.parts(account, &e.returned_to, Moved::Refunded, at)?;
        if let Some(part) = e.as_grant {
            let row = GrantRow {
                account,
                grant: part.grant,
                amount: part.amount.micros(),
                priority: 0,
                expires_at: None,
                source: GrantSource::Refund,
                reference: None,
                granted_at: recorded.time,
                starts_at: None,
                endpoints: None,
                sums: GrantChange {
                    remaining: part.amount.micros(),
                    started: true,
                    ..GrantChange::default()
                },
            };
            self.new_grant(row, at)?;
        }
        let change = AccountChange {
            refunded: e.amount.micros(),
            ..AccountChange::default()
        };
        self.account(account, change, at)
    }
}

#[derive(Clone, Copy)]
enum Moved {
    Held,
    Spent,
    Back,
    Refunded,
    Taken,
}

impl Changes for BalanceChanges {
    fn fold(&mut self, recorded: &Recorded) -> Result<(), FoldError> {
        let (account, at) = (recorded.account, recorded.position);
        let nothing = AccountChange::default();
        match &recorded.event {
            Event::AccountOpened(e) => {
                let row = AccountRow {
                    account,
                    name: e.name.clone(),
                    external_ref: e.external_ref.clone(),
                    opened_at: recorded.time,
                    credit_limit: e.credit_limit.micros(),
                    closed_at: None,
                    thresholds: Vec::new(),
                    sums: nothing,
                };
                match self.opened.insert(account, row) {
                    None => Ok(()),
                    Some(_) => Err(FoldError {
                        position: at,
                        why: "the account is there already",
                    }),
                }
            }
            Event::CreditsGranted(e) => {
                let row = GrantRow {
                    account,
                    grant: e.grant,
                    amount: e.amount.micros(),
                    priority: e.priority,
                    expires_at: e.expires_at,
                    source: e.source,
                    reference: e.reference.clone(),
                    granted_at: recorded.time,
                    starts_at: e.starts_at,
                    endpoints: e.endpoints.clone(),
                    sums: GrantChange {
                        remaining: difference(e.amount, e.repays),
                        started: e.starts_at.is_none(),
                        ..GrantChange::default()
                    },
                };
                self.new_grant(row, at)?;
                if let Some(period) = e.period {
                    let change = PlanChange {
                        periods: 1,
                        next_at: e.expires_at,
                        ..PlanChange::default()
                    };
                    self.plan(account, period.plan, &change, at)?;
                }
                // What rolls over was given before.
                let rolled = e.rolled_over.map_or(Credits::ZERO, |part| part.amount);
                self.parts(account, e.rolled_over.as_slice(), Moved::Taken, at)?;
                self.account(
                    account,
                    AccountChange {
                        granted: difference(e.amount, rolled),
                        ..nothing
                    },
                    at,
                )
            }
            Event::PlanStarted(e) => self.plan_started(recorded, e),
            Event::PlanEnded(e) => {
                let ended_at = Some(recorded.time);
                let change = PlanChange {
                    ended_at,
                    ..PlanChange::default()
                };
                self.plan(account, e.plan, &change, at)
            }
            Event::GrantStarted(e) => {
                let change = GrantChange {
                    remaining: -e.repays.micros(),
                    started: true,
                    ..GrantChange::default()
                };
                self.grant(account, e.grant, change, at)
            }
            Event::CreditsExpired(e) => {
                let amount = e.amount.micros();
                self.grant(
                    account,
                    e.grant,
                    GrantChange {
                        remaining: -amount - e.repays.micros(),
                        expired: amount,
                        ..GrantChange::default()
                    },
                    at,
                )?;
                self.account(
                    account,
                    AccountChange {
                        expired: amount,
                        ..nothing
                    },
                    at,
                )
            }
            Event::CreditsReserved(e) => {
                self.parts(account, &e.from, Moved::Held, at)?;
                self.account(
                    account,
                    AccountChange {
                        reserved: e.amount.micros(),
                        ..nothing
                    },
                    at,
                )
            }
            Event::CreditsCharged(e) => {
                self.parts(account, &e.spent, Moved::Spent, at)?;
                self.parts(account, &e.returned_to, Moved::Back, at)?;
                let reserved = -e.charged.micros() - e.returned.micros();
                self.account(
                    account,
                    AccountChange {
                        reserved,
                        charged: e.charged.micros(),
                        ..nothing
                    },
                    at,
                )
            }
            Event::CreditsReleased(e) => {
                self.parts(account, &e.returned_to, Moved::Back, at)?;
                self.account(
                    account,
                    AccountChange {
                        reserved: -e.returned.micros(),
                        ..nothing
                    },
                    at,
                )
            }
            Event::PersonalDataErased(_) => self.become_other(account, AccountTraits::erased()),
            Event::AccountRenamed(e) => self.become_other(account, AccountTraits::named(&e.name)),
            Event::ExternalRefChanged(e) => self.become_other(account, AccountTraits::referred(e)),
            Event::CreditLimitChanged(e) => self.become_other(account, AccountTraits::limited(e)),
            Event::AccountClosed(_) => self.become_other(account, AccountTraits::closed(recorded.time)),
            Event::ThresholdsSet(e) => self.become_other(account, AccountTraits::watched(e)),
            Event::ThresholdReached(_) => Ok(()),
            Event::CreditsRefunded(e) => self.refunded(recorded, e),
            Event::CreditsCorrected(e) => {
                self.parts(account, &e.from, Moved::Taken, at)?;
                let corrected = e.amount.micros();
                self.account(account, AccountChange { corrected, ..nothing }, at)
            }
            Event::KeyCreated(_)
            | Event::KeyRenamed(_)
            | Event::KeyDeleted(_)
            | Event::KeyRotated(_)
            | Event::KeyUseDenied(_)
            | Event::TokenCreated(_)
            | Event::TokenRevoked(_)
            | Event::PortalSessionInvited(_)
            | Event::OperatorSessionInvited(_)
            | Event::PricesPublished(_)
            | Event::KeySpendingLimited(_)
            | Event::KeyUsed(_) => Ok(()),
        }
    }

    fn rows(&self) -> usize {
        self.planned.len()
            + self.plans.len()
            + self.opened.len()
            + self.accounts.len()
            + self.traits.len()
            + self.granted.len()
            + self.grants.len()
    }
}

fn difference(amount: Credits, part: Credits) -> i64 {
    amount.micros() - part.micros()
}

/// Every account and every grant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BalanceRows {
    pub accounts: BTreeMap<AccountId, AccountRow>,
    pub grants: BTreeMap<(AccountId, GrantId), GrantRow>,
    pub plans: BTreeMap<(AccountId, PlanId), PlanRow>,
}

impl Rows for BalanceRows {
    type Changes = BalanceChanges;

    fn apply(&mut self, changes: BalanceChanges) -> Result<(), &'static str> {
        const SUM: &str = "a sum leaves its bounds";
        for (id, row) in changes.opened {
            row.sums.check()?;
            if self.accounts.insert(id, row).is_some() {
                return Err("the account is there already");
            }
        }
        for (id, change) in changes.accounts {
            let row = self.accounts.get_mut(&id).ok_or("there is no such account")?;
            row.sums.merge(&change, Position::START).map_err(|_| SUM)?;
            row.sums.check()?;
        }
        for (id, traits) in changes.traits {
            traits.change(self.accounts.get_mut(&id).ok_or("there is no such account")?);
        }
        for (id, row) in changes.granted {
            row.sums.check()?;
            if self.grants.insert(id, row).is_some() {
                return Err("the grant is there already");
            }
        }
        for (id, change) in changes.grants {
            let row = self.grants.get_mut(&id).ok_or("there is no such grant")?;
            row.sums.merge(&change, Position::START).map_err(|_| SUM)?;
            row.sums.check()?;
        }
        for (id, row) in changes.planned {
            if self.plans.insert(id, row).is_some() {
                return Err("the plan is there already");
            }
        }
        for (id, change) in changes.plans {
            let row = self.plans.get_mut(&id).ok_or("there is no such plan")?;
            row.change(&change, Position::START).map_err(|_| SUM)?;
        }
        Ok(())
    }
}
