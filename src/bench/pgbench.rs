//! Postgres's own `pgbench`: one row as the log's, under indexes as the log's, and one commit.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::Command;

use super::Settings;
use super::figure::Figure;
use crate::local::postgres_program;
use crate::log::open_pool;

/// The columns, indexes and checks of the log, in a table of its own.
const TABLE: &str = "\
create table if not exists pgbench_events (like events including all);
create sequence if not exists pgbench_positions";
const SCRIPT: &str = "\
insert into pgbench_events (shard, position, account_id, seq, event_id, type, key_id, recorded_at, body) \
values (0, nextval('pgbench_positions'), gen_random_uuid(), 1, gen_random_uuid(), 'keyledger.KeyUsed.v1', \
gen_random_uuid(), now(), decode(repeat('37', 440), 'hex'));\n";

/// Runs `pgbench` with its files in `directory`, and reads what it noted of each insert.
pub async fn pgbench(database_url: &str, settings: &Settings, directory: &Path) -> anyhow::Result<Figure> {
    let pool = open_pool(database_url.parse()?, 1);
    sqlx::raw_sql(TABLE).execute(&pool).await?;
    pool.close().await;
    std::fs::create_dir_all(directory)?;
    let (script, notes) = (directory.join("insert.sql"), directory.join("notes"));
    std::fs::write(&script, SCRIPT)?;
    let ran = Command::new(postgres_program("pgbench")?)
        .args(["--no-vacuum", "--protocol=prepared", "--log"])
        .arg(format!("--client={}", settings.callers))
        .arg(format!("--time={}", settings.each.as_secs().max(1)))
        .arg(format!("--log-prefix={}", notes.display()))
        .arg(format!("--file={}", script.display()))
        .arg(database_url)
        .output()
        .await?;
    anyhow::ensure!(
        ran.status.success(),
        "pgbench: {}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let mut took = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.to_string_lossy().starts_with(&*notes.to_string_lossy()) {
            took.extend(std::fs::read_to_string(path)?.lines().filter_map(noted));
        }
    }
    std::fs::remove_dir_all(directory).context("pgbench's notes")?;
    Ok(Figure::of("pgbench", took, 0, settings.each)
        .with("callers", settings.callers)
        .with("seconds", settings.each.as_secs()))
}

/// The third column of a note is what the transaction took, in microseconds.
fn noted(line: &str) -> Option<Duration> {
    let micros = line.split(' ').nth(2)?.parse().ok()?;
    Some(Duration::from_micros(micros))
}
