//! Brings a database to the form that this version works with.

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, SqlSafeStr as _};

/// Why a database could not be migrated. What was migrated before stays; run it again.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("the database cannot be reached: {0}")]
    Unreachable(#[from] sqlx::Error),
    #[error("a migration failed: {0}")]
    Failed(#[from] sqlx::migrate::MigrateError),
}

/// Version, description and text, as `build.rs` found them. The macro of sqlx does the same, and has all of sqlx built a second
/// time for it.
const MIGRATIONS: &[(i64, &str, &str)] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

fn migrator() -> Migrator {
    let migrations = MIGRATIONS.iter().map(|&(version, description, sql)| {
        let alone = sql.starts_with("-- no-transaction");
        Migration::new(
            version,
            description.into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            alone,
        )
    });
    Migrator::with_migrations(migrations.collect())
}

/// Runs the migrations that the database does not have yet, as its owner. Safe to run at the same time elsewhere.
pub async fn migrate(database_url: &str) -> Result<(), MigrateError> {
    let mut connection = PgConnection::connect(database_url).await?;
    migrator().run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}
