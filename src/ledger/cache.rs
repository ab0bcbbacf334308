//! Account states in memory: bounded by weight, the least used go first. A cache of folds; losing it loses nothing.

use std::collections::HashMap;
use std::time::Duration;

use keyledger_events::{AccountId, Event, KeyDigest, Recorded, Seq, Timestamp};
use lru::LruCache;
use rustc_hash::FxBuildHasher;
use tokio::time::Instant;

use super::account::{Account, Inconsistent};
use super::load::{Broken, Why};
use super::opener::Opener;
use super::remembered::is_forgotten;
use crate::log::{DataKeyFound, KeysOfBlock};

/// Accounts by id, and which account owns which key.
#[derive(Debug)]
pub(super) struct Cache {
    accounts: LruCache<AccountId, Entry>,
    /// A digest is spread well enough by itself.
    owners: HashMap<KeyDigest, AccountId, FxBuildHasher>,
    openers: HashMap<Opener, AccountId>,
    weight: usize,
    weight_max: usize,
    era: Era,
    /// When what was forgotten here had changed last.
    forgotten: Era,
    broken: Broken,
    /// When that is doubted.
    broken_until: Option<Instant>,
}

/// Times between which readings of the log begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Era(u64);

#[derive(Debug)]
struct Entry {
    account: Account,
    weight: usize,
    /// When the log last took events of it from here.
    appended: Era,
    /// How far the last snapshot reaches.
    snapshot_seq: Seq,
    /// What its events say of people is sealed with. `None`: it has no key yet.
    data_key: Option<DataKeyFound>,
    /// Which keys its last events were about, as far as they were folded here.
    keys_of_block: KeysOfBlock,
}

/// A snapshot is due after this many events, and as many more as the state has holds and memories of holds and of paid
/// results: writing it then costs each event a small and constant share.
const EVENTS_BETWEEN_SNAPSHOTS_MIN: usize = 500;

/// So long nothing of what is broken is read again, however often it is asked for: histories may be long.
const BROKEN_FOR: Duration = Duration::from_secs(1);
/// The same of what is away: a store that does not answer takes long to say so.
const AWAY_FOR: Duration = Duration::from_secs(5);

impl Cache {
    pub(super) fn new(weight_max: usize) -> Cache {
        Cache {
            accounts: LruCache::unbounded(),
            owners: HashMap::default(),
            openers: HashMap::new(),
            weight: 0,
            weight_max,
            era: Era(0),
            forgotten: Era(0),
            broken: Broken::default(),
            broken_until: None,
        }
    }

    /// These cannot be here.
    pub(super) fn note_broken(&mut self, broken: Broken, now: Instant) {
        if !broken.is_empty() {
            let is_away = broken.accounts.values().any(|why| *why == Why::Away);
            self.broken_until
                .get_or_insert(now + if is_away { AWAY_FOR } else { BROKEN_FOR });
            self.broken.extend(broken);
        }
    }

    pub(super) fn broken(&self) -> &Broken {
        &self.broken
    }

    /// What is broken may have been repaired. Not between looking for what a command needs and its decision, which would find
    /// nobody there.
    pub(super) fn doubt_broken(&mut self, now: Instant) {
        if self.broken_until.is_some_and(|until| until <= now) {
            self.broken_until = None;
            self.broken = Broken::default();
        }
    }

    /// A reading begins.
    pub(super) fn next_era(&mut self) -> Era {
        self.era.0 += 1;
        self.era
    }

    /// Whether an account was forgotten that had changed since: a reading that began then may have it as it was before.
    pub(super) fn forgot_since(&self, era: Era) -> bool {
        self.forgotten >= era
    }

    pub(super) fn contains(&self, account: AccountId) -> bool {
        self.accounts.contains(&account)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    pub(super) fn owner(&self, digest: KeyDigest) -> Option<AccountId> {
        self.owners.get(&digest).copied()
    }

    /// The account that was opened under this key last, as far as it is in memory and the key is remembered.
    pub(super) fn opened_by(&self, opener: Opener, now: Timestamp) -> Option<&Account> {
        let account = self.peek(*self.openers.get(&opener)?)?;
        let forgotten = is_forgotten(account.opened.as_ref()?.at, now);
        (!forgotten).then_some(account)
    }

    /// Whether another account that is here was opened under the same key later than this one.
    fn has_later(&self, opener: Opener, account: &Account) -> bool {
        let at = |account: &Account| account.opened.as_ref().map(|opened| opened.at);
        let other = self.openers.get(&opener).and_then(|other| self.peek(*other));
        other.is_some_and(|other| at(other) > at(account))
    }

    /// The account, marked as just used.
    pub(super) fn get(&mut self, account: AccountId) -> Option<&Account> {
        self.accounts.get(&account).map(|entry| &entry.account)
    }

    /// The account, without a mark.
    pub(super) fn peek(&self, account: AccountId) -> Option<&Account> {
        self.accounts.peek(&account).map(|entry| &entry.account)
    }

    pub(super) fn insert(&mut self, account: Account, snapshot_seq: Seq) {
        self.drop_account(account.id);
        for key in account.keys.values() {
            self.owners.insert(key.digest, account.id);
        }
        if let Some(opener) = opener(&account)
            && !self.has_later(opener, &account)
        {
            self.openers.insert(opener, account.id);
        }
        let weight = account.weight();
        self.weight += weight;
        self.accounts.put(
            account.id,
            Entry {
                account,
                weight,
                appended: Era(0),
                snapshot_seq,
                data_key: None,
                keys_of_block: KeysOfBlock::default(),
            },
        );
    }

    /// Notes the data key of an account that is here.
    pub(super) fn know_key(&mut self, account: AccountId, key: DataKeyFound) {
        if let Some(entry) = self.accounts.peek_mut(&account) {
            entry.data_key = Some(key);
        }
    }

    pub(super) fn data_key(&self, account: AccountId) -> Option<DataKeyFound> {
        self.accounts.peek(&account)?.data_key.clone()
    }

    /// Forgets an account whose last events may be on their way to the log.
    pub(super) fn drop_account(&mut self, account: AccountId) {
        self.forget(account, self.era);
    }

    fn forget(&mut self, account: AccountId, changed: Era) {
        if let Some(entry) = self.accounts.pop(&account) {
            self.forgotten = self.forgotten.max(changed);
            self.weight -= entry.weight;
            for key in entry.account.keys.values() {
                self.owners.remove(&key.digest);
            }
            if let Some(opener) = opener(&entry.account)
                && self.openers.get(&opener) == Some(&account)
            {
                self.openers.remove(&opener);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.accounts.clear();
        self.owners.clear();
        self.openers.clear();
        self.weight = 0;
        // Any of them may have changed in this era.
        self.forgotten = self.era;
        self.broken_until = None;
        self.broken = Broken::default();
    }

    /// Folds an event into an account that is here. Wrong history is no state: the account is dropped. Tells whether the event
    /// leads to its key in the log's index.
    pub(super) fn evolve(&mut self, recorded: &Recorded) -> Result<bool, Inconsistent> {
        let Some(entry) = self.accounts.peek_mut(&recorded.account) else {
            return Ok(true);
        };
        if let Err(inconsistent) = entry.account.evolve(recorded) {
            self.drop_account(recorded.account);
            return Err(inconsistent);
        }
        let leads_key = entry.keys_of_block.leads(recorded.seq, recorded.event.key());
        if let Event::KeyCreated(created) = &recorded.event {
            self.owners.insert(created.digest, recorded.account);
        }
        if matches!(recorded.event, Event::AccountOpened(_))
            && let Some(opener) = opener(&entry.account)
        {
            self.openers.insert(opener, recorded.account);
        }
        Ok(leads_key)
    }

    /// Folds an event that somebody else wrote, unless the account has read it already.
    pub(super) fn follow(&mut self, recorded: &Recorded) -> Result<(), Inconsistent> {
        match self.accounts.peek(&recorded.account) {
            None => Ok(()),
            Some(entry) if recorded.seq <= entry.account.seq => Ok(()),
            // Another process has made its data key: whoever wants it next reads that too.
            Some(entry) if recorded.sealed.is_some() && entry.data_key.is_none() => {
                self.drop_account(recorded.account);
                Ok(())
            }
            Some(_) => self.evolve(recorded).map(|_| ()),
        }
    }

    /// After a round: weighs an account again, and gives a copy when a snapshot of it is due.
    pub(super) fn settle_entry(&mut self, account: AccountId) -> Option<Account> {
        let entry = self.accounts.peek_mut(&account)?;
        let weight = entry.account.weight() + entry.keys_of_block.weight();
        self.weight = self.weight - entry.weight + weight;
        entry.weight = weight;
        let new_events = usize::try_from(entry.account.seq.0 - entry.snapshot_seq.0).unwrap_or(usize::MAX);
        let held = entry.account.open.len() + entry.account.settled.len() + entry.account.paid.len();
        let due = EVENTS_BETWEEN_SNAPSHOTS_MIN + held;
        if new_events < due {
            return None;
        }
        entry.snapshot_seq = entry.account.seq;
        Some(entry.account.clone())
    }

    /// Notes that the log took events of an account.
    pub(super) fn note_appended(&mut self, account: AccountId) {
        if let Some(entry) = self.accounts.peek_mut(&account) {
            entry.appended = self.era;
        }
    }

    /// Drops the least used until the rest fits, or until one may not be dropped: it was used just now, so the others
    /// were too. The last one stays, however heavy: somebody is using it.
    pub(super) fn shrink(&mut self, keep: impl Fn(&AccountId) -> bool) {
        while self.weight > self.weight_max && self.accounts.len() > 1 {
            let Some((id, entry)) = self.accounts.peek_lru() else {
                return;
            };
            let (id, appended) = (*id, entry.appended);
            if keep(&id) {
                return;
            }
            self.forget(id, appended);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.accounts.len()
    }
}

fn opener(account: &Account) -> Option<Opener> {
    account.opened.as_ref()?.opener
}

#[cfg(test)]
mod tests {

    use keyledger_events::{AccountName, Credits};

    use super::*;
    use crate::ledger::account::Opened;
    use crate::ledger::remembered::idempotent_command_id;

    fn account(n: u128) -> Account {
        Account::nobody(AccountId::from_parts(1, n))
    }

    fn opened(n: u128, at: Timestamp) -> Account {
        let mut account = account(n);
        let command = idempotent_command_id(&"a".repeat(40), "b").unwrap();
        account.opened = Some(Opened {
            name: AccountName::parse("Acme").unwrap(),
            external_ref: None,
            credit_limit: Credits::ZERO,
            at,
            opener: Opener::of(&command),
        });
        account
    }

    #[test]
    fn what_is_broken_is_so_for_a_second() {
        let (id, key) = (account(1).id, KeyDigest::from_bytes([7; 32]));
        let broken = || Broken {
            accounts: [(id, Why::Broken)].into(),
            keys: [(key, Why::Broken)].into(),
            openers: HashMap::new(),
        };
        let noted = |cache: &Cache| {
            let Broken { accounts, keys, .. } = cache.broken();
            [accounts.contains_key(&id), keys.contains_key(&key)]
        };
        let mut cache = Cache::new(usize::MAX);
        let begin = Instant::now();
        cache.note_broken(Broken::default(), begin);
        for from in [begin + BROKEN_FOR / 2, begin + BROKEN_FOR * 3] {
            cache.doubt_broken(from);
            assert_eq!(noted(&cache), [false; 2]);
            cache.note_broken(broken(), from);
            cache.doubt_broken(from + BROKEN_FOR / 2);
            // Asked for again, it is no longer so than it was.
            cache.note_broken(broken(), from + BROKEN_FOR / 2);
            assert_eq!(noted(&cache), [true; 2]);
            cache.doubt_broken(from + BROKEN_FOR);
            assert_eq!(noted(&cache), [false; 2]);
        }
        cache.note_broken(broken(), begin);
        cache.clear();
        assert_eq!(noted(&cache), [false; 2]);
    }

    #[test]
    fn a_key_names_the_account_that_it_opened_last_for_25_hours() {
        let (first, second) = (Timestamp::EPOCH, Timestamp::EPOCH.plus_seconds(30 * 3600));
        let opener = opener(&opened(0, first)).unwrap();
        let named = |cache: &Cache, now| cache.opened_by(opener, now).map(|account| account.id);
        for order in [[(1, first), (2, second)], [(2, second), (1, first)]] {
            let mut cache = Cache::new(usize::MAX);
            for (n, at) in order {
                cache.insert(opened(n, at), Seq::START);
            }
            assert_eq!(named(&cache, second), Some(account(2).id));
            assert_eq!(named(&cache, second.plus_seconds(25 * 3600 - 1)), Some(account(2).id));
            assert_eq!(named(&cache, second.plus_seconds(25 * 3600)), None);
            cache.drop_account(account(2).id);
            assert_eq!(named(&cache, second), None);
        }
    }

    #[test]
    fn the_least_used_go_first_and_the_weight_stays_bounded() {
        let mut cache = Cache::new(3 * account(0).weight());
        for n in 0..3 {
            cache.insert(account(n), Seq::START);
        }
        assert!(cache.get(account(0).id).is_some());
        cache.insert(account(3), Seq::START);
        cache.shrink(|_| false);
        assert_eq!(cache.len(), 3);
        assert!(!cache.contains(account(1).id), "the least used is gone");
        assert!(cache.contains(account(0).id));
    }

    #[test]
    fn a_reading_that_began_before_an_account_changed_and_was_forgotten_is_outdated() {
        let mut cache = Cache::new(1);
        let before = cache.next_era();
        for n in 0..2 {
            cache.insert(account(n), Seq::START);
        }
        cache.shrink(|_| false);
        assert!(!cache.contains(account(0).id));
        assert!(!cache.forgot_since(before), "what has not changed is read as it was");
        cache.note_appended(account(1).id);
        cache.insert(account(2), Seq::START);
        cache.shrink(|_| false);
        assert!(!cache.contains(account(1).id));
        assert!(cache.forgot_since(before));
        let after = cache.next_era();
        assert!(
            !cache.forgot_since(after),
            "whoever begins to read now reads the change too"
        );
        cache.drop_account(account(2).id);
        assert!(
            cache.forgot_since(after),
            "what was on its way may be in the log by now"
        );
    }
}
