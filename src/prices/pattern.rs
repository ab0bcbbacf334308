//! Patterns over methods and paths: `GET /serp/tasks/{task}`, `ANY /ai-visibility/{*rest}`.
//!
//! In: a method and a path as they came over the wire. Out: whether they match.
//!
//! Promise: a path is compared segment by segment, by the bytes that a segment stands for: `%73` is `s`, as it is to the data APIs
//! that it is forwarded to (RFC 3986 section 6.2.2), so that no way of writing a path has another price, scope or limit. Nothing is
//! folded or cleaned up beside.

use std::fmt;

use percent_encoding::percent_decode_str;

/// A method, or any, and the segments of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// As a person wrote it.
    text: String,
    /// `None`: every method.
    method: Option<String>,
    segments: Vec<Segment>,
    /// Ends in `{*name}`: one segment more, or many.
    open_end: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    One,
}

const PATTERN_CHARS_MAX: usize = 512;
const SEGMENTS_MAX: usize = 32;
/// What a request may ask for. A method that is not listed is refused before any rule is looked at.
pub const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

impl Pattern {
    /// Reads a pattern; the error is a clause that says what is wrong.
    pub(super) fn parse(text: &str) -> Result<Pattern, String> {
        if text.len() > PATTERN_CHARS_MAX {
            return Err(format!("has more than {PATTERN_CHARS_MAX} characters"));
        }
        let (method, path) = text
            .split_once(' ')
            .ok_or_else(|| "is a method, one space and a path: \"GET /serp\"".to_owned())?;
        let method = match method {
            "ANY" => None,
            known if METHODS.contains(&known) => Some(known.to_owned()),
            _ => return Err(format!("begins with ANY or one of {}", METHODS.join(", "))),
        };
        let path = path
            .strip_prefix('/')
            .ok_or_else(|| "has a path that begins with '/'".to_owned())?;
        let mut segments = Vec::new();
        let mut open_end = false;
        for (segment, last) in with_last(path.split('/')) {
            match part(segment)? {
                Part::Rest if last => open_end = true,
                Part::Rest => return Err("has {*name} at its end only".to_owned()),
                Part::Segment(Segment::Literal(literal)) if literal.is_empty() && !last => {
                    return Err("has no empty segments".to_owned());
                }
                Part::Segment(segment) => segments.push(segment),
            }
        }
        if segments.len() > SEGMENTS_MAX {
            return Err(format!("has at most {SEGMENTS_MAX} segments"));
        }
        Ok(Pattern {
            text: text.to_owned(),
            method,
            segments,
            open_end,
        })
    }

    /// `path` begins with '/' and has no query.
    pub(super) fn matches(&self, method: &str, path: &str) -> bool {
        if self.method.as_deref().is_some_and(|own| own != method) {
            return false;
        }
        let Some(path) = path.strip_prefix('/') else {
            return false;
        };
        let mut parts = path.split('/');
        for segment in &self.segments {
            let fits = match (segment, parts.next()) {
                (Segment::Literal(literal), Some(part)) => is_same(literal, part),
                (Segment::One, Some(part)) => !part.is_empty(),
                (Segment::Literal(_) | Segment::One, None) => false,
            };
            if !fits {
                return false;
            }
        }
        match parts.next() {
            None => !self.open_end,
            Some(first) => self.open_end && !first.is_empty(),
        }
    }
}

/// Whether two segments stand for the same bytes.
fn is_same(one: &str, other: &str) -> bool {
    one == other || (one.contains('%') || other.contains('%')) && percent_decode_str(one).eq(percent_decode_str(other))
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

enum Part {
    Segment(Segment),
    Rest,
}

fn part(text: &str) -> Result<Part, String> {
    if let Some(name) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        let (name, rest) = name.strip_prefix('*').map_or((name, false), |name| (name, true));
        let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        return match (named, rest) {
            (false, _) => Err("names its placeholders with letters, digits and '_'".to_owned()),
            (true, true) => Ok(Part::Rest),
            (true, false) => Ok(Part::Segment(Segment::One)),
        };
    }
    // The same as the gateway lets through: a pattern with any other character could never match.
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@%".contains(&b));
    if !plain || text == "." || text == ".." {
        return Err("has only plain path segments, {name} and, at the end, {*name}".to_owned());
    }
    Ok(Part::Segment(Segment::Literal(text.to_owned())))
}

fn with_last<'a>(parts: impl Iterator<Item = &'a str>) -> impl Iterator<Item = (&'a str, bool)> {
    let mut parts = parts.peekable();
    std::iter::from_fn(move || {
        let part = parts.next()?;
        Some((part, parts.peek().is_none()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, method: &str, path: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(method, path)
    }

    #[test]
    fn a_placeholder_is_one_segment_and_a_starred_one_is_the_rest() {
        assert!(matches("GET /serp/{task}", "GET", "/serp/7"));
        assert!(!matches("GET /serp/{task}", "GET", "/serp/7/8"));
        assert!(!matches("GET /serp/{task}", "GET", "/serp/"));
        assert!(!matches("GET /serp/{task}", "GET", "/serp"));
        assert!(matches("GET /ai/{*rest}", "GET", "/ai/brand/week/3"));
        assert!(matches("GET /ai/{*rest}", "GET", "/ai/brand"));
        assert!(!matches("GET /ai/{*rest}", "GET", "/ai"));
        assert!(!matches("GET /ai/{*rest}", "GET", "/ai/"));
        assert!(matches("GET /", "GET", "/"));
        assert!(!matches("GET /", "GET", "/x"));
        assert!(matches("GET /serp/", "GET", "/serp/"));
        assert!(!matches("GET /serp/", "GET", "/serp"));
    }

    #[test]
    fn paths_are_compared_by_what_they_stand_for() {
        assert!(!matches("GET /serp", "GET", "/SERP"));
        assert!(!matches("GET /serp", "GET", "/%53erp"));
        assert!(matches("GET /serp", "GET", "/%73erp"));
        assert!(matches("GET /serp/{task}", "GET", "/s%65%72p/%31"));
        assert!(matches("GET /%73erp", "GET", "/serp"));
        assert!(matches("GET /a%20b", "GET", "/a%20b"));
        assert!(matches("GET /caf%C3%A9", "GET", "/caf%c3%a9"));
        assert!(matches("GET /a:b", "GET", "/a%3Ab"));
        assert!(!matches("GET /100%25", "GET", "/100"));
        assert!(!matches("GET /serp", "GET", "//serp"));
    }

    #[test]
    fn head_is_a_method_of_its_own() {
        assert!(!matches("GET /serp", "HEAD", "/serp"));
        assert!(matches("ANY /serp", "HEAD", "/serp"));
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        for bad in [
            "/serp",
            "GET serp",
            "get /serp",
            "FOO /serp",
            "GET  /serp",
            "GET /a//b",
            "GET /{*rest}/x",
            "GET /{}",
            "GET /{a b}",
            "GET /a?b",
            "GET /a/../b",
            "GET /{x",
        ] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }
}
