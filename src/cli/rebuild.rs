//! `keyledger rebuild`: folds views again from the log.

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use keyledger::projector::{Rebuilt, View};

/// What is rebuilt side by side.
#[derive(Debug, Clone)]
struct Views(Vec<View>);

#[derive(Debug, Args)]
pub struct Rebuild {
    /// key_list, balance, charges, reservations, usage, notices, or all of them in one pass
    #[arg(value_name = "VIEW|all", value_parser = views)]
    views: Views,
    /// The database, as its owner
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
}

fn views(text: &str) -> Result<Views, String> {
    if text == "all" {
        return Ok(Views(View::ALL.to_vec()));
    }
    Ok(Views(vec![text.parse()?]))
}

pub async fn run(rebuild: Rebuild) -> anyhow::Result<()> {
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(
        "{bar:40} {human_pos}/{human_len} events, {per_sec}, {eta} left",
    )?);
    let outcomes = keyledger::projector::rebuild_views(&rebuild.database_url, &rebuild.views.0, |read, head| {
        bar.set_length(head);
        bar.set_position(read);
    })
    .await?;
    bar.finish_and_clear();
    let mut failed = None;
    for (view, outcome) in outcomes {
        match outcome {
            Ok(rebuilt) => tell(view, rebuilt),
            Err(error) => {
                eprintln!("{view} is as it was: {error}");
                failed = Some(error);
            }
        }
    }
    failed.map_or(Ok(()), |error| Err(error.into()))
}

fn tell(view: View, rebuilt: Rebuilt) {
    let events = rebuilt.events;
    match rebuilt.rows_changed {
        0 => println!("{view} was right: {events} events folded again give the same rows"),
        changed => println!("{view} is rebuilt from {events} events; {changed} rows were wrong, missing or too many"),
    }
}
