//! `keyledger views`: whether what people read is what the log says.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use keyledger::projector::{Checked, Difference, View, check_views};
use serde_json::{Map, Value, json};

#[derive(Debug, Args)]
pub struct Views {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Fold the log again, compare every row, and change nothing: exit code 0 equal, 1 different, 2 cannot tell
    Check(Check),
}

#[derive(Debug, Args)]
struct Check {
    /// key_list, balance, charges, reservations, usage, notices; all of them in one pass where none is named
    #[arg(value_name = "VIEW")]
    views: Vec<View>,
    /// A line of JSON for each view
    #[arg(long)]
    json: bool,
    /// The database, as its owner
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
}

const DIFFERENT: u8 = 1;
const CANNOT_TELL: u8 = 2;

pub async fn run(views: Views) -> ExitCode {
    let What::Check(check) = views.what;
    match compare(&check).await {
        Ok(worst) => ExitCode::from(worst),
        Err(error) => {
            eprintln!("keyledger: {error:#}");
            ExitCode::from(CANNOT_TELL)
        }
    }
}

/// Says what is so of each view, and gives the exit code.
async fn compare(check: &Check) -> anyhow::Result<u8> {
    let views = if check.views.is_empty() {
        View::ALL.to_vec()
    } else {
        check.views.clone()
    };
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(
        "{bar:40} {human_pos}/{human_len} events, {per_sec}, {eta} left",
    )?);
    let outcomes = check_views(&check.database_url, &views, |read, head| {
        bar.set_length(head);
        bar.set_position(read);
    })
    .await?;
    bar.finish_and_clear();
    let mut worst = 0;
    for (view, outcome) in outcomes {
        match outcome {
            Ok(checked) => {
                worst = worst.max(if checked.rows_different > 0 { DIFFERENT } else { 0 });
                tell(view, &checked, check.json);
            }
            Err(error) => {
                worst = CANNOT_TELL;
                eprintln!("{view} cannot be compared: {error}");
            }
        }
    }
    Ok(worst)
}

fn tell(view: View, checked: &Checked, as_json: bool) {
    let Checked {
        events,
        rows,
        rows_different,
        first,
    } = checked;
    if as_json {
        let line = json!({
            "view": view.as_str(), "events": events, "rows": rows, "rows_different": rows_different, "first": first,
        });
        return println!("{line}");
    }
    match first {
        None => println!("{view} is right: {rows} rows, as {events} events give them"),
        Some(first) => {
            println!("{view} is wrong: {rows_different} rows differ from what {events} events give; the first is");
            println!("{}", sentence(first));
        }
    }
}

/// `  charges: account_id=…, …: has charged=1, should have charged=2`.
fn sentence(difference: &Difference) -> String {
    let columns = |row: &Map<String, Value>| {
        let pairs = row.iter().map(|(column, value)| format!("{column}={value}"));
        pairs.collect::<Vec<_>>().join(", ")
    };
    let (table, key) = (difference.table, columns(&difference.key));
    match (&difference.view, &difference.log) {
        (Some(view), Some(log)) => format!("  {table} {key}: has {}, should have {}", columns(view), columns(log)),
        (Some(_), None) => format!("  {table} {key}: should not be there"),
        (None, Some(_)) | (None, None) => format!("  {table} {key}: is missing"),
    }
}
