//! The `keyledger` command.

mod cli;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

/// A ledger for API keys and usage credits.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring the database to the form that this version works with
    Migrate {
        /// The database, as its owner
        #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
        database_url: String,
    },
    /// Run everything on this machine: Postgres, NATS, all roles, a demo customer and a demo data API
    Dev(cli::dev::Dev),
    /// Run the service against a Postgres and a NATS
    Serve(cli::serve::Serve),
    /// Make and revoke access tokens for callers of the API
    Token(cli::token::Token),
    /// Fold a view again from the log
    Rebuild(cli::rebuild::Rebuild),
    /// Compare views with the log
    Views(cli::views::Views),
    Replay(cli::replay::Replay),
    /// Charge what was used at the prices of another book, and change nothing
    Reprice(cli::reprice::Reprice),
    /// Prove that statements, log and views say the same, and compare a CSV file of the platform's own with the ledger
    Reconcile(cli::reconcile::Reconcile),
    /// Prove what is in the log, and check such proofs
    Audit(cli::audit::Audit),
    /// Measure on this machine
    Bench(cli::bench::Bench),
    /// Run a command with a throw-away Postgres and NATS in DATABASE_URL and NATS_URL
    Local {
        /// The command and its arguments, after `--`
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match cli::telemetry::logs() {
        Ok(()) => asked().await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("keyledger: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Commands of this program, and one for every call of the API.
async fn asked() -> anyhow::Result<ExitCode> {
    let matches = cli::calls::commands(Cli::command()).get_matches();
    if let Some((group, given)) = matches.subcommand()
        && cli::calls::is_group(group)
    {
        return Ok(cli::calls::run(group, given).await);
    }
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => run(cli.command).await,
        Err(error) => error.exit(),
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Migrate { database_url } => keyledger::migrate::migrate(&database_url).await?,
        Command::Dev(dev) => cli::dev::run(dev).await?,
        Command::Serve(serve) => cli::serve::run(serve).await?,
        Command::Token(token) => cli::token::run(token).await?,
        Command::Rebuild(rebuild) => cli::rebuild::run(rebuild).await?,
        Command::Views(views) => return Ok(cli::views::run(views).await),
        Command::Replay(replay) => cli::replay::run(replay).await?,
        Command::Reprice(reprice) => return Ok(cli::reprice::run(reprice).await),
        Command::Reconcile(reconcile) => return Ok(cli::reconcile::run(reconcile).await),
        Command::Audit(audit) => return cli::audit::run(audit).await,
        Command::Bench(bench) => cli::bench::run(bench).await?,
        Command::Local { command } => {
            let code = keyledger::local::run_with_servers(command).await?;
            return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)));
        }
    }
    Ok(ExitCode::SUCCESS)
}
