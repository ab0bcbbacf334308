//! The sweeper: settles what is due for accounts that nobody uses, and tells the log of revocations that it has not heard of.
//!
//! The views say which accounts may have something due; the writer decides. A view that is behind only makes the
//! sweeper ask for nothing, or a moment later.

use std::time::Duration;

use keyledger_events::{Actor, CommandId};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::ledger::{By, Ledger, SettleDue};
use crate::tokens::Tokens;
use crate::views::Views;

/// A hold, a grant or a rotated key outlives its end by about this long at most, when nobody uses the account.
const EVERY: Duration = Duration::from_secs(1);
/// Accounts settled in one sweep; the rest comes in the next.
const ACCOUNTS_MAX: u32 = 500;
/// Sweeps between looks at revocations: there is something to tell of only after a crash.
const REVOCATIONS_EVERY: u32 = 5;

/// Sweeps until told to stop.
pub(super) fn start(ledger: Ledger, views: Views, tokens: Tokens, stop: CancellationToken) {
    tokio::spawn(async move {
        let mut sweeps: u32 = 0;
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            sweep(&ledger, &views).await;
            if sweeps.is_multiple_of(REVOCATIONS_EVERY)
                && let Err(error) = tokens.tell_of_revocations(&ledger).await
            {
                tracing::debug!(%error, "revocations are told of later");
            }
            sweeps = sweeps.wrapping_add(1);
        }
    });
}

async fn sweep(ledger: &Ledger, views: &Views) {
    let due = match views.due_accounts(clock::now(), ACCOUNTS_MAX).await {
        Ok(due) => due,
        Err(error) => {
            tracing::debug!(%error, "the views cannot be asked what is due");
            return;
        }
    };
    let Some(command) = CommandId::parse("sweep") else {
        return;
    };
    let by = By {
        actor: Actor::System,
        command,
    };
    // All at once: the writer settles them in one round.
    let settling = due
        .into_iter()
        .map(|account| ledger.submit(SettleDue { account }, by.clone()));
    for settled in futures_util::future::join_all(settling).await {
        if let Err(error) = settled {
            tracing::debug!(%error, "what is due is settled in a later sweep");
        }
    }
}
