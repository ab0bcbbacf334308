//! A command on its way through the writer, whatever its kind: what it decided, and whom to tell.

use keyledger_events::{Actor, Event, Position, Shard, Timestamp};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::account::Account;
use super::command::{Answer, By, Command, Given, Limits, SubmitError, Target};
use super::refusal::Refusal;

/// One waiting command. The writer calls `decide`, and after folding the events `note_reply`; both again when it lost a race.
pub(super) trait Work: Send {
    fn name(&self) -> &'static str;
    fn target(&self) -> Target;
    fn by(&self) -> &By;
    /// The version of the price book that it brings a price of.
    fn priced_by(&self) -> Option<u64>;
    /// Whether nobody waits for the answer any more.
    fn abandoned(&self) -> bool;
    fn decide(&self, account: &Account, now: Timestamp, limits: &Limits) -> Result<Vec<Event>, Refusal>;
    fn actor(&self, account: &Account) -> Actor;
    fn note_reply(&mut self, account: &Account);
    fn answer(self: Box<Self>, shard: Shard, position: Position, replayed: bool);
    fn fail(self: Box<Self>, error: SubmitError);
    /// Writes the command and its sender, for another process to decide.
    fn write(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error>;
    /// Tells the caller what another process wrote as the answer.
    fn answer_written(self: Box<Self>, written: &str) -> Heard;
}

/// Takes what waits in a queue at this moment, as long as there are fewer than so many.
pub(super) fn take_waiting(queue: &mut mpsc::Receiver<Box<dyn Work>>, taken: &mut Vec<Box<dyn Work>>, most: usize) {
    while taken.len() < most
        && let Ok(job) = queue.try_recv()
    {
        taken.push(job);
    }
}

/// What an answer of another process comes to.
pub(super) enum Heard {
    /// The caller is told. With the position at which it is true, where there is one.
    Told(Option<Position>),
    /// The other process could do nothing: the command is as it was.
    Undone(Box<dyn Work>),
}

/// How a command ended, as its caller is told.
type Told<R> = Result<Answer<R>, SubmitError>;

pub(super) struct Job<C: Command> {
    command: C,
    by: By,
    reply: Option<C::Reply>,
    tell: Tell<C::Reply>,
}

/// Whom to tell.
enum Tell<R> {
    Caller(oneshot::Sender<Told<R>>),
    /// The process that sent the command among others.
    Sender {
        place: usize,
        sheet: Sheet,
    },
}

/// Where the answers to another process's commands are gathered, each with its place among them. They are written by who
/// gathers them: the writer has better to do.
pub(super) type Sheet = mpsc::UnboundedSender<(usize, Box<dyn Written>)>;

pub(super) trait Written: Send {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error>;
}

impl<T: Serialize + Send> Written for T {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        serde_json::to_writer(out, self)
    }
}

impl<C: Command> Job<C> {
    pub(super) fn new(command: C, by: By, tell: oneshot::Sender<Told<C::Reply>>) -> Job<C> {
        Job {
            command,
            by,
            reply: None,
            tell: Tell::Caller(tell),
        }
    }

    pub(super) fn of_another_process(command: C, by: By, place: usize, sheet: Sheet) -> Job<C> {
        Job {
            command,
            by,
            reply: None,
            tell: Tell::Sender { place, sheet },
        }
    }
}

impl<R: Serialize + Send + 'static> Tell<R> {
    /// Whoever hung up does not want to know.
    fn tell(self, told: Told<R>) {
        match self {
            Tell::Caller(caller) => drop(caller.send(told)),
            Tell::Sender { place, sheet } => drop(sheet.send((place, Box::new(told)))),
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

    fn priced_by(&self) -> Option<u64> {
        self.command.priced_by()
    }

    fn abandoned(&self) -> bool {
        match &self.tell {
            Tell::Caller(caller) => caller.is_closed(),
            Tell::Sender { sheet, .. } => sheet.is_closed(),
        }
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
        self.tell.tell(answer);
    }

    fn fail(self: Box<Self>, error: SubmitError) {
        self.tell.tell(Err(error));
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        out.extend_from_slice(b"{\"by\":");
        serde_json::to_writer(&mut *out, &self.by)?;
        out.extend_from_slice(b",\"command\":{\"");
        out.extend_from_slice(C::NAME.as_bytes());
        out.extend_from_slice(b"\":");
        serde_json::to_writer(&mut *out, &self.command)?;
        out.extend_from_slice(b"}}");
        Ok(())
    }

    fn answer_written(self: Box<Self>, written: &str) -> Heard {
        let told = serde_json::from_str::<Told<C::Reply>>(written).unwrap_or_else(|error| {
            tracing::error!(%error, command = C::NAME, "another process's answer cannot be read");
            Err(SubmitError::OutcomeUnknown)
        });
        let position = match &told {
            Ok(answer) => Some(answer.position),
            Err(SubmitError::Refused { position, .. }) => Some(*position),
            // It stops, or does not reach the log, or is too old for what is in it. This one may not be.
            Err(SubmitError::Unavailable | SubmitError::Broken) => return Heard::Undone(self),
            Err(SubmitError::Busy | SubmitError::OutcomeUnknown) => None,
        };
        self.tell.tell(told);
        Heard::Told(position)
    }
}
