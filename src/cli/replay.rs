//! `keyledger replay`: an account's or a key's history again, event by event.

use anyhow::Context as _;
use clap::{ArgGroup, Args};
use keyledger::log::{Log, open_pool, service_options};
use keyledger::replay::{AccountState, AsOf, Marks, Step, changes, replayed};
use keyledger_events::{AccountId, KeyId, Position, Recorded, Seq, Shard, Timestamp};
use serde_json::json;

/// Print an account's or a key's history event by event: what each changed, and what the account had after it.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").args(["account", "key"]).required(true)))]
pub struct Replay {
    /// All events of this account
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<AccountId>,
    /// The events that are about this key
    #[arg(long, value_name = "KEY")]
    key: Option<KeyId>,
    /// Print from this position or moment on: what came before is folded, and not printed
    #[arg(long, value_name = "PLACE", value_parser = as_of)]
    from: Option<AsOf>,
    /// Up to this position or moment, what is at it included: such as 812, 2026-11-01 or 2026-11-01T12:00:00Z
    #[arg(long, value_name = "PLACE", value_parser = as_of)]
    until: Option<AsOf>,
    /// A line of JSON for each event
    #[arg(long)]
    json: bool,
    /// The database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
}

/// Events read at once.
const PAGE: u32 = 1_000;
const CONNECTIONS_MAX: u32 = 2;

/// A position, a moment, or a day, which means its first moment, UTC.
fn as_of(text: &str) -> Result<AsOf, String> {
    if let Ok(position) = text.parse() {
        return Ok(AsOf::Position(Position(position)));
    }
    let day = format!("{text}T00:00:00Z");
    let moment: Result<Timestamp, _> = text.parse().or_else(|_| day.parse());
    moment.map(AsOf::Moment).map_err(|_| {
        "a position such as 812, a day such as 2026-11-01, or a moment such as 2026-11-01T12:00:00Z".to_owned()
    })
}

pub async fn run(asked: Replay) -> anyhow::Result<()> {
    let options = service_options(&asked.database_url).context("the database's address cannot be read")?;
    let log = Log::new(open_pool(options, CONNECTIONS_MAX), Shard(0));
    let account = match (asked.account, asked.key) {
        (Some(account), _) => account,
        (None, Some(key)) => log.account_of_key(key).await?.context("there is no such key")?,
        (None, None) => anyhow::bail!("say whose: --account or --key"),
    };
    let last = match asked.until {
        Some(until) => last_of(&log, account, until).await?,
        None => last_of(&log, account, AsOf::Position(Position(u64::MAX >> 1))).await?,
    };
    let last = last.context("there is no event of it that far back")?;
    // What is before the first line is needed as a state alone.
    let before = match asked.from {
        Some(from) => last_of(&log, account, just_before(from)).await?,
        None => None,
    };
    let state = match before {
        Some(before) => replayed(&log, account, before.min(last), Marks::Left).await?,
        None => None,
    };
    let mut state = state.unwrap_or_else(|| AccountState::nobody(account));
    while state.seq < last {
        let page = log.account_events(account, state.seq, PAGE).await?;
        anyhow::ensure!(!page.is_empty(), "the event after seq {} is missing", state.seq);
        for stored in page {
            let mut recorded = stored
                .decode()
                .with_context(|| format!("the event at {}", stored.position))?;
            log.open(std::slice::from_mut(&mut recorded)).await?;
            if recorded.seq > last {
                break;
            }
            let shown = asked.key.is_none_or(|key| recorded.event.key() == Some(key));
            let step = changes(&mut state, recorded)?;
            if shown {
                print(&step, asked.json);
            }
        }
    }
    Ok(())
}

async fn last_of(log: &Log, account: AccountId, as_of: AsOf) -> anyhow::Result<Option<Seq>> {
    Ok(match as_of {
        AsOf::Position(position) => log.seq_at_position(account, position).await?,
        AsOf::Moment(moment) => log.seq_at_moment(account, moment).await?,
    })
}

fn just_before(from: AsOf) -> AsOf {
    match from {
        AsOf::Position(position) => AsOf::Position(Position(position.0.saturating_sub(1))),
        AsOf::Moment(moment) => AsOf::Moment(Timestamp::from_micros(moment.micros() - 1).unwrap_or(Timestamp::EPOCH)),
    }
}

fn print(step: &Step, as_json: bool) {
    let Step {
        recorded,
        changes,
        after,
    } = step;
    let Recorded {
        position,
        seq,
        time,
        actor,
        event,
        ..
    } = recorded;
    let name = event.short_name();
    if as_json {
        let line = json!({
            "position": position, "seq": seq, "time": time, "event": name, "actor": actor, "changes": changes,
            "balance": after,
        });
        return println!("{line}");
    }
    println!("{position:>8}  {time}  {name} by {actor}");
    for change in changes {
        let told = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        println!(
            "{:>10}{}: {} -> {}",
            "",
            change.what,
            told(&change.before),
            told(&change.after)
        );
    }
}
