//! Brings a database to the form that this version works with.

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

/// Why a database could not be migrated. What was migrated before stays; run it again.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("the database cannot be reached: {0}")]
    Unreachable(#[from] sqlx::Error),
    #[error("a migration failed: {0}")]
    Failed(#[from] sqlx::migrate::MigrateError),
}

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Runs the migrations that the database does not have yet, as its owner. Safe to run at the same time elsewhere.
pub async fn migrate(database_url: &str) -> Result<(), MigrateError> {
    let mut connection = PgConnection::connect(database_url).await?;
    MIGRATIONS.run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}
