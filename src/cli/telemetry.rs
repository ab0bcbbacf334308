//! Logs to standard error, the access log, and the recorder behind `/metrics`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Filter, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

type Logs = Box<dyn Layer<Registry> + Send + Sync>;

/// The target of the gateway's access lines; see `src/gateway/seen.rs`.
const ACCESS: &str = "access";

/// Starts logging. `KEYLEDGER_LOG` filters (`info` unless set, less from the NATS client), `KEYLEDGER_LOG_FORMAT=json` writes JSON lines.
/// `KEYLEDGER_ACCESS_LOG` is `off` (unless set), `stderr`, or a file that JSON lines are appended to, one a request.
pub fn logs() -> anyhow::Result<()> {
    let access = access_log()?;
    let filter = without_access(wanted(std::env::var_os("KEYLEDGER_LOG"))?);
    let logs = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let logs: Logs = if std::env::var("KEYLEDGER_LOG_FORMAT").is_ok_and(|format| format == "json") {
        logs.json().with_filter(filter).boxed()
    } else {
        logs.compact().with_filter(filter).boxed()
    };
    tracing_subscriber::registry()
        .with(access.into_iter().chain([logs]).collect::<Vec<_>>())
        .init();
    Ok(())
}

/// The filter that these words are.
fn wanted(words: Option<OsString>) -> anyhow::Result<EnvFilter> {
    let words = words.filter(|words| !words.is_empty());
    let words = words.unwrap_or_else(|| "info,async_nats=warn".into());
    let words = words.to_str().context("KEYLEDGER_LOG is no text")?;
    EnvFilter::try_new(words)
        .with_context(|| format!("KEYLEDGER_LOG: {words:?} is no filter, as \"info,sqlx=debug\" is one"))
}

/// Says which levels there can be at all. Where that is not known, libraries believe that every line is wanted, and put it
/// together: of each statement its SQL, for one.
fn without_access(filter: EnvFilter) -> impl Filter<Registry> + Send + Sync {
    let others = filter_fn(|metadata| metadata.target() != ACCESS);
    filter.and(others.with_max_level_hint(LevelFilter::TRACE))
}

/// Access lines are JSON whatever the rest is: they are read by programs. A line is one write, so that a file that is
/// truncated by whoever rotates it goes on at its new end.
fn access_log() -> anyhow::Result<Option<Logs>> {
    let to = std::env::var("KEYLEDGER_ACCESS_LOG").unwrap_or_default();
    let writer = match to.as_str() {
        "" | "off" => return Ok(None),
        "stderr" => BoxMakeWriter::new(io::stderr),
        path => {
            let file = File::options().create(true).append(true).open(path);
            let file = file.with_context(|| format!("KEYLEDGER_ACCESS_LOG: {path} cannot be appended to"))?;
            BoxMakeWriter::new(Arc::new(file))
        }
    };
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_level(false)
        .with_target(false)
        .with_writer(writer);
    let only_access = filter_fn(|metadata| {
        metadata.is_event() && metadata.target() == ACCESS && *metadata.level() <= LevelFilter::INFO
    });
    let only_access = only_access.with_max_level_hint(LevelFilter::INFO);
    Ok(Some(lines.with_filter(only_access).boxed()))
}

/// A hold lives as long as its request: up to minutes.
const HOLD_SECONDS: [f64; 10] = [0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 180.0, 600.0, 3600.0];

/// Installs the metrics recorder of this process.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    let seconds = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    ];
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &seconds)?
        .set_buckets_for_metric(
            Matcher::Full("keyledger_gateway_hold_seconds".to_owned()),
            &HOLD_SECONDS,
        )?
        .set_buckets_for_metric(
            Matcher::Suffix("_commands".to_owned()),
            &[1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 2048.0],
        )?
        .install_recorder()?;
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_no_filter_are_told_and_not_passed_over() {
        for words in [None, Some(""), Some("warn,sqlx=debug")] {
            assert!(wanted(words.map(OsString::from)).is_ok(), "{words:?}");
        }
        for words in ["debug,keyledger=trce", "=,"] {
            let told = wanted(Some(words.into())).unwrap_err().to_string();
            assert!(told.contains("KEYLEDGER_LOG"), "{told}");
        }
    }

    #[test]
    fn what_is_not_logged_is_known_not_to_be_wanted() {
        for (words, most) in [
            ("info,async_nats=warn", LevelFilter::INFO),
            ("warn", LevelFilter::WARN),
            ("warn,sqlx=debug", LevelFilter::DEBUG),
        ] {
            assert_eq!(
                without_access(EnvFilter::new(words)).max_level_hint(),
                Some(most),
                "{words}"
            );
        }
    }
}
