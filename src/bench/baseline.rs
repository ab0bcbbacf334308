//! The yardstick: one small row, committed alone, as often as the same Postgres can.

use std::time::{Duration, Instant};

use sqlx::PgPool;

use super::measure::{Figures, Seen, run};

/// Measures plain one-row commits.
pub(super) async fn one_row_commits(pool: &PgPool, concurrency: usize, during: Duration) -> anyhow::Result<Figures> {
    sqlx::query("create table if not exists bench_rows (id bigint generated always as identity primary key, body bytea not null)")
        .execute(pool)
        .await?;
    run("one row, one commit", concurrency, during, |_, end| {
        let pool = pool.clone();
        async move {
            let body = vec![7u8; 600];
            let mut seen = Seen::default();
            while Instant::now() < end {
                let begin = Instant::now();
                sqlx::query("insert into bench_rows (body) values ($1)")
                    .bind(&body)
                    .execute(&pool)
                    .await?;
                seen.took.push(begin.elapsed());
            }
            Ok(seen)
        }
    })
    .await
}
