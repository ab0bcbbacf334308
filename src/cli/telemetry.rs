//! Logs to standard error, and the recorder behind `/metrics`.

use std::io::IsTerminal as _;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// Starts logging. `KEYLEDGER_LOG` filters (`info` unless set, less from the NATS client), `KEYLEDGER_LOG_FORMAT=json` writes JSON lines.
pub fn logs() {
    let filter = EnvFilter::try_from_env("KEYLEDGER_LOG").unwrap_or_else(|_| EnvFilter::new("info,async_nats=warn"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    if std::env::var("KEYLEDGER_LOG_FORMAT").is_ok_and(|format| format == "json") {
        logs.json().init();
    } else {
        logs.compact().init();
    }
}

/// Installs the metrics recorder of this process.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    let seconds = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    ];
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &seconds)?
        .set_buckets_for_metric(
            Matcher::Suffix("_commands".to_owned()),
            &[1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 2048.0],
        )?
        .install_recorder()?;
    Ok(handle)
}
