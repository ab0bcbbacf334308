//! Finding the API key in a request.
//!
//! Promise: a text that cannot be a key costs no look-up, and is told the same as one that is unknown. Keys in URLs,
//! cookies and bodies are not read: those places end up in logs.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use keyledger_events::{KeyDigest, KeyPrefix, KeySecret};

use crate::ledger::Refusal;
use crate::problem::{KEY_AMBIGUOUS, KEY_MISSING, Problem};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The digest of the one key that the request shows.
pub(super) fn find(headers: &HeaderMap, prefix: &KeyPrefix) -> Result<KeyDigest, Problem> {
    let bearer = once(headers, &AUTHORIZATION)?.and_then(bearer);
    let api_key = once(headers, &API_KEY)?.map(<[u8]>::trim_ascii);
    let text = match (bearer, api_key) {
        (Some(bearer), Some(api_key)) if bearer != api_key => {
            return Err(Problem::new(KEY_AMBIGUOUS, "two different keys were sent"));
        }
        (Some(text), _) | (None, Some(text)) => text,
        (None, None) => return Err(Problem::new(KEY_MISSING, "no API key was sent")),
    };
    str::from_utf8(text)
        .ok()
        .and_then(|text| KeySecret::parse(prefix, text).ok())
        .map(|secret| secret.digest())
        .ok_or_else(|| Problem::from(Refusal::KeyInvalid))
}

fn once<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, Problem> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(Problem::new(KEY_AMBIGUOUS, "the header was sent twice").field(name.as_str()));
    }
    Ok(value.map(|value| value.as_bytes()))
}

/// The token of a bearer credential; other schemes are not about us.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let scheme = value.get(..6)?;
    let rest = value.get(6..)?;
    let separated = rest.is_empty() || rest.starts_with(b" ");
    (scheme.eq_ignore_ascii_case(b"bearer") && separated).then(|| rest.trim_ascii())
}

/// Whether a text shows a key of ours, or the beginning of one, as it is or percent-encoded. For what is kept of a
/// request although a client may have put its key there.
pub(super) fn is_shown(prefix: &KeyPrefix, text: &str) -> bool {
    let text = text.as_bytes();
    if stands_in(prefix, text) {
        return true;
    }
    // Nothing else hides one.
    if !text.contains(&b'%') {
        return false;
    }
    let once = decoded(text);
    stands_in(prefix, &once) || stands_in(prefix, &decoded(&once))
}

/// Whether the beginning of a key stands in there as it is.
fn stands_in(prefix: &KeyPrefix, text: &[u8]) -> bool {
    let begins = |(at, six): (usize, &[u8])| {
        (six == b"_live_" || six == b"_test_")
            && text.get(..at).unwrap_or_default().ends_with(prefix.as_str().as_bytes())
    };
    text.windows(6).enumerate().any(begins)
}

/// Longer paths are cut in logs.
const PATH_CHARS_SHOWN: usize = 1_024;

/// A path for the eyes of an operator: segments that show a key are left out.
pub(super) fn masked(prefix: &KeyPrefix, path: &str) -> String {
    let cut = |path: &str| path.chars().take(PATH_CHARS_SHOWN).collect();
    // A slash ends an escape: a key in a segment is seen in the whole path as well.
    if !is_shown(prefix, path) {
        return cut(path);
    }
    let segments = path
        .split('/')
        .map(|segment| if is_shown(prefix, segment) { "[key]" } else { segment });
    cut(&segments.collect::<Vec<_>>().join("/"))
}

/// Percent-decoding that takes what cannot be decoded as it is.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let encoded = (*first == b'%').then(|| after.first_chunk::<2>()).flatten();
        // The reader of numbers takes a sign too.
        let encoded = encoded.filter(|two| two.iter().all(u8::is_ascii_hexdigit));
        let byte = encoded.and_then(|two| u8::from_str_radix(str::from_utf8(two).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() {
            after.get(2..).unwrap_or_default()
        } else {
            after
        };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use keyledger_events::{Environment, base62_secret};

    fn key(seed: u8) -> KeySecret {
        KeySecret::from_random(&KeyPrefix::default(), Environment::Live, [seed; 32])
    }

    fn text(seed: u8) -> String {
        base62_secret("sk_live_", [seed; 32])
    }

    fn code(pairs: &[(&str, &str)]) -> Result<KeyDigest, &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        find(&headers, &KeyPrefix::default()).map_err(|problem| problem.code())
    }

    #[test]
    fn a_key_in_a_path_is_not_for_an_operators_eyes() {
        let (prefix, key) = (KeyPrefix::default(), text(1));
        let encoded = key.replace('_', "%5F");
        let twice = key.replace('_', "%255f");
        for shown in [key.as_str(), &encoded, &twice, &format!("x{key}")] {
            assert_eq!(masked(&prefix, &format!("/a/{shown}/b")), "/a/[key]/b");
        }
        assert_eq!(masked(&prefix, "/serp/100%/b%zz"), "/serp/100%/b%zz");
        assert_eq!(
            masked(&prefix, "/a/sk_live_/sk_live_live_/xsk_test_1"),
            "/a/[key]/[key]/[key]"
        );
        for other in [
            "/a/sk_/live_",
            "/_live_",
            "/sk-live-1",
            "/sk%2Flive_",
            "/mk_live_1",
            "/sk_LIVE_1",
        ] {
            assert_eq!(masked(&prefix, other), other);
        }
    }

    #[test]
    fn what_is_no_escape_hides_no_key() {
        let prefix = KeyPrefix::parse("ab").unwrap();
        assert!(is_shown(&prefix, "%+ab%5Flive%5Fx") && is_shown(&prefix, "%+ab_live_%5F"));
    }

    #[test]
    fn a_prefix_with_itself_in_it_is_found() {
        let prefix = KeyPrefix::parse("aa").unwrap();
        assert!(
            is_shown(&prefix, "aaa_live_x") && is_shown(&prefix, "a_test_aa_test_") && !is_shown(&prefix, "a_live_x")
        );
    }

    #[test]
    fn a_key_is_found_in_either_header() {
        let digest = Ok(key(1).digest());
        assert_eq!(code(&[("authorization", &format!("Bearer {}", text(1)))]), digest);
        assert_eq!(code(&[("authorization", &format!("bearer  {}", text(1)))]), digest);
        assert_eq!(code(&[("x-api-key", &text(1))]), digest);
        assert_eq!(
            code(&[("x-api-key", &text(1)), ("authorization", "Basic eDp5")]),
            digest
        );
        assert_eq!(
            code(&[
                ("x-api-key", &text(1)),
                ("authorization", &format!("Bearer {}", text(1)))
            ]),
            digest
        );
    }

    #[test]
    fn who_pays_must_be_clear() {
        let bearer = format!("Bearer {}", text(1));
        assert_eq!(
            code(&[("x-api-key", &text(2)), ("authorization", &bearer)]),
            Err("key-ambiguous")
        );
        assert_eq!(
            code(&[("authorization", &bearer), ("authorization", &bearer)]),
            Err("key-ambiguous")
        );
        assert_eq!(code(&[]), Err("key-missing"));
        assert_eq!(code(&[("authorization", "Basic eDp5")]), Err("key-missing"));
    }

    #[test]
    fn a_typo_is_an_unknown_key() {
        let mut typo = text(1);
        let last = typo.pop();
        typo.push(if last == Some('a') { 'b' } else { 'a' });
        assert_eq!(code(&[("x-api-key", &typo)]), Err("key-invalid"));
        assert_eq!(code(&[("authorization", "Bearer")]), Err("key-invalid"));
        assert_eq!(code(&[("authorization", "Bearer \t")]), Err("key-invalid"));
    }
}
