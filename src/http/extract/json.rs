//! A JSON body: bounded in size and time, read strictly, and never repeated in a complaint.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::members;
use crate::http::problems;
use crate::problem::Problem;

/// A body of ours is a few hundred bytes; this leaves room for any honest one.
const BODY_BYTES_MAX: usize = 1 << 20;

/// A client that has not sent its body by then is gone, or holds the connection on purpose.
const BODY_SECONDS_MAX: u64 = 15;

/// The body as a `T`.
///
/// 400 no JSON. 408 too slow. 413 over 1 MiB. 415 another type or encoding. 422 JSON that says something else.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Json<T>, Problem> {
        if !is_json(request.headers()) {
            return Err(problems::unsupported_media_type());
        }
        if declared_bytes(request.headers()).is_some_and(|bytes| bytes > BODY_BYTES_MAX) {
            return Err(problems::body_too_large());
        }
        let read = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
        let bytes = match tokio::time::timeout(Duration::from_secs(BODY_SECONDS_MAX), read).await {
            Err(_) => return Err(problems::body_too_slow()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(problems::body_too_large()),
            // The client is gone or broke its framing; nobody may be there to read this.
            Ok(Err(_)) => return Err(problems::invalid_json()),
            Ok(Ok(body)) => body.to_bytes(),
        };
        members::from_json(&bytes).map(Json).map_err(problems::in_body)
    }
}

fn declared_bytes(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// `application/json` in UTF-8, said once, not compressed.
fn is_json(headers: &HeaderMap) -> bool {
    let plain = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else {
        return false;
    };
    let Ok(text) = only.to_str() else { return false };
    let mut parts = text.split(';').map(str::trim);
    let json = parts
        .next()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let utf8 = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        name.eq_ignore_ascii_case("charset") && value.trim_matches('"').eq_ignore_ascii_case("utf-8")
    };
    plain && json && parts.all(utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(http::HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, http::HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn json_in_utf_8_is_taken() {
        for right in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
        ] {
            assert!(is_json(&headers(&[(CONTENT_TYPE, right)])), "{right}");
        }
    }

    #[test]
    fn everything_else_is_not() {
        for wrong in [
            "text/plain",
            "",
            "application/json; charset=utf-16",
            "application/x-www-form-urlencoded",
            "application/jsonp",
        ] {
            assert!(!is_json(&headers(&[(CONTENT_TYPE, wrong)])), "{wrong}");
        }
        assert!(!is_json(&HeaderMap::new()));
        let json = (CONTENT_TYPE, "application/json");
        assert!(!is_json(&headers(&[json.clone(), json.clone()])));
        assert!(!is_json(&headers(&[json, (CONTENT_ENCODING, "gzip")])));
    }
}
