//! What an auditor is told of a good file.

use keyledger_events::{AccountId, CreditsTotal, Timestamp};
use serde::Serialize;

use super::books::{Books, Sums};
use super::chain::Chain;
use super::lines::Scope;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    pub origin: String,
    pub shard: u16,
    pub scope: Scope,
    pub first: u64,
    pub last: u64,
    /// Events under the checkpoint.
    pub size: u64,
    /// Events in the file, price books beside them included.
    pub events: u64,
    /// Of the last event.
    pub last_at: Timestamp,
    pub accounts: u64,
    /// Of accounts whose beginning the file has; of another one or a key, what its events in the file come to.
    pub balance: Option<Balance>,
    pub not_checked: Vec<String>,
}

/// What accounts came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Balance {
    pub granted: CreditsTotal,
    pub charged: CreditsTotal,
    pub refunded: CreditsTotal,
    pub expired: CreditsTotal,
    pub reserved: CreditsTotal,
    pub corrected: CreditsTotal,
    /// Without what is set aside. `None` where the file does not have the beginning.
    pub available: Option<CreditsTotal>,
}

/// In micro-credits.
#[derive(Debug, Default)]
struct Total {
    sums: [i128; 6],
    available: Option<i128>,
}

impl Total {
    fn add(&mut self, sums: Sums, available: Option<i64>) {
        let Sums {
            granted,
            charged,
            refunded,
            expired,
            reserved,
            corrected,
        } = sums;
        let more = [granted, charged, refunded, expired, reserved, corrected];
        for (sum, more) in self.sums.iter_mut().zip(more) {
            *sum += i128::from(more);
        }
        if let Some(available) = available {
            *self.available.get_or_insert(0) += i128::from(available);
        }
    }

    fn balance(&self) -> Balance {
        let [granted, charged, refunded, expired, reserved, corrected] = self.sums.map(CreditsTotal::from_micros);
        Balance {
            granted,
            charged,
            refunded,
            expired,
            reserved,
            corrected,
            available: self.available.map(CreditsTotal::from_micros),
        }
    }
}

/// The system's own history has no credits.
fn of_account(books: &Books, id: AccountId) -> Option<Balance> {
    let account = books.account(id).filter(|_| id != AccountId::SYSTEM)?;
    let mut total = Total::default();
    total.add(account.sums(), account.is_complete().then(|| account.available()));
    Some(total.balance())
}

fn of_all(books: &Books) -> Option<Balance> {
    let mut total = Total::default();
    for (_, account) in books.accounts().filter(|(_, account)| account.is_complete()) {
        total.add(account.sums(), Some(account.available()));
    }
    total.available.map(|_| total.balance())
}

impl Told {
    pub(super) fn of(chain: &Chain, books: &Books) -> Told {
        let balance = match chain.head.scope {
            Scope::Shard { .. } => of_all(books),
            Scope::Account { account } | Scope::Key { account, .. } => of_account(books, account),
        };
        Told {
            origin: chain.head.origin.clone(),
            shard: chain.head.shard,
            scope: chain.head.scope,
            first: chain.head.first,
            last: chain.head.last,
            size: chain.checkpoint.size,
            events: chain.events,
            last_at: books.last_time(),
            accounts: u64::try_from(books.accounts().count()).unwrap_or(u64::MAX),
            balance,
            not_checked: books.not_checked(),
        }
    }
}
