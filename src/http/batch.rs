//! Many metering commands in one request: a line each, and a line each back, in their order.
//!
//! In: NDJSON, as it arrives. Out: NDJSON, as the answers come.
//!
//! Promise: a line's answer is what its own call would have answered. A bad line is that line's problem and no other's.
//! Memory is bounded: by the lines under way, and by the answers of one batch, which are kept for clients that read nothing
//! before they have sent all.
//!
//! Not here: what the commands do.

mod command;
mod lines;

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt as _, unfold};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use keyledger_events::ReservationId;
use tokio::sync::mpsc;

use super::answer::Failure;
use super::extract::{Allowed, Meter};
use super::{App, problems};
use command::Asked;
use lines::{Line, Lines};

/// Answers of one batch may all wait: a client may send everything before it reads anything.
const LINES_MAX: usize = 10_000;
/// Enough to share commits, few enough that one batch keeps nobody else waiting.
const LINES_UNDER_WAY_MAX: usize = 256;
/// A command is a few hundred bytes.
const LINE_BYTES_MAX: usize = 16 << 10;

const NDJSON: &str = "application/x-ndjson";

/// Carries out many commands: a line of JSON each, `{"reserve": …}`, `{"charge": …}`, `{"release": …}` or
/// `{"charge_at_once": …}`, with the members of the call that it stands for; `charge` and `release` name their `account` and
/// `reservation` beside.
///
/// 200 whatever becomes of the lines: one line back for each, in their order, as the answers come:
/// `{"line", "status", "position"?, "replayed"?, "retry_after"?, "body"}`, with the status and body of the single call. A
/// line that names a reservation is sent when the lines before it that name the same one are answered; beside that, lines
/// are decided together. At most 10,000 lines of at most 16 KiB: a longer line is a problem of its own, and what comes after
/// the last line that may be is not read. When the connection breaks, lines that were not answered may have been carried
/// out: send them again with the same ids. A token that is revoked meanwhile, or that cannot be checked, is the problem of the
/// next line, and the last. 415 another type than `application/x-ndjson`.
#[utoipa::path(
    post, path = "/v1/batch", tag = "metering",
    request_body(content = String, content_type = "application/x-ndjson", example = "{\"reserve\":{\"account\":\"acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA\",\"endpoint\":\"serp\"}}\n"),
    responses((status = 200, description = "A line for each.", content_type = "application/x-ndjson", body = String))
)]
pub(super) async fn run_batch(
    State(app): State<App>,
    caller: Allowed<Meter>,
    request: Request,
) -> Result<Response, Failure> {
    let (head, body) = request.into_parts();
    let token = caller.shown(&head.headers)?.to_owned();
    if !is_ndjson(&head.headers) {
        return Err(problems::not_ndjson().into());
    }
    let (answers, waiting) = mpsc::channel(LINES_MAX + 1);
    let lines = Lines::new(body, LINE_BYTES_MAX);
    tokio::spawn(Batch::new(app, caller, token, answers).run(lines));
    let answering = unfold(waiting, async |mut waiting| {
        let line = waiting.recv().await?;
        Some((Ok::<Bytes, Infallible>(line), waiting))
    });
    let mut response = Response::new(Body::from_stream(answering));
    *response.status_mut() = StatusCode::OK;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    Ok(response)
}

fn is_ndjson(headers: &http::HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else {
        return false;
    };
    let text = only.to_str().unwrap_or_default();
    let kind = text.split(';').next().unwrap_or_default().trim();
    let plain = headers
        .get_all(http::header::CONTENT_ENCODING)
        .iter()
        .all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
    plain && kind.eq_ignore_ascii_case(NDJSON)
}

/// Lines on their way to the ledger.
struct Batch {
    app: App,
    caller: Allowed<Meter>,
    /// Its text: a batch may last longer than its token.
    token: String,
    answers: mpsc::Sender<Bytes>,
    under_way: FuturesOrdered<BoxFuture<'static, Bytes>>,
    /// The reservation that each of them names, and how many of them name it.
    order: VecDeque<Option<ReservationId>>,
    named: HashMap<ReservationId, usize>,
    /// Lines that were read.
    number: usize,
}

/// The client reads no more.
struct HungUp;

impl Batch {
    fn new(app: App, caller: Allowed<Meter>, token: String, answers: mpsc::Sender<Bytes>) -> Batch {
        Batch {
            app,
            caller,
            token,
            answers,
            under_way: FuturesOrdered::new(),
            order: VecDeque::new(),
            named: HashMap::new(),
            number: 0,
        }
    }

    async fn run(mut self, mut lines: Lines) {
        // Whoever hung up does not want to know; what is under way is carried out, or not, each line whole.
        let _ = self.carry_out(&mut lines).await;
    }

    async fn carry_out(&mut self, lines: &mut Lines) -> Result<(), HungUp> {
        loop {
            let room = self.under_way.len() < LINES_UNDER_WAY_MAX;
            let line = tokio::select! {
                biased;
                Some(answer) = self.under_way.next() => {
                    self.tell(answer)?;
                    continue;
                }
                () = self.answers.closed() => return Err(HungUp),
                line = lines.next(), if room => line,
            };
            let Some(line) = line else { break };
            self.number += 1;
            if self.number > LINES_MAX {
                self.send(None, Asked::Wrong(problems::batch_too_long()));
                break;
            }
            // Remembered for a few seconds, so a line costs a hash.
            if let Err(problem) = self.caller.still(&self.app, &self.token).await {
                self.send(None, Asked::Wrong(problem));
                break;
            }
            match line {
                Line::Whole(text) => self.take(&text).await?,
                Line::TooLong => self.send(None, Asked::Wrong(problems::line_too_long())),
                Line::Broken(problem) => {
                    self.send(None, Asked::Wrong(problem));
                    break;
                }
            }
        }
        while let Some(answer) = self.under_way.next().await {
            self.tell(answer)?;
        }
        Ok(())
    }

    /// Sends a line to the ledger, after those before it that name the same reservation.
    async fn take(&mut self, text: &Bytes) -> Result<(), HungUp> {
        let asked = Asked::read(text);
        let names = asked.reservation();
        while names.is_some_and(|id| self.named.contains_key(&id)) {
            let Some(answer) = self.under_way.next().await else {
                break;
            };
            self.tell(answer)?;
        }
        self.send(names, asked);
        Ok(())
    }

    fn send(&mut self, names: Option<ReservationId>, asked: Asked) {
        if let Some(id) = names {
            *self.named.entry(id).or_default() += 1;
        }
        self.order.push_back(names);
        let (app, by, number) = (self.app.clone(), self.caller.by(), self.number);
        let answering = async move { asked.answer(&app, by).await.line(number) };
        self.under_way.push_back(Box::pin(answering));
    }

    fn tell(&mut self, answer: Bytes) -> Result<(), HungUp> {
        if let Some(Some(id)) = self.order.pop_front()
            && let Some(count) = self.named.get_mut(&id)
        {
            *count -= 1;
            if *count == 0 {
                self.named.remove(&id);
            }
        }
        // There is room for all answers of a batch.
        self.answers.try_send(answer).map_err(|_| HungUp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ndjson_is_taken_and_nothing_else() {
        let taken = |kind: &'static str| {
            let mut headers = http::HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            is_ndjson(&headers)
        };
        assert!(taken("application/x-ndjson") && taken("Application/X-NDJSON; charset=utf-8"));
        assert!(!taken("application/json") && !taken(""));
    }
}
