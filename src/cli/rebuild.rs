//! `keyledger rebuild`: folds a view again from the log.

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use keyledger::projector::View;

#[derive(Debug, Args)]
pub struct Rebuild {
    /// key_list, balance, charges or reservations
    view: View,
    /// The database, as its owner
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
}

pub async fn run(rebuild: Rebuild) -> anyhow::Result<()> {
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(
        "{msg} {bar:40} {human_pos}/{human_len} events, {per_sec}, {eta} left",
    )?);
    bar.set_message(rebuild.view.to_string());
    let rebuilt = keyledger::projector::rebuild(&rebuild.database_url, rebuild.view, |folded, head| {
        bar.set_length(head);
        bar.set_position(folded);
    })
    .await?;
    bar.finish_and_clear();
    let (view, events) = (rebuild.view, rebuilt.events);
    match rebuilt.rows_changed {
        0 => println!("{view} was right: {events} events folded again give the same rows"),
        changed => println!("{view} is rebuilt from {events} events; {changed} rows were wrong, missing or too many"),
    }
    Ok(())
}
