//! Who may ask how often, decided in memory before the ledger is asked.
//!
//! In: a key's digest, a price rule, a client's address. Out: a pass, or a problem.
//!
//! Promise: a call that is denied here costs nothing: no hold, no event, no look-up. One key cannot use up what others
//! share. A pass lets nobody in: the hold that follows decides about the key, so what is remembered here can be out of
//! date without harm.
//!
//! Not here: limits over all processes together. Each process counts for itself, so N of them let N times as much
//! through.
//!
//! A key's own limits. They are known when the ledger has answered the key's first call; until then its calls fall under
//! the limit of every key, and are taken from its own bucket when it turns out to have one. Calls to endpoints that it
//! is not for are refused from memory after the first, and take from no bucket.
//!
//! Bad keys. A key that the ledger has just refused is refused again from memory for 2 s. That cannot hide a key
//! that another process has created meanwhile: the ledger refuses after it has read all events, and a key's text is
//! drawn by us and known to nobody before its creation is one of them. A key that is *not known to be right* also takes
//! from its client's own bucket, and gives it back when it turns out right; so a flood of ever new wrong keys becomes
//! no more look-ups than that bucket lets through, while keys from the same address that are known to be right pass
//! untouched. Others from there are told 429 for as long as the flood lasts: so a proxy's own address must not stand for
//! its clients (`[gateway] proxies`).

mod bucket;
mod known;
mod quota;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keyledger_events::{AccountId, Endpoint, KeyDigest};
use lru::LruCache;
use tokio::time::Instant;

pub(super) use quota::{Quota, tell};

use crate::config::RateLimits;
use crate::ledger::{Held, KeySignals, Refusal};
use crate::prices::{PriceRule, Rate};
use crate::problem::{Problem, RATE_LIMITED};
use bucket::{Buckets, Level};
use known::Known;
use quota::whole_seconds;

/// Buckets and memories of each kind: about 10 MB when all are in use.
const REMEMBERED_MAX: NonZeroUsize = match NonZeroUsize::new(50_000) {
    Some(most) => most,
    None => NonZeroUsize::MIN,
};
/// How long a refused key is refused from memory.
const REFUSED_FRESH: Duration = Duration::from_secs(2);

/// All limits of one gateway.
#[derive(Debug)]
pub(super) struct Limits {
    rates: RateLimits,
    signals: Arc<KeySignals>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// By digest and not by key id: a digest is there before the ledger has said whose it is.
    /// And by the rate: a key whose own rate is heard of has another bucket from then on.
    keys: Buckets<(KeyDigest, Rate)>,
    endpoints: Buckets<(KeyDigest, Endpoint)>,
    accounts: Buckets<AccountId>,
    clients: Buckets<IpAddr>,
    /// Keys that the ledger has said something of, and has not refused as keys.
    known: LruCache<KeyDigest, Known>,
    /// Keys that the ledger refused of late, and how.
    refused: LruCache<KeyDigest, (Instant, Refusal)>,
    /// Unknown keys that the ledger is being asked about, and by how many. Only the first takes from its client.
    asked: HashMap<KeyDigest, usize>,
}

/// What one call falls under.
#[derive(Debug, Clone, Copy)]
struct Under<'a> {
    key: KeyDigest,
    /// The key's own, or that of every key.
    key_rate: Option<Rate>,
    /// `None` until it is known.
    account: Option<AccountId>,
    rule: &'a PriceRule,
}

/// What became of asking for a pass, and what to tell of the limits either way.
#[derive(Debug)]
pub(super) struct Taken {
    pub quotas: Vec<Quota>,
    pub pass: Result<Pass, Problem>,
}

/// Lets one call ask the ledger. It is told what the ledger said; dropped without a word, it was no failed key.
#[derive(Debug)]
pub(super) struct Pass {
    limits: Arc<Limits>,
    key: KeyDigest,
    client: IpAddr,
    account: Option<AccountId>,
    /// By which it took from its key's bucket.
    key_rate: Option<Rate>,
    /// The key was not known, so this one is counted among the `asked`.
    asks: bool,
    /// It took from its client's bucket for bad keys.
    took_from_client: bool,
}

impl Limits {
    pub(super) fn new(rates: RateLimits, signals: Arc<KeySignals>) -> Limits {
        let state = State {
            keys: Buckets::new(REMEMBERED_MAX),
            endpoints: Buckets::new(REMEMBERED_MAX),
            accounts: Buckets::new(REMEMBERED_MAX),
            clients: Buckets::new(REMEMBERED_MAX),
            known: LruCache::new(REMEMBERED_MAX),
            refused: LruCache::new(REMEMBERED_MAX),
            asked: HashMap::new(),
        };
        Limits {
            rates,
            signals,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Counts only: the worst that a panic elsewhere leaves here is a token too few.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one call from every bucket that it falls under, or from none.
    pub(super) fn take(self: &Arc<Self>, key: KeyDigest, rule: &PriceRule, client: IpAddr) -> Taken {
        let (client, now) = (network(client), Instant::now());
        let mut state = self.state();
        if let Some(refusal) = state.refused_of_late(&key, now) {
            self.signals.denials().note(key, &refusal);
            let denied = (refusal == Refusal::KeyInvalid).then(|| self.failure(&mut state, client, now));
            return Taken {
                quotas: Vec::new(),
                pass: Err(denied.flatten().unwrap_or_else(|| refusal.into())),
            };
        }
        let known = self.known(&mut state, &key);
        if let Some(refusal) = known.as_ref().and_then(|known| known.refuses(&rule.endpoint, now)) {
            self.signals.denials().note(key, &refusal);
            return Taken {
                quotas: Vec::new(),
                pass: Err(refusal.into()),
            };
        }
        let asks = known.is_none();
        let under = Under {
            key,
            key_rate: known.as_ref().and_then(Known::rate).or(self.rates.per_key),
            account: known.map(|known| known.account),
            rule,
        };
        let from_client = asks && !state.asked.contains_key(&key);
        if from_client && let Some(wait) = self.client_wait(&state, client, now) {
            return Taken {
                quotas: Vec::new(),
                pass: Err(too_often(wait)),
            };
        }
        let levels = self.levels(&state, under, now);
        let wait = levels.iter().map(|(.., level)| level.wait).max().unwrap_or_default();
        let passes = wait.is_zero();
        let quotas = levels
            .into_iter()
            .map(|(name, rate, level)| Quota::after(name, rate, level, passes))
            .collect();
        if !passes {
            let pass = Err(too_often(wait));
            return Taken { quotas, pass };
        }
        self.take_all(&mut state, under, now);
        if from_client {
            state.clients.take(client, self.rates.bad_keys, now);
        }
        if asks {
            *state.asked.entry(key).or_default() += 1;
        }
        let pass = Pass {
            limits: Arc::clone(self),
            key,
            client,
            account: under.account,
            key_rate: under.key_rate,
            asks,
            took_from_client: from_client,
        };
        Taken { quotas, pass: Ok(pass) }
    }

    /// Counts a text that cannot be a key. Says so when its client has shown too many.
    pub(super) fn bad_key(&self, client: IpAddr) -> Option<Problem> {
        self.failure(&mut self.state(), network(client), Instant::now())
    }

    fn failure(&self, state: &mut State, client: IpAddr, now: Instant) -> Option<Problem> {
        let wait = self.client_wait(state, client, now);
        if wait.is_none() {
            state.clients.take(client, self.rates.bad_keys, now);
        }
        wait.map(too_often)
    }

    fn client_wait(&self, state: &State, client: IpAddr, now: Instant) -> Option<Duration> {
        let wait = state.clients.level(&client, self.rates.bad_keys, now).wait;
        (!wait.is_zero()).then_some(wait)
    }

    /// What a key is known as, if that was heard of late and its end was not.
    fn known(&self, state: &mut State, key: &KeyDigest) -> Option<Known> {
        let known = state.known.get(key)?.clone();
        if self.signals.has_ended(known.key) {
            state.known.pop(key);
            return None;
        }
        Some(known)
    }

    fn levels(&self, state: &State, under: Under<'_>, now: Instant) -> Vec<(&'static str, Rate, Level)> {
        let Under { key, rule, .. } = under;
        let endpoint = rule.rate.map(|rate| {
            let name = (key, rule.endpoint.clone());
            ("endpoint", rate, state.endpoints.level(&name, rate, now))
        });
        let by_key = under
            .key_rate
            .map(|rate| ("key", rate, state.keys.level(&(key, rate), rate, now)));
        let by_account = self
            .rates
            .per_account
            .zip(under.account)
            .map(|(rate, account)| ("account", rate, state.accounts.level(&account, rate, now)));
        [endpoint, by_key, by_account].into_iter().flatten().collect()
    }

    fn take_all(&self, state: &mut State, under: Under<'_>, now: Instant) {
        if let Some(rate) = under.rule.rate {
            state
                .endpoints
                .take((under.key, under.rule.endpoint.clone()), rate, now);
        }
        if let Some(rate) = under.key_rate {
            state.keys.take((under.key, rate), rate, now);
        }
        if let Some((rate, account)) = self.rates.per_account.zip(under.account) {
            state.accounts.take(account, rate, now);
        }
    }
}

impl State {
    fn refused_of_late(&mut self, key: &KeyDigest, now: Instant) -> Option<Refusal> {
        let (at, refusal) = self.refused.peek(key)?;
        if now.saturating_duration_since(*at) < REFUSED_FRESH {
            return Some(refusal.clone());
        }
        self.refused.pop(key);
        None
    }
}

impl Pass {
    /// The ledger let the key through, and said whose it is and how often it may call. A call that was made before that
    /// was known is taken from those buckets now.
    pub(super) fn let_through(self, held: &Held) {
        let now = Instant::now();
        let Some(known) = Known::held(held, now) else { return };
        let mut state = self.limits.state();
        let own_rate = known.rate().filter(|rate| self.key_rate != Some(*rate));
        if let Some(rate) = own_rate {
            state.keys.take((self.key, rate), rate, now);
        }
        if let (None, Some(rate)) = (self.account, self.limits.rates.per_account) {
            state.accounts.take(known.account, rate, now);
        }
        state.known.put(self.key, known);
    }

    /// The ledger refused. Only what it says of the key itself is remembered, and only a key that never was one is
    /// held against its client: whoever shows a right one that has ended, or is not for the endpoint, is told so, however
    /// often.
    pub(super) fn refused(mut self, refusal: &Refusal) {
        if let Some(known) = Known::refused(refusal, Instant::now()) {
            self.limits.state().known.put(self.key, known);
            return;
        }
        if !matches!(refusal, Refusal::KeyInvalid | Refusal::KeyDeleted | Refusal::KeyExpired) {
            return;
        }
        let now = Instant::now();
        let limits = Arc::clone(&self.limits);
        let mut state = limits.state();
        state.known.pop(&self.key);
        state.refused.put(self.key, (now, refusal.clone()));
        if *refusal != Refusal::KeyInvalid {
            return;
        }
        if !self.took_from_client {
            state.clients.take(self.client, limits.rates.bad_keys, now);
        }
        // What was taken stays taken.
        self.took_from_client = false;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.limits.state();
        if self.took_from_client {
            state.clients.give_back(&self.client, self.limits.rates.bad_keys);
        }
        if self.asks
            && let Some(count) = state.asked.get_mut(&self.key)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                state.asked.remove(&self.key);
            }
        }
    }
}

fn too_often(wait: Duration) -> Problem {
    Problem::new(RATE_LIMITED, "more calls were made than the limit allows").retry_after_seconds(whole_seconds(wait))
}

/// One subscriber of IPv6 has a whole /64 to ask from.
pub(super) fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}
