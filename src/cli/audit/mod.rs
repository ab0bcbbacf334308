//! `keyledger audit`: the key that signs the log, and what is checked by it.

mod key;
mod witness;

use std::process::ExitCode;

use clap::{Args, Subcommand};

pub use key::read_or_make;

#[derive(Debug, Args)]
pub struct Audit {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the key by which others check the log's checkpoints, or make one
    Key(key::Key),
    /// Witness the checkpoints of logs: sign those that extend what was seen before
    Witness(witness::Serve),
}

pub async fn run(audit: Audit) -> anyhow::Result<ExitCode> {
    match audit.what {
        What::Key(key) => key::run(key)?,
        What::Witness(serve) => witness::run(serve).await?,
    }
    Ok(ExitCode::SUCCESS)
}
