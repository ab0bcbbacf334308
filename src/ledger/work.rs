//! A command on its way through the writer, whatever its kind: what it decided, and whom to tell.

use keyledger_events::{Actor, Event, Position, Shard, Timestamp};
use tokio::sync::oneshot;

use super::account::Account;
use super::command::{Answer, By, Command, Given, Limits, SubmitError, Target};
use super::refusal::Refusal;

/// One waiting command. The writer calls `decide`, and after folding the events `note_reply`; both again when it lost a race.
pub(super) trait Work: Send {
    fn name(&self) -> &'static str;
    fn target(&self) -> Target;
    fn by(&self) -> &By;
    /// Whether nobody waits for the answer any more.
    fn abandoned(&self) -> bool;
    fn decide(&self, account: &Account, now: Timestamp, limits: &Limits) -> Result<Vec<Event>, Refusal>;
    fn actor(&self, account: &Account) -> Actor;
    fn note_reply(&mut self, account: &Account);
    fn answer(self: Box<Self>, shard: Shard, position: Position, replayed: bool);
    fn fail(self: Box<Self>, error: SubmitError);
}

pub(super) struct Job<C: Command> {
    command: C,
    by: By,
    reply: Option<C::Reply>,
    tell: oneshot::Sender<Result<Answer<C::Reply>, SubmitError>>,
}

impl<C: Command> Job<C> {
    pub(super) fn new(command: C, by: By, tell: oneshot::Sender<Result<Answer<C::Reply>, SubmitError>>) -> Job<C> {
        Job {
            command,
            by,
            reply: None,
            tell,
        }
    }
}

impl<C: Command> Work for Job<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn target(&self) -> Target {
        self.command.target()
    }

    fn by(&self) -> &By {
        &self.by
    }

    fn abandoned(&self) -> bool {
        self.tell.is_closed()
    }

    fn decide(&self, account: &Account, now: Timestamp, limits: &Limits) -> Result<Vec<Event>, Refusal> {
        self.command.ask(Given {
            account,
            by: &self.by,
            now,
            limits,
        })
    }

    fn actor(&self, account: &Account) -> Actor {
        self.command.actor(account, &self.by)
    }

    fn note_reply(&mut self, account: &Account) {
        self.reply = self.command.reply(account, &self.by);
    }

    fn answer(self: Box<Self>, shard: Shard, position: Position, replayed: bool) {
        let answer = match self.reply {
            Some(reply) => Ok(Answer {
                shard,
                position,
                replayed,
                reply,
            }),
            // The events are in the log, so a repetition is safe; that they show no reply is a fault of ours.
            None => Err(SubmitError::Broken),
        };
        // Whoever hung up does not want to know.
        let _ = self.tell.send(answer);
    }

    fn fail(self: Box<Self>, error: SubmitError) {
        let _ = self.tell.send(Err(error));
    }
}
