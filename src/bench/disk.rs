//! What an event takes on the disk: the table with its indexes, over the canonical bytes that it holds.

use anyhow::Context as _;
use sqlx::Row as _;

use super::Settings;
use super::commands::commands;
use super::figure::Figure;
use crate::log::open_pool;

const SIZES: &str = "\
select count(*) as events, pg_total_relation_size('events') as bytes, coalesce(sum(octet_length(body)), 0)::bigint as canonical
from events";

/// The figure of `commands`, and the bytes of each event that it wrote. The database must have been empty.
pub async fn disk(database_url: &str, settings: &Settings) -> anyhow::Result<Figure> {
    let mut figure = commands(database_url, None, settings).await?;
    "disk".clone_into(&mut figure.name);
    let pool = open_pool(database_url.parse()?, 1);
    sqlx::query("vacuum events").execute(&pool).await?;
    let row = sqlx::query(SIZES).fetch_one(&pool).await?;
    pool.close().await;
    let events: i64 = row.try_get("events")?;
    let each = |column: &str| -> anyhow::Result<u64> {
        let bytes: i64 = row.try_get(column)?;
        let bytes = bytes.checked_div(events).context("no events")?;
        Ok(u64::try_from(bytes)?)
    };
    Ok(figure
        .with("bytes_per_event", each("bytes")?)
        .with("canonical_bytes_per_event", each("canonical")?))
}
