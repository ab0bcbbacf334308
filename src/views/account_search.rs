//! Accounts by how their name, reference or id begins, with their balances: the operator's look-up.

use keyledger_events::{AccountId, Position};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::accounts::{account, balance};
use super::available::{available, set_aside};
use super::{Account, At, Balance, Columns as _, Page, ViewError, Views, page, uuid_of};

const PREFIX: &str = "acct_";
const ULID_CHARS: usize = 26;

/// The first and the last id whose text begins like this. `None` when no id's does, or all ids' do.
fn ids_that_begin(text: &str) -> Option<(Uuid, Uuid)> {
    let begun = text
        .strip_prefix(PREFIX)
        .filter(|begun| !begun.is_empty())?
        .to_ascii_uppercase();
    let filled = |with: char| -> Option<Uuid> {
        let missing = ULID_CHARS.checked_sub(begun.chars().count())?;
        let text = format!("{PREFIX}{begun}{}", String::from(with).repeat(missing));
        text.parse::<AccountId>().ok().map(|id| uuid_of(id.to_bytes()))
    };
    Some((filled('0')?, filled('Z')?))
}

/// One page of accounts, each with its balance.
type Found = At<Page<(Account, Balance), AccountId>>;

fn found(rows: &[PgRow], limit: u32) -> Result<Found, ViewError> {
    let position = rows.first().map_or(Ok(Position::START), |row| row.position("at"))?;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        if row.has("account_id")? {
            items.push((account(row)?, balance(row)?));
        }
    }
    Ok(At {
        position,
        value: page(items, limit, |(account, _): &(Account, Balance)| account.id),
    })
}

impl Views {
    /// All accounts, the newest id first, each with its balance.
    pub async fn accounts(&self, limit: u32, after: Option<AccountId>) -> Result<Found, ViewError> {
        let rows = sqlx::query(concat!(
            "select c.position as at, b.*
             from views.checkpoints c
             left join lateral (
                 select b.*, ",
            available!(),
            " as available, ",
            set_aside!(),
            " from views.balance b
                 where $2::uuid is null or account_id < $2
                 order by account_id desc limit $3
             ) b on true
             where c.projection = 'balance' and c.shard = $1
             order by b.account_id desc",
        ))
        .bind(self.shard_column())
        .bind(after.map(|id| uuid_of(id.to_bytes())))
        .bind(i64::from(limit) + 1)
        .fetch_all(&self.pool)
        .await?;
        found(&rows, limit)
    }

    /// Accounts whose name (whatever its case), external reference or id begins with a text, the newest id first, each
    /// with its balance.
    pub async fn accounts_found(&self, text: &str, limit: u32, after: Option<AccountId>) -> Result<Found, ViewError> {
        let ids = ids_that_begin(text);
        // The last character there is ends the range of what begins with the text, in byte order.
        let rows = sqlx::query(concat!(
            "select c.position as at, b.*
             from views.checkpoints c
             left join lateral (
                 select b.*, ",
            available!(),
            " as available, ",
            set_aside!(),
            " from (
                     select * from views.balance
                     where lower(name) collate \"C\" >= lower($3) collate \"C\"
                       and lower(name) collate \"C\" < (lower($3) || chr(1114111)) collate \"C\"
                     union
                     select * from views.balance
                     where external_ref collate \"C\" >= $3 collate \"C\"
                       and external_ref collate \"C\" < ($3 || chr(1114111)) collate \"C\"
                     union
                     select * from views.balance where account_id between $4 and $5
                 ) b
                 where $2::uuid is null or b.account_id < $2
                 order by b.account_id desc limit $6
             ) b on true
             where c.projection = 'balance' and c.shard = $1
             order by b.account_id desc",
        ))
        .bind(self.shard_column())
        .bind(after.map(|id| uuid_of(id.to_bytes())))
        .bind(text)
        .bind(ids.map(|(first, _)| first))
        .bind(ids.map(|(_, last)| last))
        .bind(i64::from(limit) + 1)
        .fetch_all(&self.pool)
        .await?;
        found(&rows, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_an_id_is_a_range_of_ids() {
        let (first, last) = ids_that_begin("acct_01JDE5").unwrap();
        let id: AccountId = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA".parse().unwrap();
        let id = uuid_of(id.to_bytes());
        assert!(first < id && id < last);
        assert_eq!(ids_that_begin("acct_01jde5"), ids_that_begin("acct_01JDE5"));
        let whole = ids_that_begin("acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA").unwrap();
        assert_eq!(whole, (id, id));
    }

    #[test]
    fn what_begins_no_id_is_no_range() {
        for text in [
            "",
            "acct_",
            "Acme",
            "acct_8",
            "acct_!",
            "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA0",
        ] {
            assert_eq!(ids_that_begin(text), None, "{text}");
        }
    }
}
