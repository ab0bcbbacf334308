//! Sums of an account's history up to some of its events: a shortcut for statements, never a truth.

use keyledger_events::{AccountId, Seq};
use keyledger_projections::Sums;
use sqlx::Row as _;
use uuid::Uuid;

use super::{Log, ReadError, bigint, in_time, position};

/// What an account's movements up to and with the event `seq` add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StatementMark {
    pub seq: Seq,
    pub sums: Sums,
}

/// What the sums mean. Marks of another version are not read.
pub(crate) const STATEMENT_MARKS_FORMAT: i32 = 1;

impl Log {
    /// The account's last mark that is not after an event: of nothing, where there is none.
    pub async fn statement_mark(&self, account: AccountId, last: Seq) -> Result<StatementMark, ReadError> {
        in_time(async {
            let row = sqlx::query(
                "select seq, granted, charged, refunded, expired, corrected from statement_marks
                 where shard = $1 and account_id = $2 and seq <= $3 and format = $4 order by seq desc limit 1",
            )
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(account.to_bytes()))
            .bind(bigint(last.0))
            .bind(STATEMENT_MARKS_FORMAT)
            .fetch_optional(&self.pool)
            .await?;
            let Some(row) = row else {
                return Ok(StatementMark::default());
            };
            Ok(StatementMark {
                seq: Seq(position(row.try_get("seq")?)?.0),
                sums: Sums {
                    granted: row.try_get("granted")?,
                    charged: row.try_get("charged")?,
                    refunded: row.try_get("refunded")?,
                    expired: row.try_get("expired")?,
                    corrected: row.try_get("corrected")?,
                },
            })
        })
        .await
    }

    /// Keeps a mark.
    pub async fn keep_statement_mark(&self, account: AccountId, mark: &StatementMark) -> Result<(), ReadError> {
        in_time(async {
            let Sums {
                granted,
                charged,
                refunded,
                expired,
                corrected,
            } = mark.sums;
            sqlx::query(
                "insert into statement_marks
                     (shard, account_id, seq, format, granted, charged, refunded, expired, corrected)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                 on conflict on constraint statement_marks_pkey do update
                 set format = excluded.format, granted = excluded.granted, charged = excluded.charged,
                     refunded = excluded.refunded, expired = excluded.expired, corrected = excluded.corrected
                 where statement_marks.format <> excluded.format",
            )
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(account.to_bytes()))
            .bind(bigint(mark.seq.0))
            .bind(STATEMENT_MARKS_FORMAT)
            .bind(granted)
            .bind(charged)
            .bind(refunded)
            .bind(expired)
            .bind(corrected)
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }
}
