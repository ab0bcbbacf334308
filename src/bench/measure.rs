//! Running workers for a while and saying how it went.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;

use super::figure::Figure;
use super::wire::Wire;

/// What one worker saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub took: Vec<Duration>,
    pub refused: u64,
}

impl Seen {
    /// Sends a request, and notes what it took if the answer is the one that is wanted.
    pub(super) async fn note(
        &mut self,
        wire: &mut Wire,
        request: Request<Full<Bytes>>,
        wanted: StatusCode,
    ) -> anyhow::Result<()> {
        let begin = Instant::now();
        let (head, _) = wire.send(request).await?;
        if head.status == wanted {
            self.took.push(begin.elapsed());
        } else {
            self.refused += 1;
        }
        Ok(())
    }
}

/// Runs as many workers as told until the time is over; each says what it saw.
pub(super) async fn run<W, F>(name: &str, callers: usize, during: Duration, worker: W) -> anyhow::Result<Figure>
where
    W: Fn(usize, Instant) -> F,
    F: Future<Output = anyhow::Result<Seen>> + Send + 'static,
{
    let begin = Instant::now();
    let workers: Vec<_> = (0..callers).map(|n| tokio::spawn(worker(n, begin + during))).collect();
    let mut took = Vec::new();
    let mut refused = 0;
    for worker in workers {
        let seen = worker.await??;
        took.extend(seen.took);
        refused += seen.refused;
    }
    let figure = Figure::of(name, took, refused, begin.elapsed());
    Ok(figure.with("callers", callers).with("seconds", during.as_secs()))
}
