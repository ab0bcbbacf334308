//! `keyledger reconcile`: whether statements, log and views say the same, and whether the platform's own file does.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args};
use indicatif::{ProgressBar, ProgressStyle};
use keyledger::clock;
use keyledger::reconcile::{Columns, Compared, Example, MatchedBy, Reconciled, TheirFile, compare, reconcile};
use keyledger::statements::{Moment, Month, Period};
use keyledger_events::{AccountId, Credits, CreditsTotal, Timestamp};
use serde_json::json;

/// Exit code 0 equal, 1 different, 2 cannot tell.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("matched-by").args(["by_reservation", "by_request", "by_endpoint"])))]
pub struct Reconcile {
    /// Only this account; may be given again. All of them unless said
    #[arg(long, value_name = "ACCOUNT")]
    account: Vec<AccountId>,
    /// The first moment: a time, or a day. The log's beginning unless said
    #[arg(long, value_parser = moment)]
    from: Option<Moment>,
    /// The moment at which to end, which is not in it any more. Now unless said
    #[arg(long, value_parser = moment)]
    to: Option<Moment>,
    /// A month, UTC, instead of both: 2026-11
    #[arg(long, conflicts_with_all = ["from", "to"], value_parser = month)]
    month: Option<Month>,
    /// A CSV file of the platform's own, to be compared with the charges of the period
    #[arg(long, value_name = "FILE", requires = "matched-by")]
    csv: Option<PathBuf>,
    /// Its column with the reservation's id, which is the charge's
    #[arg(long, value_name = "COLUMN", requires = "csv")]
    by_reservation: Option<String>,
    /// Its column with the id of the client's request
    #[arg(long, value_name = "COLUMN", requires = "csv")]
    by_request: Option<String>,
    /// Its column with the endpoint, for files without ids: lines are matched by account, endpoint and time
    #[arg(long, value_name = "COLUMN", requires_all = ["csv", "account_column", "time_column"])]
    by_endpoint: Option<String>,
    /// How far apart the times of a line and its charge may be, with --by-endpoint
    #[arg(long, value_name = "SECONDS", default_value_t = 2, requires = "by_endpoint")]
    apart_seconds: u32,
    /// Its column with the credits of the line. Without it lines and charges are only matched
    #[arg(long, value_name = "COLUMN", requires = "csv")]
    amount_column: Option<String>,
    /// Its column with the time: lines outside of the period are left out. With an id, a line is of the period that its charge is of
    #[arg(long, value_name = "COLUMN", requires = "csv")]
    time_column: Option<String>,
    /// Its column with the account's id: lines of accounts that are not named are left out
    #[arg(long, value_name = "COLUMN", requires = "csv")]
    account_column: Option<String>,
    /// What stands between its columns
    #[arg(long, value_name = "CHARACTER", default_value = ",", value_parser = delimiter, requires = "csv")]
    delimiter: u8,
    /// How many lines and charges of each kind to show
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    show: usize,
    /// One line of JSON
    #[arg(long)]
    json: bool,
    /// The database, as its owner
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
}

const DIFFERENT: u8 = 1;
const CANNOT_TELL: u8 = 2;

fn moment(text: &str) -> Result<Moment, String> {
    text.parse().map_err(|error| format!("{error}"))
}

fn month(text: &str) -> Result<Month, String> {
    text.parse().map_err(|error| format!("{error}"))
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [one] if one.is_ascii() && !matches!(one, b'"' | b'\n' | b'\r') => Ok(*one),
        _ => Err("must be one character, such as ',' or ';', or \\t".to_owned()),
    }
}

pub async fn run(asked: Reconcile) -> ExitCode {
    match compared(&asked).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(DIFFERENT),
        Err(error) => {
            eprintln!("keyledger: {error:#}");
            ExitCode::from(CANNOT_TELL)
        }
    }
}

impl Reconcile {
    fn period(&self, now: Timestamp) -> anyhow::Result<Period> {
        let period = match self.month {
            Some(month) => Some(month.period()),
            None => Period::new(
                self.from.map_or(Timestamp::EPOCH, |from| from.0),
                self.to.map_or(now, |to| to.0),
            ),
        };
        let period = period.ok_or_else(|| anyhow::anyhow!("the period ends before it begins"))?;
        anyhow::ensure!(period.from() < now, "the period has not begun");
        Ok(period)
    }

    fn their_file(&self) -> Option<TheirFile> {
        let path = self.csv.clone()?;
        let matched_by = match (&self.by_reservation, &self.by_request, &self.by_endpoint) {
            (Some(column), _, _) => MatchedBy::Reservation(column.clone()),
            (None, Some(column), _) => MatchedBy::Request(column.clone()),
            (None, None, column) => MatchedBy::Endpoint {
                column: column.clone()?,
                apart_seconds_max: self.apart_seconds,
            },
        };
        Some(TheirFile {
            path,
            delimiter: self.delimiter,
            columns: Columns {
                matched_by,
                amount: self.amount_column.clone(),
                time: self.time_column.clone(),
                account: self.account_column.clone(),
            },
        })
    }
}

/// Says what is so, and whether all of it is equal.
async fn compared(asked: &Reconcile) -> anyhow::Result<bool> {
    let period = asked.period(clock::now())?;
    let bar = ProgressBar::new_spinner().with_style(ProgressStyle::with_template(
        "{spinner} {human_pos} accounts, {per_sec}",
    )?);
    let (url, accounts) = (&asked.database_url, &asked.account);
    let reconciled = reconcile(url, accounts, period, |accounts| bar.set_position(accounts)).await?;
    bar.finish_and_clear();
    let file = match asked.their_file() {
        Some(file) => Some(compare(url, &file, accounts, period, asked.show).await?),
        None => None,
    };
    let equal = reconciled.first.is_none() && file.as_ref().is_none_or(Compared::is_equal);
    if asked.json {
        println!("{}", document(period, &reconciled, file.as_ref(), equal));
    } else {
        tell(&reconciled);
        if let Some(file) = &file {
            tell_file(file);
        }
    }
    Ok(equal)
}

fn tell(reconciled: &Reconciled) {
    let Reconciled {
        accounts,
        events,
        lines,
        charges,
        ..
    } = reconciled;
    match &reconciled.first {
        None => println!(
            "statements, log and views are equal: {accounts} accounts, {lines} lines and {charges} charges, as {events} \
             events give them; {} credits are owned",
            CreditsTotal::from_micros(reconciled.owned)
        ),
        Some(first) => {
            println!(
                "{} of {accounts} accounts differ; the first difference is",
                reconciled.accounts_different
            );
            println!("  {first}");
        }
    }
}

fn tell_file(file: &Compared) {
    println!(
        "the file and the ledger: {} matched, {} missing here, {} missing there, {} different, {} repeated",
        file.matched, file.missing_here, file.missing_there, file.different, file.repeated
    );
    println!(
        "  {} lines of {} credits ({} left out), {} charges of {} credits",
        file.lines,
        CreditsTotal::from_micros(file.theirs),
        file.left_out,
        file.charges,
        CreditsTotal::from_micros(file.ours)
    );
    for example in &file.examples {
        println!("  {}", sentence(example));
    }
}

fn sentence(example: &Example) -> String {
    let mut words = vec![format!("{}: {}", example.what.as_str(), example.key.trim())];
    words.extend(example.line.map(|line| format!("line {line}")));
    words.extend(example.position.map(|position| format!("position {position}")));
    words.extend(example.at.map(|at| at.to_string()));
    let credits = |of: Option<Credits>, whose: &str| of.map(|credits| format!("{credits} {whose}"));
    words.extend(credits(example.theirs, "there"));
    words.extend(credits(example.ours, "here"));
    words.join(", ")
}

fn document(period: Period, reconciled: &Reconciled, file: Option<&Compared>, equal: bool) -> serde_json::Value {
    let first = reconciled.first.as_ref().map(|first| {
        json!({
            "account": first.account, "what": first.what, "position": first.position.map(|position| position.0),
            "log": first.log, "other": first.other,
        })
    });
    let file = file.map(|file| {
        let examples: Vec<_> = file.examples.iter().map(example).collect();
        json!({
            "lines": file.lines, "left_out": file.left_out, "charges": file.charges, "matched": file.matched,
            "missing_here": file.missing_here, "missing_there": file.missing_there, "different": file.different,
            "repeated": file.repeated, "credits_there": CreditsTotal::from_micros(file.theirs),
            "credits_here": CreditsTotal::from_micros(file.ours), "examples": examples,
        })
    });
    json!({
        "equal": equal, "from": period.from(), "to": period.to(), "accounts": reconciled.accounts,
        "events": reconciled.events, "lines": reconciled.lines, "charges": reconciled.charges,
        "owned": CreditsTotal::from_micros(reconciled.owned), "accounts_different": reconciled.accounts_different,
        "first": first, "file": file,
    })
}

fn example(example: &Example) -> serde_json::Value {
    json!({
        "what": example.what.as_str(), "key": example.key.trim(), "line": example.line, "position": example.position,
        "at": example.at, "there": example.theirs, "here": example.ours,
    })
}
