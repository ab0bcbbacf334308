//! Snapshots against what they stand for: each folded again from the account's first event.

use std::collections::HashMap;

use keyledger_events::{AccountId, Seq};

use super::account::{Account, STATE_FORMAT};
use crate::log::{AccountHistory, DataKeyFound, Log, ReadError, Snapshot, Stored, opened};

/// A snapshot that is not what the account's events come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongSnapshot {
    pub account: AccountId,
    pub seq: Seq,
}

const PAGE: u32 = 100;

/// Compares every snapshot of today's form with its account's events. Gives how many there are, and those that are wrong.
pub async fn check_snapshots(log: &Log) -> Result<(u64, Vec<WrongSnapshot>), ReadError> {
    let (mut checked, mut wrong) = (0, Vec::new());
    let mut after = None;
    loop {
        let page = log.snapshots_after(after, PAGE, STATE_FORMAT).await?;
        let Some(last) = page.last() else {
            return Ok((checked, wrong));
        };
        after = Some(last.account);
        for snapshot in &page {
            checked += 1;
            let keys = log.data_keys(&[snapshot.account]).await?;
            if !is_right(log, snapshot, &keys).await? && is_still_wrong(log, snapshot.account).await? {
                wrong.push(WrongSnapshot {
                    account: snapshot.account,
                    seq: snapshot.seq,
                });
            }
        }
    }
}

/// Somebody may have erased the account's personal data between the reading of its snapshot and that of its key: both at once.
async fn is_still_wrong(log: &Log, account: AccountId) -> Result<bool, ReadError> {
    let (snapshots, keys) = log.shortcuts(&[account], Some(STATE_FORMAT)).await?;
    for snapshot in &snapshots {
        if !is_right(log, snapshot, &keys).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn is_right(log: &Log, snapshot: &Snapshot, keys: &HashMap<AccountId, DataKeyFound>) -> Result<bool, ReadError> {
    let Ok(kept) = serde_json::from_slice::<Account>(&snapshot.state) else {
        return Ok(false);
    };
    let mut folded = Account::nobody(snapshot.account);
    let mut follows = true;
    let whole = AccountHistory {
        account: snapshot.account,
        after: Seq::START,
    };
    let mut each = |_, stored: Stored| {
        if follows && folded.seq < snapshot.seq {
            follows = match stored.decode() {
                Ok(mut event) => {
                    opened(&mut event, keys.get(&snapshot.account))?;
                    folded.evolve(&event).is_ok()
                }
                Err(_) => false,
            };
        }
        Ok(())
    };
    let archived = log.read_accounts(&[whole], &mut each).await?;
    if let Some((_, error)) = log.read_archived_accounts(archived, &mut each).await?.pop() {
        return Err(error);
    }
    Ok(follows && kept == folded && folded.position == snapshot.position)
}
