//! `keyledger bench gateway`: the gateway beside a bare proxy and nginx.

use keyledger::bench::{Figure, GatewayBench, gateway};

use super::Common;
use super::ground::{Ground, remove, scratch};
use super::table;

const CONNECTIONS: [usize; 2] = [1, 64];

pub async fn run(asked: Common) -> anyhow::Result<()> {
    let connections = match (asked.callers, asked.json) {
        (Some(callers), _) => vec![callers.max(1)],
        (None, true) => vec![64],
        (None, false) => CONNECTIONS.to_vec(),
    };
    let mut ground = Ground::prepare(asked.database_url.clone()).await?;
    let files = scratch("bench-nginx")?;
    let options = GatewayBench {
        database_url: ground.database().await?,
        connections,
        each: asked.each(),
        directory: files.clone(),
    };
    if !asked.json {
        table::head();
    }
    let mut seen: Vec<Figure> = Vec::new();
    let mut broken = None;
    let measured = gateway(options, |figure| {
        if !asked.json {
            table::line(figure);
        } else if figure.name == "gateway" {
            broken = super::print_json(figure).err();
        }
        seen.push(figure.clone());
    })
    .await;
    ground.leave().await?;
    remove(&files)?;
    measured?;
    if asked.json {
        return broken.map_or(Ok(()), Err);
    }
    println!("\nthroughput of the gateway as a share of each other way, and what it adds to p50 and p99:");
    for metered in seen.iter().filter(|figure| figure.name == "gateway") {
        let callers = metered.setting("callers");
        for other in seen.iter().filter(|other| other.setting("callers") == callers) {
            beside(metered, other);
        }
    }
    Ok(())
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
