//! Credits held for one request, and what becomes of them.
//!
//! In: a reservation, made in a task of its own. Out: exactly one settlement, sent from a task that no client can cancel.
//!
//! Promise: a hold that exists is settled, whichever way its request ends: a `Hold` that is dropped without a word is
//! released.
//!
//! Not here: what a request deserves (the exchange and the delivery say so), and how it is settled: `settle`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use keyledger_events::{Actor, ClientLeft, CommandId, Credits, ReleaseCause, ReservationId};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::count::Counted;
use super::free_riders::{self, Ride};
use super::handed_over;
use super::journal::Journal;
use super::journal_line::Kept;
use super::seen::Seen;
use super::top_up;
use crate::config::FreeRiderConfig;
use crate::ledger::{By, Held, Ledger, ReserveCredits, SubmitError, Working};
use crate::prices::{PriceRule, WhenMore};

pub(super) const RETRY_FIRST: Duration = Duration::from_millis(50);
pub(super) const RETRY_LONGEST: Duration = Duration::from_secs(2);

/// Makes holds and settles them.
#[derive(Debug)]
pub(super) struct Settler {
    pub(super) ledger: Ledger,
    pub(super) tasks: TaskTracker,
    pub(super) runtime: Handle,
    /// Where settlements are kept that the ledger has not taken; in memory only without.
    pub(super) journal: OnceLock<Journal>,
    /// `None` where nobody is looked after.
    free_riders: Option<FreeRiderConfig>,
}

/// How a hold ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Settlement {
    Charge {
        quantity: u64,
        /// Units that were delivered beyond those that were held for.
        more: u64,
    },
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
    /// The charge that is written down while its last bytes leave.
    written: Option<(handed_over::Place, Settlement)>,
    /// What becomes of units beyond the hold.
    when_more: WhenMore,
    pub(super) ride: Ride,
    made: Instant,
    /// Whoever watches the request that this is for.
    seen: Option<Arc<Seen>>,
}

impl Settler {
    pub(super) fn new(ledger: Ledger, free_riders: Option<FreeRiderConfig>) -> Settler {
        Settler {
            ledger,
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            journal: OnceLock::new(),
            free_riders,
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
            written: None,
            when_more: WhenMore::default(),
            ride: Ride::default(),
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
                Err(error) if !error.may_change() => return,
                Err(_) => {}
            }
        }
        tracing::warn!(reservation = %reserve.reservation, "a reservation's outcome stays unknown; it expires by itself");
    }

    /// Waits for settlements under way, but not for ever: what is left expires.
    pub(super) async fn drain(&self, patience: Duration) {
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                left = self.tasks.len(),
                journaled = self.journal.get().is_some(),
                "settlements were under way at the end; those that are not journaled expire"
            );
        }
    }
}

impl Settlement {
    pub(super) fn outcome(self) -> &'static str {
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

    /// Says by which rule units beyond the hold are paid.
    pub(super) fn priced_by(mut self, rule: &PriceRule) -> Hold {
        self.when_more = rule.when_more;
        self
    }

    /// Begins a delivery that a charge stands for. A client that made a habit of leaving owes it from the first byte:
    /// what the head says, or else what is held.
    pub(super) fn delivers(&mut self, announced_bytes: Option<u64>, known: Option<u64>) {
        let rule = self.settler.free_riders;
        let pays_at_once = rule.is_some_and(|rule| free_riders::pay_at_once(&self.held.hang_ups, rule));
        let charge = Settlement::Charge {
            quantity: known.unwrap_or(self.held.quantity),
            more: 0,
        };
        self.ride = Ride::begin(announced_bytes, pays_at_once.then_some(charge));
    }

    /// The platform cut the delivery off: it is released, and is nobody's habit.
    pub(super) fn nobody_hung_up(&mut self) {
        self.ride = Ride::default();
    }

    /// What it comes to when nobody has said how it ends, and how far it had come: the client left, or the platform cut it
    /// off.
    fn unsaid(&self) -> (Settlement, Option<ClientLeft>) {
        if self.ended_by_deletion() {
            return (Settlement::Release(ReleaseCause::Error), None);
        }
        let settlement = match self.ride.owed() {
            None => Settlement::Release(ReleaseCause::ClientGone),
            Some(charge) => {
                tracing::info!(reservation = %self.held.reservation, key = ?self.held.key, "a client left that pays from the first byte; it is charged");
                metrics::counter!("keyledger_gateway_free_rides_charged_total").increment(1);
                charge
            }
        };
        (settlement, self.ride.client_left())
    }

    /// Tells its watcher of itself now, and of its end.
    pub(super) fn seen_by(mut self, seen: &Arc<Seen>) -> Hold {
        seen.held(&self.held);
        self.seen = Some(Arc::clone(seen));
        self
    }

    /// Writes down how it ends, right before the socket is given its last bytes: a process that is killed after that has
    /// charged what its client has.
    pub(super) fn write_down(&mut self, settlement: Settlement) {
        let journal = self.settler.journal.get().filter(|_| self.written.is_none());
        let place = journal.and_then(|journal| journal.handed_over.write(self.owed(settlement)));
        if let Some(place) = place {
            self.written = Some((place, settlement));
        }
    }

    /// The last bytes have not left: nothing is owed for them yet.
    pub(super) fn take_back(&mut self) {
        if let Some((place, _)) = self.written.take() {
            self.settler.forget(Some(place));
        }
    }

    fn owed(&self, settlement: Settlement) -> Kept {
        Kept {
            account: self.held.account,
            reservation: self.held.reservation,
            settlement,
            when_more: self.when_more,
            expires_at: self.held.expires_at,
            client_left: None,
        }
    }

    /// Says how it ends, and ends it.
    pub(super) fn settle(mut self, settlement: Settlement) {
        self.decided = Some(settlement);
    }

    /// What the client pays for an answer, and what is available then. A top-up is in it as far as can be told: by the
    /// balance as it stood when this was held.
    pub(super) fn after_charge(&self, counted: Counted) -> Option<(Credits, Credits)> {
        let charged = self.held.unit_price.times(counted.quantity)?;
        let returned = self.held.amount.minus(charged)?;
        let top_up = top_up::expected(self.when_more, &self.held, counted.more);
        let available = self.held.available.plus(returned)?.minus(top_up)?;
        Some((charged.plus(top_up)?, available))
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

    /// Hands over what hears of the key's deletion, so that it can outlive the hold. `None` where such requests may finish.
    pub(super) fn lets_go_of_work(&mut self) -> Option<Working> {
        self.working.take()
    }

    fn ended_by_deletion(&self) -> bool {
        self.working
            .as_ref()
            .is_some_and(|working| working.token().is_cancelled())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let said = self.decided.map(|settlement| (settlement, None));
        let (settlement, client_left) = said.unwrap_or_else(|| self.unsaid());
        if let Some(seen) = &self.seen {
            let charged = match settlement {
                Settlement::Charge { quantity, more } => self
                    .after_charge(Counted { quantity, more })
                    .map(|(charged, _)| charged),
                Settlement::Release(_) => None,
            };
            seen.settled(settlement.outcome(), charged.unwrap_or(Credits::ZERO));
        }
        if self.written.as_ref().is_some_and(|(_, written)| *written != settlement) {
            self.take_back();
        }
        let written = self.written.take().map(|(place, _)| place);
        let settler = Arc::clone(&self.settler);
        let owed = Kept {
            client_left,
            ..self.owed(settlement)
        };
        let settling = Arc::clone(&settler).settle(owed, self.expires);
        let (made, endpoint) = (self.made, self.held.endpoint.to_string());
        let settling = async move {
            settling.await;
            settler.forget(written);
            metrics::histogram!("keyledger_gateway_hold_seconds", "endpoint" => endpoint).record(made.elapsed());
        };
        self.settler.tasks.spawn_on(settling, &self.settler.runtime);
    }
}

/// Commands of one exchange are named after its reservation, never after what a client sends: two clients may choose
/// the same request id.
pub(super) fn by_gateway(reservation: ReservationId, what: &str) -> By {
    let command = CommandId::parse(&format!("gateway:{reservation}:{what}"));
    By {
        actor: Actor::System,
        command: command.unwrap_or_else(|| unreachable!("an id has only characters that a command's name may have")),
    }
}
