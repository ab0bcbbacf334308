//! Answers to what is no request: the HTTP server could not read the head and says so without a body.
//!
//! In: the server's bare answer. Out: the same status as a problem document with a request id, as every other refusal.

use std::fmt::Write as _;

use bytes::Bytes;
use http::StatusCode;

use super::headers::REQUEST_ID;
use crate::clock;
use crate::problem::{BAD_REQUEST, HEAD_TOO_LARGE, Problem, URI_TOO_LONG};

/// The whole answer, as it goes over an HTTP/1.1 connection that ends with it.
pub(super) fn in_our_words(said: &[u8]) -> Bytes {
    let problem = problem(status(said));
    let request_id = format!("{:032x}", clock::random_id_bits());
    tracing::debug!(request = request_id, code = problem.code(), "a head could not be read");
    metrics::counter!(
        "keyledger_gateway_requests_total", "endpoint" => "none", "outcome" => problem.code()
    )
    .increment(1);
    let (head, body) = problem.into_http::<String>().into_parts();
    let mut text = format!("HTTP/1.1 {}\r\n{REQUEST_ID}: {request_id}\r\n", head.status);
    for (name, value) in &head.headers {
        // Writing to a text cannot fail, and the headers are ours and plain.
        let _ = write!(text, "{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    let _ = write!(
        text,
        "content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    Bytes::from(text)
}

/// The status of `HTTP/1.1 431 ...`.
fn status(said: &[u8]) -> StatusCode {
    let digits = said.get(9..12).unwrap_or_default();
    StatusCode::from_bytes(digits).unwrap_or(StatusCode::BAD_REQUEST)
}

fn problem(status: StatusCode) -> Problem {
    match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            Problem::new(HEAD_TOO_LARGE, "the head has too many or too large headers")
        }
        StatusCode::URI_TOO_LONG => Problem::new(URI_TOO_LONG, "the address is longer than any that is read"),
        _ => Problem::new(BAD_REQUEST, "the head is not well-formed HTTP"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_answer_becomes_a_whole_one_of_the_same_status() {
        for (status, code) in [
            ("400 Bad Request", "bad-request"),
            ("414 URI Too Long", "uri-too-long"),
            ("431 Request Header Fields Too Large", "head-too-large"),
        ] {
            let said = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            let told = in_our_words(said.as_bytes());
            let text = std::str::from_utf8(&told).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(
                head.starts_with(&format!("HTTP/1.1 {status}\r\nx-request-id: ")),
                "{head}"
            );
            assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
            assert!(body.contains(&format!("\"code\":\"{code}\"")), "{body}");
        }
    }
}
