//! Settling: a charge or a release sent to the ledger until it has an answer, or the hold is over.
//!
//! In: what is owed for a hold. Out: exactly one settlement in the log, or none at all when the ledger stays away.
//!
//! Promise: retries have the same ids, so an answer that was lost charges nobody twice. Where there is a journal, a charge
//! is in it before its last bytes leave, in a file that outlives the process; what the ledger does not take at once is
//! synced to the disk before it is tried again, and outlives the machine. A gateway that is killed settles both when it
//! comes back. Releases that it did not come to are made by time, when their holds end.
//!
//! Not here: when a hold is made and what it deserves.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::handed_over;
use super::hold::{RETRY_FIRST, RETRY_LONGEST, Settlement, Settler, by_gateway};
use super::journal::Journal;
use super::journal_line::Kept;
use super::top_up;
use crate::clock;
use crate::ledger::{ChargeDelivered, ReleaseReservation, SubmitError};

/// A ledger that has not answered by then may not answer at all: the settlement is written down meanwhile.
const AT_ONCE: Duration = Duration::from_millis(200);

impl Settler {
    /// Takes a journal into use, and goes on with what was left in it.
    pub(super) fn keep(self: &Arc<Self>, journal: Journal, left: Vec<Kept>) {
        if !left.is_empty() {
            tracing::info!(left = left.len(), "settlements of an earlier run are gone on with");
        }
        if self.journal.set(journal).is_err() {
            tracing::error!("a second journal was given; the first one stays");
        }
        for owed in left {
            let micros = u64::try_from(owed.expires_at.micros() - clock::now().micros()).unwrap_or(0);
            let expires = Instant::now() + Duration::from_micros(micros);
            metrics::counter!("keyledger_gateway_settlements_replayed_total").increment(1);
            let settling = Arc::clone(self).settle_journaled(owed, expires);
            self.tasks.spawn_on(settling, &self.runtime);
        }
    }

    /// Forgets what was written down of a hold: it is settled, or its last bytes have not left.
    pub(super) fn forget(&self, written: Option<handed_over::Place>) {
        if let (Some(journal), Some(place)) = (self.journal.get(), written) {
            journal.handed_over.free(place);
        }
    }

    /// Settles, however long the ledger takes, until the hold's own time is over.
    pub(super) async fn settle(self: Arc<Self>, owed: Kept, expires: Instant) {
        let Some(journal) = self.journal.get() else {
            return self.settle_until(&owed, expires).await;
        };
        let first = self.try_to_settle(&owed);
        tokio::pin!(first);
        // A ledger that is there answers within milliseconds, and then nothing is written to the disk.
        let answered = tokio::time::timeout(AT_ONCE, &mut first).await;
        match answered {
            Ok(Ok(())) => return,
            // Closed already: nothing is owed that a disk could help with. The next try says why.
            Ok(Err(reason)) if !reason.may_change() => return self.settle_until(&owed, expires).await,
            Ok(Err(_)) | Err(_) => {}
        }
        metrics::counter!("keyledger_gateway_settlements_journaled_total").increment(1);
        journal.keep(owed.clone()).await;
        let answered = match answered {
            Ok(answered) => answered,
            Err(_) => first.await,
        };
        if answered.is_err() {
            self.settle_until(&owed, expires).await;
        }
        journal.over(owed.reservation);
    }

    /// Settles what the journal has already.
    async fn settle_journaled(self: Arc<Self>, owed: Kept, expires: Instant) {
        self.settle_until(&owed, expires).await;
        if let Some(journal) = self.journal.get() {
            journal.over(owed.reservation);
        }
    }

    async fn settle_until(&self, owed: &Kept, expires: Instant) {
        let (reservation, outcome) = (owed.reservation, owed.settlement.outcome());
        let mut pause = RETRY_FIRST;
        loop {
            let reason = match self.try_to_settle(owed).await {
                Ok(()) => return,
                Err(reason) if reason.may_change() => reason,
                // The hold is closed already, by time or by a deleted account. Whoever closed it has said what is so.
                Err(reason) => {
                    tracing::warn!(%reservation, outcome, %reason, "a hold could not be settled");
                    return lost("refused");
                }
            };
            if Instant::now() + pause >= expires {
                tracing::warn!(%reservation, outcome, %reason, "a hold was not settled in time; it expires and costs nothing");
                return lost("too-late");
            }
            tracing::debug!(%reservation, %reason, "settling is tried again");
            metrics::counter!("keyledger_gateway_settle_retries_total").increment(1);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_LONGEST);
        }
    }

    async fn try_to_settle(&self, owed: &Kept) -> Result<(), SubmitError> {
        let (account, reservation) = (owed.account, owed.reservation);
        match owed.settlement {
            Settlement::Charge { quantity, more } => {
                let charge = ChargeDelivered {
                    account,
                    reservation,
                    quantity: quantity.saturating_add(more),
                    beyond: top_up::beyond(owed.when_more),
                    client_left: owed.client_left,
                };
                let by = by_gateway(reservation, "charge");
                top_up::tell(&self.ledger.submit(charge, by).await?.reply);
            }
            Settlement::Release(cause) => {
                let release = ReleaseReservation {
                    account,
                    reservation,
                    cause,
                    client_left: owed.client_left,
                };
                self.ledger.submit(release, by_gateway(reservation, "release")).await?;
            }
        }
        Ok(())
    }
}

fn lost(reason: &'static str) {
    metrics::counter!("keyledger_gateway_settlements_lost_total", "reason" => reason).increment(1);
}
