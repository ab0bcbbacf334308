//! Holding for a proxy, in a task that no client can cancel.
//!
//! Promise: nobody is let through without a hold that is in the log. A hold whose proxy hung up before it was told is
//! given back; one whose own making is in doubt is looked for and given back. A charge at once is sent before the proxy
//! is told, and again with the same ids until it is known: exactly once, or not at all when the hold has ended. The end of the
//! process waits for what is under way here.

use std::time::Duration;

use keyledger_events::ReleaseCause;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::trust::by;
use crate::http::App;
use crate::ledger::{Answer, Charge, ChargeReservation, Held, Ledger, ReleaseReservation, ReserveCredits, SubmitError};
use crate::tokens::Caller;

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LONGEST: Duration = Duration::from_secs(2);

/// What is done with a hold before the proxy is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Wait,
    Charge,
    Release(ReleaseCause),
}

/// A hold, and its charge where it has been charged.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) held: Answer<Held>,
    pub(super) charge: Option<Charge>,
}

/// Holds for a request. Dropping the future gives the hold back.
pub(super) async fn hold(
    app: &App,
    caller: Caller,
    reserve: ReserveCredits,
    then: Then,
) -> Result<Holding, SubmitError> {
    let (tell, told) = oneshot::channel();
    app.forward_auth.run(
        Task {
            ledger: app.ledger.clone(),
            caller,
            reserve,
        }
        .run(then, tell),
    );
    told.await.unwrap_or(Err(SubmitError::OutcomeUnknown))
}

struct Task {
    ledger: Ledger,
    caller: Caller,
    reserve: ReserveCredits,
}

impl Task {
    async fn run(self, then: Then, tell: oneshot::Sender<Result<Holding, SubmitError>>) {
        let held = match self.reserve().await {
            Ok(held) => held,
            Err(error) => {
                let in_doubt = matches!(error, SubmitError::OutcomeUnknown);
                let _ = tell.send(Err(error));
                if in_doubt {
                    self.recover().await;
                }
                return;
            }
        };
        let reply = held.reply.clone();
        if tell.is_closed() {
            return self.settle(&reply, Then::Release(ReleaseCause::ClientGone)).await;
        }
        let tried = self.try_to_settle(&reply, then).await;
        let (charge, again) = match tried {
            Ok(charge) => (charge, false),
            // The hold stands, so the proxy may go on; the charge is sent again until it is known.
            Err(error) => (None, error.may_change()),
        };
        let gone = tell.send(Ok(Holding { held, charge })).is_err();
        match then {
            Then::Wait if gone => self.settle(&reply, Then::Release(ReleaseCause::ClientGone)).await,
            Then::Wait => {}
            Then::Charge | Then::Release(_) if again => self.settle(&reply, then).await,
            Then::Charge | Then::Release(_) => {}
        }
    }

    async fn reserve(&self) -> Result<Answer<Held>, SubmitError> {
        let by = by(self.caller, self.reserve.reservation, "reserve");
        self.ledger.submit(self.reserve.clone(), by).await
    }

    /// Finds out what became of a hold whose answer was lost, and gives it back: its proxy was told no.
    async fn recover(self) {
        let mut patience = Patience::of(&self.reserve);
        while patience.pause().await {
            match self.reserve().await {
                Ok(held) => return self.settle(&held.reply, Then::Release(ReleaseCause::Error)).await,
                Err(error) if error.may_change() => {}
                Err(_) => return,
            }
        }
    }

    async fn settle(&self, held: &Held, then: Then) {
        let mut patience = Patience::of(&self.reserve);
        loop {
            match self.try_to_settle(held, then).await {
                Ok(_) => return,
                Err(error) if error.may_change() => {}
                Err(error) => {
                    tracing::warn!(reservation = %held.reservation, %error, "a hold of a proxy could not be settled");
                    return;
                }
            }
            if !patience.pause().await {
                tracing::warn!(reservation = %held.reservation, "a hold of a proxy was not settled in time; it expires");
                return;
            }
        }
    }

    async fn try_to_settle(&self, held: &Held, then: Then) -> Result<Option<Charge>, SubmitError> {
        let (account, reservation) = (held.account, held.reservation);
        match then {
            Then::Wait => Ok(None),
            Then::Charge => {
                let charge = ChargeReservation {
                    account,
                    reservation,
                    quantity: None,
                };
                let by = by(self.caller, reservation, "charge");
                Ok(Some(self.ledger.submit(charge, by).await?.reply))
            }
            Then::Release(cause) => {
                let release = ReleaseReservation {
                    account,
                    reservation,
                    cause,
                    client_left: None,
                };
                let by = by(self.caller, reservation, "release");
                self.ledger.submit(release, by).await?;
                Ok(None)
            }
        }
    }
}

/// Longer and longer pauses, until the hold's own time is over.
struct Patience {
    next: Duration,
    ends: Instant,
}

impl Patience {
    fn of(reserve: &ReserveCredits) -> Patience {
        Patience {
            next: RETRY_FIRST,
            ends: Instant::now() + Duration::from_secs(reserve.ttl_seconds.into()),
        }
    }

    async fn pause(&mut self) -> bool {
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(RETRY_LONGEST);
        Instant::now() < self.ends
    }
}
