//! Paths that every server reads in the same way.
//!
//! The gateway prices the path that it sees; the data API may decode, clean up or fold it first. A path on which two
//! servers could differ is refused rather than repaired, so the priced path and the served one cannot come apart.

/// Whether a path, as it came over the wire, is plain: it begins with '/', has no empty segment but the last, no dot
/// segments, no `;` parameters, and encodes nothing that could become a separator, a dot or a control character.
pub(super) fn is_plain(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else {
        return false;
    };
    let unambiguous = |segment: &str| segment != "." && segment != "..";
    let mut segments = rest.split('/').rev();
    // The last one may be empty: `/serp/`. Whether that is `/serp` is not ours to guess: it is another path.
    let last = segments.next().is_some_and(unambiguous);
    last && segments.all(|segment| !segment.is_empty() && unambiguous(segment)) && decodes_to_harmless(path)
}

/// Every byte is a path character of RFC 3986 but `;`, and the decoded text is UTF-8 without tricks.
fn decodes_to_harmless(path: &str) -> bool {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let (Some(high), Some(low)) = (hex(bytes.next()), hex(bytes.next())) else {
                    return false;
                };
                let byte = high * 16 + low;
                let harmless = byte >= 0x20 && byte != 0x7F && !b"/\\.;".contains(&byte);
                if !harmless {
                    return false;
                }
                decoded.push(byte);
            }
            plain if plain.is_ascii_alphanumeric() || b"/-._~!$&'()*+,=:@".contains(&plain) => decoded.push(plain),
            _ => return false,
        }
    }
    // Overlong and broken UTF-8 is how `/` gets past a check; `%25` and two hex digits is how it gets past one decoding.
    str::from_utf8(&decoded).is_ok_and(|text| !still_encoded(text.as_bytes()))
}

fn still_encoded(decoded: &[u8]) -> bool {
    decoded
        .windows(3)
        .any(|three| three[0] == b'%' && three[1].is_ascii_hexdigit() && three[2].is_ascii_hexdigit())
}

fn hex(byte: Option<u8>) -> Option<u8> {
    char::from(byte?)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_pass() {
        for path in [
            "/",
            "/serp",
            "/serp/",
            "/a/b.json",
            "/a%20b",
            "/caf%C3%A9",
            "/100%25",
            "/a:b@c,d=e",
            "/...",
            "/.well-known",
        ] {
            assert!(is_plain(path), "{path}");
        }
    }

    #[test]
    fn paths_that_servers_read_differently_are_refused() {
        for path in [
            "",
            "*",
            "serp",
            "//serp",
            "/a//b",
            "/serp//",
            "/..",
            "/a/../b",
            "/a/./b",
            "/%2e%2e/x",
            "/%2E/x",
            "/a%2fb",
            "/a%5Cb",
            "/a\\b",
            "/a;b",
            "/..;/x",
            "/a%3Bb",
            "/a%00",
            "/a%0a",
            "/a%7f",
            "/a%",
            "/a%2",
            "/a%zz",
            "/%252e%252e",
            "/%c0%af",
            "/%ff",
            "/a b",
            "/a\"b",
            "/a{b",
            "/é",
            "/a%25%32%66",
        ] {
            assert!(!is_plain(path), "{path}");
        }
    }
}
