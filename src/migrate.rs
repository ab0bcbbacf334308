//! Brings a database to the form that this version works with.

use sqlx::PgPool;
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

/// How a database stands to this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// It has all that this version needs, and may have more.
    Fits,
    /// Not all. `None`: it does not even say which it has.
    Older(Option<i64>),
}

/// The last migration that this version needs.
pub fn newest() -> i64 {
    MIGRATIONS
        .iter()
        .map(|&(version, ..)| version)
        .max()
        .unwrap_or_default()
}

/// Asks a database, as anybody who uses it, how it stands. An error: it cannot be asked.
pub async fn schema(pool: &PgPool) -> Result<Schema, sqlx::Error> {
    let asked = sqlx::query_scalar::<_, Option<i64>>("select max(version) from _sqlx_migrations where success");
    match asked.fetch_one(pool).await {
        Ok(Some(version)) if version >= newest() => Ok(Schema::Fits),
        Ok(version) => Ok(Schema::Older(version)),
        // The role may not look, or there is nothing to look at: older than the migration that lets it.
        Err(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("42501" | "42P01")) => {
            Ok(Schema::Older(None))
        }
        Err(error) => Err(error),
    }
}

/// Runs the migrations that the database does not have yet, as its owner. Safe to run at the same time elsewhere.
pub async fn migrate(database_url: &str) -> Result<(), MigrateError> {
    let mut connection = PgConnection::connect(database_url).await?;
    migrator().run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}
