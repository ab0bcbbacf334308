//! The sweeper: settles what is due for accounts that nobody uses, tells the log of revocations that it has not heard of, and
//! removes what rebuilds left behind.
//!
//! The views say which accounts may have something due; the writer decides. A view that is behind only makes the
//! sweeper ask for nothing, or a moment later.

use std::collections::HashMap;
use std::time::Duration;

use keyledger_events::{AccountId, Actor, CommandId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::ledger::{By, Ledger, SettleDue, SubmitError};
use crate::tokens::Tokens;
use crate::views::Views;

/// A hold, a grant or a rotated key outlives its end by about this long at most, when nobody uses the account.
const EVERY: Duration = Duration::from_secs(1);
/// Accounts settled in one sweep; the rest comes in the next. Fewer than may wait for archived events at once.
const ACCOUNTS_MAX: u32 = 250;
/// So long an account that cannot be read is not asked for again: its whole history may be read each time.
const SET_ASIDE_FOR: Duration = Duration::from_secs(60);
/// The same for one whose archived events cannot be had: their store may be back soon.
const AWAY_FOR: Duration = Duration::from_secs(10);
/// Accounts set aside at a time. Of more, the others are asked for in each sweep.
const SET_ASIDE_MAX: usize = 1_000;
/// Sweeps between looks for what killed rebuilds left behind.
const GENERATIONS_EVERY: u32 = 60;
/// Sweeps between looks at revocations: there is something to tell of only after a crash.
const REVOCATIONS_EVERY: u32 = 5;

/// Sweeps until told to stop.
pub(super) fn start(ledger: Ledger, views: Views, tokens: Tokens, stop: CancellationToken) {
    tokio::spawn(async move {
        let mut sweeps: u32 = 0;
        let mut aside = SetAside::default();
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            sweep(&ledger, &views, &mut aside).await;
            if sweeps.is_multiple_of(REVOCATIONS_EVERY)
                && let Err(error) = tokens.tell_of_revocations(&ledger).await
            {
                tracing::debug!(%error, "revocations are told of later");
            }
            if sweeps.is_multiple_of(GENERATIONS_EVERY) {
                match views.forget_left_generations().await {
                    Ok(0) => {}
                    Ok(tables) => tracing::info!(tables, "what a rebuild left behind was removed"),
                    Err(error) => tracing::debug!(%error, "what rebuilds left behind is removed later"),
                }
            }
            sweeps = sweeps.wrapping_add(1);
        }
    });
}

/// Accounts that cannot be read. What is due for them stays due, and would hide what is due for others for ever.
#[derive(Default)]
struct SetAside(HashMap<AccountId, Instant>);

impl SetAside {
    /// Those that are not to be asked for by now.
    fn by(&mut self, now: Instant) -> Vec<AccountId> {
        self.0.retain(|_, until| *until > now);
        self.0.keys().copied().collect()
    }

    fn add(&mut self, account: AccountId, until: Instant) {
        if self.0.len() < SET_ASIDE_MAX {
            self.0.insert(account, until);
        }
    }
}

async fn sweep(ledger: &Ledger, views: &Views, aside: &mut SetAside) {
    let due = match views
        .due_accounts(clock::now(), ACCOUNTS_MAX, &aside.by(Instant::now()))
        .await
    {
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
    let settling = due.into_iter().map(async |account| {
        let settled = ledger.submit(SettleDue { account }, by.clone()).await;
        (account, settled)
    });
    for (account, settled) in futures_util::future::join_all(settling).await {
        let Err(error) = settled else { continue };
        tracing::debug!(%account, %error, "what is due is settled in a later sweep");
        match error {
            SubmitError::Broken => aside.add(account, Instant::now() + SET_ASIDE_FOR),
            SubmitError::Unavailable => aside.add(account, Instant::now() + AWAY_FOR),
            SubmitError::Busy | SubmitError::OutcomeUnknown | SubmitError::Refused { .. } => {}
        }
    }
}
