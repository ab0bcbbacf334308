//! `keyledger audit`: the key that signs the log, and what is checked by it.

mod export;
mod key;
mod log;
mod verify;
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
    /// Check a live log, and all that stands beside it: exit code 0 good, 1 something is wrong, 2 cannot tell
    Log(log::Log),
    Export(export::Export),
    Verify(verify::Verify),
    /// Witness the checkpoints of logs: sign those that extend what was seen before
    Witness(witness::Serve),
}

pub async fn run(audit: Audit) -> anyhow::Result<ExitCode> {
    match audit.what {
        What::Key(key) => key::run(key)?,
        What::Log(asked) => return Ok(told(log::run(asked).await)),
        What::Export(asked) => export::run(asked).await?,
        What::Verify(asked) => return Ok(verify::run(&asked)),
        What::Witness(serve) => witness::run(serve).await?,
    }
    Ok(ExitCode::SUCCESS)
}

const CANNOT_TELL: u8 = 2;

/// What cannot be told has a code of its own: nobody may take it for a good end.
fn told(outcome: anyhow::Result<u8>) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("keyledger: {error:#}");
            ExitCode::from(CANNOT_TELL)
        }
    }
}
