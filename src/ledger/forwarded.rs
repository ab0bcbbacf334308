//! Commands that another process decides, because it has the accounts in memory and the pen in its hand.
//!
//! In: commands of this process's callers, while the lead is elsewhere; or another process's, when it is here. Out: bytes
//! for the other process, and the callers' answers out of what it sends back.
//!
//! Promise: a command is decided here or there; and where it is not known whether it was decided there, its caller is told so.
//! Being sent elsewhere is a matter of speed: whoever decides, the append is as safe.
//!
//! Not here: who has the lead, how bytes travel, and that nobody else may send them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keyledger_events::Position;
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Ledger;
use super::command::{By, SubmitError};
use super::rules::{
    ChangeAccount, ChargeAtOnce, ChargeDelivered, ChargeReservation, CloseAccount, CorrectCredits, CreateKey,
    CreateToken, DeleteKey, DeleteLeaked, EndPlan, ErasePersonalData, GrantCredits, InviteOperator, InviteToPages,
    LimitSpending, NoteDenied, OpenAccount, PublishPrices, RefundCharge, ReleaseReservation, RenameKey, ReserveCredits,
    RevokeToken, RotateKey, SetThresholds, SettleDue, StartPlan,
};
use super::work::{Heard, Job, Sheet, Work, Written, take_waiting};

/// Commands that travel together. The longest answer, about a key that is limited to as many endpoints as can be and whose
/// clients keep hanging up, has some 8 KiB: the answers to so many fit into the 1 MiB that a NATS server takes as one message.
const COMMANDS_TOGETHER_MAX: usize = 100;
/// And their bytes.
const BYTES_TOGETHER_MAX: usize = 256 << 10;
/// So often the tasks that are ready may run before a message leaves. Each time is short, and the first command waits.
const LET_IN_TIMES_MAX: usize = 3;
/// The answers' bytes. Beyond it a caller is told that the outcome is unknown, rather than nobody being told anything.
const ANSWER_BYTES_MAX: usize = 1_000_000;

/// Answers of one round come within this.
const TOGETHER: Duration = Duration::from_millis(5);

/// Whether commands of this process go to another one. Nobody's do until somebody says so.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    wished: AtomicBool,
    /// The writer knows from where on to hear of keys that end. Before, work that another process let through would not.
    possible: AtomicBool,
}

impl Elsewhere {
    pub(super) fn is_so(&self) -> bool {
        self.wished.load(Ordering::Acquire) && self.possible.load(Ordering::Acquire)
    }

    pub(super) fn may_be(&self) {
        self.possible.store(true, Ordering::Release);
    }
}

/// The end of the queue of commands that go elsewhere, for the one who carries them.
pub struct Outbox {
    queue: mpsc::Receiver<Box<dyn Work>>,
    elsewhere: Arc<Elsewhere>,
    /// Came with others that filled a message.
    left_over: Vec<Box<dyn Work>>,
    ledger: Ledger,
}

/// Commands on their way to another process.
pub struct Forwarded {
    jobs: Vec<Box<dyn Work>>,
    ledger: Ledger,
}

/// Commands of another process that are being decided.
pub struct Deciding {
    answers: mpsc::UnboundedReceiver<(usize, Box<dyn Written>)>,
    /// By their places.
    found: Vec<Option<Box<dyn Written>>>,
    /// The places of those that nobody was given, in order.
    open: Vec<usize>,
}

/// How long somebody waits for answers.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For all of them.
    pub all: Duration,
    /// And then for any.
    pub any: Duration,
}

/// These bytes are not commands that this version knows. Nothing was done.
#[derive(Debug, thiserror::Error)]
#[error("these are no commands of ours: {0}")]
pub struct NotUnderstood(#[from] serde_json::Error);

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Forwarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forwarded")
            .field("commands", &self.jobs.len())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Deciding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deciding")
            .field("open", &self.open.len())
            .finish_non_exhaustive()
    }
}

impl Deciding {
    /// Gives what was not given before, a line for each of the commands that is about, and whether it is the last of it. An empty line
    /// is still to come. When the future is dropped, nothing is lost.
    pub async fn part(&mut self, patience: Patience) -> (Vec<u8>, bool) {
        let for_all = Instant::now() + patience.all;
        let mut end = for_all.max(Instant::now() + patience.any);
        let mut left = self.open.iter().filter(|place| self.is_missing(**place)).count();
        if left < self.open.len() {
            end = for_all;
        }
        let mut whole = left == 0;
        while !whole {
            match tokio::time::timeout_at(end, self.answers.recv()).await {
                Ok(Some((place, answer))) => {
                    if left == self.open.len() {
                        // The first one.
                        end = for_all.max(Instant::now() + TOGETHER);
                    }
                    if let Some(free) = self.found.get_mut(place) {
                        *free = Some(answer);
                    }
                    left -= 1;
                    whole = left == 0;
                }
                // Nobody is left who could answer.
                Ok(None) => whole = true,
                Err(_) => break,
            }
        }
        (self.written(whole), whole)
    }

    fn is_missing(&self, place: usize) -> bool {
        self.found.get(place).is_some_and(Option::is_none)
    }

    fn written(&mut self, whole: bool) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 << 10);
        let mut still_open = Vec::new();
        for place in std::mem::take(&mut self.open) {
            let answer = self.found.get_mut(place).and_then(Option::take);
            if answer.is_none() && !whole {
                still_open.push(place);
                bytes.push(b'\n');
                continue;
            }
            let begun = bytes.len();
            let written = answer.is_some_and(|answer| answer.write(&mut bytes).is_ok());
            if !written || bytes.len() > ANSWER_BYTES_MAX {
                bytes.truncate(begun);
                bytes.extend_from_slice(b"{\"Err\":\"OutcomeUnknown\"}");
            }
            bytes.push(b'\n');
        }
        self.open = still_open;
        bytes
    }
}

impl Outbox {
    pub(super) fn new(queue: mpsc::Receiver<Box<dyn Work>>, ledger: Ledger) -> Outbox {
        Outbox {
            queue,
            elsewhere: Arc::clone(&ledger.elsewhere),
            left_over: Vec::new(),
            ledger,
        }
    }

    /// From now on new commands go elsewhere, or no longer.
    pub fn send_elsewhere(&self, so: bool) {
        self.elsewhere.wished.store(so, Ordering::Release);
    }

    /// Waits for commands and gives those that can travel together, with their bytes, if there are any. `None` when no more will
    /// come.
    pub async fn next(&mut self) -> Option<(Forwarded, Vec<u8>)> {
        if self.left_over.is_empty() && self.queue.recv_many(&mut self.left_over, COMMANDS_TOGETHER_MAX).await == 0 {
            return None;
        }
        self.let_more_in().await;
        let mut bytes = Vec::with_capacity(16 << 10);
        let mut jobs = Vec::with_capacity(self.left_over.len());
        let mut waiting = std::mem::take(&mut self.left_over)
            .into_iter()
            .filter(|job| !job.abandoned());
        bytes.push(b'[');
        for job in waiting.by_ref() {
            if !jobs.is_empty() {
                bytes.push(b',');
            }
            match job.write(&mut bytes) {
                Ok(()) => jobs.push(job),
                Err(error) => {
                    // Then nobody can be asked with these bytes: all are decided here.
                    tracing::error!(%error, command = job.name(), "a command cannot be written");
                    jobs.push(job);
                    bytes.clear();
                    break;
                }
            }
            if bytes.len() >= BYTES_TOGETHER_MAX {
                break;
            }
        }
        self.left_over = waiting.collect();
        if !bytes.is_empty() {
            bytes.push(b']');
        }
        let ledger = self.ledger.clone();
        Some((Forwarded { jobs, ledger }, bytes))
    }

    /// Lets the tasks run that are ready now, as long as they send more: callers who were answered together ask again together.
    async fn let_more_in(&mut self) {
        for _ in 0..LET_IN_TIMES_MAX {
            let known = self.left_over.len();
            tokio::task::yield_now().await;
            take_waiting(&mut self.queue, &mut self.left_over, COMMANDS_TOGETHER_MAX);
            if self.left_over.len() == known {
                return;
            }
        }
    }
}

impl Drop for Outbox {
    /// What still waits is decided here.
    fn drop(&mut self) {
        self.send_elsewhere(false);
        self.queue.close();
        take_waiting(&mut self.queue, &mut self.left_over, usize::MAX);
        self.ledger.decide_here(std::mem::take(&mut self.left_over));
    }
}

impl Forwarded {
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Tells the callers what the other process answered, a line for each; decides here what it could not. Gives those whose answers are
    /// still to come, unless these are the `whole` of it: then answers that are not there are unknown ones.
    pub fn answered(self, answers: &str, whole: bool) -> Option<Forwarded> {
        let mut answers = answers.lines();
        let mut seen = Position::START;
        let (mut undone, mut rest) = (Vec::new(), Vec::new());
        for job in self.jobs {
            match answers.next() {
                None => job.fail(SubmitError::OutcomeUnknown),
                Some("") if !whole => rest.push(job),
                Some(answer) => match job.answer_written(answer) {
                    Heard::Told(position) => seen = seen.max(position.unwrap_or_default()),
                    Heard::Undone(job) => undone.push(job),
                },
            }
        }
        self.ledger.decide_here(undone);
        later(&self.ledger.tell_committed, seen);
        let ledger = self.ledger;
        (!rest.is_empty()).then_some(Forwarded { jobs: rest, ledger })
    }

    /// The other process took nothing on: this one decides.
    pub fn decide_here(self) {
        self.ledger.decide_here(self.jobs);
    }

    /// The other process may have decided, and did not say.
    pub fn lost(self) {
        for job in self.jobs {
            job.fail(SubmitError::OutcomeUnknown);
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Received {
    by: By,
    command: Any,
}

macro_rules! commands {
    ($($name:literal => $command:ident),+ $(,)?) => {
        /// Any command, by its name.
        #[derive(Deserialize)]
        enum Any {
            $(#[serde(rename = $name)] $command($command),)+
        }

        impl Any {
            fn into_job(self, by: By, place: usize, sheet: Sheet) -> Box<dyn Work> {
                match self {
                    $(Any::$command(command) => Box::new(Job::of_another_process(command, by, place, sheet)),)+
                }
            }
        }

        #[cfg(test)]
        const NAMES: &[(&str, &str)] = &[$(($name, <$command as super::Command>::NAME)),+];
    };
}

commands! {
    "open_account" => OpenAccount,
    "grant" => GrantCredits,
    "create_key" => CreateKey,
    "rename_key" => RenameKey,
    "delete_key" => DeleteKey,
    "reserve" => ReserveCredits,
    "charge" => ChargeReservation,
    "charge_delivered" => ChargeDelivered,
    "charge_at_once" => ChargeAtOnce,
    "release" => ReleaseReservation,
    "settle_due" => SettleDue,
    "change_account" => ChangeAccount,
    "close_account" => CloseAccount,
    "correct" => CorrectCredits,
    "refund" => RefundCharge,
    "start_plan" => StartPlan,
    "end_plan" => EndPlan,
    "set_thresholds" => SetThresholds,
    "rotate_key" => RotateKey,
    "note_denied" => NoteDenied,
    "limit_spending" => LimitSpending,
    "delete_leaked" => DeleteLeaked,
    "publish_prices" => PublishPrices,
    "create_token" => CreateToken,
    "revoke_token" => RevokeToken,
    "invite_to_pages" => InviteToPages,
    "invite_operator" => InviteOperator,
    "erase_personal_data" => ErasePersonalData,
}

impl Ledger {
    /// Has another process's commands decided. Nothing is done when one of them is not understood. When what is given is dropped, they may
    /// still happen, each whole.
    pub fn decide_for_another(&self, commands: &str) -> Result<Deciding, NotUnderstood> {
        let received: Vec<Received> = serde_json::from_str(commands)?;
        let many = received.len();
        let (sheet, answers) = mpsc::unbounded_channel();
        for (place, Received { by, command }) in received.into_iter().enumerate() {
            self.enqueue(&self.queue, command.into_job(by, place, sheet.clone()));
        }
        Ok(Deciding {
            answers,
            found: std::iter::repeat_with(|| None).take(many).collect(),
            open: (0..many).collect(),
        })
    }

    fn decide_here(&self, jobs: Vec<Box<dyn Work>>) {
        for job in jobs {
            self.enqueue(&self.queue, job);
        }
    }
}

/// The position that was seen, when it is a later one.
pub(super) fn later(committed: &watch::Sender<Position>, seen: Position) {
    committed.send_if_modified(|known| {
        let later = seen > *known;
        if later {
            *known = seen;
        }
        later
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_travels_under_its_own_name() {
        for (written, own) in NAMES {
            assert_eq!(written, own);
        }
    }
}
