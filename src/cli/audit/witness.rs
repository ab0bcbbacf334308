//! `keyledger audit witness`: the witness as a server, C2SP `tlog-witness`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use clap::Args;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use keyledger::audit::note::VerifierKey;
use keyledger::audit::witness::{TLOG_SIZE, Witness};
use keyledger::clock;
use tokio::net::TcpListener;

#[derive(Debug, Args)]
pub struct Serve {
    /// The file with the witness's own secret key: `keyledger audit key --generate NAME --file FILE` makes one
    #[arg(long)]
    key_file: PathBuf,
    /// A log's verifier key, as `keyledger audit key` prints it there; once for each log, and each of its keys
    #[arg(long = "log", required = true, value_name = "PUB")]
    logs: Vec<VerifierKey>,
    /// Where is remembered what was signed. Without it a witness would sign a fork
    #[arg(long)]
    state_dir: PathBuf,
    #[arg(long, default_value = "127.0.0.1:8083")]
    listen: SocketAddr,
    /// Write `{"url"}` as JSON to this file when it listens
    #[arg(long)]
    ready_file: Option<PathBuf>,
}

/// A checkpoint, a proof, and room for other witnesses' lines.
const BODY_BYTES_MAX: usize = 64 << 10;

pub async fn run(serve: Serve) -> anyhow::Result<()> {
    let told = crate::cli::signals::told_to_stop()?;
    serve
        .ready_file
        .as_deref()
        .map_or(Ok(()), crate::cli::ready_file::remove)?;
    let key = super::key::read(&serve.key_file)?;
    eprintln!("this witness is known by {}", key.witness_verifier());
    let witness = Arc::new(Witness::new(key, serve.logs, serve.state_dir));
    let listener = TcpListener::bind(serve.listen).await?;
    let url = format!("http://{}", listener.local_addr()?);
    if let Some(path) = &serve.ready_file {
        crate::cli::ready_file::write(path, &serde_json::json!({ "url": url }))?;
    }
    let router = Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(witness);
    keyledger::http::serve(listener, router, told).await;
    Ok(())
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: String) -> Response {
    let at_seconds = u64::try_from(clock::now().micros() / 1_000_000).unwrap_or(0);
    // It writes to the disk.
    let answered = tokio::task::spawn_blocking(move || witness.add_checkpoint(&body, at_seconds)).await;
    match answered {
        Ok(Ok(answer)) => {
            let kind = match answer.status {
                StatusCode::CONFLICT => TLOG_SIZE,
                _ => "text/plain; charset=utf-8",
            };
            (answer.status, [(CONTENT_TYPE, kind)], answer.text).into_response()
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "what was signed cannot be remembered, so nothing is signed");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Err(error) => {
            tracing::error!(%error, "a checkpoint could not be looked at");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
