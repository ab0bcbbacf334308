//! Takes in what was measured, whether or not anybody asks for `/metrics`: until then, each sample of a histogram is kept.

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(5);

/// Works until told to stop.
pub(super) fn start(metrics: PrometheusHandle, stop: CancellationToken) {
    tokio::spawn(take_in(metrics, EVERY, stop));
}

async fn take_in(metrics: PrometheusHandle, every: Duration, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
        metrics.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    const SAMPLES: usize = 500_000;

    /// Pages of 4 KiB.
    fn pages_in_memory() -> usize {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        text.split(' ').nth(1).unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn what_nobody_asks_for_takes_no_memory() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let stop = CancellationToken::new();
        let every = Duration::from_millis(5);
        tokio::spawn(take_in(recorder.handle(), every, stop.clone()));
        let histogram = metrics::with_local_recorder(&recorder, || metrics::histogram!("seconds"));
        let before = pages_in_memory();
        for _ in 0..10 {
            for _ in 0..SAMPLES {
                histogram.record(1.0);
            }
            tokio::time::sleep(4 * every).await;
        }
        let more = pages_in_memory().saturating_sub(before) * (4 << 10);
        // Each sample has eight bytes.
        assert!(more < 5 * 8 * SAMPLES, "{more} bytes");
        let text = recorder.handle().render();
        assert!(text.contains("seconds_count 5000000"), "{text}");
        stop.cancel();
    }
}
