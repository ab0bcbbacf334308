//! Another project's ledger, as a program beside ours: it is told the same and prints the same line.

use std::path::Path;

use anyhow::Context as _;
use tokio::process::Command;

use super::Settings;
use super::figure::Figure;

/// Runs the program of `bench/peers`, which fills tables of its own in the database.
pub async fn peer(program: &Path, database_url: &str, settings: &Settings) -> anyhow::Result<Figure> {
    let ran = Command::new(program)
        .arg(format!("--callers={}", settings.callers))
        .arg(format!("--accounts={}", settings.accounts))
        .arg(format!("--seconds={}", settings.each.as_secs().max(1)))
        .env("DATABASE_URL", database_url)
        .output()
        .await
        .with_context(|| format!("{} does not start", program.display()))?;
    anyhow::ensure!(
        ran.status.success(),
        "{}: {}",
        program.display(),
        String::from_utf8_lossy(&ran.stderr)
    );
    serde_json::from_slice(&ran.stdout).with_context(|| format!("{} prints no figure", program.display()))
}
