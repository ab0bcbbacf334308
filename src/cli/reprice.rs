//! `keyledger reprice`: what the use that there was would have cost at other prices.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use keyledger::log::{Log, open_pool, service_options};
use keyledger::reprice::{OfEndpoint, OutOfBounds, Repriced, Sums, reprice};
use keyledger_events::{CreditsTotal, Shard, Timestamp};
use serde_json::{Value, json};

/// Charge what was used in a time at the prices of another book, for each account, and change nothing.
///
/// Charges and refunds count in the time when they were made; a refund is the same part of what would have been charged as
/// it was of what was. Exit code 0: the book knows every endpoint that was used; 1: it does not know some, which are named
/// and would have cost nothing; 2: cannot tell.
#[derive(Debug, Args)]
pub struct Reprice {
    /// The other book: a config file, or one with its `[[prices]]` alone
    #[arg(long, value_name = "FILE")]
    book: PathBuf,
    /// From this moment on, such as 2026-11-01 or 2026-11-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Timestamp,
    /// Before this moment
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Timestamp,
    /// A line of JSON for each account, for each endpoint, and for all of it
    #[arg(long)]
    json: bool,
    /// The database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
}

const SOME_UNKNOWN: u8 = 1;
const CANNOT_TELL: u8 = 2;
const CONNECTIONS_MAX: u32 = 2;

/// A moment, or a day, which begins at midnight in UTC.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    let day = format!("{text}T00:00:00Z");
    text.parse()
        .or_else(|_| day.parse())
        .map_err(|_| "a day such as 2026-11-01, or a moment such as 2026-11-01T12:00:00Z".to_owned())
}

pub async fn run(reprice: Reprice) -> ExitCode {
    match told(&reprice).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("keyledger: {error:#}");
            ExitCode::from(CANNOT_TELL)
        }
    }
}

async fn told(asked: &Reprice) -> anyhow::Result<u8> {
    anyhow::ensure!(asked.from < asked.to, "--to has to be later than --from");
    let config = super::config::read(&asked.book)?;
    anyhow::ensure!(!config.prices.is_empty(), "{} has no [[prices]]", asked.book.display());
    let options = service_options(&asked.database_url).context("the database's address cannot be read")?;
    let log = Log::new(open_pool(options, CONNECTIONS_MAX), Shard(0));
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(
        "{bar:40} {human_pos}/{human_len} events, {per_sec}, {eta} left",
    )?);
    let repriced = reprice(&log, &config.prices, asked.from, asked.to, |done, many| {
        bar.set_length(many);
        bar.set_position(done);
    })
    .await?;
    bar.finish_and_clear();
    if asked.json {
        tell_json(asked, &repriced)?;
    } else {
        tell(asked, &repriced)?;
    }
    Ok(if repriced.unknown().next().is_some() {
        SOME_UNKNOWN
    } else {
        0
    })
}

fn members(sums: &Sums) -> Result<Value, OutOfBounds> {
    Ok(json!({
        "charges": sums.charges,
        "quantity": sums.quantity,
        "charged": sums.charged,
        "refunded": sums.refunded,
        "net": sums.net()?,
        "would_charge": sums.would_charge,
        "would_refund": sums.would_refund,
        "would_be": sums.would_be()?,
        "difference": sums.difference()?,
    }))
}

fn tell_json(asked: &Reprice, repriced: &Repriced) -> anyhow::Result<()> {
    let line = |head: Value, sums: &Sums| -> anyhow::Result<()> {
        let mut line = head;
        if let (Value::Object(line), Value::Object(members)) = (&mut line, members(sums)?) {
            line.extend(members);
        }
        println!("{line}");
        Ok(())
    };
    for (account, sums) in &repriced.accounts {
        line(json!({ "account": account }), sums)?;
    }
    for (endpoint, of) in &repriced.endpoints {
        let OfEndpoint { price, ambiguous, sums } = of;
        let head = json!({ "endpoint": endpoint, "known": price.is_some(), "price": price, "ambiguous": ambiguous });
        line(head, sums)?;
    }
    let unknown: Vec<_> = repriced.unknown().map(|(endpoint, _)| endpoint).collect();
    let head = json!({
        "total": true, "from": asked.from, "to": asked.to, "events": repriced.events,
        "accounts": repriced.accounts.len(), "unknown_endpoints": unknown,
    });
    line(head, &repriced.total)
}

fn tell(asked: &Reprice, repriced: &Repriced) -> anyhow::Result<()> {
    let row = |name: &str, sums: &Sums| -> anyhow::Result<()> {
        let difference = sums.difference()?;
        let sign = if difference > CreditsTotal::ZERO { "+" } else { "" };
        println!(
            "{name:<33} {:>9} {:>18} {:>18} {:>19}",
            sums.charges,
            sums.net()?.to_string(),
            sums.would_be()?.to_string(),
            format!("{sign}{difference}"),
        );
        Ok(())
    };
    println!(
        "{:<33} {:>9} {:>18} {:>18} {:>19}",
        "", "charges", "charged", "would be", "difference"
    );
    for (account, sums) in &repriced.accounts {
        row(&account.to_string(), sums)?;
    }
    println!();
    for (endpoint, of) in &repriced.endpoints {
        row(endpoint.as_str(), &of.sums)?;
    }
    println!();
    row("all", &repriced.total)?;
    println!();
    println!(
        "{} events from {} to {}; charged and would be are without what was refunded",
        repriced.events, asked.from, asked.to
    );
    for (endpoint, of) in &repriced.endpoints {
        if of.ambiguous {
            println!("{endpoint} has several prices in this book: the first of them counts here");
        }
        if of.price.is_none() {
            let charges = of.sums.charges;
            println!("{endpoint} is not in this book: its {charges} charges would have cost nothing");
        }
    }
    Ok(())
}
