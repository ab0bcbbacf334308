//! `keyledger bench gateway`: the gateway beside a bare proxy and nginx.

use std::time::Duration;

use anyhow::Context as _;
use keyledger::bench::{Figure, GatewayBench, gateway};

use super::Common;
use super::ground::{Ground, remove, scratch};
use super::single::check;
use super::table;

const CONNECTIONS: [usize; 2] = [1, 64];
/// What the figure of the gateway itself is called.
const GATEWAY: &str = "gateway";

/// Measures every way to the data API, telling `tell` each figure as it is known, and checks what was written.
pub async fn measure(
    ground: &mut Ground,
    connections: Vec<usize>,
    each: Duration,
    mut tell: impl FnMut(&Figure),
) -> anyhow::Result<Vec<Figure>> {
    let files = scratch("bench-nginx")?;
    let database_url = ground.database().await?;
    let options = GatewayBench {
        database_url: database_url.clone(),
        connections,
        each,
        directory: files.clone(),
    };
    let mut seen = Vec::new();
    let measured = gateway(options, |figure| {
        tell(figure);
        seen.push(figure.clone());
    })
    .await;
    remove(&files)?;
    measured?;
    check(&database_url).await?;
    Ok(seen)
}

pub async fn run(asked: Common) -> anyhow::Result<()> {
    let connections = match (asked.callers, asked.json) {
        (Some(callers), _) => vec![callers.max(1)],
        (None, true) => vec![64],
        (None, false) => CONNECTIONS.to_vec(),
    };
    let mut ground = Ground::prepare(asked.database_url.clone()).await?;
    if !asked.json {
        table::head();
    }
    let measured = measure(&mut ground, connections, asked.each(), |figure| {
        if !asked.json {
            table::line(figure);
        }
    })
    .await;
    ground.leave().await?;
    let seen = measured?;
    if asked.json {
        return super::print_json(&with_others(&seen)?);
    }
    println!("\nthroughput of the gateway as a share of each other way, and what it adds to p50 and p99:");
    for metered in seen.iter().filter(|figure| figure.name == GATEWAY) {
        let callers = metered.setting("callers");
        for other in seen.iter().filter(|other| other.setting("callers") == callers) {
            beside(metered, other);
        }
    }
    Ok(())
}

/// The gateway's figure, with those of the other ways among its settings: `bare_proxy_per_s`.
fn with_others(seen: &[Figure]) -> anyhow::Result<Figure> {
    let gateway = seen.iter().find(|figure| figure.name == GATEWAY);
    let mut gateway = gateway.context("the gateway has no figure")?.clone();
    for other in seen.iter().filter(|other| other.name != GATEWAY) {
        let way = other.name.replace(' ', "_");
        let numbers = [
            ("per_s", other.per_s),
            ("p50_us", other.p50_us),
            ("p99_us", other.p99_us),
        ];
        for (number, value) in numbers {
            gateway.settings.insert(format!("{way}_{number}"), value);
        }
    }
    Ok(gateway)
}

fn beside(metered: &Figure, other: &Figure) {
    if metered.name == other.name {
        return;
    }
    let hundredths = metered.hundredths_of(other);
    println!(
        "{:<28} {:>8} {:>7}.{:02} {:>+10} µs {:>+10} µs",
        other.name,
        other.setting("callers"),
        hundredths / 100,
        hundredths % 100,
        metered.p50_us.saturating_sub(other.p50_us),
        metered.p99_us.saturating_sub(other.p99_us)
    );
}
