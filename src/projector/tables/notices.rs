//! `views.notices`.

use std::time::Duration;

use keyledger_projections::{Notice, NoticeRow, NoticesChanges};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Generation, Named, Table, WriteError};
use crate::log::{bigint, time_column};
use crate::projector::View;
use crate::projector::worker::shard_column;

pub(in crate::projector) struct Notices;

impl Table for Notices {
    type Changes = NoticesChanges;
    const VIEW: View = View::Notices;
    // Few events are told of, and a message takes longer than that.
    const BATCH_EVERY: Duration = Duration::from_millis(200);
    const TABLES: &'static [Named] = &[Named {
        table: "notices",
        key: "shard, position",
        keyed_late: false,
    }];

    async fn write(
        connection: &mut PgConnection,
        generation: Generation,
        changes: NoticesChanges,
    ) -> Result<(), WriteError> {
        insert(connection, generation, &changes.told).await
    }
}

fn threshold_of(row: &NoticeRow) -> Option<(i64, i64)> {
    match row.what {
        Notice::ThresholdReached { threshold, balance } => Some((threshold, balance)),
        Notice::KeyLeaked { .. } | Notice::KeyDenied { .. } => None,
    }
}

fn denied_of(row: &NoticeRow) -> Option<(String, i64)> {
    match row.what {
        Notice::KeyDenied { reason, count, .. } => Some((reason.as_str().to_owned(), bigint(count))),
        Notice::KeyLeaked { .. } | Notice::ThresholdReached { .. } => None,
    }
}

async fn insert(connection: &mut PgConnection, generation: Generation, rows: &[NoticeRow]) -> Result<(), WriteError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(generation.sql(
        "insert into views.notices (shard, position, event_id, account_id, kind, at, key_id, threshold, balance, reason,
             count, once)
         select * from unnest($1::smallint[], $2::bigint[], $3::uuid[], $4::uuid[], $5::text[], $6::timestamptz[],
             $7::uuid[], $8::bigint[], $9::bigint[], $10::text[], $11::bigint[], $12::text[])
             as c (shard, position, event_id, account_id, kind, at, key_id, threshold, balance, reason, count, once)
         where not exists (select from views.notices n where n.once = c.once)",
    ))
    .bind(rows.iter().map(|r| shard_column(r.shard)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| bigint(r.position.0)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| Uuid::from_bytes(r.event.to_bytes())).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| Uuid::from_bytes(r.account.to_bytes())).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.what.kind().to_owned()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| time_column(r.at)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.what.key().map(|key| Uuid::from_bytes(key.to_bytes()))).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| threshold_of(r).map(|(threshold, _)| threshold)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| threshold_of(r).map(|(_, balance)| balance)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| denied_of(r).map(|(reason, _)| reason)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| denied_of(r).map(|(_, count)| count)).collect::<Vec<_>>())
    .bind(rows.iter().map(NoticeRow::once).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
