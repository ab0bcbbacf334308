//! The auditor's books: every event of a file entered once, by rules of their own.
//!
//! In: events in the file's order. Out: what each account has, or why an event cannot stand where it does.
//!
//! Promise: nothing of the ledger's rules, states or views is used here, so that a fault there is found and not repeated.
//! Where the file does not have an account's beginning, what hangs on it is not judged, and is said not to be.
//!
//! Not here: bytes, hashes, signatures.

mod account;
mod credits;
mod holds;
mod keys;
mod prices;

use std::collections::HashMap;

use keyledger_events::{AccountId, Event, KeyId, Timestamp};
use rustc_hash::FxBuildHasher;

use super::fact::{Busy, Entry, Fact};
use account::Account;
pub(super) use account::Sums;
use prices::Prices;

/// Why an event cannot stand where it does.
pub(super) type Wrong = &'static str;
pub(super) type Entered = Result<(), Wrong>;
type Fast<K, V> = HashMap<K, V, FxBuildHasher>;

const SUM: Wrong = "a sum leaves its bounds";

/// What a file is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// Every event of a shard from a position to another. `from_the_first`: from position 1.
    Shard {
        from_the_first: bool,
    },
    Account(AccountId),
    Key(AccountId, KeyId),
}

#[derive(Debug)]
pub(super) struct Books {
    about: About,
    shard: u64,
    time: Timestamp,
    accounts: Fast<AccountId, Account>,
    prices: Prices,
}

impl Books {
    pub(super) fn open(about: About, shard: u64) -> Books {
        let from_the_first = matches!(about, About::Shard { from_the_first: true });
        Books {
            about,
            shard,
            time: Timestamp::EPOCH,
            accounts: HashMap::default(),
            prices: Prices::open(from_the_first),
        }
    }

    /// Enters a price book that the file brings beside its events.
    pub(super) fn enter_prices(&mut self, entry: &Entry<'_>) -> Entered {
        self.is_of_shard(entry)?;
        match entry.fact {
            // Of the system's own history these events alone are brought, so their seqs have gaps.
            Fact::Other(Event::PricesPublished(book)) if entry.account == AccountId::SYSTEM => {
                self.prices.publish(entry, book)
            }
            Fact::Busy(_) | Fact::Other(_) => Err("what is brought for its prices publishes none"),
        }
    }

    /// Enters the next event.
    pub(super) fn enter(&mut self, entry: &Entry<'_>) -> Entered {
        self.is_of_shard(entry)?;
        match self.about {
            About::Shard { .. } => {}
            About::Account(account) if entry.account != account => return Err("the event is another account's"),
            About::Key(account, _) if entry.account != account => return Err("the event is another account's"),
            About::Key(_, key) if entry.fact.key() != Some(key) => return Err("the event is not about this key"),
            About::Account(_) | About::Key(..) => {}
        }
        if entry.time < self.time {
            return Err("its time is before that of the event before");
        }
        self.time = entry.time;
        self.enter_fact(entry)
    }

    fn is_of_shard(&self, entry: &Entry<'_>) -> Entered {
        if entry.shard == self.shard {
            Ok(())
        } else {
            Err("the event is another shard's")
        }
    }

    fn enter_fact(&mut self, entry: &Entry<'_>) -> Entered {
        let of_key = matches!(self.about, About::Key(..)) && entry.account != AccountId::SYSTEM;
        let account = self
            .accounts
            .entry(entry.account)
            .or_insert_with(|| Account::begin(entry, of_key));
        account.follows(entry)?;
        if let Fact::Other(Event::PricesPublished(book)) = entry.fact {
            return self.prices.publish(entry, book);
        }
        if let Fact::Busy(Busy::Held(held)) = &entry.fact {
            let top_up = || account.may_be_top_up(held.reservation);
            self.prices.judge(entry, held, top_up)?;
        }
        account.enter(entry)
    }

    /// Customers' accounts, without the system's own history.
    pub(super) fn accounts(&self) -> impl Iterator<Item = (&AccountId, &Account)> {
        self.accounts.iter().filter(|(id, _)| **id != AccountId::SYSTEM)
    }

    pub(super) fn account(&self, id: AccountId) -> Option<&Account> {
        self.accounts.get(&id)
    }

    pub(super) fn last_time(&self) -> Timestamp {
        self.time
    }

    /// What nobody can say from this file.
    pub(super) fn not_checked(&self) -> Vec<String> {
        let mut told = Vec::new();
        let (mut parts, mut of_key) = (0_u64, false);
        for (_, account) in self.accounts() {
            of_key |= account.is_of_key();
            if !account.is_whole() && !account.is_of_key() {
                parts += 1;
            }
        }
        if of_key {
            told.push("balances and grants: a key's events are not its account's whole history".to_owned());
        }
        if parts > 0 {
            told.push(format!(
                "balances, grants and what began before: the file does not have the beginning of {parts} account(s)"
            ));
        }
        if self.prices.unknown() > 0 {
            told.push(format!(
                "the prices of {} hold(s), whose book is the config file's or not in this file",
                self.prices.unknown()
            ));
        }
        if self.prices.judged_by_part() > 0 {
            told.push(format!(
                "that no price book was left out, for {} hold(s): only a whole shard shows it",
                self.prices.judged_by_part()
            ));
        }
        told
    }
}
