//! Accounts and their balances.

use keyledger_events::{AccountId, Credits, Position, Timestamp};
use sqlx::postgres::PgRow;

use super::{At, Columns as _, Page, ViewError, Views, page, uuid_of};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    pub name: String,
    pub external_ref: Option<String>,
    pub credit_limit: Credits,
    pub opened_at: Timestamp,
}

/// An account's sums. `granted` = `available` + `reserved` + `charged` − `refunded` + `expired`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// May be below zero on a credit limit.
    pub available: Credits,
    pub reserved: Credits,
    pub granted: Credits,
    pub charged: Credits,
    pub refunded: Credits,
    pub expired: Credits,
}

pub(super) fn account(row: &PgRow) -> Result<Account, ViewError> {
    Ok(Account {
        id: row.account("account_id")?,
        name: row.text("name")?,
        external_ref: row.text_or_none("external_ref")?,
        credit_limit: row.credits("credit_limit")?,
        opened_at: row.time("opened_at")?,
    })
}

pub(super) fn balance(row: &PgRow) -> Result<Balance, ViewError> {
    Ok(Balance {
        available: row.credits("available")?,
        reserved: row.credits("reserved")?,
        granted: row.credits("granted")?,
        charged: row.credits("charged")?,
        refunded: row.credits("refunded")?,
        expired: row.credits("expired")?,
    })
}

impl Views {
    /// One account, if there is one.
    pub async fn account(&self, id: AccountId) -> Result<At<Option<Account>>, ViewError> {
        self.one_account(id, account).await
    }

    /// An account's balance, if there is such an account.
    pub async fn balance(&self, id: AccountId) -> Result<At<Option<Balance>>, ViewError> {
        self.one_account(id, balance).await
    }

    async fn one_account<T>(
        &self,
        id: AccountId,
        read: impl Fn(&PgRow) -> Result<T, ViewError>,
    ) -> Result<At<Option<T>>, ViewError> {
        let row = sqlx::query(
            "select c.position as at, b.*, b.granted - b.charged + b.refunded - b.expired - b.reserved as available
             from views.checkpoints c left join views.balance b on b.account_id = $2
             where c.projection = 'balance' and c.shard = $1",
        )
        .bind(self.shard_column())
        .bind(uuid_of(id.to_bytes()))
        .fetch_one(&self.pool)
        .await?;
        let value = if row.has("account_id")? {
            Some(read(&row)?)
        } else {
            None
        };
        Ok(At {
            position: row.position("at")?,
            value,
        })
    }

    /// Accounts, the newest id first, after a cursor.
    pub async fn accounts(
        &self,
        limit: u32,
        after: Option<AccountId>,
    ) -> Result<At<Page<Account, AccountId>>, ViewError> {
        let rows = sqlx::query(
            "select c.position as at, b.*
             from views.checkpoints c
             left join lateral (
                 select * from views.balance where $2::uuid is null or account_id < $2
                 order by account_id desc limit $3
             ) b on true
             where c.projection = 'balance' and c.shard = $1
             order by b.account_id desc",
        )
        .bind(self.shard_column())
        .bind(after.map(|id| uuid_of(id.to_bytes())))
        .bind(i64::from(limit) + 1)
        .fetch_all(&self.pool)
        .await?;
        let position = rows.first().map_or(Ok(Position::START), |row| row.position("at"))?;
        let mut items = Vec::with_capacity(rows.len());
        for row in &rows {
            if row.has("account_id")? {
                items.push(account(row)?);
            }
        }
        Ok(At {
            position,
            value: page(items, limit, |account: &Account| account.id),
        })
    }
}
