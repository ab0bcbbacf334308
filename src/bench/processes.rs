//! The same load from several processes on one log.

use std::path::Path;
use std::process::Stdio;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::Settings;
use super::figure::Figure;

/// What a process says when its accounts are there; it begins when it is sent a line.
pub const READY: &str = "ready";

/// A process that bears its part of the load.
struct Part {
    child: Child,
    begin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Part {
    fn start(program: &Path, database_url: &str, nats_url: &str, settings: &Settings) -> anyhow::Result<Part> {
        let mut child = Command::new(program)
            .args(["bench", "commands-among-others"])
            .arg(format!("--callers={}", settings.callers))
            .arg(format!("--accounts={}", settings.accounts))
            .arg(format!("--shards={}", settings.shards))
            .arg(format!("--seconds={}", settings.each.as_secs().max(1)))
            .env("DATABASE_URL", database_url)
            .env("NATS_URL", nats_url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        let begin = child.stdin.take().context("a process without input")?;
        let output = child.stdout.take().context("a process without output")?;
        Ok(Part {
            child,
            begin,
            lines: BufReader::new(output).lines(),
        })
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let line = self.lines.next_line().await?;
        line.context("one of the processes ended before it was ready")
    }
}

/// Durable commands a second of all of them together. Callers and accounts are shared out among them.
pub async fn processes(
    program: &Path,
    database_url: &str,
    nats_url: &str,
    settings: &Settings,
    processes: usize,
) -> anyhow::Result<Figure> {
    let share = Settings {
        callers: settings.callers.div_ceil(processes),
        accounts: settings.accounts.div_ceil(processes),
        ..settings.clone()
    };
    let mut parts = Vec::new();
    for _ in 0..processes {
        let mut part = Part::start(program, database_url, nats_url, &share)?;
        // One after the other, so that the first one leads.
        anyhow::ensure!(part.line().await? == READY, "a process is not ready");
        parts.push(part);
    }
    for part in &mut parts {
        part.begin.write_all(b"begin\n").await?;
    }
    let mut figures = Vec::new();
    for mut part in parts {
        figures.push(serde_json::from_str(&part.line().await?)?);
        anyhow::ensure!(part.child.wait().await?.success(), "one of the processes failed");
    }
    together(figures).context("no process")
}

/// The sum of what they did, and the worst of what they saw.
fn together(figures: Vec<Figure>) -> Option<Figure> {
    let many = figures.len();
    let slowest = figures.iter().map(|figure| figure.per_s).min()?;
    let whole = figures.into_iter().reduce(|mut whole, part| {
        whole.per_s += part.per_s;
        whole.refused += part.refused;
        whole.p50_us = whole.p50_us.max(part.p50_us);
        whole.p99_us = whole.p99_us.max(part.p99_us);
        whole.events_per_s = Some(whole.events_per_s.unwrap_or_default() + part.events_per_s.unwrap_or_default());
        for name in ["callers", "accounts"] {
            *whole.settings.entry(name.to_owned()).or_default() += part.setting(name);
        }
        whole
    })?;
    Some(whole.with("processes", many).with("slowest_per_s", slowest))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn several_processes_are_one_figure() {
        let part = |operations: usize, took| {
            let took = vec![Duration::from_micros(took); operations];
            Figure::of("commands", took, 0, Duration::from_secs(1))
                .of_events(2)
                .with("callers", 4_usize)
        };
        let whole = together(vec![part(10, 5), part(30, 9)]).unwrap();
        assert_eq!((whole.per_s, whole.p50_us, whole.events_per_s), (40, 9, Some(80)));
        assert_eq!(
            ["callers", "processes", "slowest_per_s"].map(|name| whole.setting(name)),
            [8, 2, 10]
        );
    }
}
