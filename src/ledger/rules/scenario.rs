//! Given, when, then: an account with one key, and the commands that tests send to it.

mod makings;

use keyledger_events::{
    AccountId, AccountName, Actor, CommandId, Credits, Event, EventId, Recorded, ReservationId, Shard, Timestamp,
};

pub(crate) use makings::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;
use crate::ledger::account::Account;
use crate::ledger::command::{By, Command, Given, Limits};
use crate::ledger::refusal::Refusal;

const START_MS: u64 = 1_764_000_000_000;
pub(crate) const R1: ReservationId = ReservationId::from_parts(START_MS, 1);
pub(crate) const R2: ReservationId = ReservationId::from_parts(START_MS, 2);
pub(crate) const R3: ReservationId = ReservationId::from_parts(START_MS, 3);

pub(crate) fn account_id() -> AccountId {
    AccountId::from_parts(START_MS, 1)
}

pub(crate) fn credits(text: &str) -> Credits {
    text.parse().unwrap()
}

/// An account's whole history so far, and the state that it folds to.
pub(crate) struct Scenario {
    pub now: Timestamp,
    pub limits: Limits,
    pub history: Vec<Recorded>,
    account: Account,
    name: Option<CommandId>,
    sent: u64,
}

/// What became of one command.
#[derive(Debug)]
pub(crate) struct Tried {
    written: Vec<&'static str>,
    answer: Result<(), Refusal>,
}

/// A command, or the makings of one that has to know the time.
pub(crate) trait Sent {
    type C: Command;
    fn at(self, now: Timestamp) -> Self::C;
}

impl<C: Command> Sent for C {
    type C = C;
    fn at(self, _now: Timestamp) -> C {
        self
    }
}

impl Scenario {
    pub(crate) fn with_credits(amount: &str) -> Scenario {
        Scenario::with_limit(amount, "0")
    }

    pub(crate) fn with_limit(amount: &str, credit_limit: &str) -> Scenario {
        let mut s = Scenario {
            now: Timestamp::from_micros(i64::try_from(START_MS).unwrap() * 1_000).unwrap(),
            limits: Limits::default(),
            history: Vec::new(),
            account: Account::nobody(account_id()),
            name: None,
            sent: 0,
        };
        let name = AccountName::parse("Acme").unwrap();
        s.when(OpenAccount {
            account: account_id(),
            name,
            external_ref: None,
            credit_limit: credits(credit_limit),
        })
        .succeeds();
        s.when(create_key(1)).succeeds();
        s.when(grant(1, amount)).succeeds();
        s
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    pub(crate) fn available(&self) -> String {
        self.account.available().to_string()
    }

    /// What is left of each grant, in burn order: `"4:0.5 3:0.5"`.
    pub(crate) fn left_of_grants(&self) -> String {
        let grants = self.account.grants.iter();
        let left: Vec<String> = grants
            .map(|g| format!("{}:{}", g.id.to_bytes()[15], g.remaining))
            .collect();
        left.join(" ")
    }

    /// A refund of all that is left of a charge of this history.
    pub(crate) fn refund(&self, reservation: ReservationId) -> RefundCharge {
        refund(&self.history, reservation).unwrap()
    }

    pub(crate) fn refund_of(&self, reservation: ReservationId, amount: &str) -> RefundCharge {
        RefundCharge {
            amount: Some(credits(amount)),
            ..self.refund(reservation)
        }
    }

    /// In bytes, as the log has it.
    pub(crate) fn longest_event(&self) -> usize {
        let lengths = self.history.iter().map(|recorded| recorded.encode().len());
        lengths.max().unwrap_or(0)
    }

    pub(crate) fn later(&mut self, seconds: u32) {
        self.now = self.now.plus_seconds(seconds);
    }

    /// Gives the next command this id.
    pub(crate) fn named(&mut self, id: &str) -> &mut Scenario {
        self.name = CommandId::parse(id);
        self
    }

    /// The grants that a hold took from: `"4:0.5 3:0.5"`.
    pub(crate) fn parts_of(&self, reservation: ReservationId) -> String {
        let parts = &self.account.open[&reservation].from;
        let parts: Vec<String> = parts
            .iter()
            .map(|p| format!("{}:{}", p.grant.to_bytes()[15], p.amount))
            .collect();
        parts.join(" ")
    }

    /// Does what the writer does: what is due first, then the command.
    pub(crate) fn when(&mut self, sent: impl Sent) -> Tried {
        let command = travelled(&sent.at(self.now));
        self.sent += 1;
        let unique = CommandId::parse(&format!("command-{}", self.sent)).unwrap();
        let by = By {
            actor: Actor::System,
            command: self.name.take().unwrap_or(unique),
        };
        let mut written = Vec::new();
        loop {
            let due = due(&self.account, self.now);
            if due.is_empty() {
                break;
            }
            written.extend(self.write(due, &by));
        }
        written.extend(self.write(crossings(&self.account), &by));
        let given = Given {
            account: &self.account,
            by: &by,
            now: self.now,
            limits: &self.limits,
        };
        let decided = command.ask(given);
        let answer = decided.map(|events| {
            written.extend(self.write(events, &by));
            let reply = command.reply(&self.account, &by);
            travelled(&reply.expect("a command that was not refused has a reply"));
            written.extend(self.write(crossings(&self.account), &by));
        });
        if let Err(refusal) = &answer {
            assert_eq!(travelled(refusal), *refusal);
        }
        Tried { written, answer }
    }

    fn write(&mut self, events: Vec<Event>, by: &By) -> Vec<&'static str> {
        let mut names = Vec::new();
        for event in events {
            names.push(event.short_name());
            let recorded = Recorded {
                id: EventId::from_parts(self.now.ms(), u128::from(self.account.seq.0)),
                shard: Shard(0),
                position: self.account.position.next(),
                account: account_id(),
                seq: self.account.seq.next(),
                time: self.now,
                actor: by.actor,
                command: by.command.clone(),
                sealed: None,
                event,
            };
            self.account
                .evolve(&recorded)
                .expect("a decider's events always follow");
            self.history.push(recorded);
        }
        names
    }
}

/// As it arrives in another process.
fn travelled<T: Serialize + DeserializeOwned>(sent: &T) -> T {
    let written = serde_json::to_string(sent).unwrap();
    let read: T = serde_json::from_str(&written).unwrap();
    assert_eq!(
        serde_json::to_string(&read).unwrap(),
        written,
        "it is another one there"
    );
    read
}

impl Tried {
    pub(crate) fn succeeds(self) {
        assert_eq!(self.answer, Ok(()));
        assert!(!self.written.is_empty(), "it wrote nothing");
    }

    pub(crate) fn writes(self, names: &[&str]) {
        assert_eq!(self.answer, Ok(()));
        assert_eq!(self.written, names);
    }

    pub(crate) fn changes_nothing(self) {
        assert_eq!(self.answer, Ok(()));
        assert!(self.written.is_empty(), "it wrote {:?}", self.written);
    }

    pub(crate) fn refused(self, refusal: Refusal) {
        assert_eq!(self.answer, Err(refusal));
    }

    pub(crate) fn wrote_nothing(&self) -> bool {
        self.written.is_empty()
    }

    pub(crate) fn was_refused(&self) -> bool {
        self.answer.is_err()
    }
}
