//! Query parameters that decide how an answer travels: late, in pieces, too large, broken, or not at all.
//!
//! | parameter | effect |
//! | --- | --- |
//! | `delay_ms=M` | the answer begins M ms later |
//! | `fail=S` | the answer is status S, and nothing is done |
//! | `size=B` | the body is padded with spaces to B bytes; it stays valid JSON |
//! | `header_count=N` | adds `X-Result-Count: N` |
//! | `stream=1&chunks=N&chunk_ms=M` | the body is sent without a length, in N pieces, M ms apart |
//! | `cut=1` | the connection breaks in the middle of the body, with `stream=1` or without |
//!
//! They combine, except that `fail` needs no body.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Query, Request};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::stream;
use serde::Deserialize;

use crate::data::problem;

const RESULT_COUNT: HeaderName = HeaderName::from_static("x-result-count");

const DELAY_MS_MAX: u64 = 600_000;
const CHUNKS_DEFAULT: usize = 5;
const CHUNK_MS_DEFAULT: u64 = 100;
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What the query asks for; other parameters belong to the endpoint.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Switches {
    pub delay_ms: u64,
    pub fail: Option<u16>,
    pub size: usize,
    pub header_count: Option<u64>,
    pub stream: u8,
    pub chunks: Option<usize>,
    pub chunk_ms: Option<u64>,
    pub cut: u8,
}

pub(crate) async fn apply(Query(switches): Query<Switches>, request: Request, next: Next) -> Response {
    if switches.size > BODY_BYTES_MAX || switches.delay_ms > DELAY_MS_MAX {
        return problem(StatusCode::BAD_REQUEST, "size or delay_ms is too large");
    }
    tokio::time::sleep(Duration::from_millis(switches.delay_ms)).await;
    let mut answer = match switches.fail {
        None => next.run(request).await,
        Some(status) => match StatusCode::from_u16(status)
            .ok()
            .filter(|status| status.as_u16() >= 200)
        {
            Some(status) => problem(status, "this answer was asked for with `fail`"),
            None => return problem(StatusCode::BAD_REQUEST, "fail is no final status"),
        },
    };
    if let Some(count) = switches.header_count {
        answer.headers_mut().insert(RESULT_COUNT, HeaderValue::from(count));
    }
    if switches.size > 0 || switches.stream != 0 || switches.cut != 0 {
        answer = reshape(answer, &switches).await;
    }
    answer
}

async fn reshape(answer: Response, switches: &Switches) -> Response {
    let (mut head, body) = answer.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the body is too large to be reshaped",
        );
    };
    let mut body = Vec::from(body);
    body.resize(body.len().max(switches.size), b' ');
    let body = Bytes::from(body);

    head.headers.remove(CONTENT_LENGTH);
    if switches.stream == 0 {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let pieces = if switches.stream != 0 {
        switches.chunks.unwrap_or(CHUNKS_DEFAULT).max(1)
    } else {
        1
    };
    let pause = Duration::from_millis(switches.chunk_ms.unwrap_or(CHUNK_MS_DEFAULT));
    if switches.cut != 0 {
        let half = body.slice(..body.len() / 2);
        return Response::from_parts(head, in_pieces(half, pieces, pause, Ending::Broken));
    }
    if switches.stream != 0 {
        return Response::from_parts(head, in_pieces(body, pieces, pause, Ending::Proper));
    }
    Response::from_parts(head, Body::from(body))
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    Proper,
    Broken,
}

/// At most `pieces` pieces of about the same length, with a pause before each but the first. A broken ending comes
/// after a pause too, so that what was sent is on its way and not dropped with the connection.
fn in_pieces(body: Bytes, pieces: usize, pause: Duration, ending: Ending) -> Body {
    let length = body.len().div_ceil(pieces).max(1);
    let first = true;
    Body::from_stream(stream::unfold(Some((body, first)), move |left| async move {
        let (mut body, first) = left?;
        if !first {
            tokio::time::sleep(pause).await;
        }
        if body.is_empty() {
            return match ending {
                Ending::Proper => None,
                Ending::Broken => Some((Err(io::Error::other("cut, as asked")), None)),
            };
        }
        let piece = body.split_to(length.min(body.len()));
        let done = body.is_empty() && matches!(ending, Ending::Proper);
        Some((Ok(piece), (!done).then_some((body, false))))
    }))
}
