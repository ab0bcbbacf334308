//! Asking a witness for its signature. C2SP `tlog-witness`: `add-checkpoint` with the size that it saw last, the proof from
//! there, and the checkpoint.
//!
//! Promise: a witness that is slow or away delays nobody; the newest checkpoint is what it is asked about next.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::WitnessOptions;
use crate::audit::note::{Note, Signature};
use crate::audit::tree::{SealedCheckpoint, Tree};
use crate::connector::Connector;

const ANSWER_MAX: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Between two questions to one witness.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_AFTER_FAULT: Duration = Duration::from_secs(5);

type Sealed = watch::Receiver<Option<SealedCheckpoint>>;

/// What a witness said.
enum Said {
    Cosigned(String),
    /// It saw a tree of another size last.
    SawLast(u64),
}

/// A witness that is asked.
struct Asked {
    url: Uri,
    client: Client<Connector, Full<Bytes>>,
}

/// Asks one witness about the newest checkpoint, over and over.
pub(super) fn start(witness: WitnessOptions, tree: Tree, mut sealed: Sealed, stop: CancellationToken) {
    let asked = Asked {
        url: witness.url,
        client: Client::builder(TokioExecutor::new()).build(Connector::new(witness.tls.as_ref(), ANSWER_MAX)),
    };
    tokio::spawn(async move {
        let mut seen = 0;
        loop {
            let newest = async {
                let newest = sealed
                    .wait_for(|newest| newest.as_ref().is_some_and(|newest| newest.size > seen))
                    .await;
                newest.ok().and_then(|newest| newest.clone())
            };
            let Some(Some(newest)) = stop.run_until_cancelled(newest).await else {
                return;
            };
            let pause = match asked.cosign(&tree, &newest, &witness.key, &mut seen).await {
                Ok(()) => PAUSE,
                Err(why) => {
                    tracing::warn!(witness = witness.key.name(), %why, size = newest.size, "a checkpoint was not witnessed");
                    PAUSE_AFTER_FAULT
                }
            };
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    });
}

impl Asked {
    async fn cosign(
        &self,
        tree: &Tree,
        sealed: &SealedCheckpoint,
        key: &crate::audit::note::VerifierKey,
        seen: &mut u64,
    ) -> Result<(), String> {
        // Once more where it saw another size than we thought.
        for _ in 0..2 {
            match self.ask(tree, sealed, *seen).await? {
                Said::SawLast(size) => *seen = size,
                Said::Cosigned(lines) => {
                    let line = its_line(sealed, key, &lines).ok_or("its answer has no signature of its key")?;
                    let kept = tree.store().cosign(sealed.size, key.name(), &line).await;
                    kept.map_err(|error| error.to_string())?;
                    *seen = sealed.size;
                    return Ok(());
                }
            }
            if *seen > sealed.size {
                return Err(format!("it has seen {seen} events, and the log has {}", sealed.size));
            }
        }
        Err("it says each time that it saw another size".to_owned())
    }

    async fn ask(&self, tree: &Tree, sealed: &SealedCheckpoint, seen: u64) -> Result<Said, String> {
        let proof = match seen {
            0 => Vec::new(),
            _ => tree
                .consistency(seen, sealed.size)
                .await
                .map_err(|error| error.to_string())?,
        };
        let mut body = format!("old {seen}\n");
        for hash in proof {
            body.push_str(&STANDARD.encode(hash));
            body.push('\n');
        }
        body.push('\n');
        body.push_str(&sealed.note);
        let (status, answer) = self.post(body).await?;
        match status {
            StatusCode::OK => Ok(Said::Cosigned(answer)),
            StatusCode::CONFLICT => {
                let size = answer.trim().parse().map_err(|_| "its 409 names no size")?;
                Ok(Said::SawLast(size))
            }
            other => Err(format!("it answered {other}")),
        }
    }

    async fn post(&self, body: String) -> Result<(StatusCode, String), String> {
        let url = format!("{}/add-checkpoint", self.url.to_string().trim_end_matches('/'));
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.parse().map_err(|_| "its URL is none")?;
        let answered = async {
            let response = self.client.request(request).await.map_err(|error| error.to_string())?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            Ok((status, String::from_utf8_lossy(&body).into_owned()))
        };
        match tokio::time::timeout(ANSWER_MAX, answered).await {
            Ok(answer) => answer,
            Err(_) => Err("it did not answer in time".to_owned()),
        }
    }
}

/// The line of the answer that is this witness's, and right.
fn its_line(sealed: &SealedCheckpoint, key: &crate::audit::note::VerifierKey, lines: &str) -> Option<String> {
    let mut note = Note::parse(&sealed.note).ok()?;
    lines.lines().find_map(|line| {
        note.signatures = vec![Signature::parse(line).ok()?];
        key.witnessed(&note).map(|_| format!("{line}\n"))
    })
}
