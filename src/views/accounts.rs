//! Accounts and their balances.

use keyledger_events::{AccountId, Credits, Timestamp};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::available::{available, set_aside};
use super::{At, Columns as _, ViewError, Views, uuid_of};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    pub name: String,
    pub external_ref: Option<String>,
    pub credit_limit: Credits,
    pub opened_at: Timestamp,
    pub closed_at: Option<Timestamp>,
}

/// An account's sums. `granted` = `available` + `bound` + `later` + `reserved` + `charged` − `refunded` + `expired` + `corrected`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// What any endpoint can use. May be below zero on a credit limit.
    pub available: Credits,
    /// Left of grants that burn on some endpoints only.
    pub bound: Credits,
    /// Of grants that take effect later.
    pub later: Credits,
    pub reserved: Credits,
    pub granted: Credits,
    pub charged: Credits,
    pub refunded: Credits,
    pub expired: Credits,
    /// What corrections took away.
    pub corrected: Credits,
}

pub(super) fn account(row: &PgRow) -> Result<Account, ViewError> {
    Ok(Account {
        id: row.account("account_id")?,
        name: row.text("name")?,
        external_ref: row.text_or_none("external_ref")?,
        credit_limit: row.credits("credit_limit")?,
        opened_at: row.time("opened_at")?,
        closed_at: row.time_or_none("closed_at")?,
    })
}

pub(super) fn balance(row: &PgRow) -> Result<Balance, ViewError> {
    Ok(Balance {
        available: row.credits("available")?,
        bound: row.credits("bound")?,
        later: row.credits("later")?,
        reserved: row.credits("reserved")?,
        granted: row.credits("granted")?,
        charged: row.credits("charged")?,
        refunded: row.credits("refunded")?,
        expired: row.credits("expired")?,
        corrected: row.credits("corrected")?,
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

    /// The balances that an account is watched for, the highest first.
    pub async fn thresholds(&self, id: AccountId) -> Result<At<Option<Vec<Credits>>>, ViewError> {
        self.one_account(id, |row| {
            let amounts: Vec<i64> = row.try_get("thresholds")?;
            let amounts = amounts.into_iter().map(|micros| {
                Credits::from_micros(micros).ok_or(ViewError::Corrupt {
                    what: "an amount out of bounds",
                })
            });
            amounts.collect()
        })
        .await
    }

    async fn one_account<T>(
        &self,
        id: AccountId,
        read: impl Fn(&PgRow) -> Result<T, ViewError>,
    ) -> Result<At<Option<T>>, ViewError> {
        let row = sqlx::query(concat!(
            "select c.position as at, b.*, ",
            available!(),
            " as available, ",
            set_aside!(),
            "
             from views.checkpoints c left join views.balance b on b.account_id = $2
             where c.projection = 'balance' and c.shard = $1"
        ))
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
}
