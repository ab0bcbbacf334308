//! The rules and the one pen: commands in, events decided and appended, answers out.
//!
//! In: commands. Out: an answer with the position at which it is true, after the events are in the log.
//!
//! Promise: a command that was answered is in the log exactly once; one that was not is there whole or not at all.
//!
//! Not here: HTTP, the bus, the views.

mod account;
mod answers;
mod cache;
mod charged;
mod command;
mod denials;
mod flight;
mod forwarded;
mod hang_ups;
mod kept;
mod load;
mod loading;
mod opener;
mod paid_results;
mod plan;
mod refunded_charges;
mod refusal;
mod remembered;
mod round;
mod rules;
mod schedule;
mod signals;
mod work;
mod writer;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use keyledger_events::{Position, ReservationId, Shard, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use account::{
    Account, Grant, Hold, Inconsistent, Key, KeyLimits, Keys, Opened, Outcome, STATE_FORMAT, Settled, Threshold, Totals,
};
pub use charged::Charged;
pub use command::{Answer, By, Command, Limits, SubmitError, Target};
pub use denials::Denials;
pub use forwarded::{Deciding, Forwarded, NotUnderstood, Outbox, Patience};
pub use hang_ups::{HANG_UP_WINDOW_SECONDS_MAX, HANG_UPS_MAX, HangUps};
pub use kept::{WrongSnapshot, check_snapshots};
pub use paid_results::PaidResults;
pub use plan::Plan;
pub use refunded_charges::{REFUNDABLE_DAYS, RefundedCharge, RefundedCharges};
pub use refusal::Refusal;
pub use remembered::idempotent_command_id;
pub use rules::{
    AccountFacts, Beyond, ChangeAccount, Charge, ChargeAtOnce, ChargeDelivered, ChargeReservation, CloseAccount,
    CorrectCredits, Corrected, CorrectionFacts, CreateKey, CreateToken, DeleteKey, DeleteLeaked, DeliveryCharge,
    EndPlan, ErasePersonalData, ErasureFacts, GrantCredits, GrantFacts, Held, InviteOperator, InviteToPages, KeyFacts,
    LeakFacts, LimitSpending, NewText, NoteDenied, OVERLAP_SECONDS_MAX, OpenAccount, PLANS_MAX, Payer, PlanFacts,
    Price, PublishPrices, RefundCharge, RefundFacts, Release, ReleaseReservation, RenameKey, ReserveCredits,
    RevokeToken, RotateKey, SetThresholds, SettleDue, StartPlan, THRESHOLDS_MAX, TokenFacts, Usage, beside,
};
pub use schedule::{Publication, Schedule};
pub use signals::{KeySignals, Working};

use crate::clock;
use crate::log::{Log, Snapshot};
use forwarded::Elsewhere;
use work::{Job, Work};
use writer::Writer;

/// What the writer may use.
#[derive(Debug, Clone, Copy)]
pub struct LedgerOptions {
    pub limits: Limits,
    /// Commands that may wait; the next one is told to come later.
    pub waiting_commands_max: usize,
    /// Bytes that account states in memory may take, roughly.
    pub account_bytes_max: usize,
}

impl Default for LedgerOptions {
    fn default() -> LedgerOptions {
        LedgerOptions {
            limits: Limits::default(),
            waiting_commands_max: 20_000,
            account_bytes_max: 256 << 20,
        }
    }
}

/// The way in for commands: hands each to the writer of its shard. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    shard: Shard,
    queue: mpsc::Sender<Box<dyn Work>>,
    outbox: mpsc::Sender<Box<dyn Work>>,
    elsewhere: Arc<Elsewhere>,
    signals: Arc<KeySignals>,
    tell_committed: watch::Sender<Position>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger")
            .field("shard", &self.shard)
            .finish_non_exhaustive()
    }
}

/// Copies waiting to be written as snapshots. More than this, and the rest come later.
const WAITING_SNAPSHOTS_MAX: usize = 64;

impl Ledger {
    /// Starts the writer of a shard. It ends when `stop` is cancelled and what waits has been answered.
    pub fn start(log: Log, options: LedgerOptions, stop: CancellationToken) -> (Ledger, JoinHandle<()>) {
        let (ledger, _, running) = Ledger::start_among_others(log, options, stop);
        (ledger, running)
    }

    /// The same, and the way out for commands that another process shall decide.
    pub fn start_among_others(
        log: Log,
        options: LedgerOptions,
        stop: CancellationToken,
    ) -> (Ledger, Outbox, JoinHandle<()>) {
        let (queue, mut waiting) = mpsc::channel(options.waiting_commands_max);
        let (outbox, going_out) = mpsc::channel(options.waiting_commands_max);
        let elsewhere = Arc::<Elsewhere>::default();
        let (committed, _) = watch::channel(Position::START);
        let signals = Arc::new(KeySignals::default());
        let snapshots = keep_snapshots(log.clone());
        let ledger = Ledger {
            shard: log.shard(),
            queue,
            outbox,
            elsewhere: Arc::clone(&elsewhere),
            signals: Arc::clone(&signals),
            tell_committed: committed.clone(),
        };
        let outbox = Outbox::new(going_out, ledger.clone());
        let running = tokio::spawn(async move {
            loop {
                let mut writer = Writer::new(
                    log.clone(),
                    &options,
                    Arc::clone(&signals),
                    Arc::clone(&elsewhere),
                    committed.clone(),
                    snapshots.clone(),
                );
                // A panic is a fault of ours in one round. Its callers are told that they do not know; the log does, so
                // a writer with an empty memory goes on from there.
                if AssertUnwindSafe(writer.run(&mut waiting, &stop))
                    .catch_unwind()
                    .await
                    .is_ok()
                {
                    return;
                }
                tracing::error!("the writer panicked and starts again from the log");
            }
        });
        (ledger, outbox, running)
    }

    /// Sends a command and waits for its answer. When the future is dropped, the command may still happen, whole.
    pub async fn submit<C: Command>(&self, command: C, by: By) -> Result<Answer<C::Reply>, SubmitError> {
        let (tell, told) = oneshot::channel();
        let queue = if self.elsewhere.is_so() {
            &self.outbox
        } else {
            &self.queue
        };
        let shown = command.shown_key();
        self.enqueue(queue, Box::new(Job::new(command, by, tell)));
        let answer = told.await.unwrap_or(Err(SubmitError::OutcomeUnknown));
        if let (Some(key), Err(SubmitError::Refused { refusal, .. })) = (shown, &answer) {
            self.signals.denials().note(key, refusal);
        }
        answer
    }

    fn enqueue(&self, queue: &mpsc::Sender<Box<dyn Work>>, job: Box<dyn Work>) {
        match queue.try_send(job) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(job)) => job.fail(SubmitError::Busy),
            Err(mpsc::error::TrySendError::Closed(job)) => job.fail(SubmitError::Unavailable),
        }
    }

    /// An id for a reservation that is new now, by the log's time: that does not go back when the clock does. Where a refusal
    /// has told what time it is, by that.
    pub fn fresh_reservation_id(&self, told: Option<Timestamp>) -> ReservationId {
        let known = self.signals.time().borrow().unwrap_or(Timestamp::EPOCH);
        let now = told.unwrap_or_else(|| clock::now().max(known));
        ReservationId::from_parts(now.ms(), clock::random_id_bits())
    }

    /// Waits until the log's time is known, at most this long.
    pub async fn knows_time(&self, limit: Duration) {
        let mut time = self.signals.time();
        let _ = tokio::time::timeout(limit, time.wait_for(Option::is_some)).await;
    }

    /// Who has to know at once when a key is deleted asks here.
    pub fn key_signals(&self) -> &Arc<KeySignals> {
        &self.signals
    }

    /// The last position that this process appended or read, for those who pass events on.
    pub fn committed(&self) -> watch::Receiver<Position> {
        self.tell_committed.subscribe()
    }

    pub fn shard(&self) -> Shard {
        self.shard
    }
}

/// Writes snapshots one after the other, off the hot path.
fn keep_snapshots(log: Log) -> mpsc::Sender<Account> {
    let (sender, mut receiver) = mpsc::channel::<Account>(WAITING_SNAPSHOTS_MAX);
    tokio::spawn(async move {
        while let Some(account) = receiver.recv().await {
            let state = match serde_json::to_vec(&account) {
                Ok(state) => state,
                Err(error) => {
                    tracing::error!(account = %account.id, %error, "a state cannot be written as a snapshot");
                    continue;
                }
            };
            let snapshot = Snapshot {
                account: account.id,
                seq: account.seq,
                position: account.position,
                state,
            };
            if let Err(error) = log.keep_snapshot(&snapshot, STATE_FORMAT).await {
                tracing::warn!(account = %account.id, %error, "a snapshot was not kept; a later one will be");
            }
        }
    });
    sender
}
