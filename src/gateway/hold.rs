//! Credits held for one request, and what becomes of them.
//!
//! In: a reservation, made in a task of its own. Out: exactly one settlement, sent from a task that no client can cancel.
//!
//! Promise: a hold that exists is settled, whichever way its request ends: a `Hold` that is dropped without a word is
//! released. Settling is retried with the same ids until the hold would have expired by itself, so an answer that was
//! lost charges nobody twice, and a ledger that stays away charges nobody at all.
//!
//! Not here: what a request deserves; the exchange and the delivery say so.

use std::sync::Arc;
use std::time::Duration;

use keyledger_events::{Actor, CommandId, Credits, ReleaseCause, ReservationId};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::seen::Seen;
use crate::ledger::{By, ChargeReservation, Held, Ledger, ReleaseReservation, ReserveCredits, SubmitError, Working};

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LONGEST: Duration = Duration::from_secs(2);

/// Makes holds and settles them.
#[derive(Debug)]
pub(super) struct Settler {
    ledger: Ledger,
    tasks: TaskTracker,
    runtime: Handle,
}

/// How a hold ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settlement {
    Charge { quantity: u64 },
    Release(ReleaseCause),
}

/// Held credits. Dropping it settles: as was decided, or else because the client went away.
#[derive(Debug)]
pub(super) struct Hold {
    settler: Arc<Settler>,
    held: Held,
    /// `None` where requests of a deleted key may finish.
    working: Option<Working>,
    expires: Instant,
    decided: Option<Settlement>,
    made: Instant,
    /// Whoever watches the request that this is for.
    seen: Option<Arc<Seen>>,
}

impl Settler {
    pub(super) fn new(ledger: Ledger) -> Settler {
        Settler {
            ledger,
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
        }
    }

    /// Checks the key and holds. Dropping the future does not stop the reservation: it is made, and released at once.
    pub(super) async fn hold(self: &Arc<Self>, reserve: ReserveCredits, cut: bool) -> Result<Hold, SubmitError> {
        let settler = Arc::clone(self);
        let reserving = self.tasks.spawn_on(
            async move {
                let answer = settler.reserve(&reserve, cut).await;
                if matches!(answer, Err(SubmitError::OutcomeUnknown)) {
                    let recovering = settler.clone().recover(reserve);
                    settler.tasks.spawn_on(recovering, &settler.runtime);
                }
                answer
            },
            &self.runtime,
        );
        // A panic in there leaves the log as the judge, as any lost answer does.
        reserving.await.unwrap_or(Err(SubmitError::OutcomeUnknown))
    }

    async fn reserve(self: &Arc<Self>, reserve: &ReserveCredits, cut: bool) -> Result<Hold, SubmitError> {
        // The hold's own time begins later, in the ledger: this end is never after that one.
        let expires = Instant::now() + Duration::from_secs(reserve.ttl_seconds.into());
        let by = by_gateway(reserve.reservation, "reserve");
        let held = self.ledger.submit(reserve.clone(), by).await?.reply;
        let working = held.key.filter(|_| cut).map(|key| self.ledger.key_signals().begin(key));
        Ok(Hold {
            settler: Arc::clone(self),
            held,
            working,
            expires,
            decided: None,
            made: Instant::now(),
            seen: None,
        })
    }

    /// Finds out what became of a reservation whose answer was lost, and gives it back. Its client has been told to
    /// try again. The same ids give the same answer, so asking again is safe.
    async fn recover(self: Arc<Self>, reserve: ReserveCredits) {
        let expires = Instant::now() + Duration::from_secs(reserve.ttl_seconds.into());
        let mut pause = RETRY_FIRST;
        while Instant::now() < expires {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_LONGEST);
            match self.reserve(&reserve, false).await {
                Ok(hold) => return hold.settle(Settlement::Release(ReleaseCause::Error)),
                Err(SubmitError::Refused { .. }) => return,
                Err(SubmitError::Busy | SubmitError::Unavailable | SubmitError::OutcomeUnknown) => {}
                Err(SubmitError::Broken) => break,
            }
        }
        tracing::warn!(reservation = %reserve.reservation, "a reservation's outcome stays unknown; it expires by itself");
    }

    /// Settles, however long the ledger takes, until the hold's own time is over.
    async fn settle(self: Arc<Self>, held: Held, settlement: Settlement, expires: Instant) {
        let mut pause = RETRY_FIRST;
        loop {
            let reason = match self.try_to_settle(&held, settlement).await {
                Ok(()) => {
                    return;
                }
                Err(reason @ (SubmitError::Busy | SubmitError::Unavailable | SubmitError::OutcomeUnknown)) => reason,
                // The hold is closed already, by time or by a deleted account. Whoever closed it has said what is so.
                Err(reason @ (SubmitError::Refused { .. } | SubmitError::Broken)) => {
                    tracing::warn!(reservation = %held.reservation, outcome = settlement.outcome(), %reason, "a hold could not be settled");
                    metrics::counter!("keyledger_gateway_settlements_lost_total", "reason" => "refused").increment(1);
                    return;
                }
            };
            if Instant::now() + pause >= expires {
                tracing::warn!(reservation = %held.reservation, outcome = settlement.outcome(), %reason, "a hold was not settled in time; it expires and costs nothing");
                metrics::counter!("keyledger_gateway_settlements_lost_total", "reason" => "too-late").increment(1);
                return;
            }
            tracing::debug!(reservation = %held.reservation, %reason, "settling is tried again");
            metrics::counter!("keyledger_gateway_settle_retries_total").increment(1);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_LONGEST);
        }
    }

    async fn try_to_settle(&self, held: &Held, settlement: Settlement) -> Result<(), SubmitError> {
        let (account, reservation) = (held.account, held.reservation);
        match settlement {
            Settlement::Charge { quantity } => {
                let quantity = Some(quantity);
                let charge = ChargeReservation {
                    account,
                    reservation,
                    quantity,
                };
                self.ledger.submit(charge, by_gateway(reservation, "charge")).await?;
            }
            Settlement::Release(cause) => {
                let release = ReleaseReservation {
                    account,
                    reservation,
                    cause,
                };
                self.ledger.submit(release, by_gateway(reservation, "release")).await?;
            }
        }
        Ok(())
    }

    /// Waits for settlements under way, but not for ever: what is left expires.
    pub(super) async fn drain(&self, patience: Duration) {
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                left = self.tasks.len(),
                "settlements were under way at the end; their holds expire"
            );
        }
    }
}

impl Settlement {
    fn outcome(self) -> &'static str {
        match self {
            Settlement::Charge { .. } => "charged",
            Settlement::Release(cause) => cause.as_str(),
        }
    }
}

impl Hold {
    pub(super) fn held(&self) -> &Held {
        &self.held
    }

    /// Tells its watcher of itself now, and of its end.
    pub(super) fn seen_by(mut self, seen: &Arc<Seen>) -> Hold {
        seen.held(&self.held);
        self.seen = Some(Arc::clone(seen));
        self
    }

    /// Says how it ends, and ends it.
    pub(super) fn settle(mut self, settlement: Settlement) {
        self.decided = Some(settlement);
    }

    /// What the client pays for a quantity, and what is available then.
    pub(super) fn after_charge(&self, quantity: u64) -> Option<(Credits, Credits)> {
        let charged = self.held.unit_price.times(quantity)?;
        let returned = self.held.amount.minus(charged)?;
        Some((charged, self.held.available.plus(returned)?))
    }

    /// Completes when the key is deleted, or never.
    pub(super) fn key_deleted(&self) -> impl Future<Output = ()> + Send + 'static {
        let token = self.working.as_ref().map(Working::token);
        async move {
            match token {
                Some(token) => token.cancelled().await,
                None => std::future::pending().await,
            }
        }
    }

    fn ended_by_deletion(&self) -> bool {
        self.working
            .as_ref()
            .is_some_and(|working| working.token().is_cancelled())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let unsaid = if self.ended_by_deletion() {
            ReleaseCause::Error
        } else {
            ReleaseCause::ClientGone
        };
        let settlement = self.decided.unwrap_or(Settlement::Release(unsaid));
        if let Some(seen) = &self.seen {
            let charged = match settlement {
                Settlement::Charge { quantity } => self.after_charge(quantity).map(|(charged, _)| charged),
                Settlement::Release(_) => None,
            };
            seen.settled(settlement.outcome(), charged.unwrap_or(Credits::ZERO));
        }
        let settling = Arc::clone(&self.settler).settle(self.held.clone(), settlement, self.expires);
        let (made, endpoint) = (self.made, self.held.endpoint.to_string());
        let settling = async move {
            settling.await;
            metrics::histogram!("keyledger_gateway_hold_seconds", "endpoint" => endpoint).record(made.elapsed());
        };
        self.settler.tasks.spawn_on(settling, &self.settler.runtime);
    }
}

/// Commands of one exchange are named after its reservation, never after what a client sends: two clients may choose
/// the same request id.
fn by_gateway(reservation: ReservationId, what: &str) -> By {
    let command = CommandId::parse(&format!("gateway:{reservation}:{what}"));
    By {
        actor: Actor::System,
        command: command.unwrap_or_else(|| unreachable!("an id has only characters that a command's name may have")),
    }
}
