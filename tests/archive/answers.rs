//! What every read of the log answers, so that it can be compared with what it answered before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use keyledger::log::{AccountHistory, Beside, HistorySearch, Log, Stored};
use keyledger_events::{AccountId, Event, GrantId, KeyDigest, KeyId, Position, Recorded, Seq, Timestamp};

/// What is asked for.
pub struct Asked {
    accounts: BTreeSet<AccountId>,
    keys: BTreeMap<KeyId, AccountId>,
    grants: BTreeMap<AccountId, BTreeSet<GrantId>>,
    digests: Vec<KeyDigest>,
    times: Vec<Timestamp>,
    head: u64,
}

const SCOPE: &str = "0123456789abcdef0123456789abcdef01234567";
const TYPES: &[&[&str]] = &[
    Event::TYPES,
    &["keyledger.KeyUsed.v1"],
    &["keyledger.CreditsCharged.v1", "keyledger.KeyRenamed.v1"],
    &[
        "keyledger.KeyCreated.v1",
        "keyledger.KeyRenamed.v1",
        "keyledger.KeyDeleted.v1",
    ],
    &["keyledger.CreditsReleased.v1"],
    &["keyledger.AccountOpened.v1"],
    &["keyledger.AccountClosed.v1"],
];

/// The command of an account that was opened under an idempotency key.
pub fn opened_under_a_key() -> String {
    format!("idem:{SCOPE}")
}

impl Asked {
    /// About everything that the log names, and a stranger.
    pub fn about(events: &[Recorded], borders: &[u64]) -> Asked {
        let mut asked = Asked {
            accounts: BTreeSet::from([AccountId::from_parts(9, 9)]),
            keys: BTreeMap::new(),
            grants: BTreeMap::new(),
            digests: vec![KeyDigest::of("nobody's")],
            times: vec![Timestamp::from_micros(0).unwrap(), Timestamp::MAX],
            head: events.last().unwrap().position.0,
        };
        for event in events {
            asked.accounts.insert(event.account);
            asked.keys.extend(event.event.key().map(|key| (key, event.account)));
            asked.digests.extend(event.event.new_key_digest());
            if let Event::CreditsGranted(e) = &event.event {
                asked.grants.entry(event.account).or_default().insert(e.grant);
            }
            if event.position.0 % 197 == 0 || borders.contains(&event.position.0) {
                let at = event.time.micros();
                asked
                    .times
                    .extend([at, at + 1].map(|at| Timestamp::from_micros(at).unwrap()));
            }
        }
        asked
    }

    pub async fn answers(&self, log: &Log) -> BTreeMap<String, String> {
        let mut answers = Answers(BTreeMap::new());
        self.by_position(log, &mut answers).await;
        self.by_account(log, &mut answers).await;
        self.by_key(log, &mut answers).await;
        self.by_time(log, &mut answers).await;
        self.by_search(log, &mut answers).await;
        self.in_place(log, &mut answers).await;
        answers.0
    }

    /// Some of them.
    pub async fn some_answers(&self, log: &Log) -> BTreeMap<String, String> {
        let mut answers = Answers(BTreeMap::new());
        self.by_position(log, &mut answers).await;
        self.in_place(log, &mut answers).await;
        answers.0
    }

    async fn by_position(&self, log: &Log, answers: &mut Answers) {
        for after in (0..=self.head + 3)
            .step_by(101)
            .chain([255, 256, 257, 511, 512, self.head])
        {
            for limit in [0, 1, 300, 5_000] {
                let read = log.read(Position(after), limit).await.unwrap();
                answers.note(format!("read {after} {limit}"), &read);
            }
        }
        for after in [0, 1, 2, 400] {
            let books = log.price_books(Seq(after), 2).await.unwrap();
            answers.note(format!("price books {after}"), &books);
        }
        let mut owners = log.owners(&self.digests).await.unwrap();
        owners.sort_by_key(|(digest, _)| *digest.as_bytes());
        answers.note("owners", &owners);
        answers.note("opened by", &log.opened_by(&[SCOPE]).await.unwrap());
        let unknown = SCOPE.replace('0', "1");
        answers.note("opened by nobody", &log.opened_by(&[&unknown]).await.unwrap());
    }

    async fn by_account(&self, log: &Log, answers: &mut Answers) {
        for account in &self.accounts {
            for after in [0, 1, 17, 60, 4_000] {
                for limit in [0, 1, 20, 5_000] {
                    let read = log.account_events(*account, Seq(after), limit).await.unwrap();
                    answers.note(format!("account {account} {after} {limit}"), &read);
                }
                for types in TYPES {
                    let read = log.events_of_types(*account, Seq(after), Seq(after + 50), types).await;
                    answers.note(format!("types {account} {after} {types:?}"), &read.unwrap());
                }
                for limit in [1, 50] {
                    let read =
                        log.events_of_seldom_type(*account, Seq(after), Seq(5_000), "keyledger.KeyCreated.v1", limit);
                    answers.note(format!("seldom {account} {after} {limit}"), &read.await.unwrap());
                }
                self.histories(log, answers, *account, Seq(after)).await;
            }
            for (first, last) in [(1, self.head), (200, 300), (257, 512), (1, 100)] {
                let ends = log.ends_of_account(*account, Position(first), Position(last)).await;
                answers.note(format!("ends of account {account} {first} {last}"), &ends.unwrap());
                let position = log.seq_at_position(*account, Position(last)).await.unwrap();
                answers.note(format!("at position {account} {last}"), &position);
                for limit in [1, 5_000] {
                    let read = log.account_events_after(*account, Position(last), limit).await.unwrap();
                    answers.note(format!("account after {account} {last} {limit}"), &read);
                }
            }
            let grants: Vec<GrantId> = self.grants.get(account).into_iter().flatten().copied().collect();
            let mut births = log.births_of_grants(*account, &grants).await.unwrap();
            births.sort_by_key(|birth| birth.position);
            answers.note(format!("births {account}"), &births);
        }
    }

    /// The account beside another one, account by account and each in order, but in any order of accounts.
    async fn histories(&self, log: &Log, answers: &mut Answers, account: AccountId, after: Seq) {
        let other = *self.accounts.iter().rfind(|other| **other != account).unwrap();
        let wanted = [(account, after), (other, Seq(30))].map(|(account, after)| AccountHistory { account, after });
        let mut read: BTreeMap<AccountId, Vec<Stored>> = BTreeMap::new();
        let mut each = |_, stored: Stored| {
            let account = stored.decode().unwrap().account;
            read.entry(account).or_default().push(stored);
            Ok(())
        };
        let archived = log.read_accounts(&wanted, &mut each).await.unwrap();
        let away = log.read_archived_accounts(archived, &mut each).await.unwrap();
        assert!(away.is_empty(), "{away:?}");
        answers.note(format!("histories {account} {after:?}"), &read);
    }

    async fn by_key(&self, log: &Log, answers: &mut Answers) {
        for (key, account) in &self.keys {
            for after in [0, 100, 256, 400, self.head] {
                for limit in [0, 1, 10, 5_000] {
                    let read = log.key_events(*account, *key, Position(after), limit).await.unwrap();
                    answers.note(format!("key {key} {after} {limit}"), &read);
                }
            }
            answers.note(format!("account of {key}"), &log.account_of_key(*key).await.unwrap());
            for (first, last) in [(1, self.head), (200, 300), (257, 512), (300, 299)] {
                let ends = log
                    .ends_of_key(*account, *key, Position(first), Position(last))
                    .await
                    .unwrap();
                answers.note(format!("ends of key {key} {first} {last}"), &ends);
            }
            let other = *self.accounts.iter().find(|other| *other != account).unwrap();
            let read = log.key_events(other, *key, Position::START, 10).await.unwrap();
            answers.note(format!("another's key {key}"), &read);
        }
    }

    async fn by_time(&self, log: &Log, answers: &mut Answers) {
        for from in &self.times {
            for end in [self.head, 300, 256, 1] {
                let last = log.last_before(*from, Position(end)).await.unwrap();
                answers.note(format!("last before {from} {end}"), &last);
            }
            for account in &self.accounts {
                let moment = log.seq_at_moment(*account, *from).await.unwrap();
                answers.note(format!("at moment {account} {from}"), &moment);
                for to in [self.times.first(), self.times.get(4), self.times.last()]
                    .into_iter()
                    .flatten()
                {
                    let span = log.span(*account, *from, *to).await.unwrap();
                    answers.note(format!("span {account} {from} {to}"), &span);
                }
            }
        }
    }

    async fn by_search(&self, log: &Log, answers: &mut Answers) {
        let of_accounts = self.accounts.iter().map(|account| (*account, None));
        let of_keys = self.keys.iter().step_by(3).map(|(key, account)| (*account, Some(*key)));
        for (account, key) in of_accounts.chain(of_keys) {
            for types in TYPES {
                let search = HistorySearch { account, key, types };
                for (limit, pages_max) in [(3, 3), (1_000, 2)] {
                    let name = format!("history {account} {key:?} {types:?} {limit}");
                    history(log, answers, &search, limit, pages_max, &name).await;
                }
                for before in [250, 256, 257, self.head] {
                    let page = log.history(&search, Some(Position(before)), 5).await.unwrap();
                    let said = (page.events, page.older_than, sorted(page.beside));
                    answers.note(format!("history {account} {key:?} {types:?} before {before}"), &said);
                }
            }
        }
    }

    async fn in_place(&self, log: &Log, answers: &mut Answers) {
        for at in (0..=self.head + 1).step_by(17) {
            for account in &self.accounts {
                let placed = log.event_of(*account, Position(at)).await.unwrap();
                let placed = placed.map(|placed| {
                    let around = (placed.event, placed.older, placed.newer, placed.steps);
                    (around, sorted(placed.beside))
                });
                if placed.is_some() || at % 51 == 0 {
                    answers.note(format!("placed {account} {at}"), &placed);
                }
            }
        }
    }
}

async fn history(
    log: &Log,
    answers: &mut Answers,
    search: &HistorySearch<'_>,
    limit: u32,
    pages_max: usize,
    name: &str,
) {
    let mut before = None;
    for page in 0..pages_max {
        let found = log.history(search, before, limit).await.unwrap();
        before = found.older_than;
        let said = (found.events, found.older_than, sorted(found.beside));
        answers.note(format!("{name} page {page}"), &said);
        if before.is_none() {
            break;
        }
    }
}

/// It is told in no order.
fn sorted(mut beside: Beside) -> Beside {
    beside.namings.sort_by_key(|stored| stored.position);
    beside.uses.sort_by_key(|stored| stored.position);
    beside.people.sort();
    beside
}

struct Answers(BTreeMap<String, String>);

impl Answers {
    /// Long answers are told by their digest.
    fn note(&mut self, question: impl Into<String>, answer: &impl Debug) {
        let text = format!("{answer:?}");
        let text = match text.len() {
            0..400 => text,
            length => format!("{length} {}", KeyDigest::of(&text)),
        };
        self.0.insert(question.into(), text);
    }
}

/// Names the first answers that are not what they were.
pub fn compare(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) {
    let differs = |(question, answer): (&String, &String)| match before.get(question) {
        Some(before) if before == answer => None,
        before => Some(format!("{question}\n  was {before:?}\n  is  {answer:?}")),
    };
    let differ: Vec<String> = now.iter().filter_map(differs).collect();
    let first = &differ[..differ.len().min(5)];
    assert!(
        !now.is_empty() && differ.is_empty(),
        "{} of {} answers differ:\n{}",
        differ.len(),
        now.len(),
        first.join("\n")
    );
}
