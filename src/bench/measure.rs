//! Running workers for a while and saying how it went.

use std::time::{Duration, Instant};

/// What one measurement saw.
#[derive(Debug, Clone)]
pub struct Figures {
    pub what: String,
    pub concurrency: usize,
    pub commands: u64,
    pub elapsed: Duration,
    pub p50: Duration,
    pub p99: Duration,
    pub refused: u64,
}

/// What one worker saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub took: Vec<Duration>,
    pub refused: u64,
}

impl Figures {
    /// Whole commands a second.
    pub fn per_second(&self) -> u64 {
        let nanos = self.elapsed.as_nanos().max(1);
        u64::try_from(u128::from(self.commands) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
    }

    /// This throughput as hundredths of another one.
    pub fn hundredths_of(&self, other: &Figures) -> u64 {
        self.per_second() * 100 / other.per_second().max(1)
    }
}

/// Runs as many workers as told until the time is over; each says what it saw.
pub(super) async fn run<W, F>(what: &str, concurrency: usize, during: Duration, worker: W) -> anyhow::Result<Figures>
where
    W: Fn(usize, Instant) -> F,
    F: Future<Output = anyhow::Result<Seen>> + Send + 'static,
{
    let begin = Instant::now();
    let workers: Vec<_> = (0..concurrency)
        .map(|n| tokio::spawn(worker(n, begin + during)))
        .collect();
    let mut took = Vec::new();
    let mut refused = 0;
    for worker in workers {
        let seen = worker.await??;
        took.extend(seen.took);
        refused += seen.refused;
    }
    let elapsed = begin.elapsed();
    took.sort_unstable();
    let at = |percent: usize| {
        took.get((took.len() * percent / 100).min(took.len().saturating_sub(1)))
            .copied()
    };
    Ok(Figures {
        what: what.to_owned(),
        concurrency,
        commands: u64::try_from(took.len())?,
        elapsed,
        p50: at(50).unwrap_or_default(),
        p99: at(99).unwrap_or_default(),
        refused,
    })
}
